"""The Prometheus sink: what a scrape says of each thing that may happen, and which labels it may have."""

from __future__ import annotations

import re
from typing import Any

import anyio
import prometheus_client
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from ogw_asgi import Breaker, ConfigurationError, Timeouts
from ogw_asgi._usage import Usage
from ogw_asgi._values import AttemptRecord
from ogw_asgi.telemetry import _metrics, _standings
from ogw_asgi.telemetry import prometheus as subject
from ogw_asgi.telemetry.events import AttemptEnded, CircuitChanged, GatewayOpened, RequestEnded
from ogw_asgi.telemetry.prometheus import Prometheus
from ogw_asgi.testing import answer, asgi_client, chat, error, hang, raw, stream
from tests.asgi.hosts import KEY, QUESTION, STREAMED, http_scope
from tests.canaries import found_in

from .conventions import METRICS
from .scenes import BREAKS, busy, world
from .scraped import Scraped

anyio_test = pytest.mark.anyio

TABLE = {one.prometheus: one for one in vars(_metrics).values() if isinstance(one, _metrics.Metric)}


def scraped(sink: Prometheus) -> Scraped:
    return Scraped(sink.scrape())


@anyio_test
async def test_everything_that_happens_is_in_the_scrape_under_the_names_and_labels_of_the_table() -> None:
    sink = Prometheus()
    await busy(sink)
    found = scraped(sink)
    for name, metric in TABLE.items():
        series = found.of(f"{name}_count" if name.endswith("_seconds") else name)
        assert series, name
        assert all({label for label, _ in labels} == set(metric.labels) for labels in series), name
    names = {name.removesuffix("_created").removesuffix("_total") for name in found.families}
    assert names == {name.removesuffix("_total") for name in TABLE}
    outcomes = {dict(labels)["outcome"]: count for labels, count in found.of("ogw_requests_total").items()}
    assert outcomes == {"ok": 4, "refused": 1, "failed": 2, "broken": 1, "left": 1, "rejected": 1}
    assert found.value("ogw_inflight_requests") == 0


def test_one_fact_has_one_name_on_both_ways() -> None:
    told = {name for name in METRICS if name.startswith("ogw.")}
    assert {metric.otel for metric in TABLE.values()} - {None} == told
    # What an exporter makes of them, but for two that were given their names.
    given = {"ogw_overhead_seconds": "ogw_overhead_duration_seconds", "ogw_inflight_requests": "ogw_inflight"}
    for name, metric in TABLE.items():
        if metric.otel is not None:
            suffix = "_seconds" if METRICS[metric.otel][0] == "s" else "_total" if name.endswith("_total") else ""
            assert given.get(name, name) == metric.otel.replace(".", "_") + suffix


@anyio_test
async def test_a_failover_is_counted_where_it_happened() -> None:
    sink = Prometheus()
    async with world(sink) as one:
        await one.ask({**STREAMED, "stream_options": {"include_usage": True}})
    found = scraped(sink)
    assert found.of("ogw_attempts_total") == {
        (("error_type", "503"), ("outcome", "overloaded"), ("provider", "openai")): 1,
        (("error_type", ""), ("outcome", "ok"), ("provider", "vllm")): 1,
    }
    assert found.value("ogw_failovers_total", from_="openai", to="vllm", reason="overloaded") == 1
    assert found.value("ogw_attempt_duration_seconds_count", provider="vllm", outcome="ok") == 1
    assert found.value("ogw_time_to_first_chunk_seconds_count", provider="vllm") == 1
    assert found.value("ogw_overhead_seconds_count") == 1
    assert 0 < found.value("ogw_overhead_seconds_sum") < 10
    assert found.value("ogw_request_duration_seconds_count", outcome="ok") == 1


@anyio_test
@pytest.mark.parametrize(
    ("scripts", "options", "name", "labels"),
    [
        (
            {"openai": hang(), "vllm": chat()},
            {"timeouts": Timeouts(hedge_after_s=0.01)},
            "ogw_hedges_total",
            {"from_": "openai", "to": "vllm"},
        ),
        ({"openai": BREAKS}, {}, "ogw_streams_broken_total", {"provider": "openai", "error_type": "stream_truncated"}),
        (
            {"openai": BREAKS, "vllm": stream(["lo"])},
            {"on_stream_break": "continue"},
            "ogw_streams_continued_total",
            {"from_": "openai", "to": "vllm", "mode": "prefill"},
        ),
    ],
    ids=["hedge", "broken", "continued"],
)
async def test_hedges_and_broken_streams_are_counted(scripts: Any, options: Any, name: str, labels: Any) -> None:
    sink = Prometheus()
    async with world(sink, scripts=scripts, **options) as one:
        await one.ask(STREAMED)
    assert scraped(sink).value(name, **labels) == 1


