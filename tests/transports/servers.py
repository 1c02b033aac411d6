"""Servers that do not get as far as HTTP: nobody at the door, and TLS."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import anyio.abc
import trustme
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


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client that trusts this authority, besides the public ones."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def certified(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """A server that shows this certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


async def until_still(count: Callable[[], int]) -> None:
    """Until a look around finds that nothing has moved since the last."""
    before = None
    while before != count():
        before = count()
        for _ in range(10):
            await anyio.wait_all_tasks_blocked()


Handler = Callable[[anyio.abc.ByteStream], Awaitable[None]]
"""What a server does with a connection; it is closed when this returns, or when the client has left."""


@asynccontextmanager
async def server_of(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server on loopback that does with each connection what `handler` says; `https` if there is a context."""
    listeners = await anyio.create_tcp_listener(local_host="127.0.0.1")

    async def serve(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            try:
                if context is not None:
                    stream = await TLSStream.wrap(
                        stream, server_side=True, ssl_context=context, standard_compatible=False
                    )
                await handler(stream)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError):
                pass  # the client left, or did not trust us
            except RuntimeError as error:  # what uvloop calls a write on a connection that the client has reset
                if "the handler is closed" not in str(error):
                    raise

    async with listeners, anyio.create_task_group() as group:
        group.start_soon(listeners.serve, serve)
        port = listeners.extra(anyio.abc.SocketAttribute.local_port)
        yield f"http{'s' if context else ''}://127.0.0.1:{port}"
        group.cancel_scope.cancel()


async def read_until(stream: anyio.abc.ByteStream, mark: bytes) -> bytes:
    received = b""
    while mark not in received:
        received += await stream.receive()
    return received


class TLSServer:
    """Answers every request on a TLS connection with `OK`, and counts the requests."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests = 0

    def url(self, host: str) -> str:
        return f"https://{host}:{self.port}"


@asynccontextmanager
async def tls_server(context: ssl.SSLContext) -> AsyncIterator[TLSServer]:
    async def answer(stream: anyio.abc.ByteStream) -> None:
        while True:
            await read_until(stream, b'"m"}')  # the end of BODY
            server.requests += 1
            await stream.send(OK)

    async with server_of(answer, context) as url:
        server = TLSServer(int(url.rpartition(":")[2]))
        yield server
