"""A sink that remembers what happened lately: counts, durations, the requests under way, and the last fifty.

All of it is bounded: targets, since callers think of models; requests under way; attempts of each. Durations and counts
live in windows of a fixed size.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from .._values import written_authority
from ..telemetry import _genai
from ..telemetry.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    FailedOver,
    FirstChunk,
    GatewayOpened,
    RequestEnded,
    RequestRefused,
    RequestStarted,
    StreamContinued,
)
from .kinds import FAILED, KINDS, kind_of
from .snapshot import End, LastError, Line, Segment
from .windows import BUCKETS, Window, bucket_of, slot_of

MOST_TARGETS: Final = 64
MOST_RUNNING: Final = 10_000
MOST_RECENT: Final = 50
MOST_SEGMENTS: Final = 32
MOST_EDGES: Final = 400

FIRST_CHUNKS: Final = (len(KINDS), len(KINDS) + BUCKETS)
"""In a target's window KINDS come first, then its first chunks, then its whole answers."""
ANSWERS: Final = (FIRST_CHUNKS[1], FIRST_CHUNKS[1] + BUCKETS)

ENDS: Final = ("ok", "refused", "failed", "broken", "left", "rejected", "after_failover", "came_in")
OWN: Final = (len(ENDS), len(ENDS) + BUCKETS)
UPSTREAM: Final = (OWN[1], OWN[1] + BUCKETS)

REASONS: Final = tuple(sorted({*_genai.ERROR_TYPES, *_genai.ERROR_TYPES.values(), "overdue", "circuit_open"})) + (
    "cooling_down",
    "stream_truncated",
    _genai.OTHER,
)


class TargetKey(NamedTuple):
    """`model`: None of all the endpoints that callers name, which are `named`."""

    provider: str
    model: str | None
    named: bool


@dataclass(slots=True, eq=False)
class Seen:
    """Of one target. `streaming`: so many of those in flight have had a first chunk. `answered`: some attempt has
    succeeded, so its model is no mere word of a caller."""

    key: TargetKey
    kind: str
    window: Window = field(default_factory=lambda: Window(ANSWERS[1]))
    where: str | None = None
    in_flight: int = 0
    streaming: int = 0
    asked_s: float = 0.0
    answered: bool = False
    failed_last: bool = False
    last_error: LastError | None = None
    erred_s: float = 0.0


@dataclass(slots=True, eq=False)
class Attempt:
    target: Seen
    provider: str
    model: str
    reason: str
    start_s: float
    first_chunk_s: float | None = None
    end_s: float | None = None
    end: End = "running"
    label: str = ""

    def let_go(self) -> None:
        """Its target is not being asked by it any more."""
        self.target.in_flight -= 1
        self.target.streaming -= self.first_chunk_s is not None

    def segment(self, began_s: float, now_s: float) -> Segment:
        until_s = now_s if self.end_s is None else self.end_s
        first_ms = None if self.first_chunk_s is None else self.first_chunk_s * 1000
        start_ms, took_ms = (self.start_s - began_s) * 1000, (until_s - self.start_s) * 1000
        return Segment(self.provider, self.model, self.reason, start_ms, took_ms, first_ms, self.end, self.label)


@dataclass(slots=True, eq=False)
class Running:
    """A request that is understood and has not ended. `began_s` is on the sink's clock, `began_at_s` Unix time."""

    started: RequestStarted
    began_s: float
    began_at_s: float
    attempts: dict[int, Attempt] = field(default_factory=dict)
    failed_over: bool = False

    def line(self, now_s: float, ended: RequestEnded | None = None) -> Line:
        used = [] if ended is None else [one.usage for one in ended.attempts if one.usage is not None]
        return Line(
            began_at_s=self.began_at_s,
            request_id=self.started.request_id,
            model=self.started.model,
            stream=self.started.stream,
            sequence=tuple(self.started.sequence),
            segments=tuple(one.segment(self.began_s, now_s) for one in self.attempts.values()),
            outcome="running" if ended is None else ended.outcome,
            status=None if ended is None else ended.status,
            provider=None if ended is None else ended.provider,
            duration_ms=(now_s - self.began_s) * 1000,
            input_tokens=_sum(one.input_tokens for one in used),
            output_tokens=_sum(one.output_tokens for one in used),
        )