@anyio_test
async def test_requests_under_way_are_a_gauge() -> None:
    sink = Prometheus()
    release = anyio.Event()
    async with world(sink, scripts={"openai": stream(["a"], gate=release)}) as one:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(one.client.get, "/models")
                group.start_soon(lambda: one.client.post("/chat/completions", json=STREAMED))
            await one.upstreams["openai"].wait_for_requests(3)
            assert scraped(sink).value("ogw_inflight_requests") == 3
            release.set()
        await one.ended.wait(3)
    assert scraped(sink).value("ogw_inflight_requests") == 0


@anyio_test
async def test_tokens_are_counted_by_provider_model_and_type_where_they_are_known() -> None:
    sink = Prometheus()
    usage = {"prompt_tokens": 7, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 5}}
    async with world(sink, scripts={"openai": [answer(usage=usage), answer(usage={}), answer(usage=usage)]}) as one:
        await one.ask()
        await one.ask()
        await one.ask({**QUESTION, "model": "made up"})
    found = scraped(sink).of("ogw_tokens_total")
    counted = {tuple(value for _, value in labels): count for labels, count in found.items()}
    assert counted == {
        (model, "openai", kind): count
        for model in ("gpt-4o", "other")
        for kind, count in (("input", 7.0), ("output", 0.0), ("cache_read", 5.0))
    }


@anyio_test
async def test_nothing_that_callers_or_servers_write_becomes_a_label() -> None:
    sink = Prometheus()
    secret = "the-secret-of-the-caller"
    scripts = {
        "openai": [error(503, secret, code=f"{secret}-{index}", type=secret) for index in range(20)]
        + [raw(599 + index, {"x-a": secret}, [secret.encode()]) for index in range(20)]
        + [BREAKS],
        "vllm": chat(secret, model=secret, usage={"prompt_tokens": 1}),
    }
    async with world(sink, scripts=scripts, breaker=Breaker(failures=1000)) as one:
        for index in range(41):
            body = {**STREAMED, "model": f"{secret}-{index}", "user": secret, "stream_options": {"include_usage": True}}
            await one.ask(body, headers={"x-request-id": f"{secret}-{index}", "authorization": f"Bearer {KEY}"})
    found = scraped(sink)
    assert secret not in found.text
    assert found_in(found.text) is None
    assert {dict(labels)["model"] for labels in found.of("ogw_tokens_total")} == {"other"}
    errors = {dict(labels)["error_type"] for labels in found.of("ogw_attempts_total")}
    assert errors == {"503", "599", "invalid_answer", "protocol_error", "stream_truncated", ""} & errors
    assert len(errors) <= 6


@anyio_test
async def test_a_circuit_that_opens_is_seen_until_it_closes() -> None:
    sink = Prometheus()
    scripts = {"openai": error(500), "vllm": chat()}
    async with world(sink, breaker=Breaker(failures=1), scripts=scripts) as one:
        assert stands(sink) == {"openai": "closed", "vllm": "closed"}
        await one.ask()
        assert stands(sink) == {"openai": "open", "vllm": "closed"}
    for state in ("half_open", "closed"):
        sink.on_event(CircuitChanged("openai", "gpt-4o", state, 0))
        assert stands(sink) == {"openai": state, "vllm": "closed"}


def test_what_an_endpoint_that_a_caller_named_says_of_tokens_does_not_count() -> None:
    sink = Prometheus()
    line = AttemptRecord("vllm", "ok", 200, None, 5, "m")
    for named in (True, False):
        usage = Usage(input_tokens=7, output_tokens=5)
        sink.on_event(
            AttemptEnded("r", 1, 1, line, "complete", misconfigured=False, usage=usage, sent=True, named=named)
        )
    assert b'ogw_tokens_total{model="other",provider="vllm",type="input"} 7.0' in sink.scrape()
    assert b'ogw_attempts_total{error_type="",outcome="ok",provider="vllm"} 2.0' in sink.scrape()


def test_the_circuit_of_an_endpoint_that_a_caller_named_does_not_count() -> None:
    sink = Prometheus()
    sink.on_event(GatewayOpened("0", "native", "asyncio", {"vllm": "vllm"}, frozenset()))
    sink.on_event(CircuitChanged("vllm", None, "open", 5000, named=True))
    assert stands(sink) == {"vllm": "closed"}


