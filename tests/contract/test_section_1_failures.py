"""Contract section 1: what the caller is told when the attempts have failed, or none could be made."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest

from ogw_asgi import Gateway, Limits, OpenAICompatible, Principal, Timeouts, bearer_tokens
from ogw_asgi.testing import Hang, ScriptedUpstream, SharedEvent, asgi_client, chat, dead_port, error, hang, hold, raw

from ..asgi.hosts import http_scope
from .harness import gateway_of
from .schema import error_of

pytestmark = pytest.mark.anyio

SEQUENCE = "x-opengateway-failover-sequence"


def limited(**headers: str) -> ScriptedUpstream:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return ScriptedUpstream(error(429, "Slow down.", code="rate_limit_exceeded", headers=names))


def outcomes(found: dict[str, Any]) -> list[tuple[str, str, int | None]]:
    return [(attempt["provider"], attempt["outcome"], attempt["status"]) for attempt in found["attempts"]]


# --- 429, 502, 504 ----------------------------------------------------------------------------------------------------


@pytest.mark.contract("1.rate-limited", "1.rate-limited.soonest")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("first", "second", "retry_after", "retry_after_ms"),
    [
        ({"retry_after": "20"}, {"retry_after": "7"}, "7", "7000"),
        ({"retry_after": "7"}, {"retry_after": "20"}, "7", "7000"),
        ({"retry_after": "30"}, {}, "30", "30000"),
        ({"retry_after": "30", "retry_after_ms": "1500"}, {"retry_after": "9"}, "2", "1500"),
    ],
)
async def test_when_every_attempt_was_rate_limited_the_soonest_named_wait_is_told(
    first: dict[str, str], second: dict[str, str], retry_after: str, retry_after_ms: str, stream: bool
) -> None:
    async with gateway_of(openai=limited(**first), azure=limited(**second)) as world:
        reply = await world.post(stream=stream)
    found = error_of(reply)
    assert (reply.status_code, found["type"], found["code"]) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert (reply.headers["retry-after"], reply.headers["retry-after-ms"]) == (retry_after, retry_after_ms)
    assert outcomes(found) == [("openai", "rate_limited", 429), ("azure", "rate_limited", 429)]


@pytest.mark.contract("1.rate-limited")
async def test_one_failure_of_another_kind_makes_it_no_429() -> None:
    async with gateway_of(openai=limited(retry_after="7"), azure=ScriptedUpstream(error(500))) as world:
        assert (await world.post()).status_code == 502


@pytest.mark.contract("1.all-failed")
@pytest.mark.parametrize("stream", [False, True])
async def test_when_every_attempt_failed_for_mixed_reasons_it_is_a_502_with_the_attempts(stream: bool) -> None:
    page = raw(200, {"content-type": "text/html"}, [b"<html>maintenance</html>"])
    with dead_port() as port:
        async with gateway_of(
            openai=ScriptedUpstream(error(503, code="overloaded")),
            azure=ScriptedUpstream(page),
            local=f"http://127.0.0.1:{port}",
            failover_sequence=["openai", "azure", "local"],
        ) as world:
            reply = await world.post(stream=stream)
    found = error_of(reply)
    assert (reply.status_code, found["type"], found["code"]) == (502, "upstream_error", "all_attempts_failed")
    assert outcomes(found) == [
        ("openai", "overloaded", 503),
        ("azure", "invalid_answer", 200),
        ("local", "connect", None),
    ]
    assert found["attempts"][0]["code"] == "overloaded"
    for word in ("openai (503)", "azure (invalid_answer)", "local (connect)"):
        assert word in found["message"]


@pytest.mark.contract("1.timed-out")
@pytest.mark.parametrize("stream", [False, True])
async def test_when_every_attempt_ran_out_of_time_it_is_a_504_with_the_attempts(stream: bool) -> None:
    begun = hang("body") if stream else raw(200, {"content-type": "application/json"}, [b'{"choices":', Hang()])
    async with gateway_of(openai=ScriptedUpstream(hang()), azure=ScriptedUpstream(begun)) as world:
        reply = await world.post(headers={"x-opengateway-timeout": "50"}, stream=stream)
    found = error_of(reply)
    assert (reply.status_code, found["type"], found["code"]) == (504, "upstream_error", "timeout")
    assert [item[:2] for item in outcomes(found)] == [("openai", "timeout"), ("azure", "timeout")]
    assert all(attempt["duration_ms"] >= 40 for attempt in found["attempts"])


# --- 503 --------------------------------------------------------------------------------------------------------------


def unavailable(reply: httpx.Response, code: str) -> None:
    found = error_of(reply)
    assert (reply.status_code, found["type"], found["code"]) == (503, "service_unavailable_error", code)
    assert 1 <= int(reply.headers["retry-after"]) <= 60
    assert int(reply.headers["retry-after-ms"]) > 0


@pytest.mark.contract("1.unavailable.closed", "1.unavailable.retry-after")
@pytest.mark.parametrize("how", ["closed", "left"])
async def test_a_gateway_that_was_closed_answers_503(how: str) -> None:
    upstream = ScriptedUpstream()
    async with gateway_of(openai=upstream) as world:
        assert (await world.post()).status_code == 201
        if how == "closed":
            await world.gateway.aclose()
        else:
            await world.gateway.__aexit__(None, None, None)
        unavailable(await world.post(), "gateway_closed")
        unavailable(await world.client.get("/models"), "gateway_closed")
        assert len(upstream.requests) == 1
        async with world.gateway:
            assert (await world.post()).status_code == 201


@pytest.mark.contract("1.unavailable.no-provider", "1.unavailable.retry-after")
async def test_without_a_configured_provider_it_is_a_503() -> None:
    async with gateway_of() as world:
        unavailable(await world.post(), "no_provider")


@pytest.mark.contract("1.unavailable.no-provider", "1.unavailable.retry-after")
async def test_without_a_permitted_provider_it_is_a_503() -> None:
    tokens: dict[str | Principal, list[str]] = {Principal("p", providers=frozenset({"vllm"})): ["token"]}
    async with gateway_of(openai=ScriptedUpstream(), authenticate=bearer_tokens(tokens)) as world:
        unavailable(await world.post(headers={"authorization": "Bearer token"}), "no_provider")
        assert world.calls() == []


@pytest.mark.contract("1.unavailable.overload", "1.unavailable.retry-after")
async def test_a_request_for_which_no_slot_came_free_is_shed() -> None:
    release = SharedEvent()
    upstream = ScriptedUpstream(hold(chat("late"), until=release))
    async with gateway_of(openai=upstream, limits=Limits(concurrency=1), timeouts=Timeouts(slot_wait_s=0.05)) as world:
        first: list[httpx.Response] = []

        async def ask() -> None:
            first.append(await world.post())

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await upstream.wait_for_requests()
            reply = await world.post()
            release.set()
        unavailable(reply, "gateway_overloaded")
        assert outcomes(error_of(reply)) == [("openai", "busy", None)]
        assert first[0].status_code == 201
        assert len(upstream.requests) == 1


@pytest.mark.contract("1.unavailable.in-flight", "1.unavailable.retry-after")
async def test_a_full_gateway_refuses_at_the_door_with_the_body_unread() -> None:
    release = SharedEvent()
    upstream = ScriptedUpstream(hold(chat("late"), until=release))
    sent: list[Any] = []

    async def unread() -> Any:
        raise AssertionError("the body was asked for")

    async def send(message: Any) -> None:
        sent.append(message)

    async with gateway_of(openai=upstream, limits=Limits(in_flight=1)) as world:
        async with anyio.create_task_group() as group:
            group.start_soon(world.post)
            await upstream.wait_for_requests()
            await world.gateway(http_scope(), unread, send)
            release.set()
        reply = httpx.Response(sent[0]["status"], headers=sent[0]["headers"], content=sent[1]["body"])
        unavailable(reply, "gateway_overloaded")
        assert reply.headers["connection"] == "close"
        assert len(upstream.requests) == 1
        assert (await world.post()).status_code == 201, "the place was given back"


# --- 508 --------------------------------------------------------------------------------------------------------------


def looped(reply: httpx.Response) -> dict[str, Any]:
    found = error_of(reply)
    assert (reply.status_code, found["code"]) == (508, "loop_detected")
    assert reply.headers["x-should-retry"] == "false"
    return found


@pytest.mark.contract("1.loop")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_comes_back_to_this_gateway_ends_there(stream: bool) -> None:
    gateways: list[Gateway] = []
    arrivals: list[str] = []

    async def same_gateway(scope: Any, receive: Any, send: Any) -> None:
        arrivals.append(scope["path"])
        await gateways[0]({**scope, "path": "/chat/completions"}, receive, send)

    async with asgi_client(same_gateway) as itself:
        mirror = OpenAICompatible("mirror", base_url="http://gateway.test/v1", api_key="sk-c4n4ry-k", client=itself)
        spare = ScriptedUpstream()
        async with gateway_of(mirror=mirror, spare=spare, failover_sequence=["mirror", "spare"]) as world:
            gateways.append(world.gateway)
            found = looped(await world.post(stream=stream))
    assert arrivals == ["/v1/chat/completions"]
    assert outcomes(found) == [("mirror", "loop_detected", 508)]
    assert spare.requests == []


@pytest.mark.contract("1.loop")
async def test_the_508_of_a_gateway_behind_this_one_is_the_callers_508() -> None:
    innermost = ScriptedUpstream()
    async with gateway_of(openai=innermost) as inner, asgi_client(inner.gateway) as way_in:
        outer = OpenAICompatible("inner", base_url="http://inner.test/v1", api_key="sk-c4n4ry-k", client=way_in)
        async with gateway_of(inner=outer) as world:
            assert (await world.post(headers={"via": "1.1 ogw-a"})).status_code == 201
            found = looped(await world.post(headers={"via": "1.1 ogw-a, 1.1 ogw-b"}))
            assert [attempt["provider"] for attempt in found["attempts"]] == ["inner"]
    assert len(innermost.requests) == 1


@pytest.mark.contract("1.loop")
@pytest.mark.parametrize(
    "via",
    [
        [("via", "1.1 ogw-a, 1.1 ogw-b, 1.1 ogw-c")],
        [("via", "1.1 ogw-a"), ("via", "1.0 proxy, 1.1 ogw-b, 1.1 ogw-c (comment)")],
    ],
)
async def test_a_request_that_came_through_three_gateways_goes_no_further(via: list[tuple[str, str]]) -> None:
    async with gateway_of(openai=ScriptedUpstream()) as world:
        looped(await world.post(headers=via))
        assert world.calls() == []
        two_and_proxies = await world.post(headers={"via": "1.1 ogw-a, 1.1 nginx, 2 cdn, 1.1 ogw-b"})
        assert two_and_proxies.status_code == 201
