"""The gateway's own metrics, one line for each fact: both sinks make theirs of these.

What the conventions have a name for (how long attempts take, tokens) goes by that to OpenTelemetry: `_genai`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """Attributes:
    prometheus, otel: its names. `otel` is None where the conventions have one for it.
    labels: as Prometheus has them; to OpenTelemetry `error_type` is `error.type`, and left out when all went well.
    """

    prometheus: str
    otel: str | None
    labels: tuple[str, ...]
    text: str


REJECTED = "rejected"
REQUEST_OUTCOMES = ("ok", "refused", "failed", "broken", "left", REJECTED)

REQUESTS = Metric(
    "ogw_requests_total",
    "ogw.requests",
    ("outcome",),
    "Requests that have ended: ok; refused (one provider's refusal was passed on, or the endpoint denied); failed "
    "(every attempt failed); broken (the stream broke after it had begun); left (the caller went away); rejected "
    "(refused at the door, before anybody was asked).",
)
REQUEST_DURATION = Metric(
    "ogw_request_duration_seconds",
    "ogw.request.duration",
    ("outcome",),
    "From the last byte of a request to the end of its answer, of those that were not rejected.",
)
OVERHEAD = Metric(
    "ogw_overhead_seconds",
    "ogw.overhead.duration",
    (),
    "What of that, up to the answer's head, was the gateway's own: no provider was being waited for.",
)
INFLIGHT = Metric(
    "ogw_inflight_requests",
    "ogw.inflight",
    (),
    "Requests that are understood and have not ended.",
)
ATTEMPTS = Metric(
    "ogw_attempts_total",
    "ogw.attempts",
    ("provider", "outcome", "error_type"),
    "Attempts that have ended: ok, broken (after the first chunk), left (the caller went away), cancelled (another one "
    "was faster), or how it failed. error_type: a status, or a word; empty when all went well.",
)
ATTEMPT_DURATION = Metric(
    "ogw_attempt_duration_seconds",
    None,
    ("provider", "outcome"),
    "From the sending of an attempt to its last byte, or to its failure; outcome as in ogw_attempts_total.",
)
FIRST_CHUNK = Metric(
    "ogw_time_to_first_chunk_seconds",
    None,
    ("provider",),
    "From the sending of an attempt to the first chunk of its stream.",
)
FAILOVERS = Metric(
    "ogw_failovers_total",
    "ogw.failovers",
    ("from", "to", "reason"),
    "Another target was asked since one had failed (reason: how), was overdue, or was passed over (circuit_open, "
    "cooling_down).",
)
HEDGES = Metric(
    "ogw_hedges_total",
    "ogw.hedges",
    ("from", "to"),
    "Another target was asked beside one that was slow.",
)
STREAMS_BROKEN = Metric(
    "ogw_streams_broken_total",
    "ogw.streams.broken",
    ("provider", "error_type"),
    "Streams that broke after they had begun, and nobody went on with: who had them, and of what.",
)
STREAMS_CONTINUED = Metric(
    "ogw_streams_continued_total",
    "ogw.streams.continued",
    ("from", "to", "mode"),
    "Streams that broke, and another target went on with. mode: it was shown the text (prefill), or not (replay).",
)
TOKENS = Metric(
    "ogw_tokens_total",
    None,
    ("provider", "model", "type"),
    "Tokens as providers reported them, where they did. cache_read and cache_write are part of input, reasoning of "
    "output. model: as it was asked of the provider, where a setting names it, else other.",
)
CIRCUIT_STATE = Metric(
    "ogw_circuit_state",
    "ogw.circuit.state",
    ("provider", "state"),
    "How the worst of a provider's circuits stands (its origin's, and those of its models): 1 for that state, 0 for "
    "the others; in multi-process mode the number of workers for which it is so.",
)
