"""`Gateway.explain`: what a request would do is what it then does, and asking changes nothing."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from ogw_asgi import VLLM, Breaker, Gateway, Limits, OpenAI, Principal, Timeouts, bearer_tokens
from ogw_asgi.circuits.memory import MemoryCircuits
from ogw_asgi.explanation import Explanation, Refusal
from ogw_asgi.testing import ScriptedUpstream, chat, error
from tests.asgi.hosts import QUESTION, STREAMED
from tests.contract.checks import asked, mock_clock, sequence
from tests.contract.harness import World, gateway_of, using

pytestmark = pytest.mark.anyio

KEY = "sk-c4n4ry-of-a-caller-0123456789abcdef"
ABC = ["openai", "azure", "vllm"]
on_a_mock_clock = pytest.mark.parametrize("anyio_backend", [mock_clock()])


def order(told: Explanation) -> list[str]:
    assert told.refusal is None
    return [target.provider for target in told.targets]


async def asked_by_a_request(world: World, **headers: str) -> list[str]:
    for upstream in world.upstreams.values():
        upstream.requests.clear()
    await world.post(headers=headers, model="gpt-4o")
    return asked(world)


async def test_all_is_well_and_the_order_is_that_of_the_sequence() -> None:
    async with gateway_of(
        openai=ScriptedUpstream(chat()), azure=using(ScriptedUpstream(chat()), models={"gpt-4o": "prod"})
    ) as world:
        told = await world.gateway.explain({}, STREAMED)
        assert order(told) == ["openai", "azure"]
        first, second = told.targets
        assert (first.state, first.reason, first.put_back, first.endpoint) == ("ready", None, False, None)
        assert (second.asked, second.model) == ("gpt-4o", "prod")
        assert (first.first_chunk_s, second.first_chunk_s) == (30.0, 600.0)
        assert (told.stream, told.on_stream_break, told.success_status, told.attempts) == (True, "error", 201, 5)
        assert world.calls() == []


async def test_a_retry_in_place_is_told_with_its_wait_and_what_nobody_gets_to_is_left_out() -> None:
    async with gateway_of(openai=ScriptedUpstream(chat()), azure=ScriptedUpstream(chat())) as world:
        told = await world.gateway.explain(sequence("openai", "openai", *["azure/a", "azure/b"] * 2), QUESTION)
        assert order(told) == ["openai", "openai", "azure", "azure", "azure"]
        assert [(one.repeat, one.wait_s > 0) for one in told.targets[:3]] == [
            (False, False),
            (True, True),
            (False, False),
        ]
        assert told.left_out == ("azure/b",)
        assert "azure/b: not asked" in str(told)


@on_a_mock_clock
async def test_open_circuits_and_cooldowns_are_told_with_what_they_do_to_the_order() -> None:
    down, calm, well = ScriptedUpstream(error(500)), ScriptedUpstream(error(429)), ScriptedUpstream(chat())
    async with gateway_of(openai=down, azure=calm, vllm=well, failover_sequence=ABC, limit_s=60) as world:
        for _ in range(5):
            await world.post(headers=sequence("openai"), model="gpt-4o")
        await world.post(headers=sequence("azure"), model="gpt-4o")
        told = await world.gateway.explain({}, QUESTION)
        assert await asked_by_a_request(world) == order(told)[:1] == ["vllm"]
        last = {target.provider: target for target in told.targets}
        assert (last["openai"].state, last["openai"].reason, last["openai"].put_back) == ("wait", "circuit_open", True)
        assert (last["azure"].state, last["azure"].reason, last["azure"].put_back) == ("wait", "cooling_down", True)
        assert 3.75 <= (last["openai"].reason_ends_in_s or 0) <= 6.25
        assert last["azure"].reason_ends_in_s == pytest.approx(5.0, abs=0.1)
        assert not last["vllm"].put_back
        # other models there are nobody's trouble
        assert order(await world.gateway.explain({}, {**QUESTION, "model": "another"})) == ABC
        await anyio.sleep(7)
        told = await world.gateway.explain({}, QUESTION)
        assert order(told) == ABC
        probe = told.targets[0]
        assert (probe.state, probe.reason, probe.beside_after_s) == ("probe", "half_open", 1.0)
        assert (await world.gateway.explain({"x-opengateway-timeout": "500"}, QUESTION)).targets[-1].reason == (
            "no_time_to_probe"
        )


@pytest.mark.parametrize("how_often", [0, 1, 25])
@on_a_mock_clock
async def test_asking_changes_nothing_for_the_next_request(how_often: int) -> None:
    down, well = ScriptedUpstream(error(500)), ScriptedUpstream(error(500))
    async with gateway_of(
        openai=down, azure=well, failover_sequence=["openai", "azure"], breaker=Breaker(failures=2), limit_s=600
    ) as world:
        for _ in range(2):
            await world.post(model="gpt-4o")
        await anyio.sleep(7)  # both are due for their probe, and a further attempt at one of them draws on the budget
        calls = world.calls()
        assert world.gateway._opened is not None
        store = world.gateway._opened.dispatcher.circuits.store
        assert isinstance(store, MemoryCircuits)
        before, budgets = dict(await store.known((), 0.0)), dict(store._buckets)
        told = [await world.gateway.explain({}, QUESTION) for _ in range(how_often)]
        assert len({str(one) for one in told}) <= 1
        assert list((await store.known((), 0.0)).items()) == list(before.items())
        assert dict(store._buckets) == budgets
        assert world.calls() == calls
        assert await asked_by_a_request(world) == ["openai", "azure"]
        assert all(order(one) == ["openai", "azure"] for one in told)
        assert all(one.targets[1].on_budget for one in told)


NAMED = {**sequence("vllm"), "x-opengateway-vllm-endpoint": "http://10.9.9.9:8000"}
REFUSED: list[Any] = [
    ({}, b"{", "invalid_body"),
    ({}, {"model": "m"}, None),
    ({"x-opengateway-tmeout": "1"}, QUESTION, "invalid_header"),
    ({"x-opengateway-timeout": "soon"}, QUESTION, "invalid_header"),
    (sequence("nobody"), QUESTION, "invalid_header"),
    ({"content-type": "text/plain"}, QUESTION, "unsupported_media_type"),
    ({"via": "1.1 ogw-a, 1.1 ogw-b, 1.1 ogw-c"}, QUESTION, "loop_detected"),
    (NAMED, QUESTION, "endpoint_not_allowed"),
    ({}, {**QUESTION, "messages": [{"role": "user", "content": "x" * 2000}]}, "body_too_large"),
    ({"content-length": "3", "transfer-encoding": "chunked"}, QUESTION, "invalid_header"),
]


@pytest.mark.parametrize(("headers", "body", "code"), REFUSED)
async def test_a_request_that_is_refused_is_explained_by_its_refusal(
    headers: dict[str, str], body: Any, code: str | None
) -> None:
    upstream = ScriptedUpstream(chat())
    limits = Limits(body_bytes=1500)
    async with gateway_of(openai=upstream, vllm=ScriptedUpstream(chat()), limits=limits) as world:
        told = await world.gateway.explain(headers, body)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json", **headers}
        reply = await world.client.post("/chat/completions", headers=sent, content=content)
        said = reply.json()["error"]
        if isinstance(body, bytes):
            told = await world.gateway.explain(sent, body)
        assert told.refusal == Refusal(reply.status_code, said["code"], said["message"], said["param"])
        assert code in (None, said["code"])
        assert told.targets == ()
        assert str(told).startswith(f"refused with {reply.status_code} ")
        assert world.calls() == []


async def test_rights_are_those_of_the_principal_that_is_given() -> None:
    gateway = Gateway(
        providers=[OpenAI(), OpenAI(name="other")],
        failover_sequence=["openai", "other"],
        authenticate=bearer_tokens([KEY]),
    )
    async with gateway:
        assert order(await gateway.explain({}, QUESTION)) == ["openai", "other"]
        narrow = Principal("ada", providers={"other"})
        assert order(await gateway.explain({}, QUESTION, principal=narrow)) == ["other"]
        told = await gateway.explain(sequence("openai"), QUESTION, principal=narrow)
        assert told.refusal is not None
        assert told.refusal.code == "provider_not_allowed"
        twice = await gateway.explain([("authorization", "Bearer a"), (b"Authorization", b"Bearer b")], QUESTION)
        assert twice.refusal is not None
        assert (twice.refusal.status, twice.refusal.param) == (400, "authorization")


async def test_it_opens_nothing_and_a_closed_gateway_says_so(caplog: pytest.LogCaptureFixture) -> None:
    gateway = Gateway(providers=[OpenAI(api_key=KEY)])
    assert order(await gateway.explain({}, QUESTION)) == ["openai"]
    big = {**QUESTION, "messages": [{"role": "user", "content": "a,\\"}] * 9000}
    assert order(await gateway.explain({}, big)) == ["openai"]
    assert not any("opened" in record.getMessage() for record in caplog.records)
    await gateway.aclose()
    told = await gateway.explain({}, QUESTION)
    assert told.refusal is not None
    assert (told.refusal.status, told.refusal.code) == (503, "gateway_closed")


async def test_an_endpoint_of_the_callers_is_named_and_its_key_is_not() -> None:
    vllm = VLLM(allowed_endpoints=["http://10.9.9.9:8000"])
    timeouts = Timeouts(total_s=20, hedge_after_s="p95")
    async with Gateway(providers=[vllm], timeouts=timeouts, on_stream_break="hold") as gateway:
        told = await gateway.explain({**NAMED, "x-opengateway-vllm-api-key": KEY}, STREAMED)
        text = str(told)
        for shown in ("at http://10.9.9.9:8000", "within 20 s", "hedged after p95", "breaks: hold"):
            assert shown in text
        assert KEY not in text + json.dumps(told.as_dict())
        off = await gateway.explain({**NAMED, "x-opengateway-hedge-after": "0"}, STREAMED)
        assert off.hedge_after is None
        soon = await gateway.explain({**NAMED, "x-opengateway-hedge-after": "500"}, STREAMED)
        assert "hedged after 0.5 s" in str(soon)


async def test_it_is_json_when_asked_and_a_line_for_each_target_when_printed() -> None:
    async with gateway_of(openai=ScriptedUpstream(chat()), azure=ScriptedUpstream(chat())) as world:
        told = await world.gateway.explain({}, json.dumps(QUESTION))
        assert told.refusal is not None, "text has no type of its own"
        told = await world.gateway.explain({"Content-Type": "application/json"}, json.dumps(QUESTION))
        plain = told.as_dict()
        assert json.loads(json.dumps(plain)) == plain
        assert [one["provider"] for one in plain["targets"]] == ["openai", "azure"]
        assert str(told).splitlines() == [
            "1. openai, gpt-4o: ready, first chunk within 600 s",
            "2. azure, gpt-4o: ready, first chunk within 600 s",
            "a plain answer, success is 201; at most 5 attempts",
        ]
