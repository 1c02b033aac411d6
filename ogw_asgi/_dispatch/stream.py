"""A provider's SSE answer as judged events, before and after the first chunk alike (contract, sections 2 and 5)."""

from __future__ import annotations

from .._values import Limits
from .._wire.chunks import Chunk
from .._wire.sse import Comment, Event, EventTooLarge, SSEDecoder
from ..transports.base import TransportFailure, UpstreamResponse


class StreamDefect(Exception):
    """The stream cannot be read on. `cause` is a word for logs and trails; nothing of the content is in it."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class ChatStream:
    """Reads frames, and keeps the books on which choices have their finish_reason.

    Attributes:
        done: `[DONE]` has come.
        ended: nothing more will come, and the last frames may have been cut off by that.
        received_bytes: of the body, framing included.
    """

    def __init__(self, response: UpstreamResponse, choices: int, limits: Limits) -> None:
        self._chunks = response.chunks()
        self._decoder = SSEDecoder(limits.upstream_event_bytes)
        self._limit_bytes = limits.upstream_stream_bytes
        self._unfinished = set(range(choices))
        self._backlog: list[Event | Comment] = []
        self.ended = False
        self.done = False
        self.received_bytes = 0

    @property
    def finished(self) -> bool:
        """Every choice has had its finish_reason."""
        return not self._unfinished

    @property
    def complete(self) -> bool:
        return self.done or self.finished

    def note(self, chunk: Chunk) -> None:
        if chunk.finished:
            self._unfinished -= chunk.finished

    def put_back(self, frames: list[Event | Comment]) -> None:
        self._backlog = frames

    async def frames(self) -> list[Event | Comment] | None:
        """The frames that the next bytes complete, perhaps none; None at the end.

        Raises TransportFailure when the connection breaks, StreamDefect when a limit is passed.
        """
        if self._backlog:
            frames, self._backlog = self._backlog, []
            return frames
        if self.ended:
            return None
        if self.received_bytes > self._limit_bytes:
            raise StreamDefect("too_long")
        if self._decoder.too_large:
            raise StreamDefect("event_too_large")
        try:
            async for chunk in self._chunks:
                self.received_bytes += len(chunk)
                over = self.received_bytes - self._limit_bytes
                # What was complete before the limit is the caller's, however much came at once.
                return self._decoder.feed(chunk if over <= 0 else chunk[:-over])
            self.ended = True
            return self._decoder.close() or None
        except EventTooLarge:
            raise StreamDefect("event_too_large") from None

    async def drain(self, limit_bytes: int) -> None:
        """Read a short rest, so that a kept connection can be used again; gives up at anything odd."""
        try:
            async for chunk in self._chunks:
                limit_bytes -= len(chunk)
                if limit_bytes < 0:
                    return
        except TransportFailure:
            return
