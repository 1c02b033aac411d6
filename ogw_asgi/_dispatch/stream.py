"""A provider's SSE answer as judged events, before and after the first chunk alike (contract, sections 2 and 5)."""

from __future__ import annotations

from typing import Literal

from .._values import Limits
from .._wire.chunks import Chunk, unflagged
from .._wire.sse import Comment, Event, EventTooLarge, SSEDecoder
from ..transports.base import TransportFailure, UpstreamResponse

How = Literal["frames", "first", "as they came"]
"""What a step makes of the bytes: all frames; those up to the end of the first event; or, where events need no look,
the bytes themselves."""

Found = bytes | list[Event | Comment]

_AN_EVENT = b"data: {"


class StreamDefect(Exception):
    """The stream cannot be read on. `cause` is a word for logs and trails; nothing of the content is in it."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class ChatStream:
    """What has come of a stream, step by step, and the books on which choices have their finish_reason.

    A step either takes what is `at_hand`, or feeds what `chunks` gives next, or ends the stream. It is no coroutine,
    for whoever waits has one already: `next` is for those who do not count steps.

    Attributes:
        chunks: of the body, as they arrive.
        at_hand: the next step must not wait: something is left of the last one, or nothing more will come.
        done: `[DONE]` has come.
        ended: nothing more will come, and the last frames may have been cut off by that.
        received_bytes: of the body, framing included.
    """

    def __init__(self, response: UpstreamResponse, choices: int, limits: Limits) -> None:
        self.chunks = response.chunks()
        self._decoder = SSEDecoder(limits.upstream_event_bytes)
        self._event_bytes = limits.upstream_event_bytes
        self._limit_bytes = limits.upstream_stream_bytes
        self._unfinished = set(range(choices))
        self._backlog: list[Event | Comment] = []
        self._unfed = b""
        """Received, and not yet decoded."""
        self._defect: str | None = None
        """Why nothing is to be waited for after this."""
        self.at_hand = False
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
        self._look()

    async def next(self, how: How = "frames") -> Found | None:
        """One step. Raises TransportFailure when the connection breaks, StreamDefect when a limit is passed."""
        if self.at_hand:
            return self.take(how)
        try:
            piece = await self.chunks.__anext__()
        except StopAsyncIteration:
            return self.end()
        return self.feed(piece, how)

    def passes(self, piece: bytes) -> bool:
        """Whether all of a piece may go on as it came, nothing being at hand. If so it is taken, else to be fed."""
        size = len(piece)
        if (
            not size  # which is no data
            or self._decoder.holds
            or size > self._event_bytes
            or self.received_bytes + size > self._limit_bytes
            or unflagged(piece) < size
        ):
            return False
        self.received_bytes += size
        return True

    def feed(self, piece: bytes, how: How) -> Found:
        """What has come by now, perhaps nothing. Raises StreamDefect."""
        self.received_bytes += len(piece)
        if self.received_bytes > self._limit_bytes:
            # What was complete before the limit is the caller's, however much came at once.
            piece = piece[: self._limit_bytes - self.received_bytes]
            self._defect = "too_long"
        return self._read(piece, how)

    def take(self, how: How) -> Found | None:
        """The same of what is at hand; None at the end."""
        if self._backlog:
            frames, self._backlog = self._backlog, []
            self._look()
            return frames
        if self._unfed:
            piece, self._unfed = self._unfed, b""
            return self._read(piece, how)
        if self._defect is not None:
            raise StreamDefect(self._defect)
        return None

    def end(self) -> Found | None:
        """No more bytes will come. None: nothing was left."""
        self.ended = self.at_hand = True
        try:
            return self._decoder.close() or None
        except EventTooLarge:
            raise StreamDefect("event_too_large") from None

    def _read(self, piece: bytes, how: How) -> Found:
        if how == "as they came" and not self._decoder.holds:
            size = unflagged(piece) if len(piece) <= self._event_bytes else 0
            if size:
                if size != len(piece):
                    self._unfed, piece = piece[size:], piece[:size]
                    self.at_hand = True
                elif self.at_hand or self._defect is not None:
                    self._look()
                return piece
        elif how == "as they came" or (how == "first" and piece.startswith(_AN_EVENT)):
            # Once the event is over that has been begun, what follows it may be passed on as it is. Only where an event
            # begins: to take a comment at a time from a read that is full of them would copy it as often.
            end = piece.find(b"\n\n") + 2
            if 1 < end < len(piece):
                piece, self._unfed = piece[:end], piece[end:]
        try:
            frames = self._decoder.feed(piece)
        except EventTooLarge:
            raise StreamDefect("event_too_large") from None
        if self._decoder.too_large:
            self._defect = "event_too_large"
        self._look()
        return frames

    def _look(self) -> None:
        self.at_hand = bool(self._backlog or self._unfed or self.ended or self._defect is not None)

    async def drain(self, limit_bytes: int) -> None:
        """Read a short rest, so that a kept connection can be used again; gives up at anything odd."""
        try:
            async for chunk in self.chunks:
                limit_bytes -= len(chunk)
                if limit_bytes < 0:
                    return
        except TransportFailure:
            return