def test_a_circuit_that_nobody_asks_for_any_more_is_closed_in_a_later_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Prometheus()
    sink.on_event(CircuitChanged("openai", "a typing error", "open", 1))
    assert stands(sink) == {"openai": "open"}
    monkeypatch.setattr(sink._standings, "_clock_s", lambda: 10.0**9)
    assert stands(sink) == {"openai": "closed"}


def test_nor_does_it_wait_for_a_scrape_where_another_worker_may_be_scraped(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Prometheus()
    sink.on_event(CircuitChanged("openai", "a typing error", "open", 1))
    monkeypatch.setattr(sink._standings, "_clock_s", lambda: 10.0**9)
    monkeypatch.setattr(subject, "_LOOK_EVERY_S", -1.0)
    sink.on_event(RequestEnded("r", 1, "m", "ok", 201, "openai", [], 5, False, None))
    told = Scraped(prometheus_client.generate_latest(sink.registry))
    assert told.value("ogw_circuit_state", provider="openai", state="closed") == 1
    assert told.value("ogw_circuit_state", provider="openai", state="open") == 0


def stands(sink: Prometheus) -> dict[str, str]:
    """Of each provider the one state that it is in."""
    found = [dict(labels) for labels, value in scraped(sink).of("ogw_circuit_state").items() if value == 1]
    assert len({one["provider"] for one in found}) == len(found)
    assert {one["state"] for one in found} <= set(_standings.STATES)
    return {one["provider"]: one["state"] for one in found}


def test_an_attempt_that_was_never_sent_took_no_time() -> None:
    sink = Prometheus()
    sink.on_event(AttemptEnded("r", 1, 1, AttemptRecord("openai", "busy", None, None, 5, "m"), "failed", False))
    found = scraped(sink)
    assert found.value("ogw_attempts_total", provider="openai", outcome="busy", error_type="busy") == 1
    assert found.of("ogw_attempt_duration_seconds_count") == {}


# --- how it is scraped ---


@anyio_test
@pytest.mark.parametrize("way", ["mount", "route"])
async def test_the_app_is_a_mount_or_a_route_of_the_host(way: str) -> None:
    sink = Prometheus()
    async with world(sink) as one:
        await one.ask()
    route = Mount("/metrics", sink.app) if way == "mount" else Route("/metrics", sink.app)
    async with asgi_client(Starlette(routes=[route]), follow_redirects=True) as client:
        reply = await client.get("/metrics")
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain")
    assert Scraped(reply.text).value("ogw_requests_total", outcome="ok") == 1


@anyio_test
async def test_a_websocket_that_is_lost_there_is_closed() -> None:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    await Prometheus().app({**http_scope(), "type": "websocket"}, anyio.sleep_forever, send)  # type: ignore[arg-type]
    assert [message["type"] for message in said] == ["websocket.close"]


@anyio_test
async def test_one_sink_may_serve_several_gateways() -> None:
    sink = Prometheus()
    for name in ("one", "two"):
        async with world(sink, scripts={"openai": chat(usage={"prompt_tokens": 1})}, models=[name]) as one:
            await one.ask({**QUESTION, "model": name})
    found = scraped(sink)
    assert found.value("ogw_requests_total", outcome="ok") == 2
    assert {dict(labels)["model"] for labels in found.of("ogw_tokens_total")} == {"one", "two"}


def test_registries_are_apart_unless_one_is_shared() -> None:
    first, second = Prometheus(), Prometheus()
    assert first.registry is not second.registry
    assert b"ogw_" not in prometheus_client.generate_latest(prometheus_client.REGISTRY)
    shared = prometheus_client.CollectorRegistry()
    prometheus_client.Counter("mine_total", "The app's own.", registry=shared).inc()
    sink = Prometheus(shared)
    assert b"mine_total 1.0" in sink.scrape()
    with pytest.raises(ValueError, match="Duplicated"):
        Prometheus(shared)


def test_what_is_set_too_late_for_many_processes_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    with pytest.raises(ConfigurationError, match="before prometheus_client is imported"):
        Prometheus()


def test_every_metric_says_what_it_counts() -> None:
    text = Prometheus().scrape().decode()
    assert set(re.findall(r"^# HELP (ogw_\w+) \S", text, re.MULTILINE)) >= {
        name for name, metric in TABLE.items() if not metric.labels
    }
    assert all(metric.text.endswith(".") and subject.__doc__ for metric in TABLE.values())
