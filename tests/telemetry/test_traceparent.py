"""Whom the trace goes on to: the operator's own servers, with a `traceparent` of ours, and nobody else."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import attach, detach, get_current
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from ogw_asgi import VLLM, ConfigurationError, Gateway, OpenAI
from ogw_asgi.telemetry.opentelemetry import OpenTelemetry
from ogw_asgi.testing import RecordedRequest, ScriptedUpstream, asgi_client, chat, error, serve
from tests.asgi.hosts import KEY, QUESTION

from .otel import Memory
from .scenes import World, world

pytestmark = pytest.mark.anyio

CALLERS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def sent(world: World, name: str, header: bytes = b"traceparent") -> list[str]:
    (request,) = world.upstreams[name].requests
    return values(request, header)


def values(request: RecordedRequest, header: bytes = b"traceparent") -> list[str]:
    return [value.decode() for key, value in request.headers if key == header]


def parent(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{span.context.trace_flags:02x}"


@pytest.mark.contract("2.upstream.traceparent.sink")
async def test_a_server_of_the_operators_gets_the_span_of_its_attempt_and_a_public_one_nothing() -> None:
    memory = Memory()
    async with world(memory.sink, host=memory.host) as one:
        await one.ask(headers={"traceparent": CALLERS, "tracestate": "caller=1", "baggage": "caller=1"})
        assert sent(one, "openai") == []
        assert sent(one, "vllm") == [parent(memory.attempts[1])]
        for name in one.upstreams:
            assert sent(one, name, b"tracestate") == sent(one, name, b"baggage") == []
    _, trace_id, span_id, flags = parent(memory.attempts[1]).split("-")
    assert trace_id == CALLERS.split("-")[1]
    assert span_id != CALLERS.split("-")[2]
    assert int(flags, 16) & 1


async def test_the_state_of_a_trace_and_the_baggage_of_the_host_stay_here() -> None:
    memory = Memory()
    around = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("vendor", "x")]))
    token = attach(baggage.set_baggage("user", "ada", trace.set_span_in_context(NonRecordingSpan(around))))
    try:
        async with world(memory.sink) as one:
            await one.ask()
            assert sent(one, "vllm") == [parent(memory.attempts[1])]
            assert sent(one, "vllm", b"tracestate") == sent(one, "vllm", b"baggage") == []
    finally:
        detach(token)


@pytest.mark.parametrize(
    ("chosen", "told"), [(["openai"], {"openai"}), ([], set()), (["openai", "vllm"], {"openai", "vllm"})]
)
async def test_the_operator_may_choose_who_gets_it(chosen: list[str], told: set[str]) -> None:
    memory = Memory(propagate_to=chosen)
    async with world(memory.sink) as one:
        await one.ask()
        assert {name for name in one.upstreams if sent(one, name)} == told


def test_a_name_is_no_list_of_names() -> None:
    with pytest.raises(ConfigurationError, match="propagate_to"):
        OpenTelemetry(propagate_to="vllm")


async def test_a_server_is_told_when_a_request_is_not_sampled() -> None:
    memory = Memory(sampler=ALWAYS_OFF)
    async with world(memory.sink, host=memory.host) as one:
        await one.ask(headers={"traceparent": CALLERS})
        (value,) = sent(one, "vllm")
    assert value.startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert int(value.split("-")[3], 16) & 1 == 0
    assert value.split("-")[2] != CALLERS.split("-")[2]


async def test_without_an_sdk_what_came_with_the_request_is_not_passed_through() -> None:
    memory = Memory()
    async with world(OpenTelemetry(), host=memory.host) as one:
        await one.ask(headers={"traceparent": CALLERS})
        assert sent(one, "vllm") == []


async def test_nothing_is_attached_to_the_context_of_the_host() -> None:
    memory = Memory()
    before = get_current()
    async with world(memory.sink) as one:
        await one.ask()
        assert get_current() == before


@contextmanager
def instrumented(name: str, memory: Memory) -> Iterator[None]:
    module = importlib.import_module("opentelemetry.instrumentation.httpx")
    if not hasattr(module, name):
        pytest.skip(f"this release of it has no {name}")
    instrumentor = getattr(module, name)()
    instrumentor.instrument(tracer_provider=memory.tracers)
    try:
        yield
    finally:
        instrumentor.uninstrument()


LIBRARIES = [("httpx", "HTTPXClientInstrumentor"), ("httpx2", "HTTPX2ClientInstrumentor")]


@pytest.mark.parametrize(("engine", "instrumentor"), [*LIBRARIES, ("native", "HTTPXClientInstrumentor")])
async def test_instrumentations_of_http_clients_do_not_reach_those_of_the_engines(
    engine: Any, instrumentor: str
) -> None:
    memory = Memory()
    down, up = ScriptedUpstream(error(503)), ScriptedUpstream(chat())
    async with serve(down) as public, serve(up) as own:
        with instrumented(instrumentor, memory):
            await ask(memory, OpenAI(api_key=KEY, base_url=public), VLLM(endpoint=own), engine=engine)
    assert values(down.requests[0]) == []
    assert values(up.requests[0]) == [parent(memory.attempts[1])]


@pytest.mark.parametrize(("library", "instrumentor"), LIBRARIES)
async def test_where_the_users_own_client_is_instrumented_its_traceparent_takes_the_place_of_ours(
    library: Any, instrumentor: str
) -> None:
    memory = Memory()
    up = ScriptedUpstream(chat())
    async with serve(up) as own:
        with instrumented(instrumentor, memory):
            async with importlib.import_module(library).AsyncClient() as client:
                await ask(memory, VLLM(endpoint=own, client=client))
    (theirs,) = [span for span in memory.attempts if span.name == "POST"]
    assert values(up.requests[0]) == [parent(theirs)]


async def ask(memory: Memory, *providers: Any, **options: Any) -> None:
    names = [provider.name for provider in providers]
    gateway = Gateway(providers=providers, failover_sequence=names, sinks=[memory.sink], **options)
    async with gateway, asgi_client(memory.host(gateway)) as client:
        assert (await client.post("/chat/completions", json=QUESTION)).status_code == 201
