"""The spans of the OpenTelemetry sink: which there are, below whom, what is in them, and that each of them ends."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, StatusCode

from ogw_asgi import Timeouts
from ogw_asgi.telemetry import opentelemetry as subject
from ogw_asgi.telemetry.opentelemetry import OpenTelemetry
from ogw_asgi.testing import Break, Wait, answer, chat, completion_chunk, error, hang, stream
from tests.asgi.hosts import KEY, QUESTION, STREAMED
from tests.canaries import found_in

from .conventions import ATTEMPT_ATTRIBUTES, FAILOVER_ATTRIBUTES, SAMPLED_BY
from .otel import Memory, said
from .scenes import BREAKS, STALLS, busy, call, world

pytestmark = pytest.mark.anyio

COUNTED: dict[str, Any] = {**STREAMED, "stream_options": {"include_usage": True}}


async def test_a_request_is_one_span_below_the_hosts_with_one_below_it_for_each_attempt() -> None:
    memory = Memory()
    async with world(memory.sink, host=memory.host) as one:
        assert await one.ask(COUNTED) == 201
    assert memory.tree().splitlines() == [
        "POST /chat/completions SERVER UNSET",
        "  ogw failover INTERNAL UNSET",
        "    chat gpt-4o CLIENT ERROR",
        "    chat gpt-4o CLIENT UNSET",
    ]
    (failover,) = memory.failovers
    assert said(failover) == {
        "ogw.sequence": ("openai", "vllm"),
        "ogw.attempts": 2,
        "ogw.outcome": "ok",
        "ogw.served_by": "vllm",
    }
    first, second = map(said, memory.attempts)
    common = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.request.stream": True}
    assert first == {
        **common,
        "gen_ai.provider.name": "openai",
        "server.address": "api.openai.com",
        "server.port": 443,
        "ogw.attempt.index": 0,
        "ogw.attempt.reason": "first",
        "error.type": "503",
    }
    took_s = second.pop("gen_ai.response.time_to_first_chunk")
    assert 0 < took_s < 10
    assert second == {
        **common,
        "gen_ai.provider.name": "vllm",
        "server.address": "gpu.internal",
        "server.port": 8000,
        "ogw.attempt.index": 1,
        "ogw.attempt.reason": "failover",
        "gen_ai.response.id": "chatcmpl-scripted",
        "gen_ai.response.model": "scripted-model",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 3,
    }
    assert all(span.status.description is None for span in memory.spans)
    assert all(not span.events for span in memory.spans)


async def test_what_a_sampler_decides_by_is_there_when_a_span_begins() -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    class Asked(Sampler):
        def should_sample(self, *arguments: Any, **more: Any) -> SamplingResult:
            named = dict(zip(("context", "trace_id", "name", "kind", "attributes"), arguments, strict=False)) | more
            asked.append((named["name"], dict(named["attributes"] or {})))
            return SamplingResult(Decision.RECORD_AND_SAMPLE)

        def get_description(self) -> str:
            return "asked"

    memory = Memory(sampler=Asked())
    async with world(memory.sink) as one:
        await one.ask()
    assert asked[0] == ("ogw failover", {"ogw.sequence": ["openai", "vllm"]})
    assert [name for name, _ in asked[1:]] == ["chat gpt-4o", "chat gpt-4o"]
    assert all(attributes.keys() >= SAMPLED_BY for _, attributes in asked[1:])


async def test_who_lost_against_a_hedge_was_cancelled_and_did_no_wrong() -> None:
    memory = Memory()
    scripts = {"openai": hang(), "vllm": chat()}
    async with world(memory.sink, scripts=scripts, timeouts=Timeouts(hedge_after_s=0.01)) as one:
        assert await one.ask() == 201
    (failover,) = memory.failovers
    first, second = memory.attempts
    assert failover.context is not None
    assert {span.parent.span_id for span in (first, second) if span.parent} == {failover.context.span_id}
    assert (said(first)["error.type"], first.status.status_code) == ("cancelled", StatusCode.UNSET)
    assert said(second)["ogw.attempt.reason"] == "hedge"
    assert first.end_time is not None
    assert second.start_time is not None
    assert first.end_time > second.start_time


async def test_a_stream_that_broke_has_an_error_for_its_end_and_whoever_goes_on_with_it_a_span_of_its_own() -> None:
    memory = Memory()
    async with world(
        memory.sink, scripts={"openai": BREAKS, "vllm": stream(["lo"])}, on_stream_break="continue"
    ) as one:
        assert await one.ask(STREAMED) == 201
    first, second = memory.attempts
    assert first.status.status_code is StatusCode.ERROR
    assert said(first)["error.type"] == "stream_truncated"
    assert said(first)["gen_ai.response.finish_reasons"] == ("error",)
    assert said(second)["ogw.attempt.reason"] == "continue"
    assert said(second)["gen_ai.response.finish_reasons"] == ("stop",)
    (failover,) = memory.failovers
    assert failover.status.status_code is StatusCode.UNSET
    assert said(failover)["ogw.outcome"] == "ok"


@pytest.mark.parametrize(
    ("pieces", "reasons"),
    [
        (["Hel", Break()], ("error",)),
        (["Hel", completion_chunk({}, finish_reason="stop"), Break()], ("stop", "error")),
    ],
)
async def test_of_several_choices_those_without_an_end_are_told_by_an_error(pieces: Any, reasons: Any) -> None:
    memory = Memory()
    async with world(memory.sink, scripts={"openai": stream(pieces)}) as one:
        await one.ask({**STREAMED, "n": 2})
    (span,) = memory.attempts
    assert said(span)["gen_ai.request.choice.count"] == 2
    assert said(span)["gen_ai.response.finish_reasons"] == reasons
    (failover,) = memory.failovers
    assert (failover.status.status_code, said(failover)["ogw.outcome"]) == (StatusCode.ERROR, "broken")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error(500), "500"),
        (error(401), "401"),
        (stream(), "invalid_answer"),
        (hang(), "timeout"),
    ],
    ids=["500", "401", "a stream", "hang"],
)
async def test_an_error_is_told_by_its_status_or_by_a_word(reply: Any, kind: str) -> None:
    memory = Memory()
    async with world(memory.sink, scripts={"openai": reply}, timeouts=Timeouts(answer_s=0.05)) as one:
        await one.ask()
    (span,) = memory.attempts
    assert said(span)["error.type"] == kind
    assert [span.status.status_code for span in memory.spans] == [StatusCode.ERROR, StatusCode.ERROR]
    assert "ogw.served_by" not in said(memory.failovers[0])


@pytest.mark.parametrize(
    ("script", "served"),
    [(hang(), {}), (STALLS, {"ogw.served_by": "vllm"})],
    ids=["before the head", "in the stream"],
)
async def test_when_the_caller_leaves_every_span_ends_and_none_of_them_failed(script: Any, served: Any) -> None:
    memory = Memory()
    async with world(memory.sink, scripts={"openai": error(500), "vllm": script}) as one:
        await (one.leave_half_way() if served else one.leave(asked="vllm"))
    assert [span.name for span in memory.spans] == ["ogw failover", "chat gpt-4o", "chat gpt-4o"]
    last = memory.attempts[-1]
    assert (said(last)["error.type"], last.status.status_code) == ("cancelled", StatusCode.UNSET)
    assert said(memory.failovers[0]) == {
        "ogw.sequence": ("openai", "vllm"),
        "ogw.attempts": 2,
        "ogw.outcome": "left",
        **served,
    }
    assert memory.sink._open == {}


async def test_when_the_host_cancels_the_app_every_span_ends() -> None:
    memory = Memory()
    async with world(memory.sink, scripts={"openai": STALLS}) as one:
        begun = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(call, one.gateway, begun)
            await begun.wait()
            group.cancel_scope.cancel()
    assert [span.name for span in memory.spans] == ["ogw failover", "chat gpt-4o"]
    assert said(memory.failovers[0])["ogw.outcome"] == "left"
    assert said(memory.attempts[0])["error.type"] == "cancelled"
    assert memory.sink._open == {}


async def test_requests_of_one_id_at_the_same_time_are_told_apart() -> None:
    memory = Memory()
    release = anyio.Event()
    scripts = {"openai": [stream(["a"], gate=release), stream(["b"], gate=release), error(500)], "vllm": chat()}
    async with world(memory.sink, scripts=scripts, host=memory.host) as one:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(
                    lambda: one.client.post("/chat/completions", json=STREAMED, headers={"x-request-id": "r"})
                )
            await one.upstreams["openai"].wait_for_requests(3)
            release.set()
        await one.ended.wait(3)
    assert sorted(said(span)["ogw.attempts"] for span in memory.failovers) == [1, 1, 2]
    failovers = {span.context.span_id: said(span)["ogw.attempts"] for span in memory.failovers if span.context}
    for identity, attempts in failovers.items():
        assert sum(span.parent is not None and span.parent.span_id == identity for span in memory.attempts) == attempts
    assert len({span.context.trace_id for span in memory.failovers if span.context}) == 3


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        ({"prompt_tokens": 7}, {"gen_ai.usage.input_tokens": 7}),
        (
            {
                "prompt_tokens": 7,
                "completion_tokens": 0,
                "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
            {
                "gen_ai.usage.input_tokens": 7,
                "gen_ai.usage.output_tokens": 0,
                "gen_ai.usage.cache_read.input_tokens": 5,
                "gen_ai.usage.cache_write.input_tokens": 1,
                "gen_ai.usage.reasoning.output_tokens": 2,
            },
        ),
        ({}, {}),
    ],
    ids=["some", "all", "none"],
)
async def test_usage_that_is_not_known_is_not_there(usage: Any, found: dict[str, int]) -> None:
    memory = Memory()
    async with world(memory.sink, scripts={"openai": [answer(usage=usage), stream(usage=usage)]}) as one:
        await one.ask()
        await one.ask(STREAMED)
    for span in memory.attempts:
        assert {name: value for name, value in said(span).items() if "usage" in name} == found


async def test_the_numbers_of_a_body_are_attributes_as_far_as_exporters_can_hold_them() -> None:
    memory = Memory()
    async with world(memory.sink, scripts={"openai": chat()}) as one:
        numbers = {"max_tokens": 10**30, "temperature": 1, "top_p": 0.5, "seed": -(2**63), "presence_penalty": -2}
        await one.ask({**QUESTION, **numbers, "frequency_penalty": 0, "n": 1})
        await one.ask({**QUESTION, "max_tokens": 5, "max_completion_tokens": 6.0, "n": 2})
    first, second = ({k: v for k, v in said(span).items() if "request" in k} for span in memory.attempts)
    assert first == {
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": False,
        "gen_ai.request.temperature": 1.0,
        "gen_ai.request.top_p": 0.5,
        "gen_ai.request.seed": -(2**63),
        "gen_ai.request.presence_penalty": -2.0,
        "gen_ai.request.frequency_penalty": 0.0,
    }
    assert [type(first[f"gen_ai.request.{name}"]) for name in ("temperature", "seed")] == [float, int]
    assert second["gen_ai.request.max_tokens"] == 6
    assert type(second["gen_ai.request.max_tokens"]) is int
    assert second["gen_ai.request.choice.count"] == 2


@pytest.mark.parametrize(
    ("model", "name"),
    [("a\u202eb", "a?b"), ("m" * 200, "m" * 128), ("größe-7", "größe-7")],
    ids=["turns the line", "long", "letters"],
)
async def test_a_models_name_that_a_caller_chose_is_fit_for_a_span(model: str, name: str) -> None:
    memory = Memory()
    async with world(memory.sink, scripts={"openai": chat()}) as one:
        await one.ask({**QUESTION, "model": model})
    (span,) = memory.attempts
    assert span.name == f"chat {name}"
    assert said(span)["gen_ai.request.model"] == name


async def test_no_attribute_has_a_name_that_is_not_in_the_table_or_holds_what_is_nobodys_business() -> None:
    memory = Memory()
    await busy(memory.sink)
    secret = "the-secret-of-the-caller"
    scripts = {"openai": error(401, f"{KEY} {secret}", code=secret), "vllm": chat(secret)}
    async with world(memory.sink, scripts=scripts) as one:
        question = {**STREAMED, "messages": [{"role": "user", "content": secret}], "user": secret, "stop": secret}
        await one.ask(question, headers={"authorization": f"Bearer {KEY}", "x-request-id": secret, "baggage": secret})
    for span in memory.spans:
        known = FAILOVER_ATTRIBUTES if span.kind is SpanKind.INTERNAL else ATTEMPT_ATTRIBUTES
        assert said(span).keys() <= known
    everything = "".join(span.to_json() for span in memory.spans) + repr(memory.metrics)
    assert "chatcmpl-scripted" in everything
    assert secret not in everything
    assert found_in(everything) is None


async def test_after_hundreds_of_requests_nothing_is_kept_of_any() -> None:
    memory = Memory()
    scripts = {"openai": [error(500), chat(), error(429), BREAKS] * 125, "vllm": [chat(), error(400), BREAKS] * 167}
    async with world(memory.sink, scripts=scripts) as one:
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(many, one, 50)
        await one.ended.wait(500)
    assert memory.sink._open == {}
    assert len(memory.failovers) == 500


async def many(one: Any, count: int) -> None:
    for index in range(count):
        async with one.client.stream("POST", "/chat/completions", json=(QUESTION, STREAMED)[index % 2]) as reply:
            try:
                await reply.aread()
            except Exception:
                assert reply.status_code == 201  # it was a stream, and was left visibly broken


async def test_a_request_that_is_never_told_to_have_ended_does_not_stay_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subject, "MOST_OPEN", 2)
    memory = Memory()
    release = anyio.Event()
    async with world(memory.sink, scripts={"openai": stream(["a"], gate=release)}) as one:
        async with anyio.create_task_group() as group:
            for count in range(3):
                group.start_soon(lambda: one.client.post("/chat/completions", json=STREAMED))
                await one.upstreams["openai"].wait_for_requests(count + 1)
            assert len(memory.failovers) == 1
            assert said(memory.attempts[0])["error.type"] == "cancelled"
            release.set()
        await one.ended.wait(3)
    assert len(memory.failovers) == 3
    assert memory.sink._open == {}


async def test_what_was_sampled_out_is_not_exported_and_costs_nobody_an_error() -> None:
    memory = Memory(sampler=ALWAYS_OFF)
    async with world(memory.sink) as one:
        assert await one.ask(COUNTED) == 201
    assert memory.spans == []
    assert memory.sink._open == {}


async def test_without_an_sdk_the_sink_does_nothing_and_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    sink = OpenTelemetry()
    await busy(sink)
    assert sink._open == {}
    assert "sink_failed" not in caplog.text


async def test_two_attempts_at_once_do_not_take_each_other_for_their_parent() -> None:
    memory = Memory()
    release = anyio.Event()
    scripts = {"openai": stream([Wait(release), "late"]), "vllm": chat()}
    async with world(memory.sink, scripts=scripts, host=memory.host, timeouts=Timeouts(hedge_after_s=0.01)) as one:
        await one.ask(STREAMED)
    assert memory.tree().splitlines()[1:] == [
        "  ogw failover INTERNAL UNSET",
        "    chat gpt-4o CLIENT UNSET",
        "    chat gpt-4o CLIENT UNSET",
    ]
