"""One request inside an ASGI app, conducted as a server would; primitives and anyio only."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import anyio
import anyio.lowlevel

Message = MutableMapping[str, Any]
ASGIApp = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]

_logger = logging.getLogger("ogw_asgi.testing")


class Unterminated(Exception):
    """The app ended, or was ended, before its last body message."""


class Exchange:
    """The server's side of one request: run it in a task of its own, read the response from another."""

    def __init__(self, app: ASGIApp, scope: MutableMapping[str, Any]) -> None:
        self._app = app
        self._scope = scope
        self._cancel_scope = anyio.CancelScope()
        # Unbounded like the kernel's socket buffers: an app that answers without reading must not block the
        # upload.
        self._upload, self._uploaded = anyio.create_memory_object_stream[bytes](math.inf)
        # Without a buffer, send() returns when its chunk was taken: back-pressure to the last chunk.
        self._outgoing, self._incoming = anyio.create_memory_object_stream[bytes](0)
        self._head = anyio.Event()
        self._gone = anyio.Event()
        self._ended = anyio.Event()
        self._complete = False
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.error: Exception | None = None

    # --- the app's side ------------------------------------------------------------------------------------

    async def run(self) -> None:
        try:
            with self._cancel_scope:
                await self._app(self._scope, self._receive, self._send)
        except Exception as error:
            self.error = error
            if self.status is not None:
                # The head is out, so nobody can be handed this error; a server logs it, too.
                _logger.error("exception in the app after its response had started", exc_info=error)
        finally:
            self._uploaded.close()
            self._outgoing.close()
            self._ended.set()
            self._head.set()

    async def _receive(self) -> Message:
        if self._gone.is_set():
            await anyio.lowlevel.checkpoint()
            return {"type": "http.disconnect"}
        try:
            chunk = await self._uploaded.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            await self._gone.wait()
            return {"type": "http.disconnect"}
        # `b""` stands for the end: it is put there once, by upload().
        return {"type": "http.request", "body": chunk, "more_body": chunk != b""}

    async def _send(self, message: Message) -> None:
        # An app that sends on and on to a caller who left must still let other tasks run.
        await anyio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            if self.status is not None:
                raise RuntimeError("http.response.start was sent twice")
            self.status = message["status"]
            self.headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            self._head.set()
        elif message["type"] == "http.response.body":
            await self._send_body(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"unexpected ASGI message {message['type']!r}")

    async def _send_body(self, body: bytes, *, more: bool) -> None:
        if self.status is None:
            raise RuntimeError("http.response.body was sent before http.response.start")
        if self._complete:
            raise RuntimeError("http.response.body was sent after the end of the body")
        self._complete = not more
        if body and self._scope["method"] != "HEAD":
            try:
                await self._outgoing.send(bytes(body))
            except anyio.BrokenResourceError:
                # The caller has left; servers let the app send into the void until it asks receive().
                return
        if not more:
            self._outgoing.close()
            self._gone_after_response()

    def _gone_after_response(self) -> None:
        # As in uvicorn: once the response is complete, receive() has nothing to give but the disconnect.
        self._gone.set()
        self._upload.close()

    # --- the caller's side ---------------------------------------------------------------------------------

    async def upload(self, body: AsyncIterator[bytes]) -> None:
        """Hands the request's body to the app at the caller's pace; stops when the app has answered."""
        try:
            async for chunk in body:
                if self._head.is_set():
                    break
                if chunk:
                    self._put(chunk)
        finally:
            # Left half-way, a generator would be finalised by the garbage collector, of which trio warns.
            if isinstance(body, AsyncGenerator):
                await body.aclose()
        self._put(b"")

    def _put(self, chunk: bytes) -> None:
        try:
            self._upload.send_nowait(chunk)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # the app is done with this request; its answer tells the rest

    async def head(self) -> None:
        """Waits for the response's head; `status` stays `None` when the app ended without one."""
        await self._head.wait()

    async def next_chunk(self) -> bytes | None:
        """The next chunk of the body, `None` at its end. Raises Unterminated when it has none."""
        try:
            return await self._incoming.receive()
        except anyio.EndOfStream:
            if self._complete:
                return None
            raise Unterminated("the app ended without completing its response") from self.error
        except anyio.ClosedResourceError:
            raise Unterminated("the response was closed") from None

    def leave(self) -> None:
        """The caller is gone: receive() says so, and what is sent from now on goes nowhere."""
        self._gone.set()
        self._upload.close()
        self._uploaded.close()
        self._incoming.close()

    async def close(self) -> None:
        """Leaves, and waits for the app to end."""
        self.leave()
        await self._ended.wait()

    def abort(self) -> None:
        """Leaves and cancels the app: the server is going down."""
        self.leave()
        self._cancel_scope.cancel()
