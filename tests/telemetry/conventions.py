"""The names that we say we use: a copy, by hand, of the tables that ours were made from (GenAI conventions v0.1.0)."""

from __future__ import annotations

ATTEMPT_ATTRIBUTES = {
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.request.stream",
    "gen_ai.request.max_tokens",
    "gen_ai.request.temperature",
    "gen_ai.request.top_p",
    "gen_ai.request.choice.count",
    "gen_ai.request.seed",
    "gen_ai.request.frequency_penalty",
    "gen_ai.request.presence_penalty",
    "gen_ai.response.id",
    "gen_ai.response.model",
    "gen_ai.response.finish_reasons",
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.reasoning.output_tokens",
    "server.address",
    "server.port",
    "error.type",
    "ogw.attempt.index",
    "ogw.attempt.reason",
}
FAILOVER_ATTRIBUTES = {"ogw.sequence", "ogw.attempts", "ogw.outcome", "ogw.served_by"}
SAMPLED_BY = {
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "server.address",
    "server.port",
}

SECONDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
TOKENS = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864]

_PLACE = {
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "server.address",
    "server.port",
}
_ERROR = {"error.type"}
_USAGE = ("{token}", _PLACE | {"gen_ai.token.modality"}, None)

METRICS = {
    "gen_ai.client.inference.duration": ("s", _PLACE | _ERROR, SECONDS),
    "gen_ai.client.inference.time_to_first_chunk": ("s", _PLACE | _ERROR, SECONDS),
    "gen_ai.client.inference.time_per_output_chunk": ("s", _PLACE | _ERROR, SECONDS),
    "gen_ai.client.inference.usage.input_tokens": _USAGE,
    "gen_ai.client.inference.usage.output_tokens": _USAGE,
    "gen_ai.client.inference.usage.cache_read.input_tokens": _USAGE,
    "gen_ai.client.inference.usage.cache_write.input_tokens": _USAGE,
    "gen_ai.client.inference.usage.reasoning.output_tokens": _USAGE,
    "gen_ai.client.inference.operation.input_tokens": ("{token}", _PLACE | _ERROR, TOKENS),
    "gen_ai.client.inference.operation.output_tokens": ("{token}", _PLACE | _ERROR, TOKENS),
    "ogw.request.duration": ("s", {"outcome"}, SECONDS),
    "ogw.requests": ("{request}", {"outcome"}, None),
    "ogw.attempts": ("{attempt}", {"provider", "outcome", "error.type"}, None),
    "ogw.failovers": ("{failover}", {"from", "to", "reason"}, None),
    "ogw.hedges": ("{hedge}", {"from", "to"}, None),
    "ogw.streams.broken": ("{stream}", {"provider", "error.type"}, None),
    "ogw.streams.continued": ("{stream}", {"from", "to", "mode"}, None),
    "ogw.circuit.state": ("{provider}", {"provider", "state"}, None),
    "ogw.inflight": ("{request}", set[str](), None),
    "ogw.overhead.duration": (
        "s",
        set[str](),
        [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1],
    ),
}
"""Name -> unit, the attributes that it may have, bucket boundaries."""
