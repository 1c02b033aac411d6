"""What happened, as frozen values. A sink is anything with one method, `on_event`.

No event ever holds a key, a header's value, a prompt, an answer or a URL, but for the origin of an endpoint that a
caller named in vain. Units are in the names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from .._values import AttemptRecord


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A call goes out to a provider. `number` counts from 1 within the request."""

    request_id: str
    provider: str
    model: str
    number: int


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt has its first chunk, or has failed. `misconfigured`: our key, deployment, URL or bill is at fault."""

    request_id: str
    attempt: AttemptRecord
    misconfigured: bool


@dataclass(frozen=True, slots=True)
class StreamBroken:
    """A stream that had begun did not reach its end; the caller was told so (contract, section 5)."""

    request_id: str
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
    """

    provider: str
    model: str | None
    state: Literal["closed", "open", "half_open"]
    open_ms: int


@dataclass(frozen=True, slots=True)
class RequestEnded:
    """The last event of every request that was planned.

    Attributes:
        outcome: `ok`, `refused` (one provider's refusal was passed on, or the caller's endpoint denied), `failed`
            (every attempt failed), `broken` (the stream broke after it had begun) or `left` (the caller went away).
        status: what the caller got; None when the caller left before the head.
        provider: who answered, or whose refusal was passed on.
        duration_ms: from the body's last byte to the end of the answer.
    """

    request_id: str
    outcome: str
    status: int | None
    provider: str | None
    attempts: Sequence[AttemptRecord]
    duration_ms: int
    stream: bool
    principal: str | None


Event = AttemptStarted | AttemptEnded | StreamBroken | StreamContinued | EgressDenied | CircuitChanged | RequestEnded


class Sink(Protocol):
    """Called on the event loop for every event: it must not block. What it raises is logged and ignored."""

    def on_event(self, event: Event, /) -> None: ...


class Observers:
    """The sinks of one gateway. Events are passed as functions, so that none is built when nobody listens.

    `log` has no word for what is as it should be, so it is not told of it.
    """

    def __init__(self, sinks: Sequence[Sink], log: Sink | None = None) -> None:
        self._sinks = tuple(sinks)
        self._all = (log, *self._sinks) if log is not None else self._sinks

    @property
    def all_is_told(self) -> bool:
        """Somebody listens to what is usual, too."""
        return bool(self._sinks)

    def tell(self, build: Callable[[], Event], *, usual: bool = False) -> None:
        """`usual`: all is well, as nearly always."""
        listening = self._sinks if usual else self._all
        if not listening:
            return
        event = build()
        for sink in listening:
            try:
                sink.on_event(event)
            except Exception as error:
                # Without the text: a sink's exception may hold anything.
                logging.getLogger("ogw_asgi").error(
                    "sink_failed sink=%s error=%s", type(sink).__name__, type(error).__name__
                )
