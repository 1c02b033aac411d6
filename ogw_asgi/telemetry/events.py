"""What happened, as frozen values. A sink is anything with one method, `on_event`.

No event ever holds a key, a header's value, a prompt, an answer or a URL; but it may hold the host and port of a
server, and the origin of an endpoint that a caller named in vain. Units are in the names. The order is: RequestStarted;
for each attempt AttemptStarted, FirstChunk (of a stream), AttemptEnded; RequestEnded, whatever came of it. Attempts may
overlap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

from .._frozen import dataclass
from .._values import AttemptRecord, Usage


@dataclass(frozen=True, slots=True)
class GatewayOpened:
    """A gateway is ready. It may be opened again, on another loop.

    Attributes:
        engine: the HTTP client that asks the providers.
        loop: `asyncio` or `trio`.
        providers: name -> kind (`openai`, `azure`, `vllm`, `compatible`, or that of a class of your own).
        models: those that settings name. Callers may ask for any other.
    """

    version: str
    engine: str
    loop: str
    providers: Mapping[str, str]
    models: frozenset[str]


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """A request was refused at the door, before anybody could have been asked; the only event of it."""

    request_id: str
    status: int
    code: str | None
    principal: str | None


@dataclass(frozen=True, slots=True)
class RequestStarted:
    """A request is understood, and planned.

    Attributes:
        serial: tells it from every other request; callers choose `request_id`, and may repeat it.
        model: as the caller wrote it.
        sequence: the providers in the order to try them, repeats included.
        parameters: the numbers among `max_tokens`, `temperature`, `top_p`, `n`, `seed` and the penalties.
    """

    request_id: str
    serial: int
    model: str
    stream: bool
    principal: str | None
    sequence: Sequence[str]
    parameters: Mapping[str, float]


Reason = Literal["first", "failover", "retry", "hedge", "continue"]


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A call goes out to a provider.

    Attributes:
        number: counts from 1 within the request.
        kind: of the provider, as in GatewayOpened.
        model: as it is asked of the provider.
        reason: why: the first of all; another one failed; the same target once more; beside one that is slow; to go on
            with a stream that broke.
        host, port: whom the engine is told to connect to.
        self_hosted: it is the operator's own server.
        named: the caller has named it.
    """

    request_id: str
    serial: int
    number: int
    provider: str
    kind: str
    model: str
    reason: Reason
    host: str | None
    port: int | None
    self_hosted: bool
    named: bool


@dataclass(frozen=True, slots=True)
class FirstChunk:
    """A stream has begun. `took_s`: since its attempt was sent."""

    request_id: str
    serial: int
    number: int
    provider: str
    took_s: float


End = Literal["complete", "failed", "broken", "left", "cancelled"]


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """The last of an attempt: it failed, its last byte went through, or nobody wanted it any more.

    Attributes:
        attempt: its line in the trail, as it was when it failed or had its first chunk.
        end: `complete`; `failed`, before the first chunk; `broken`, after it; `left`, since the caller went away;
            `cancelled`, since another attempt has answered.
        misconfigured: our key, deployment, URL or bill is at fault.
        cause: of a broken stream, as in StreamBroken.
        duration_s: from its sending to its last byte.
        first_chunk_s: until a stream's first chunk.
        response_id, response_model, finish_reasons: as the provider wrote them, as far as they are words.
        usage: as far as the provider reported it; nobody asks it to. None is unknown, not 0.
        gaps_s: of a stream, the times between arrivals after the first chunk; the first 10,000.
        sent: it was handed to the engine at all; else it took no time.
        named: its endpoint was named by the caller, so that what it reports is the word of a stranger.
        impatient: it ran out of a time that the caller had set shorter than ours, and too short to say anything of the
            target: no breaker counts it.
    """

    request_id: str
    serial: int
    number: int
    attempt: AttemptRecord
    end: End
    misconfigured: bool
    cause: str | None = None
    duration_s: float = 0.0
    first_chunk_s: float | None = None
    response_id: str | None = None
    response_model: str | None = None
    finish_reasons: Sequence[str] = ()
    usage: Usage | None = None
    gaps_s: Sequence[float] = ()
    sent: bool = False
    named: bool = False
    impatient: bool = False


