"""A provider's SSE answer as judged events, before and after the first chunk alike (contract, sections 2 and 5)."""

from __future__ import annotations

from .._values import Limits
from .._wire.chunks import Chunk, unflagged
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
        self._event_bytes = limits.upstream_event_bytes
        self._limit_bytes = limits.upstream_stream_bytes
        self._unfinished = set(range(choices))
        self._backlog: list[Event | Comment] = []
        self._unfed = b""
        """Received, and not yet decoded."""
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

    @property
    def at_hand(self) -> bool:
        """The next frames need not be waited for."""
        return bool(self._backlog or self._unfed)

    async def arrived(self) -> bytes | list[Event | Comment] | None:
        """What comes next: events to be relayed as they are, or else frames, perhaps none; None at the end.

        Raises as `frames` does.
        """
        if self._backlog or self.ended:
            return await self.frames()
        piece = self._unfed or await self._receive()
        if piece is None:
            return self._decode(None)
        if self._unfed:
            self._unfed = b""
        if self._decoder.holds:
            # Once the event is over that has been begun, what follows it may be passed on as it is.
            return self._decode(self._first_event(piece))
        whole = len(piece)
        size = unflagged(piece) if whole <= self._event_bytes else 0
        if size == whole:
            return piece
        if not size:
            return self._decode(piece)
        self._unfed = piece[size:]
        return piece[:size]

    async def frames(self, *, singly: bool = False) -> list[Event | Comment] | None:
        """The frames that the next bytes complete, perhaps none; None at the end. `singly`: no more than one event.

        Raises TransportFailure when the connection breaks, StreamDefect when a limit is passed.
        """
        if self._backlog:
            frames, self._backlog = self._backlog, []
            return frames
        if self.ended:
            return None
        piece, self._unfed = self._unfed or await self._receive(), b""
        return self._decode(piece if piece is None or not singly else self._first_event(piece))

    def _first_event(self, piece: bytes) -> bytes:
        """What ends the first event in it; the rest is put back."""
        end = piece.find(b"\n\n") + 2
        if 1 < end < len(piece):
            piece, self._unfed = piece[:end], piece[end:]
        return piece

    def _decode(self, piece: bytes | None) -> list[Event | Comment] | None:
        try:
            if piece is not None:
                return self._decoder.feed(piece)
            self.ended = True
            return self._decoder.close() or None
        except EventTooLarge:
            raise StreamDefect("event_too_large") from None

    async def _receive(self) -> bytes | None:
        if self.received_bytes > self._limit_bytes:
            raise StreamDefect("too_long")
        if self._decoder.too_large:
            raise StreamDefect("event_too_large")
        try:
            chunk = await self._chunks.__anext__()
        except StopAsyncIteration:
            return None
        self.received_bytes += len(chunk)
        if self.received_bytes <= self._limit_bytes:
            return chunk
        # What was complete before the limit is the caller's, however much came at once.
        return chunk[: self._limit_bytes - self.received_bytes]

    async def drain(self, limit_bytes: int) -> None:
        """Read a short rest, so that a kept connection can be used again; gives up at anything odd."""
        try:
            async for chunk in self._chunks:
                limit_bytes -= len(chunk)
                if limit_bytes < 0:
                    return
        except TransportFailure:
            return
