"""What the status page shows, as frozen values, whether it is read as HTML, as text or as JSON.

The names of models and the ids of requests are callers' words, and may hold anything; everything else is the operator's
or ours. There is no content, no key and no principal in it. Times are seconds (`_s`) or milliseconds (`_ms`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Health = Literal["ok", "recovering", "failing", "cooling", "open", "probing", "silent", "idle"]
"""`idle` has not been asked for five minutes; `silent` has, and has neither answered nor failed: whoever asked waits,
or did not wait for it; `recovering` has failed in the last minute, and answers again, be it with a stream that still
runs or a good probe; `failing` failed the last time; `cooling` has asked not to be asked for a while, and `open` is not
asked, its breaker says, but after all the others; `probing` is half open: the request that is on its way decides, or
the next."""

Phase = Literal["closed", "open", "half_open"]
"""Of a circuit."""

CircuitOf = Literal["origin", "model"]
"""What a circuit is of: the server, or the model there."""

End = Literal["running", "complete", "failed", "broken", "left", "cancelled"]
"""`running`, or as in AttemptEnded."""

Outcome = Literal["running", "ok", "refused", "failed", "broken", "left"]
"""`running`, or as in RequestEnded."""

Sharing = Literal["own", "shared", "lost"]
"""Breakers are this process's `own`, `shared` with others, or should be and are not (`lost`)."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Attempts that ended within a time, by what came of them.

    Attributes:
        timeout: no first chunk in time, or silence after it.
        refused: the request was at fault, not the target.
        other: everything else that failed, such as a refused connection.
        unfinished: nobody's fault: the caller left, or gave it too little time, or another attempt was faster.
    """

    ok: int = 0
    rate_limited: int = 0
    server_error: int = 0
    timeout: int = 0
    refused: int = 0
    other: int = 0
    unfinished: int = 0

    @property
    def failed(self) -> int:
        return self.rate_limited + self.server_error + self.timeout + self.other

    @property
    def total(self) -> int:
        return self.ok + self.failed + self.refused + self.unfinished


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of `count` durations in the last five minutes, each within a twelfth of what it was."""

    count: int
    p50_s: float
    p95_s: float


@dataclass(frozen=True, slots=True)
class LastError:
    """`error_type`: a status, or a word, as in metrics. `outcome`: the trail's word for it."""

    error_type: str
    outcome: str
    age_s: float


@dataclass(frozen=True, slots=True)
class Tile:
    """One target: a provider, asked for a model.

    Attributes:
        model: as it is asked of the provider. None: it has not been asked yet, or `named`.
        named: all the endpoints that callers name, taken together; nothing is said of their circuits.
        where: host and port; None: callers name it, or it is not known yet.
        circuit: of the target's two, the one that stands worse.
        circuit_of: what that one is of: the server (`origin`), or the model there.
        probe_in_s: of an open circuit: until the next request may probe it; 0: the next one does.
        cooling_s: the target has asked not to be asked for so long.
        first_chunk, answer: how long streams take to begin, and answers in one piece to come.
        sparkline: of both, the median in each five seconds of the last two minutes, the latest last; None: there
            was none.
    """

    provider: str
    kind: str
    model: str | None = None
    named: bool = False
    where: str | None = None
    health: Health = "idle"
    circuit: Phase = "closed"
    circuit_of: CircuitOf | None = None
    probe_in_s: float | None = None
    cooling_s: float | None = None
    in_flight: int = 0
    one_minute: Counts = Counts()
    five_minutes: Counts = Counts()
    first_chunk: Percentiles | None = None
    answer: Percentiles | None = None
    sparkline: tuple[float | None, ...] = ()
    last_error: LastError | None = None


@dataclass(frozen=True, slots=True)
class Failover:
    """From one provider to another. `count` and `reasons` (the most frequent first) are of the last five minutes;
    `total` since the process began."""

    before: str
    after: str
    count: int
    total: int
    reasons: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """One attempt on its request's time scale. `label`: a status, or a word; empty while it runs.

    `reason`: why it was made, as in AttemptStarted.
    """

    provider: str
    model: str
    reason: str
    start_ms: float
    duration_ms: float
    first_chunk_ms: float | None
    """Since its start."""
    end: End
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """One request. `began_at_s`: Unix time. `duration_ms`: up to now while it runs. Tokens are None where unknown."""

    began_at_s: float
    request_id: str
    model: str
    stream: bool
    sequence: tuple[str, ...]
    segments: tuple[Segment, ...]
    outcome: Outcome
    status: int | None
    provider: str | None
    duration_ms: float
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Requests:
    """Of those that ended in the last five minutes; `rejected` were refused at the door, and are in no other number.

    `after_failover` of the `ok` went on to another target, because one failed or was known not to be worth asking;
    retries in place and hedges are none. `exhausted`: every attempt failed.
    """

    ended: int
    ok: int
    after_failover: int
    exhausted: int
    broken: int
    refused: int
    left: int
    rejected: int
    per_second: float
    """That came in, lately."""

    @property
    def unanswered(self) -> int:
        """What callers notice."""
        return self.exhausted + self.broken

    @property
    def judged(self) -> int:
        """Those that a provider was to answer: neither refused nor left."""
        return self.ok + self.unanswered


@dataclass(frozen=True, slots=True)
class Overhead:
    """Of requests of the last five minutes: what was the gateway's own, and all the rest, which is waiting for
    providers, and for callers to read."""

    own: Percentiles | None
    upstream: Percentiles | None


@dataclass(frozen=True, slots=True)
class ShownSetting:
    """`source`: a variable, `code` or `default`."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Warned:
    """`says`: what may go wrong; `mend`: the line that mends it."""

    name: str
    says: str
    mend: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How one process stands.

    Attributes:
        at_s: Unix time.
        number: counts the snapshots of this process.
        targets: in the order of the settings.
        running: the longest first, at most ten; `in_flight` counts all.
        recent: those that ended, the latest first, at most fifty.
    """

    at_s: float
    number: int
    process: int
    version: str
    engine: str
    loop: str
    uptime_s: float
    in_flight: int
    sharing: Sharing
    requests: Requests
    targets: tuple[Tile, ...]
    failovers: tuple[Failover, ...]
    running: tuple[Line, ...]
    recent: tuple[Line, ...]
    overhead: Overhead
    settings: tuple[ShownSetting, ...]
    warnings: tuple[Warned, ...]