@dataclass(slots=True, eq=False)
class Edge:
    window: Window = field(default_factory=lambda: Window(len(REASONS)))
    total: int = 0


class Recent:
    """What a snapshot is made of. Both clocks in seconds: `clock_s` does not go back, `wall_s` is Unix time.

    Attributes:
        opened: the last that was told of the gateway; began_s: when it was opened first.
        targets: by key, in the order in which they were asked first.
        running: by serial, in the order of their coming.
        requests: the window of ENDS, and of two durations.
        edges: by the providers from and to.
    """

    def __init__(self, clock_s: Callable[[], float], wall_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self.wall_s = wall_s
        self.began_s = clock_s()
        self.opened: GatewayOpened | None = None
        self.targets: dict[TargetKey, Seen] = {}
        self.running: OrderedDict[int, Running] = OrderedDict()
        self._ended: deque[tuple[Running, float, RequestEnded]] = deque(maxlen=MOST_RECENT)
        """And when. Lines are made of them when somebody looks: most requests are seen by nobody."""
        self.requests = Window(UPSTREAM[1])
        self.edges: dict[tuple[str, str], Edge] = {}
        self._nobodys = Window(ANSWERS[1])
        self._on: Mapping[type[Any], Callable[[Any], None]] = {
            GatewayOpened: self._opened,
            RequestRefused: self._rejected,
            RequestStarted: self._started,
            AttemptStarted: self._attempt_started,
            FirstChunk: self._first_chunk,
            AttemptEnded: self._attempt_ended,
            FailedOver: self._failed_over,
            StreamContinued: self._continued,
            RequestEnded: self._request_ended,
        }

    def on_event(self, event: Event, /) -> None:
        note = self._on.get(type(event))
        if note is not None:
            note(event)

    def now_s(self) -> float:
        return self._clock_s()

    @property
    def ended(self) -> list[Line]:
        """The last fifty, the latest last."""
        return [running.line(now_s, event) for running, now_s, event in self._ended]

    # --- one for each event ---

    def _opened(self, event: GatewayOpened) -> None:
        if self.opened is None:  # it may have been made in another process, and long ago
            self.began_s = self._clock_s()
        self.opened = event

    def _rejected(self, event: RequestRefused) -> None:
        slot = slot_of(self._clock_s())
        self.requests.add(_REJECTED, slot)
        self.requests.add(_CAME_IN, slot)

    def _started(self, event: RequestStarted) -> None:
        now_s = self._clock_s()
        self.requests.add(_CAME_IN, slot_of(now_s))
        self.running[event.serial] = Running(event, now_s, self.wall_s())
        if len(self.running) > MOST_RUNNING:
            _, oldest = self.running.popitem(last=False)
            for attempt in oldest.attempts.values():
                if attempt.end == "running":
                    attempt.let_go()

    def _attempt_started(self, event: AttemptStarted) -> None:
        running = self.running.get(event.serial)
        if running is None or len(running.attempts) >= MOST_SEGMENTS:
            return
        now_s = self._clock_s()
        target = self._target(event)
        target.asked_s = now_s
        target.in_flight += 1
        running.attempts[event.number] = Attempt(target, event.provider, event.model, event.reason, now_s)

    def _first_chunk(self, event: FirstChunk) -> None:
        attempt = self._attempt(event.serial, event.number)
        if attempt is not None:
            attempt.first_chunk_s = event.took_s
            attempt.target.streaming += 1
            attempt.target.failed_last = False  # a stream may run for an hour, and its target answers all the while
            attempt.target.window.add(FIRST_CHUNKS[0] + bucket_of(event.took_s), slot_of(self._clock_s()))

    def _attempt_ended(self, event: AttemptEnded) -> None:
        attempt = self._attempt(event.serial, event.number)
        if attempt is None:
            return
        now_s = self._clock_s()
        attempt.end_s, attempt.end, attempt.label = now_s, event.end, event.attempt.label
        target, slot = attempt.target, slot_of(now_s)
        kind = kind_of(event, known=self._knows(event.attempt.model))
        attempt.let_go()
        target.window.add(_KIND[kind], slot)
        if kind == "ok":
            target.answered, target.failed_last = True, False
            if event.first_chunk_s is None and event.sent:
                target.window.add(ANSWERS[0] + bucket_of(event.duration_s), slot)
        elif kind in FAILED:
            target.failed_last, target.erred_s = True, now_s
            target.last_error = LastError(_genai.error_type(event) or "", _genai.outcome(event), 0.0)

    def _failed_over(self, event: FailedOver) -> None:
        self._edge(event.serial, event.before, event.provider, _genai.failover_reason(event.reason))

    def _continued(self, event: StreamContinued) -> None:
        self._edge(event.serial, event.before, event.provider, _genai.broken_type(event.cause))

    def _request_ended(self, event: RequestEnded) -> None:
        running = self.running.pop(event.serial, None)
        if running is None:
            return
        now_s = self._clock_s()
        slot = slot_of(now_s)
        self.requests.add(_END[event.outcome], slot)
        if event.outcome == "ok" and running.failed_over:
            self.requests.add(_AFTER_FAILOVER, slot)
        if event.overhead_s is not None:
            self.requests.add(OWN[0] + bucket_of(event.overhead_s), slot)
            self.requests.add(UPSTREAM[0] + bucket_of(event.duration_ms / 1000 - event.overhead_s), slot)
        self._ended.append((running, now_s, event))

    # --- what they are noted in ---

    def _attempt(self, serial: int, number: int) -> Attempt | None:
        running = self.running.get(serial)
        return None if running is None else running.attempts.get(number)

    def _target(self, event: AttemptStarted) -> Seen:
        key = TargetKey(event.provider, None if event.named else event.model, event.named)
        target = self.targets.get(key)
        if target is None:
            if len(self.targets) >= MOST_TARGETS:
                self._forget(min(self.targets.values(), key=self._worth))
            target = self.targets[key] = Seen(key, event.kind)
            if not event.named and event.host is not None:
                target.where = written_authority(event.host, event.port)
        return target

    def _worth(self, one: Seen) -> tuple[bool, bool, bool, float]:
        """Who is let go of first: a name that no setting holds, since callers may ask for whatever they like; one that
        is not being asked; one that has never answered; the one that was not asked for longest."""
        known = one.key.model is None or self._knows(one.key.model)
        return known, one.in_flight > 0, one.answered, one.asked_s

    def _forget(self, one: Seen) -> None:
        del self.targets[one.key]
        # Its attempts hold it for as long as their requests run, which callers can make long; a window is what is big.
        one.window = self._nobodys

    def _knows(self, model: str) -> bool:
        return self.opened is not None and model in self.opened.models

    def _edge(self, serial: int, before: str, after: str, reason: str) -> None:
        running = self.running.get(serial)
        if running is not None:
            running.failed_over = True
        edge = self.edges.get((before, after))
        if edge is None:
            if len(self.edges) >= MOST_EDGES:
                return
            edge = self.edges[before, after] = Edge()
        edge.total += 1
        edge.window.add(_REASON[reason], slot_of(self._clock_s()))


_REJECTED: Final = ENDS.index("rejected")
_AFTER_FAILOVER: Final = ENDS.index("after_failover")
_CAME_IN: Final = ENDS.index("came_in")
_END: Final = {end: index for index, end in enumerate(ENDS)}
_KIND: Final = {kind: index for index, kind in enumerate(KINDS)}
_REASON: Final = {reason: index for index, reason in enumerate(REASONS)}


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
