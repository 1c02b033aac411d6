"""Servers that do not get as far as HTTP: nobody at the door, and TLS."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import anyio.abc
from anyio.streams.tls import TLSStream

from .engines import OK


@contextmanager
def black_hole() -> Iterator[str]:
    """A port whose queue of connections is full, so that the kernel drops every further SYN."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        queued: list[socket.socket] = []
        try:
            while True:
                waiting = socket.socket()
                queued.append(waiting)
                waiting.setblocking(False)
                waiting.connect_ex(address)
                if not select.select([], [waiting], [], 0.02)[1]:
                    break
                assert len(queued) < 64, "the queue never fills up here"
            yield f"http://127.0.0.1:{address[1]}"
        finally:
            for waiting in queued:
                waiting.close()


@contextmanager
def mute_listener() -> Iterator[tuple[str, socket.socket]]:
    """A port where connections are made and nobody reads: what is sent fills the buffers and stays there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", listener


class TLSServer:
    """Answers every request on a TLS connection with `OK`, and counts the requests."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests = 0

    def url(self, host: str) -> str:
        return f"https://{host}:{self.port}"


@asynccontextmanager
async def tls_server(context: ssl.SSLContext) -> AsyncIterator[TLSServer]:
    listeners = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server = TLSServer(listeners.extra(anyio.abc.SocketAttribute.local_port))

    async def serve(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            try:
                wrapped = await TLSStream.wrap(stream, server_side=True, ssl_context=context, standard_compatible=False)
                received = b""
                while True:
                    received += await wrapped.receive()
                    if b'"m"}' in received:  # the end of BODY
                        server.requests += 1
                        received = b""
                        await wrapped.send(OK)
            except (anyio.EndOfStream, anyio.BrokenResourceError, ssl.SSLError):
                pass  # the client left, or did not trust us

    async with listeners, anyio.create_task_group() as group:
        group.start_soon(listeners.serve, serve)
        yield server
        group.cancel_scope.cancel()
