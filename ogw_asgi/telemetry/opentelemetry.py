"""Spans and metrics for OpenTelemetry, by the names of its GenAI conventions (`_genai`). Needs the extra `otel`.

    POST /llm/chat/completions   SERVER    the host's own, if it makes one
    └─ ogw failover              INTERNAL  ogw.sequence, ogw.attempts, ogw.outcome, ogw.served_by
       ├─ chat gpt-4o            CLIENT    the first attempt
       └─ chat llama             CLIENT    the second

The API alone: who exports, what is sampled and how long a value may be is the host's to set up. Prompts and answers are
not recorded. No context is ever attached, for a request is told of from more than one task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .._version import __version__
from ..exceptions import ConfigurationError
from . import _genai
from .events import AttemptEnded, AttemptStarted, Event, RequestEnded, RequestStarted

try:
    from opentelemetry import metrics, trace
    from opentelemetry.context import Context, get_current
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    from ._otel_metrics import Measures, Place
except ImportError as error:  # pragma: no cover - shown by an import in an environment without the extra
    raise ConfigurationError(
        'ogw_asgi.telemetry.opentelemetry needs opentelemetry-api: pip install "ogw_asgi[otel]"'
    ) from error

MOST_OPEN = 100_000
"""So many requests are kept track of, in case of one that is never told to have ended."""


class _Attempt:
    """One that is under way. `propagates`: its provider gets a `traceparent`."""

    __slots__ = ("place", "propagates", "span")

    def __init__(self, span: Span, place: Place, propagates: bool) -> None:
        self.span = span
        self.place = place
        self.propagates = propagates


class _Request:
    """One that has started and not ended. `around`: the host's span, or what came with the request."""

    __slots__ = ("around", "attempts", "attributes", "begun", "choices", "context", "span")

    def __init__(self, span: Span, around: Context, event: RequestStarted) -> None:
        self.span = span
        self.around = trace.get_current_span(around).get_span_context().span_id
        self.context = trace.set_span_in_context(span, around)
        self.attributes = {_genai.REQUEST_STREAM: event.stream, **_genai.parameters(event.parameters)}
        self.choices = int(event.parameters.get("n", 1))
        self.attempts: dict[int, _Attempt] = {}
        self.begun = 0


