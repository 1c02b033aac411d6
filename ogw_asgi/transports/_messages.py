"""Requests and answers as both engines over httpx have them: over a user's client (`httpx`), and ours (`_httpcore`)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Protocol

import anyio
import anyio.lowlevel

from .._values import Header
from ._exchange import close
from .base import TransportFailure

CHUNKS_AT_ONCE = 64
"""After so many chunks of a body others get their turn, whether or not more have arrived."""


async def checked(status: int, headers: Sequence[Header], source: Source, head_bytes: int) -> HTTPXResponse:
    """The answer. Raises TransportFailure when its head is larger than that, and then the source is closed."""
    if sum(len(name) + len(value) + 4 for name, value in headers) > head_bytes:
        await close(source)
        raise TransportFailure("protocol")
    return HTTPXResponse(status, headers, source)


def request_body_type(library: Any) -> Any:
    """Takes the body; to be a message's `stream`."""
    return type("RequestBody", (_RequestBody, library.ByteStream), {})


class _RequestBody:
    """Mixed with the library's `ByteStream`, whose generator would be left half-way by a cancelled upload."""

    _stream: bytes

    def __aiter__(self) -> _Once:
        return _Once(self._stream)


class _Once:
    def __init__(self, item: bytes) -> None:
        self._items = iter((item,))

    def __aiter__(self) -> _Once:
        return self

    async def __anext__(self) -> bytes:
        for item in self._items:
            return item
        raise StopAsyncIteration


class Source(Protocol):
    """Where a body comes from: the library's response, or what is below it."""

    def aiter_raw(self) -> AsyncGenerator[bytes, None]: ...

    async def aclose(self) -> None: ...


class HTTPXResponse:
    """See base.UpstreamResponse."""

    at_end = False  # only the end of the library's own iterator tells, and that lets the connection go

    def __init__(self, status: int, headers: Sequence[Header], source: Source) -> None:
        self._source = source
        self._body: AsyncGenerator[bytes, None] | None = None
        self._closed = False
        self.status = status
        self.headers: Sequence[Header] = [(name.lower(), value) for name, value in headers]

    def chunks(self) -> AsyncIterator[bytes]:
        self._body = self._read()
        return self._body

    async def _read(self) -> AsyncGenerator[bytes, None]:
        since_rest = 0
        broken = False
        raw = self._source.aiter_raw()
        try:
            async for chunk in raw:
                yield chunk
                # One read may bring thousands of tiny chunks, which then come without anybody ever waiting.
                since_rest += 1
                if since_rest == CHUNKS_AT_ONCE:
                    since_rest = 0
                    await anyio.lowlevel.checkpoint()
            await self._source.aclose()
            self._closed = True
        except Exception:
            # Whatever the library calls it: the answer had begun, and its end will not come.
            broken = True
        except BaseException:  # cancelled, or closed by the reader
            await _unwind(raw)
            raise
        if broken:
            raise TransportFailure("reset")

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        await close(self._source)
        if self._body is not None:
            await _unwind(self._body)


async def _unwind(body: AsyncGenerator[bytes, None]) -> None:
    """End a body that was left half-way, and up to five generators that the libraries have nested in it.

    Closing the outermost would leave the others to the garbage collector, which trio reports and for which asyncio
    starts a task. A cancellation from below ends them all, innermost first.
    """
    with anyio.CancelScope(shield=True) as scope:
        scope.cancel()
        try:
            async for _ in body:
                pass
        except Exception:  # its connection has been closed
            pass
