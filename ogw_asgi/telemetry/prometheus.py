"""Metrics for Prometheus. Needs the extra `prometheus`.

Labels are bounded: providers are the operator's, models those of settings or `other`, and `outcome`, `reason` and
`error_type` are closed sets. Nothing that callers or servers write becomes one.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any, TypeVar

from ..exceptions import ConfigurationError
from . import _genai, _metrics
from ._metrics import Metric
from ._standings import STATES, Standings
from .events import (
    AttemptEnded,
    CircuitChanged,
    Event,
    FailedOver,
    FirstChunk,
    GatewayOpened,
    Hedged,
    RequestEnded,
    RequestRefused,
    RequestStarted,
    StreamBroken,
    StreamContinued,
)

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, make_asgi_app, values
    from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
except ImportError as error:  # pragma: no cover - shown by an import in an environment without the extra
    raise ConfigurationError(
        'ogw_asgi.telemetry.prometheus needs prometheus-client: pip install "ogw_asgi[prometheus]"'
    ) from error

_M = TypeVar("_M", Counter, Gauge, Histogram)

_TOKEN_TYPES: Mapping[str, str] = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_tokens": "cache_read",
    "cache_write_tokens": "cache_write",
    "reasoning_tokens": "reasoning",
}

_MOST_CHILDREN = 4096
"""Of one metric, kept at hand: to look one up by its labels takes longer than to count it."""

_LOOK_EVERY_S = 1.0

_pid_of_gauges = re.compile(r"gauge_live[a-z]*_(\d+)\.db").fullmatch


class Prometheus:
    """A sink that counts, and shows what it has counted. It may serve several gateways.

    Args:
        registry: where the metrics are registered; one of its own by default. `prometheus_client.REGISTRY` is the one
            of everything else in the process.

    Attributes:
        registry: that one. In multi-process mode (`PROMETHEUS_MULTIPROC_DIR`) it holds this process alone.
        app: an ASGI app that answers a scrape, to be mounted or given to a route. Whoever reaches it may read it.

    Raises:
        ConfigurationError: where `PROMETHEUS_MULTIPROC_DIR` is no directory, or was set after `prometheus_client` was
            imported, which is when it decides.
        ValueError: when the registry has metrics of these names already.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._directory = _directory()
        self.registry = CollectorRegistry() if registry is None else registry
        self._scraped = self.registry
        if self._directory is not None:
            self._scraped = CollectorRegistry()
            MultiProcessCollector(self._scraped, path=self._directory)  # type: ignore[no-untyped-call]
        self.app = _App(self)
        self._answer: _ASGI = make_asgi_app(self._scraped)
        self._models: frozenset[str] = frozenset()
        self._standings = Standings(time.monotonic)
        self._told: dict[str, str] = {}
        self._looked_s = 0.0
        self._make(self.registry)
        self._on: Mapping[type[Any], Callable[[Any], None]] = {
            GatewayOpened: self._opened,
            RequestRefused: self._rejected,
            RequestStarted: self._started,
            FirstChunk: self._first_chunk,
            AttemptEnded: self._attempt_ended,
            FailedOver: self._failed_over,
            Hedged: self._hedged,
            StreamBroken: self._broken,
            StreamContinued: self._continued,
            CircuitChanged: self._circuit_changed,
            RequestEnded: self._ended,
        }

    def _make(self, registry: CollectorRegistry) -> None:
        def counter(metric: Metric) -> Callable[..., Counter]:
            return _at_hand(Counter(metric.prometheus, metric.text, metric.labels, registry=registry))

        def histogram(metric: Metric) -> Callable[..., Histogram]:
            buckets = _genai.SECONDS
            return _at_hand(
                Histogram(metric.prometheus, metric.text, metric.labels, registry=registry, buckets=buckets)
            )

        def gauge(metric: Metric) -> Gauge:
            return Gauge(metric.prometheus, metric.text, metric.labels, registry=registry, multiprocess_mode="livesum")

        self._requests = counter(_metrics.REQUESTS)
        for outcome in _metrics.REQUEST_OUTCOMES:
            self._requests(outcome)
        self._durations = histogram(_metrics.REQUEST_DURATION)
        own = _metrics.OVERHEAD
        self._overhead = Histogram(own.prometheus, own.text, registry=registry, buckets=_genai.OWN_SECONDS)
        self._inflight = gauge(_metrics.INFLIGHT)
        self._attempts = counter(_metrics.ATTEMPTS)
        self._attempt_durations = histogram(_metrics.ATTEMPT_DURATION)
        self._first_chunks = histogram(_metrics.FIRST_CHUNK)
        self._failovers = counter(_metrics.FAILOVERS)
        self._hedges = counter(_metrics.HEDGES)
        self._broken_streams = counter(_metrics.STREAMS_BROKEN)
        self._continued_streams = counter(_metrics.STREAMS_CONTINUED)
        self._tokens = counter(_metrics.TOKENS)
        self._circuits = _at_hand(gauge(_metrics.CIRCUIT_STATE))

    def on_event(self, event: Event, /) -> None:
        tell = self._on.get(type(event))
        if tell is not None:
            tell(event)

    def scrape(self) -> bytes:
        """What `app` shows, in the text format: of all workers in multi-process mode."""
        self.look()
        return generate_latest(self._scraped)

    def look(self) -> None:
        """Bring up to date what changes by itself: circuits that nobody asks for, and workers that have died."""
        self._tell_standings()
        if self._directory is not None:
            _forget_the_dead(self._directory)

    # --- one for each event ---

    def _opened(self, event: GatewayOpened) -> None:
        self._models |= event.models
        self._standings.known(event.providers)
        self._told.clear()  # a worker that was forked has a clean slate
        self._tell_standings()

    def _rejected(self, event: RequestRefused) -> None:
        self._requests(_metrics.REJECTED).inc()

    def _started(self, event: RequestStarted) -> None:
        self._inflight.inc()

    def _ended(self, event: RequestEnded) -> None:
        self._inflight.dec()
        self._requests(event.outcome).inc()
        self._durations(event.outcome).observe(event.duration_ms / 1000)
        if event.overhead_s is not None:
            self._overhead.observe(event.overhead_s)
        if not self._standings.all_closed and time.monotonic() - self._looked_s > _LOOK_EVERY_S:
            self._tell_standings()

    def _first_chunk(self, event: FirstChunk) -> None:
        self._first_chunks(event.provider).observe(event.took_s)

    def _attempt_ended(self, event: AttemptEnded) -> None:
        provider, outcome = event.attempt.provider, _genai.outcome(event)
        self._attempts(provider, outcome, _genai.error_type(event) or "").inc()
        if event.sent:
            self._attempt_durations(provider, outcome).observe(event.duration_s)
        if event.usage is not None and not event.named:
            model = event.attempt.model if event.attempt.model in self._models else _genai.OTHER
            for field, name in _TOKEN_TYPES.items():
                if (count := getattr(event.usage, field)) is not None:
                    self._tokens(provider, model, name).inc(count)

    def _failed_over(self, event: FailedOver) -> None:
        self._failovers(event.before, event.provider, _genai.failover_reason(event.reason)).inc()

    def _hedged(self, event: Hedged) -> None:
        self._hedges(event.before, event.provider).inc()

    def _broken(self, event: StreamBroken) -> None:
        self._broken_streams(event.provider, _genai.broken_type(event.cause)).inc()

    def _continued(self, event: StreamContinued) -> None:
        self._continued_streams(event.before, event.provider, event.mode).inc()

    def _circuit_changed(self, event: CircuitChanged) -> None:
        self._standings.note(event)
        self._tell_standings()

    def _tell_standings(self) -> None:
        self._looked_s = time.monotonic()
        for provider, state in self._standings.now().items():
            if self._told.get(provider) != state:
                self._told[provider] = state
                for one in STATES:
                    self._circuits(provider, one).set(one == state)


