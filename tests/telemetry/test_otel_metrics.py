"""The metrics of the OpenTelemetry sink: names, units, buckets and attributes of the table, and nothing unbounded."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from ogw_asgi import VLLM, Breaker, Gateway, Timeouts
from ogw_asgi._values import AttemptRecord
from ogw_asgi.telemetry import _standings
from ogw_asgi.telemetry._otel_metrics import MOST_GAPS
from ogw_asgi.telemetry.events import AttemptEnded, AttemptStarted, CircuitChanged, RequestStarted
from ogw_asgi.testing import ScriptedUpstream, answer, asgi_client, chat, error, hang, serve, stream
from tests.asgi.hosts import QUESTION, STREAMED

from .conventions import METRICS
from .otel import Memory, point
from .scenes import BREAKS, busy, world

anyio_test = pytest.mark.anyio

OPENAI = {
    "gen_ai__operation__name": "chat",
    "gen_ai__provider__name": "openai",
    "gen_ai__request__model": "gpt-4o",
    "server__address": "api.openai.com",
    "server__port": 443,
}
ALL = {
    "prompt_tokens": 7,
    "completion_tokens": 0,
    "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


@anyio_test
async def test_every_metric_is_one_of_the_table_with_its_unit_its_buckets_and_its_attributes() -> None:
    memory = Memory()
    await busy(memory.sink)
    async with world(memory.sink, scripts={"openai": answer(usage=ALL)}) as one:
        await one.ask()
    metrics = memory.metrics
    assert metrics.keys() == METRICS.keys()
    for name, (unit, attributes, buckets) in METRICS.items():
        metric = metrics[name]
        assert metric.unit == unit, name
        assert metric.description, name
        for one_point in metric.data.data_points:
            assert set(one_point.attributes) <= attributes, name
            if buckets is not None:
                assert list(one_point.explicit_bounds) == pytest.approx(buckets), name


@anyio_test
async def test_a_failover_is_counted_where_it_happened() -> None:
    memory = Memory()
    async with world(memory.sink) as one:
        await one.ask({**STREAMED, "stream_options": {"include_usage": True}})
        assert memory.points("ogw.requests") == {point(outcome="ok"): 1}
    assert memory.points("ogw.attempts") == {
        point(provider="openai", outcome="overloaded", error__type="503"): 1,
        point(provider="vllm", outcome="ok"): 1,
    }
    assert memory.points("ogw.failovers") == {point(**{"from": "openai"}, to="vllm", reason="overloaded"): 1}
    assert memory.points("gen_ai.client.inference.duration")[point(**OPENAI, error__type="503")] == 1
    (first_chunk,) = memory.points("gen_ai.client.inference.time_to_first_chunk").items()
    assert dict(first_chunk[0])["gen_ai.provider.name"] == "vllm"
    assert dict(first_chunk[0])["gen_ai.response.model"] == "other"  # no setting names it
    assert sum(memory.points("gen_ai.client.inference.time_per_output_chunk").values()) >= 1
    assert memory.points("ogw.inflight") == {(): 0}
    assert memory.points("ogw.request.duration") == {point(outcome="ok"): 1}
    assert memory.points("ogw.overhead.duration") == {(): 1}


@anyio_test
async def test_usage_is_counted_where_it_is_known_and_nowhere_else() -> None:
    memory = Memory()
    async with world(memory.sink, scripts={"openai": [answer(usage=ALL), answer(usage={}), stream()]}) as one:
        for body in (QUESTION, QUESTION, STREAMED):
            await one.ask(body)
    prefix = "gen_ai.client.inference"
    counted = {
        name.removeprefix(f"{prefix}.usage."): sum(memory.points(name).values())
        for name in METRICS
        if name.startswith(f"{prefix}.usage.")
    }
    assert counted == {
        "input_tokens": 7,
        "output_tokens": 0,
        "cache_read.input_tokens": 5,
        "cache_write.input_tokens": 1,
        "reasoning.output_tokens": 2,
    }
    assert sum(memory.points(f"{prefix}.operation.input_tokens").values()) == 1
    assert sum(memory.points(f"{prefix}.duration").values()) == 3


@anyio_test
async def test_models_that_no_setting_names_are_one() -> None:
    memory = Memory()
    async with world(memory.sink, scripts={"openai": chat(model="gpt-4o")}) as one:
        for index in range(20):
            await one.ask({**QUESTION, "model": f"made-up-{index}"})
        await one.ask()
    models = {
        dict(key)["gen_ai.request.model"]: count
        for key, count in memory.points("gen_ai.client.inference.duration").items()
    }
    assert models == {"other": 20, "gpt-4o": 1}
    assert dict(next(iter(memory.points("gen_ai.client.inference.duration"))))["gen_ai.response.model"] == "gpt-4o"


@anyio_test
async def test_a_server_that_a_caller_named_is_no_series_of_its_own() -> None:
    memory = Memory()
    async with serve(ScriptedUpstream(chat())) as url:
        gateway = Gateway(providers=[VLLM(allowed_endpoints=[url])], sinks=[memory.sink])
        async with gateway, asgi_client(gateway) as client:
            headers = {"x-opengateway-vllm-endpoint": url, "x-opengateway-failover-sequence": '["vllm"]'}
            assert (await client.post("/chat/completions", json=QUESTION, headers=headers)).status_code == 201
    ((attributes, count),) = memory.points("gen_ai.client.inference.duration").items()
    assert count == 1
    assert not {"server.address", "server.port"} & dict(attributes).keys()
    assert memory.points("gen_ai.client.inference.usage.input_tokens") == {}, "nor does it count tokens for us"
    (span,) = memory.attempts
    assert (span.attributes or {})["server.address"] == "127.0.0.1"


@anyio_test
@pytest.mark.parametrize(
    ("scripts", "options", "name", "found"),
    [
        (
            {"openai": hang(), "vllm": chat()},
            {"timeouts": Timeouts(hedge_after_s=0.01)},
            "ogw.hedges",
            {"from": "openai", "to": "vllm"},
        ),
        ({"openai": BREAKS}, {}, "ogw.streams.broken", {"provider": "openai", "error__type": "stream_truncated"}),
        (
            {"openai": BREAKS, "vllm": stream(["lo"])},
            {"on_stream_break": "continue"},
            "ogw.streams.continued",
            {"from": "openai", "to": "vllm", "mode": "prefill"},
        ),
    ],
    ids=["hedge", "broken", "continued"],
)
async def test_hedges_and_broken_streams_are_counted(scripts: Any, options: Any, name: str, found: Any) -> None:
    memory = Memory()
    async with world(memory.sink, scripts=scripts, **options) as one:
        await one.ask(STREAMED)
    assert memory.points(name) == {point(**found): 1}


@anyio_test
async def test_requests_under_way_and_refused_ones_are_counted() -> None:
    memory = Memory()
    release = anyio.Event()
    async with world(memory.sink, scripts={"openai": stream(["a"], gate=release)}) as one:
        async with anyio.create_task_group() as group:
            group.start_soon(one.ask, STREAMED)
            await one.upstreams["openai"].wait_for_requests()
            assert memory.points("ogw.inflight") == {(): 1}
            release.set()
        assert await one.ask({}) == 400
    assert memory.points("ogw.inflight") == {(): 0}
    assert memory.points("ogw.requests") == {point(outcome="ok"): 1, point(outcome="rejected"): 1}


@anyio_test
async def test_an_open_circuit_is_seen_and_all_is_closed_at_first() -> None:
    memory = Memory()
    async with world(memory.sink, breaker=Breaker(failures=1), scripts={"openai": error(500), "vllm": chat()}) as one:
        assert stands(memory) == {"openai": "closed", "vllm": "closed"}
        await one.ask()
        assert stands(memory) == {"openai": "open", "vllm": "closed"}
        await one.ask()
    assert memory.points("ogw.failovers")[point(**{"from": "openai"}, to="vllm", reason="circuit_open")] == 1


def stands(memory: Memory) -> dict[str, str]:
    points = [dict(key) for key, value in memory.points("ogw.circuit.state").items() if value]
    return {one["provider"]: one["state"] for one in points}


def test_a_provider_stands_as_the_worst_of_its_circuits_and_callers_endpoints_do_not_count() -> None:
    now_s = 0.0
    standings = _standings.Standings(lambda: now_s)
    standings.known(["a", "b"])
    standings.note(CircuitChanged("a", "m", "half_open", 0))
    standings.note(CircuitChanged("a", None, "open", 5000))
    standings.note(CircuitChanged("b", "m", "open", 5000, named=True))
    assert standings.now() == {"a": "open", "b": "closed"}
    standings.note(CircuitChanged("a", None, "closed", 0))
    assert standings.now() == {"a": "half_open", "b": "closed"}
    standings.note(CircuitChanged("a", "m", "closed", 0))
    assert standings.now() == {"a": "closed", "b": "closed"}
    assert standings.all_closed


def test_a_circuit_that_nobody_asks_for_any_more_is_not_open_for_ever() -> None:
    now_s = 0.0
    standings = _standings.Standings(lambda: now_s)
    standings.note(CircuitChanged("a", "a caller's typing error", "open", 5000))
    now_s = 5 + _standings.FORGOTTEN_AFTER_S
    assert standings.now() == {"a": "open"}
    now_s += 0.1
    assert standings.now() == {"a": "closed"}
    assert standings.all_closed


def test_however_many_circuits_open_so_many_are_remembered() -> None:
    standings = _standings.Standings(lambda: 0.0)
    for index in range(3 * _standings.MOST):
        standings.note(CircuitChanged("a", f"model-{index}", "open", 5000))
    assert len(standings._circuits) == _standings.MOST
    assert standings.now() == {"a": "open"}


@pytest.mark.parametrize("gaps", [0, 1, MOST_GAPS - 1, MOST_GAPS, 10_000])
def test_of_a_long_answer_some_of_the_times_between_chunks_are_recorded(gaps: int) -> None:
    memory = Memory()
    tell = memory.sink.on_event
    tell(RequestStarted("r", 1, "m", True, None, ["openai"], {}))
    tell(AttemptStarted("r", 1, 1, "openai", "openai", "m", "first", "host", 443, False, False))
    record = AttemptRecord("openai", "ok", 200, None, 5, "m")
    tell(AttemptEnded("r", 1, 1, record, "complete", False, duration_s=1.0, gaps_s=(0.1,) * gaps))
    recorded = sum(memory.points("gen_ai.client.inference.time_per_output_chunk").values())
    assert recorded == gaps if gaps < MOST_GAPS else MOST_GAPS / 2 <= recorded <= MOST_GAPS


def test_an_attempt_that_was_never_sent_took_no_time() -> None:
    memory = Memory()
    tell = memory.sink.on_event
    tell(RequestStarted("r", 1, "m", False, None, ["openai"], {}))
    tell(AttemptStarted("r", 1, 1, "openai", "openai", "m", "first", None, None, False, False))
    tell(AttemptEnded("r", 1, 1, AttemptRecord("openai", "busy", None, None, 5, "m"), "failed", False))
    assert memory.points("gen_ai.client.inference.duration") == {}
    assert memory.points("ogw.attempts") == {point(provider="openai", outcome="busy", error__type="busy"): 1}
    assert memory.spans[-1].attributes is not None


def test_an_attempt_of_a_request_that_nobody_told_of_is_counted_all_the_same() -> None:
    memory = Memory()
    record = AttemptRecord("openai", "timeout", None, None, 5, "m")
    memory.sink.on_event(AttemptStarted("r", 9, 1, "openai", "openai", "m", "first", None, None, False, False))
    memory.sink.on_event(AttemptEnded("r", 9, 1, record, "failed", False))
    assert memory.points("ogw.attempts") == {point(provider="openai", outcome="timeout", error__type="timeout"): 1}
    assert memory.spans == []
