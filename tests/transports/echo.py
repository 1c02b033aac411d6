"""A server that answers each request in the way that the request asks for, and names the request in the answer."""

from __future__ import annotations

import json
import re
import select
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Literal

import anyio
import anyio.abc
import anyio.lowlevel
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSStream

from ogw_asgi.testing import LAST_CHUNK, SSE_DONE, chunked, http_head, http_response, sse_event

from .cancelling import local_port, open_sockets

Answer = Literal["length", "large", "chunked", "delimited", "last", "none", "reset"]
"""How the server answers: with that framing. `large` has a large request, `last` closes the connection, and `none` is
a FIN unless the connection is new."""

LARGE_BYTES = 4 << 20
"""More than the buffers of both ends hold, the receiving one being small."""
RECEIVE_BYTES = 64 << 10
JSON_HEAD = [("content-type", "application/json")]
SSE_HEAD = [("content-type", "text/event-stream")]


def plain(number: int) -> bytes:
    message = {"role": "assistant", "content": f"answer {number}"}
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()


def events(number: int) -> list[bytes]:
    def event(delta: dict[str, str], finish: str | None = None) -> bytes:
        return sse_event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    return [event({"content": "answer"}), event({"content": f" {number}"}), event({}, "stop") + SSE_DONE]


def expected(answer: Answer, number: int) -> bytes:
    return b"".join(events(number)) if answer == "chunked" else plain(number)


def request_body(answer: Answer, number: int) -> bytes:
    """Says which answer it wants, where every gateway lets it through."""
    values = {"user": f"{answer}/{number}", "model": "m", "stream": answer == "chunked"}
    body = json.dumps({**values, "messages": [{"role": "user", "content": "Hi"}]}).encode()
    return body.ljust(LARGE_BYTES) if answer == "large" else body


class EchoServer:
    """Answers each request as the request says, and names it in the answer."""

    def __init__(self, listener: anyio.abc.Listener[Any], context: ssl.SSLContext | None) -> None:
        self.port = listener.extra(anyio.abc.SocketAttribute.local_port)
        self.connections = self.closed = self.answered = 0
        self._listening = listener.extra(anyio.abc.SocketAttribute.raw_socket)
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)  # connections inherit it
        self._context = context
        self._before = frozenset(open_sockets())

    def url(self, host: str) -> str:
        return f"http{'s' if self._context else ''}://{host}:{self.port}"

    def foreign_sockets(self) -> int:
        """How many have been opened since that are not this server's end of a connection."""
        opened = open_sockets()
        return sum(local_port(opened[inode]) != self.port for inode in opened.keys() - self._before)

    @property
    def nobody_is_connected(self) -> bool:
        waiting, _, _ = select.select([self._listening], [], [], 0)
        return not waiting and self.closed == self.connections and not self.foreign_sockets()

    def __str__(self) -> str:
        return f"{self.connections} connections, {self.closed} closed, {self.foreign_sockets()} sockets of others"

    async def serve(self, accepted: anyio.abc.ByteStream) -> None:
        self.connections += 1
        try:
            async with accepted:
                await self._converse(accepted)
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, OSError):  # OSError: ssl's, too
            pass
        except RuntimeError as error:  # what uvloop calls a write on a connection that the client has reset
            if "the handler is closed" not in str(error):
                raise
        finally:
            self.closed += 1

    async def _converse(self, stream: anyio.abc.ByteStream) -> None:
        if self._context is not None:
            stream = await TLSStream.wrap(
                stream, server_side=True, ssl_context=self._context, standard_compatible=False
            )
        reader = BufferedByteReceiveStream(stream)
        for nth in count():
            head = await reader.receive_until(b"\r\n\r\n", 8192)
            length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
            assert length, head
            body = await reader.receive_exactly(min(int(length[1]), 1024))
            unread = int(length[1]) - len(body)
            while unread:
                unread -= len(await reader.receive(min(unread, 256 << 10)))
                await anyio.lowlevel.checkpoint()
            wanted = re.search(rb'"user": ?"([a-z]+)/(\d+)"', body)
            assert wanted, body
            await self._answer(stream, wanted[1].decode(), int(wanted[2]), is_first=nth == 0)

    async def _answer(self, stream: anyio.abc.ByteStream, answer: str, number: int, *, is_first: bool) -> None:
        match answer:
            case "chunked":
                await stream.send(http_head(200, [*SSE_HEAD, ("transfer-encoding", "chunked")]))
                for event in events(number):
                    for _ in range(4):  # turns of the loop, in which the client begins to wait again
                        await anyio.lowlevel.checkpoint()
                    await stream.send(chunked(event))
                await stream.send(LAST_CHUNK)
            case "delimited":
                await stream.send(http_head(200, JSON_HEAD))
                await stream.send(plain(number))
                await stream.send_eof()
            case "none" if not is_first:
                await stream.send_eof()
                return
            case "reset":
                raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # see socket(7)
                raise anyio.BrokenResourceError
            case "last":
                await stream.send(http_response(200, plain(number), [*JSON_HEAD, ("connection", "close")]))
            case _:
                await stream.send(http_response(200, plain(number), JSON_HEAD))
        self.answered += 1


async def settle() -> None:
    """Some turns of the loop: listeners begin, and asyncio closes a socket in the turn after the next."""
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def echo_server(context: ssl.SSLContext | None = None) -> AsyncIterator[EchoServer]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server = EchoServer(listener, context)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, server.serve)
        await settle()
        yield server
        group.cancel_scope.cancel()
