"""The names and words of telemetry that both sinks share, and the only place where OpenTelemetry's are written down.

GenAI conventions v0.1.0 (open-telemetry/semantic-conventions-genai, on semconv v1.45.0): all of them Development, so
that a later release may rename them. `opentelemetry-semantic-conventions` has the names from before, marked as moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .events import AttemptEnded

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
MAX_TOKENS: Final = "gen_ai.request.max_tokens"
TEMPERATURE: Final = "gen_ai.request.temperature"
TOP_P: Final = "gen_ai.request.top_p"
CHOICE_COUNT: Final = "gen_ai.request.choice.count"
SEED: Final = "gen_ai.request.seed"
FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
RESPONSE_ID: Final = "gen_ai.response.id"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
TOKEN_MODALITY: Final = "gen_ai.token.modality"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"

CHAT: Final = "chat"
"""The operation."""

DURATION: Final = "gen_ai.client.inference.duration"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.inference.time_to_first_chunk"
TIME_PER_OUTPUT_CHUNK: Final = "gen_ai.client.inference.time_per_output_chunk"
OPERATION_TOKENS: Final[Mapping[str, str]] = {
    "input_tokens": "gen_ai.client.inference.operation.input_tokens",
    "output_tokens": "gen_ai.client.inference.operation.output_tokens",
}
"""Histograms; by the field of Usage, as the two below."""

USAGE_TOKENS: Final[Mapping[str, str]] = {
    "input_tokens": "gen_ai.client.inference.usage.input_tokens",
    "output_tokens": "gen_ai.client.inference.usage.output_tokens",
    "cache_read_tokens": "gen_ai.client.inference.usage.cache_read.input_tokens",
    "cache_write_tokens": "gen_ai.client.inference.usage.cache_write.input_tokens",
    "reasoning_tokens": "gen_ai.client.inference.usage.reasoning.output_tokens",
}
SPAN_TOKENS: Final[Mapping[str, str]] = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cache_read_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_tokens": "gen_ai.usage.cache_write.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
}

SECONDS: Final = tuple(0.01 * 2**power for power in range(14))
"""Bucket boundaries of the conventions' durations: 0.01 to 81.92."""

OWN_SECONDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Of what the gateway itself takes, which is well below a millisecond."""

TOKENS: Final = tuple(4**power for power in range(14))

INTEGERS: Final[Mapping[str, str]] = {"max_tokens": MAX_TOKENS, "max_completion_tokens": MAX_TOKENS, "seed": SEED}
"""A body's numbers. Of two for one name the later one counts: it is the newer one for servers, too."""

NUMBERS: Final[Mapping[str, str]] = {
    "temperature": TEMPERATURE,
    "top_p": TOP_P,
    "frequency_penalty": FREQUENCY_PENALTY,
    "presence_penalty": PRESENCE_PENALTY,
}

_BY_KIND: Final[Mapping[str, str]] = {"openai": "openai", "azure": "azure.ai.openai", "vllm": "vllm"}

_WELL_KNOWN: Final[Mapping[str, str]] = {
    "bedrock": "aws.bedrock",
    "aws-bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "vertex-ai": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "mistral-ai": "mistral_ai",
    "mistralai": "mistral_ai",
    "moonshot": "moonshot_ai",
    "moonshot-ai": "moonshot_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
    "x-ai": "x_ai",
}
"""Where people's names for them are not the conventions' own (`groq`, `deepseek`, `cohere`, `perplexity`, ...)."""

OTHER: Final = "other"
"""A model that no setting names."""

UNKNOWN: Final = "_OTHER"
"""An `error.type` that nothing more is known of."""

ERROR_TYPES: Final[Mapping[str, str]] = {
    "ok": UNKNOWN,
    "dns": "connect_error",
    "connect": "connect_error",
    "connect_timeout": "connect_error",
    "tls": "connect_error",
    "reset": "connection_reset",
    "protocol": "protocol_error",
    "timeout": "timeout",
    "cancelled": "cancelled",
} | {
    word: word
    for word in (
        "auth",
        "bad_request",
        "busy",
        "content_filter",
        "context_length",
        "denied",
        "diverged",
        "exhausted",
        "invalid_answer",
        "key_unavailable",
        "loop_detected",
        "misconfigured",
        "misdirected",
        "model_not_found",
        "not_found",
        "overloaded",
        "quota",
        "rate_limited",
        "redirect",
        "request_too_large",
        "server_error",
        "unservable",
        "unsupported_parameter",
    )
}
"""Of every outcome of an attempt. Most of the lower half come with a status, which then says it."""

_BROKEN: Final[Mapping[str, str]] = {"idle": "timeout", "protocol": "protocol_error", "not_json": "protocol_error"}

_PASSED_OVER: Final = frozenset({"overdue", "circuit_open", "cooling_down"})


def provider_name(kind: str, name: str) -> str:
    """`gen_ai.provider.name` of a provider."""
    return _BY_KIND.get(kind) or _WELL_KNOWN.get(name, name)


def error_type(ended: AttemptEnded) -> str | None:
    """`error.type` of an attempt: a status as text where one tells what happened, else a word. None: it went well."""
    if ended.end == "complete":
        return None
    if ended.end == "broken":
        return broken_type(ended.cause)
    if ended.end != "failed":
        return "cancelled"
    status = ended.attempt.status
    if status is not None and 100 <= status <= 599 and not 200 <= status <= 299:
        return str(status)
    return ERROR_TYPES.get(ended.attempt.outcome, UNKNOWN)


def broken_type(cause: str | None) -> str:
    """`error.type` of a stream that broke after its first chunk."""
    return _BROKEN.get(cause or "", "stream_truncated")


def outcome(ended: AttemptEnded) -> str:
    """`ok`, `broken`, `left`, `cancelled`, or how it failed, in the word that the trail and the log have for it."""
    if ended.end == "complete":
        return "ok"
    if ended.end != "failed":
        return ended.end
    return ended.attempt.outcome if ended.attempt.outcome in ERROR_TYPES else OTHER


def failover_reason(reason: str) -> str:
    """As in FailedOver, of a closed set."""
    return reason if reason in ERROR_TYPES or reason in _PASSED_OVER else OTHER


def shown(text: str) -> str:
    """A name that callers choose, as far as it can stand in a span."""
    if len(text) <= 128 and text.isprintable():
        return text
    return "".join(char if char.isprintable() else "?" for char in text[:128])


def parameters(numbers: Mapping[str, float]) -> dict[str, float]:
    """A body's numbers as attributes. Exporters choke on those beyond 64 bits, and lose a whole batch of spans."""
    found: dict[str, float] = {}
    for name, key in INTEGERS.items():
        if (count := _integer(numbers.get(name))) is not None:
            found[key] = count
    for name, key in NUMBERS.items():
        if (value := numbers.get(name)) is not None:
            found[key] = float(value)
    if (choices := _integer(numbers.get("n"))) is not None and choices != 1:
        found[CHOICE_COUNT] = choices
    return found


def _integer(value: float | None) -> int | None:
    """None: there is none, or it has no place in 64 bits."""
    return int(value) if value is not None and -(1 << 63) <= value < 1 << 63 else None