_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Scope]]
_Send = Callable[[_Scope], Awaitable[None]]
_ASGI = Callable[[_Scope, _Receive, _Send], Awaitable[None]]


class _App:
    """A class, so that Starlette's routes take it for the ASGI app that it is."""

    def __init__(self, metrics: Prometheus) -> None:
        self._metrics = metrics

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] == "http":
            self._metrics.look()
            await self._metrics._answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": ""})


def _at_hand(metric: _M) -> Callable[..., _M]:
    """Its `labels`, in their order, remembered."""
    found: Callable[..., _M] = lru_cache(_MOST_CHILDREN)(metric.labels)
    return found


def _directory() -> str | None:
    """Where the workers of multi-process mode keep their values; None in any other."""
    shared = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if values.ValueClass is values.MutexValue:
        if shared:
            raise ConfigurationError(
                "PROMETHEUS_MULTIPROC_DIR: set it before prometheus_client is imported, which is when it looks"
            )
        return None
    if not shared or not os.path.isdir(shared):
        raise ConfigurationError("PROMETHEUS_MULTIPROC_DIR: expected a directory that exists")
    return shared


def _forget_the_dead(directory: str) -> None:
    """Forget the gauges of workers that are no more: only some servers have a hook for that, and none when killed."""
    if os.name != "posix":  # where signal 0 is a signal
        return
    for name in os.listdir(directory):
        found = _pid_of_gauges(name)
        if found is None:
            continue
        try:
            os.kill(int(found[1]), 0)
        except ProcessLookupError:
            try:
                mark_process_dead(int(found[1]), directory)  # type: ignore[no-untyped-call]
            except FileNotFoundError:  # another worker is being scraped, too
                pass
        except PermissionError:
            pass
