"""The metrics of the OpenTelemetry sink. Imported by `opentelemetry`, and by nobody else."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation

from . import _genai, _metrics
from ._metrics import Metric
from ._standings import STATES, Standings
from .events import (
    AttemptEnded,
    AttemptStarted,
    CircuitChanged,
    FailedOver,
    GatewayOpened,
    Hedged,
    RequestEnded,
    RequestRefused,
    RequestStarted,
    StreamBroken,
    StreamContinued,
)

MOST_GAPS = 100
"""Of one answer. Of a longer one every nth time between two chunks is recorded: the SDK takes 10 us for each, as much
as the gateway for all of the chunk, and nobody else is served meanwhile."""

Value = str | int


class Place(NamedTuple):
    """Whom an attempt asks, as far as there are few of them."""

    provider: str
    model: str
    address: str | None
    port: int | None


class Measures:
    """One method for each event, and for an attempt that ends its place besides."""

    def __init__(self, meter: Meter) -> None:
        self._models: frozenset[str] = frozenset()
        self._standings = Standings(time.monotonic)

        def counter(metric: Metric, unit: str) -> Counter:
            return meter.create_counter(_name(metric), unit, metric.text)

        def seconds(name: str, text: str, buckets: tuple[float, ...] = _genai.SECONDS) -> Histogram:
            return meter.create_histogram(name, "s", text, explicit_bucket_boundaries_advisory=buckets)

        def tokens(name: str) -> Histogram:
            text = "Tokens of one attempt, as its provider reported them."
            return meter.create_histogram(name, "{token}", text, explicit_bucket_boundaries_advisory=_genai.TOKENS)

        self._requests = counter(_metrics.REQUESTS, "{request}")
        self._durations = seconds(_name(_metrics.REQUEST_DURATION), _metrics.REQUEST_DURATION.text)
        self._overhead = seconds(_name(_metrics.OVERHEAD), _metrics.OVERHEAD.text, _genai.OWN_SECONDS)
        inflight, circuits = _metrics.INFLIGHT, _metrics.CIRCUIT_STATE
        self._inflight = meter.create_up_down_counter(_name(inflight), "{request}", inflight.text)
        self._attempts = counter(_metrics.ATTEMPTS, "{attempt}")
        self._failovers = counter(_metrics.FAILOVERS, "{failover}")
        self._hedges = counter(_metrics.HEDGES, "{hedge}")
        self._streams_broken = counter(_metrics.STREAMS_BROKEN, "{stream}")
        self._streams_continued = counter(_metrics.STREAMS_CONTINUED, "{stream}")
        # Not "1", of which exporters to Prometheus make a ratio.
        meter.create_observable_gauge(_name(circuits), [self._observe_circuits], "{provider}", circuits.text)
        self._attempt_durations = seconds(_genai.DURATION, _metrics.ATTEMPT_DURATION.text)
        self._first_chunks = seconds(_genai.TIME_TO_FIRST_CHUNK, _metrics.FIRST_CHUNK.text)
        self._gaps = seconds(_genai.TIME_PER_OUTPUT_CHUNK, "Between two chunks of a stream, after its first.")
        self._usage = {
            field: meter.create_counter(name, "{token}", _metrics.TOKENS.text)
            for field, name in _genai.USAGE_TOKENS.items()
        }
        self._per_operation = {field: tokens(name) for field, name in _genai.OPERATION_TOKENS.items()}
        self.of: Mapping[type[Any], Callable[[Any], None]] = {
            GatewayOpened: self._opened,
            RequestRefused: self._rejected,
            RequestStarted: self._started,
            AttemptEnded: self._attempt_ended,
            FailedOver: self._failed_over,
            Hedged: self._hedged,
            StreamBroken: self._broken,
            StreamContinued: self._continued,
            CircuitChanged: self._standings.note,
            RequestEnded: self._ended,
        }

    def place(self, event: AttemptStarted) -> Place:
        provider, model = _genai.provider_name(event.kind, event.provider), self._known(event.model)
        # Where callers name servers, there may be any number of them.
        return Place(provider, model, *((None, None) if event.named else (event.host, event.port)))

    def measure(self, event: AttemptEnded, place: Place) -> None:
        """By the conventions' names."""
        pairs = (
            (_genai.OPERATION, _genai.CHAT),
            (_genai.PROVIDER, place.provider),
            (_genai.REQUEST_MODEL, place.model),
            (_genai.RESPONSE_MODEL, None if event.response_model is None else self._known(event.response_model)),
            (_genai.SERVER_ADDRESS, place.address),
            (_genai.SERVER_PORT, place.port),
        )
        told = _attributes(*pairs, (_genai.ERROR_TYPE, _genai.error_type(event)))
        if event.sent:
            self._attempt_durations.record(event.duration_s, told)
        if event.first_chunk_s is not None:
            self._first_chunks.record(event.first_chunk_s, told)
        for gap_s in event.gaps_s[:: 1 + len(event.gaps_s) // MOST_GAPS]:
            self._gaps.record(gap_s, told)
        if event.usage is None or event.named:
            return
        # Providers do not say which tokens were text.
        counted = _attributes(*pairs, (_genai.TOKEN_MODALITY, "unknown"))
        for field, usage in self._usage.items():
            if (count := getattr(event.usage, field)) is not None:
                usage.add(count, counted)
                if field in self._per_operation:
                    self._per_operation[field].record(count, told)

    # --- one for each event ---

    def _opened(self, event: GatewayOpened) -> None:
        self._models |= event.models
        self._standings.known(event.providers)

    def _rejected(self, event: RequestRefused) -> None:
        self._requests.add(1, _attributes(("outcome", _metrics.REJECTED)))

    def _started(self, event: RequestStarted) -> None:
        self._inflight.add(1)

    def _ended(self, event: RequestEnded) -> None:
        self._inflight.add(-1)
        told = _attributes(("outcome", event.outcome))
        self._requests.add(1, told)
        self._durations.record(event.duration_ms / 1000, told)
        if event.overhead_s is not None:
            self._overhead.record(event.overhead_s)

    def _attempt_ended(self, event: AttemptEnded) -> None:
        provider, error = event.attempt.provider, _genai.error_type(event)
        self._attempts.add(
            1, _attributes(("provider", provider), ("outcome", _genai.outcome(event)), (_genai.ERROR_TYPE, error))
        )

    def _failed_over(self, event: FailedOver) -> None:
        reason = _genai.failover_reason(event.reason)
        self._failovers.add(1, _attributes(("from", event.before), ("to", event.provider), ("reason", reason)))

    def _hedged(self, event: Hedged) -> None:
        self._hedges.add(1, _attributes(("from", event.before), ("to", event.provider)))

    def _broken(self, event: StreamBroken) -> None:
        of = _genai.broken_type(event.cause)
        self._streams_broken.add(1, _attributes(("provider", event.provider), (_genai.ERROR_TYPE, of)))

    def _continued(self, event: StreamContinued) -> None:
        edge = (("from", event.before), ("to", event.provider))
        self._streams_continued.add(1, _attributes(*edge, ("mode", event.mode)))

    def _observe_circuits(self, options: CallbackOptions) -> list[Observation]:
        return [
            Observation(int(one == state), {"provider": provider, "state": one})
            for provider, state in self._standings.now().items()
            for one in STATES
        ]

    def _known(self, model: str) -> str:
        return model if model in self._models else _genai.OTHER


def _name(metric: Metric) -> str:
    assert metric.otel is not None
    return metric.otel


@lru_cache(4096)
def _attributes(*pairs: tuple[str, Value | None]) -> dict[str, Value]:
    """Of a measurement. They are the same again and again, so they are made once; nobody changes them."""
    return {key: value for key, value in pairs if value is not None}