@dataclass(frozen=True, slots=True)
class FailedOver:
    """Another target is asked since `before` failed, is overdue, or was passed over.

    Attributes:
        before, provider: from whom, and to whom; the same when only the model changes.
        reason: the outcome of the attempt at `before`; `overdue` when it is a probe, or behind a circuit that has
            opened, and still under way; `circuit_open` or `cooling_down` when it was not asked at all.
    """

    request_id: str
    serial: int
    before: str
    provider: str
    reason: str


@dataclass(frozen=True, slots=True)
class Hedged:
    """Another target is asked beside `before`, which has not answered in `after_s`; the first to answer wins."""

    request_id: str
    serial: int
    before: str
    provider: str
    after_s: float


@dataclass(frozen=True, slots=True)
class StreamBroken:
    """A stream that had begun did not reach its end; the caller was told so (contract, section 5)."""

    request_id: str
    serial: int
    provider: str
    cause: str
    delivered_bytes: int


@dataclass(frozen=True, slots=True)
class StreamContinued:
    """A stream broke after its first chunk, and another target goes on with it; the caller has lost nothing.

    Attributes:
        provider: who goes on; `before`: who broke.
        cause: what it broke of, as in StreamBroken.
        mode: whether the new target was shown the text (`prefill`) or asked afresh (`replay`).
        delivered_bytes: what the caller had by then.
    """

    request_id: str
    serial: int
    provider: str
    before: str
    cause: str
    mode: Literal["prefill", "replay"]
    delivered_bytes: int


@dataclass(frozen=True, slots=True)
class EgressDenied:
    """A caller named an endpoint that it may not name; it got a 403, or a 429 when it had done so too often.

    Attributes:
        endpoint: scheme, host and port.
        step: `name`, when no entry of `allowed_endpoints` names it, and nothing was looked up; `address`, when it
            leads to one that no entry permits, and nothing was connected to.
        address: that one.
    """

    request_id: str
    principal: str | None
    endpoint: str
    step: Literal["name", "address"]
    address: str | None


@dataclass(frozen=True, slots=True)
class CircuitChanged:
    """A circuit breaker opened, is being probed, or closed again.

    Attributes:
        model: as it is asked of the provider; None when the whole origin is meant, as for a refused connection.
        open_ms: how long it stays open before the next probe; 0 unless it has just opened.
        named: it is that of an endpoint which a caller has named.
    """

    provider: str
    model: str | None
    state: Literal["closed", "open", "half_open"]
    open_ms: int
    named: bool = False


RequestOutcome = Literal["ok", "refused", "failed", "broken", "left"]


@dataclass(frozen=True, slots=True)
class RequestEnded:
    """The last event of every request that was planned.

    Attributes:
        outcome: `ok`, `refused` (one provider's refusal was passed on, or the caller's endpoint denied), `failed`
            (every attempt failed), `broken` (the stream broke after it had begun) or `left` (the caller went away).
        status: what the caller got; None when the caller left before the head.
        provider: who answered, or whose refusal was passed on.
        attempts: the trail, each with the usage that was seen of it.
        duration_ms: from the body's last byte to the end of the answer.
        overhead_s: what of that, up to the answer's head, was nobody's but ours: no attempt was under way, and none
            was waited for. None when there was no head.
    """

    request_id: str
    serial: int
    model: str
    outcome: RequestOutcome
    status: int | None
    provider: str | None
    attempts: Sequence[AttemptRecord]
    duration_ms: int
    stream: bool
    principal: str | None
    overhead_s: float | None = None


Event = (
    GatewayOpened
    | RequestRefused
    | RequestStarted
    | AttemptStarted
    | FirstChunk
    | AttemptEnded
    | FailedOver
    | Hedged
    | StreamBroken
    | StreamContinued
    | EgressDenied
    | CircuitChanged
    | RequestEnded
)


class Sink(Protocol):
    """Called on the event loop for every event: it must not block. What it raises is logged and ignored."""

    def on_event(self, event: Event, /) -> None: ...


@runtime_checkable
class Tracer(Sink, Protocol):
    """A sink that gives requests to providers a `traceparent` of its own."""

    def traceparent(self, serial: int, number: int, /) -> str | None:
        """The W3C header for an attempt that this sink has just been told of; None: it gets none."""
        ...