class OpenTelemetry:
    """A sink that makes spans and metrics. It may serve several gateways.

    Args:
        tracer_provider, meter_provider: the global ones by default, also when they are set later than this is made.
        propagate_to: names of the providers that get a `traceparent`, which is that of the attempt's span; by default
            those that are the operator's own servers (`VLLM`). Neither `tracestate` nor `baggage` is ever sent.

    Raises:
        ConfigurationError: when `propagate_to` is no collection of names.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        propagate_to: Iterable[str] | None = None,
    ) -> None:
        if isinstance(propagate_to, str):
            raise ConfigurationError("propagate_to: expected a list of providers' names")
        self._propagate_to = None if propagate_to is None else frozenset(propagate_to)
        self._tracer = trace.get_tracer("ogw_asgi", __version__, tracer_provider)
        self._measures = Measures(metrics.get_meter("ogw_asgi", __version__, meter_provider))
        self._propagator = TraceContextTextMapPropagator()
        self._open: dict[int, _Request] = {}
        self._on: Mapping[type[Any], Callable[[Any], None]] = {
            RequestStarted: self._started,
            AttemptStarted: self._attempt_started,
            AttemptEnded: self._attempt_ended,
            RequestEnded: self._ended,
        }

    def on_event(self, event: Event, /) -> None:
        of = type(event)
        if (measure := self._measures.of.get(of)) is not None:
            measure(event)
        if (trace_it := self._on.get(of)) is not None:
            trace_it(event)

    def traceparent(self, serial: int, number: int, /) -> str | None:
        """That of an attempt's span, for a provider that is to have it; None for all others.

        None without an SDK, too: a span is then what was around it, so that what came with the request would go on.
        """
        request = self._open.get(serial)
        attempt = request.attempts.get(number) if request is not None else None
        if request is None or attempt is None or not attempt.propagates:
            return None
        if attempt.span.get_span_context().span_id == request.around:
            return None
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, trace.set_span_in_context(attempt.span, Context()))
        return carrier.get("traceparent")

    # --- one for each event ---

    def _started(self, event: RequestStarted) -> None:
        around = get_current()
        sequence = {"ogw.sequence": list(event.sequence)}
        span = self._tracer.start_span("ogw failover", around, SpanKind.INTERNAL, attributes=sequence)
        while len(self._open) >= MOST_OPEN:
            _let_go(self._open.pop(next(iter(self._open))))
        self._open[event.serial] = _Request(span, around, event)

    def _attempt_started(self, event: AttemptStarted) -> None:
        request = self._open.get(event.serial)
        if request is None:
            return
        model = _genai.shown(event.model)
        attributes: dict[str, str | bool | int | float] = {
            _genai.OPERATION: _genai.CHAT,
            _genai.PROVIDER: _genai.provider_name(event.kind, event.provider),
            _genai.REQUEST_MODEL: model,
            "ogw.attempt.index": event.number - 1,
            "ogw.attempt.reason": event.reason,
            **request.attributes,
        }
        if event.host is not None and event.port is not None:
            attributes[_genai.SERVER_ADDRESS] = event.host
            attributes[_genai.SERVER_PORT] = event.port
        name = f"{_genai.CHAT} {model}"
        span = self._tracer.start_span(name, request.context, SpanKind.CLIENT, attributes=attributes)
        chosen = self._propagate_to
        propagates = event.self_hosted if chosen is None else event.provider in chosen
        request.begun += 1
        request.attempts[event.number] = _Attempt(span, self._measures.place(event), propagates)

    def _attempt_ended(self, event: AttemptEnded) -> None:
        request = self._open.get(event.serial)
        attempt = request.attempts.pop(event.number, None) if request is not None else None
        if request is None or attempt is None:
            return
        self._measures.measure(event, attempt.place)
        span = attempt.span
        if span.is_recording():
            span.set_attributes(_said(event, request.choices))
            if (error := _genai.error_type(event)) is not None:
                span.set_attribute(_genai.ERROR_TYPE, error)
            if event.end in ("failed", "broken"):  # whoever is not wanted any more has done nothing wrong
                span.set_status(StatusCode.ERROR)
        span.end()

    def _ended(self, event: RequestEnded) -> None:
        request = self._open.pop(event.serial, None)
        if request is None:
            return
        span = request.span
        if span.is_recording():
            span.set_attribute("ogw.attempts", request.begun)
            span.set_attribute("ogw.outcome", event.outcome)
            if event.provider is not None:
                span.set_attribute("ogw.served_by", event.provider)
            if event.outcome in ("failed", "broken"):
                span.set_status(StatusCode.ERROR)
        _let_go(request)


def _let_go(request: _Request) -> None:
    for attempt in request.attempts.values():
        attempt.span.set_attribute(_genai.ERROR_TYPE, "cancelled")
        attempt.span.end()
    request.span.end()


def _said(event: AttemptEnded, choices: int) -> dict[str, Any]:
    """What an answer says of itself, as attributes of its span."""
    found: dict[str, Any] = {
        _genai.FIRST_CHUNK: event.first_chunk_s,
        _genai.RESPONSE_ID: event.response_id,
        _genai.RESPONSE_MODEL: event.response_model,
    }
    reasons = list(event.finish_reasons)
    if event.first_chunk_s is not None and event.end != "complete" and len(reasons) < choices:
        reasons.append("error")  # the end of a choice never came
    found[_genai.FINISH_REASONS] = reasons or None
    if event.usage is not None:
        found |= {key: getattr(event.usage, field) for field, key in _genai.SPAN_TOKENS.items()}
    return {key: value for key, value in found.items() if value is not None}
