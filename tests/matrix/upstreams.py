"""Providers that no script can play: one that answers those who have left, and one that needs no event loop."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import anyio.abc

from ogw_asgi.testing import SharedEvent
from ogw_asgi.testing._signals import leave


@asynccontextmanager
async def answering_late(answer: bytes) -> AsyncIterator[tuple[str, anyio.Event]]:
    """Answers as soon as whoever asked has closed the connection; yields its URL, and tells when it has."""
    answered = anyio.Event()
    (listener,) = (await anyio.create_tcp_listener(local_host="127.0.0.1")).listeners

    async def serve(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            try:
                while True:
                    await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass
            try:
                await stream.send(answer)
            except anyio.BrokenResourceError:  # it did not take long until nobody was there
                pass
        answered.set()

    async with listener:
        group = anyio.create_task_group()
        await group.__aenter__()
        group.start_soon(listener.serve, serve)
        try:
            yield f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}", answered
        finally:
            group.cancel_scope.cancel()
            await leave(group)


class Threaded:
    """A provider in a thread of its own: it goes on when the loop of the test does not.

    It reads one request, sends `first`, says so (`asked`), and sends `answer` when it is told to, and the end of the
    connection behind it. To be closed before the world's own descriptors are counted.
    """

    def __init__(self, answer: bytes, first: bytes) -> None:
        self.asked = SharedEvent()
        self._answer = answer
        self._first = first
        self._go, self._sent = threading.Event(), threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(10)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def answer_now(self) -> None:
        """Blocks until the answer is on its way, which on loopback is to say there."""
        self._go.set()
        assert self._sent.wait(5), "nobody has asked"

    def close(self) -> None:
        self._go.set()
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError:  # closed, or nobody came
            return
        with accepted:
            accepted.settimeout(10)
            received = b""
            while b'"messages"' not in received:
                received += accepted.recv(65536)
            accepted.sendall(self._first)
            self.asked.set()
            self._go.wait(10)
            try:
                accepted.sendall(self._answer)
            except OSError:  # whoever asked has gone
                pass
        self._sent.set()


@contextmanager
def threaded(answer: bytes, first: bytes = b"") -> Iterator[Threaded]:
    upstream = Threaded(answer, first)
    try:
        yield upstream
    finally:
        upstream.close()
