"""The frames of a stream that has begun, within its limits on silence and length; where it breaks, and of what."""

from __future__ import annotations

from dataclasses import replace

from .._frozen import dataclass
from .._rules.continuation import STALLED_S
from .._rules.table import blames_the_key, blames_the_request
from .._values import Outcome, ProviderError, Timeouts
from .._wire.masking import Mask
from ..transports.base import FailureKind, TransportFailure
from .clock import this_loop
from .limit import Limit
from .stream import ChatStream, Found, How, StreamDefect


@dataclass(frozen=True, slots=True)
class Break:
    """The stream did not reach its end.

    Attributes:
        cause: a word for the log.
        message: for the caller.
        counts: it is the provider's fault, so its circuit hears of it.
        failure: how the connection broke, if that is what happened.
        error: what the provider said, if it said something.
        stalled: it had been silent for a while before.
    """

    cause: str
    message: str
    counts: bool = False
    failure: FailureKind | None = None
    error: ProviderError | None = None
    stalled: bool = False


class Reading:
    """Reads one stream. Whoever reads keeps a limit around all of it, which is moved here.

    Attributes:
        late_s: when the next step is late, on the loop's clock.
        ends_s: when the stream has been going on for too long.
    """

    def __init__(self, provider: str, stream: ChatStream, timeouts: Timeouts, mask: Mask) -> None:
        self.stream = stream
        self._provider = provider
        self._timeouts = timeouts
        self._mask = mask
        self._idle_s = timeouts.idle_s
        self.clock_s = this_loop().clock_s
        started_s = self.clock_s()
        self._finished_s = started_s if stream.finished else None
        self.ends_s = self.late_s = started_s + timeouts.stream_max_s
        self.heard()

    def heard(self) -> None:
        """A data event has come, and whoever it was for has taken it."""
        self._last_event_s = now_s = self.clock_s()
        until_s = now_s + self._idle_s
        if self._finished_s is not None:
            until_s = min(until_s, self._finished_s + self._timeouts.tail_s)
        self.late_s = until_s if until_s < self.ends_s else self.ends_s

    def look(self) -> None:
        """Notice when nothing of the answer can be missing any more: its tail has a shorter limit."""
        if self._finished_s is None and self.stream.finished:
            self._finished_s = self.clock_s()
            self.late_s = min(self.late_s, self._finished_s + self._timeouts.tail_s)

    async def next(self, limit: Limit, how: How) -> Found | Break:
        """What the next step of the stream finds. Raises nothing; `limit` is moved to when it is late."""
        limit.move(self.late_s)
        if self.stream.at_hand:
            return self.found(None, limit, how)
        try:
            piece = await self.stream.chunks.__anext__()
        except (StopAsyncIteration, TransportFailure) as end:
            return self.ended(end, limit)
        return self.found(piece, limit, how)

    # The parts of `next`, none of which waits: whoever waits often does so from where they are.

    def found(self, piece: bytes | None, limit: Limit, how: How) -> Found | Break:
        """What is in a piece that has come; None: in what is at hand."""
        stream = self.stream
        try:
            found = stream.take(how) if piece is None else stream.feed(piece, how)
        except StreamDefect as defect:
            return self.broken(defect.cause)
        return self._in_time(found, limit)

    def ended(self, end: StopAsyncIteration | TransportFailure, limit: Limit) -> Found | Break:
        """What is left when no more pieces come."""
        if isinstance(end, TransportFailure):
            return self.broken(end.kind, failure=end.kind)
        found: Found | Break | None
        try:
            found = self.stream.end()
        except StreamDefect as defect:
            found = self.broken(defect.cause)
        return self._in_time(found, limit)

    def _in_time(self, found: Found | Break | None, limit: Limit) -> Found | Break:
        if limit.passed:
            # It ran out as these came: nothing can be awaited in here any more, so they are late.
            return self.late()
        return self.broken("incomplete") if found is None else found

    def late(self) -> Break:
        return self.broken("idle" if self.clock_s() < self.ends_s else "too_long")

    def broken(self, cause: str, *, error: ProviderError | None = None, failure: FailureKind | None = None) -> Break:
        text = f"The stream of {self._provider} was interrupted ({cause.replace('_', ' ')})."
        if error is not None and error.message and not blames_the_key(error):
            text = f"{text} {self._mask.text(error.message)}"
        return Break(
            cause,
            text,
            counts=cause != "too_long" and not blames_the_request(error),
            failure=failure,
            error=error,
            stalled=self.clock_s() - self._last_event_s >= min(STALLED_S, self._timeouts.idle_s),
        )


def outcome_of(broken: Break, begun: Outcome, duration_s: float) -> Outcome:
    """A break after the first chunk in the words of a failure before it. `begun`: what the answer was until then."""
    if broken.failure is not None:
        return replace(begun, kind=broken.failure, duration_s=duration_s)
    if broken.cause == "idle":
        return replace(begun, kind="timeout", duration_s=duration_s)
    return replace(begun, kind="invalid_answer", detail=broken.cause, error=broken.error, duration_s=duration_s)
