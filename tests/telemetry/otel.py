"""The OpenTelemetry SDK in memory, with our sink before it and a host around the gateway."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ogw_asgi.telemetry.opentelemetry import OpenTelemetry


class Memory:
    """What was exported. `sink` is an OpenTelemetry with these arguments."""

    def __init__(self, *, sampler: Sampler = ALWAYS_ON, **arguments: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self._meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.sink = OpenTelemetry(tracer_provider=self.tracers, meter_provider=self._meters, **arguments)

    # --- spans ---

    @property
    def spans(self) -> list[ReadableSpan]:
        """In the order in which they began."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def clear(self) -> None:
        self._exporter.clear()

    @property
    def attempts(self) -> list[ReadableSpan]:
        return [span for span in self.spans if span.kind is SpanKind.CLIENT]

    @property
    def failovers(self) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == "ogw failover"]

    def tree(self) -> str:
        """A line for each span, below its parent: its name, kind, status, and what it says of itself."""
        lines: list[str] = []
        ours = {span.context.span_id for span in self.spans if span.context}

        def write(parent: int | None, depth: int) -> None:
            for span in self.spans:
                above = span.parent.span_id if span.parent else None
                if (above if above in ours else None) == parent:
                    lines.append(f"{'  ' * depth}{span.name} {span.kind.name} {span.status.status_code.name}")
                    assert span.context is not None
                    write(span.context.span_id, depth + 1)

        write(None, 0)
        return "\n".join(lines)

    # --- metrics ---

    @property
    def metrics(self) -> dict[str, Any]:
        """By name; they are collected now."""
        data = self._reader.get_metrics_data()
        scopes = [scope for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics]
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def points(self, name: str) -> dict[tuple[tuple[str, Any], ...], Any]:
        """Of one metric: attributes -> the count or the sum, of histograms how many there were."""
        metric = self.metrics.get(name)
        if metric is None:
            return {}
        return {
            tuple(sorted(point.attributes.items())): point.count if hasattr(point, "count") else point.value
            for point in metric.data.data_points
        }

    # --- around the gateway ---

    def host(self, app: Any, *, reads: bool = True) -> Any:
        """The app below a span of its host's, as instrumentations make it."""
        tracer = self.tracers.get_tracer("host")

        async def serve(scope: Any, receive: Any, send: Any) -> None:
            carrier = {name.decode(): value.decode() for name, value in scope["headers"]} if reads else {}
            context = TraceContextTextMapPropagator().extract(carrier)
            with tracer.start_as_current_span(f"{scope['method']} {scope['path']}", context, SpanKind.SERVER):
                await app(scope, receive, send)

        return serve


def said(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def point(**attributes: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((name.replace("__", "."), value) for name, value in attributes.items()))
