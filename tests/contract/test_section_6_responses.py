"""Contract section 6, the bright side: content, added and relayed headers, the list of models."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ogw_asgi import Principal, bearer_tokens
from ogw_asgi.testing import ScriptedUpstream, answer, chat, error, hang, raw, sse_event, stream

from .harness import gateway_of, using
from .schema import error_of

pytestmark = pytest.mark.anyio

SEQUENCE = "x-opengateway-failover-sequence"

# Nothing that a parser and a writer would leave as it is: order, blanks, numbers, escapes, unknown and repeated keys.
ODD_BODY = (
    b' {\r\n\t"usage" : {"total_tokens":1E2,"cost":0.10, "big":12345678901234567890123},\n"choices":[ {"message":'
    b'{"content":"\\u00e9\xc3\xa9 \\/ /","role":"assistant", "refusal" : null},"index":0,"finish_reason":"stop" } ],'
    b'"model" : "what/the provider:says", "x_custom":[1.0,-0.0,null],"id":"1","id":"2"}\r\n'
)
ODD_EVENTS = [
    b'{"choices" :[ {"delta":{"content":"\\u00e9\xc3\xa9"},"index":0}],"model":"what/the provider:says","n":1.50}',
    b'{ "x":[12345678901234567890123],"choices":[{"delta":{},"index":0,"finish_reason":"stop"}] , "model" : "other"}',
]


# --- content ----------------------------------------------------------------------------------------------------------


@pytest.mark.contract("6.content.plain", "6.content.model")
@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
async def test_a_completion_comes_through_byte_for_byte(content_type: str) -> None:
    reply = raw(200, {"content-type": content_type}, [ODD_BODY[:50], ODD_BODY[50:]])
    async with gateway_of(openai=ScriptedUpstream(reply)) as world:
        got = await world.post(model="asked")
    assert got.content == ODD_BODY
    assert int(got.headers["content-length"]) == len(ODD_BODY)


@pytest.mark.contract("6.content.stream", "6.content.model")
async def test_the_events_of_a_stream_come_through_byte_for_byte() -> None:
    sent = [sse_event(event) for event in ODD_EVENTS] + [sse_event("[DONE]")]
    reply = raw(200, {"content-type": "text/event-stream"}, sent)
    async with gateway_of(openai=ScriptedUpstream(reply)) as world:
        got = await world.post(stream=True, model="asked")
    assert got.content == b"".join(sent)


@pytest.mark.contract("6.content.model")
async def test_the_model_in_the_answer_is_the_providers_word_even_where_a_map_was_used() -> None:
    upstream = ScriptedUpstream(answer(model="served-2026-08-01"), stream(model="served-2026-08-01"))
    async with gateway_of(openai=using(upstream, models={"asked": "served"})) as world:
        plain = await world.post(model="asked")
        streamed = await world.post(model="asked", stream=True)
    assert [request.json["model"] for request in upstream.requests] == ["served", "served"]
    assert plain.json()["model"] == "served-2026-08-01"
    assert set(re.findall(rb'"model":"([^"]*)"', streamed.content)) == {b"served-2026-08-01"}


# --- added headers ----------------------------------------------------------------------------------------------------


@pytest.mark.contract("6.header.provider", "6.header.attempts", "6.header.server-timing")
@pytest.mark.parametrize("streamed", [False, True])
async def test_the_head_says_who_answered_after_how_many_attempts_and_what_came_of_each(streamed: bool) -> None:
    async with gateway_of(
        openai=ScriptedUpstream(error(503)),
        azure=ScriptedUpstream(raw(200, {"content-type": "text/html"}, [b"<html>"])),
        groq=ScriptedUpstream(chat("Hi")),
        failover_sequence=["openai", "azure", "groq"],
    ) as world:
        reply = await world.post(stream=streamed)
    assert reply.status_code == 201
    assert reply.headers["x-opengateway-provider"] == "groq"
    assert reply.headers["x-opengateway-attempts"] == "3"
    timing = r'openai;dur=\d+;desc="503", azure;dur=\d+;desc="invalid_answer", groq;dur=\d+;desc="200"'
    assert re.fullmatch(timing, reply.headers["server-timing"])


@pytest.mark.contract("6.header.server-timing")
async def test_an_attempt_without_a_status_is_described_by_its_outcome_and_its_duration_is_in_milliseconds() -> None:
    async with gateway_of(openai=ScriptedUpstream(hang()), azure=ScriptedUpstream()) as world:
        reply = await world.post(headers={"x-opengateway-timeout": "60"})
    found = re.fullmatch(r'openai;dur=(\d+);desc="timeout", azure;dur=\d+;desc="200"', reply.headers["server-timing"])
    assert found is not None
    assert 55 <= int(found[1]) < 1000


@pytest.mark.contract("6.header.retries-count")
async def test_a_retry_in_place_counts_as_an_attempt() -> None:
    upstream = ScriptedUpstream(error(500, headers={"retry-after-ms": "1"}), chat("Hi"))
    async with gateway_of(openai=upstream, failover_sequence=["openai", "openai"]) as world:
        reply = await world.post()
    assert reply.headers["x-opengateway-attempts"] == "2"
    assert reply.headers["server-timing"].count("openai;") == 2


@pytest.mark.contract("6.request-id.kept")
@pytest.mark.parametrize("given", ["a", "req_011CSHoEeqs5C35K2UUqR7Fy", "!~/:;=", "x" * 128])
@pytest.mark.parametrize("streamed", [False, True])
async def test_the_callers_request_id_is_kept_and_sent_on(given: str, streamed: bool) -> None:
    async with gateway_of(openai=ScriptedUpstream()) as world:
        reply = await world.post(headers={"x-request-id": given}, stream=streamed)
    assert reply.headers.get_list("x-request-id") == [given]
    assert world.upstreams["openai"].requests[0].header("x-request-id") == given


@pytest.mark.contract("6.request-id.new")
@pytest.mark.parametrize(
    "given",
    [
        [],
        [("x-request-id", "")],
        [("x-request-id", "x" * 129)],
        [("x-request-id", "two words")],
        [("x-request-id", "caf\u00e9".encode())],
        [("x-request-id", "one"), ("x-request-id", "two")],
    ],
    ids=["none", "empty", "too long", "blank", "not ascii", "twice"],
)
async def test_an_id_that_is_missing_or_unfit_is_replaced_by_a_new_one(given: Any) -> None:
    provider_id = {"x-request-id": "the-providers-own"}
    async with gateway_of(openai=ScriptedUpstream(answer(headers=provider_id))) as world:
        replies = [await world.post(headers=given) for _ in range(2)]
    made = [reply.headers.get_list("x-request-id") for reply in replies]
    assert all(len(ids) == 1 and re.fullmatch(r"[!-~]{1,128}", ids[0]) for ids in made)
    assert made[0] != made[1]
    assert "the-providers-own" not in made[0] + made[1]
    sent = [[request.header("x-request-id")] for request in world.upstreams["openai"].requests]
    assert sent == made


@pytest.mark.contract("6.sse-headers")
async def test_a_stream_tells_proxies_not_to_hold_it_back() -> None:
    async with gateway_of(openai=ScriptedUpstream()) as world:
        streamed = await world.post(stream=True)
        plain = await world.post(stream=False)
    assert streamed.headers["content-type"].partition(";")[0] == "text/event-stream"
    assert streamed.headers["cache-control"] == "no-cache, no-transform"
    assert streamed.headers["x-accel-buffering"] == "no"
    assert "content-length" not in streamed.headers
    assert not {"cache-control", "x-accel-buffering"} & plain.headers.keys()


@pytest.mark.contract("6.json-type")
@pytest.mark.parametrize("given", ["application/json; charset=utf-8", "application/problem+json", "text/json", None])
async def test_json_is_always_announced_as_application_json(given: str | None) -> None:
    headers = {} if given is None else {"content-type": given}
    async with gateway_of(openai=ScriptedUpstream(raw(200, headers, [ODD_BODY]))) as world:
        replies = [
            await world.post(),
            await world.post(content=b"{"),
            await world.client.get("/models"),
            await world.client.get("/nowhere"),
            await world.client.get("/chat/completions"),
        ]
    assert [reply.status_code for reply in replies] == [201, 400, 200, 404, 405]
    assert [reply.headers.get_list("content-type") for reply in replies] == [["application/json"]] * 5


# --- relayed headers --------------------------------------------------------------------------------------------------

RATE_LIMITS = {
    "x-ratelimit-limit-requests": "5000",
    "x-ratelimit-remaining-tokens": "159976",
    "x-ratelimit-reset-requests": "12ms",
    "retry-after": "3",
    "retry-after-ms": "2500",
}
NOT_RELAYED = {
    "set-cookie": "__cf_bm=abc; path=/; HttpOnly",
    "server": "cloudflare",
    "connection": "x-hop",
    "x-hop": "1",
    "keep-alive": "timeout=5",
    "proxy-authenticate": "Basic",
    "trailer": "x-checksum",
    "upgrade": "h2c",
    "te": "trailers",
    "content-encoding": "identity",
    "alt-svc": 'h3=":443"',
    "strict-transport-security": "max-age=1",
    "openai-organization": "org-operator",
    "location": "http://elsewhere.test/",
    "via": "1.1 provider",
    "access-control-allow-origin": "*",
    "x-opengateway-provider": "forged",
    "x-opengateway-attempts": "99",
    "server-timing": "forged;dur=1",
}


@pytest.mark.contract("6.relayed.rate-limit", "6.relayed.not-others")
@pytest.mark.parametrize("streamed", [False, True])
async def test_rate_limits_come_through_and_what_concerns_the_connection_or_the_operator_does_not(
    streamed: bool,
) -> None:
    headers = {**RATE_LIMITS, **NOT_RELAYED}
    reply = stream(["Hi"], headers=headers) if streamed else answer(headers=headers)
    async with gateway_of(openai=ScriptedUpstream(reply)) as world:
        got = await world.post(stream=streamed)
    assert got.status_code == 201
    assert {name: got.headers.get(name) for name in RATE_LIMITS} == RATE_LIMITS
    ours = {"x-opengateway-provider", "x-opengateway-attempts", "server-timing"}
    assert not (NOT_RELAYED.keys() - ours) & got.headers.keys()
    assert got.headers.get_list("x-opengateway-provider") == ["openai"]
    assert got.headers.get_list("x-opengateway-attempts") == ["1"]
    assert "forged" not in got.headers["server-timing"]


@pytest.mark.contract("6.relayed.rate-limit")
async def test_a_refusal_that_is_passed_on_keeps_its_rate_limits_but_not_its_retry_after() -> None:
    headers = {"x-ratelimit-remaining-requests": "7", "retry-after": "900", "set-cookie": "a=b"}
    async with gateway_of(openai=ScriptedUpstream(error(400, "no such field", headers=headers))) as world:
        got = await world.post()
    assert got.status_code == 400
    assert got.headers["x-ratelimit-remaining-requests"] == "7"
    assert not {"retry-after", "set-cookie"} & got.headers.keys()


@pytest.mark.contract("6.relayed.not-others")
async def test_a_length_that_no_longer_holds_is_replaced() -> None:
    # Sent without one: the gateway has the whole body, and says its length.
    reply = raw(200, {"content-type": "application/json", "transfer-encoding": "chunked"}, [ODD_BODY])
    async with gateway_of(openai=ScriptedUpstream(reply)) as world:
        got = await world.post()
    assert got.headers.get_list("content-length") == [str(len(ODD_BODY))]
    assert "transfer-encoding" not in got.headers


@pytest.mark.contract("6.relayed.rate-limit")
async def test_the_headers_of_a_provider_that_failed_are_not_those_of_the_one_that_answered() -> None:
    failed = ScriptedUpstream(error(503, headers={"x-ratelimit-limit-requests": "1", "retry-after": "60"}))
    good = ScriptedUpstream(answer(headers={"x-ratelimit-limit-requests": "2"}))
    async with gateway_of(openai=failed, azure=good) as world:
        got = await world.post()
    assert got.headers.get_list("x-ratelimit-limit-requests") == ["2"]
    assert "retry-after" not in got.headers


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.contract("6.models.listed", "6.models.no-call")
@pytest.mark.parametrize("path", ["/models", "/v1/models"])
async def test_the_models_are_those_of_the_settings_and_of_the_model_maps(path: str) -> None:
    async with gateway_of(
        openai=using(ScriptedUpstream(), models={"small": "gpt-mini", "*": "gpt"}),
        azure=using(ScriptedUpstream(), models={"small": "mini-deployment", "large": "large-deployment"}),
        models=["first", "large"],
    ) as world:
        reply = await world.client.get(path)
        assert world.calls() == []
    listing = reply.json()
    assert reply.status_code == 200
    assert listing["object"] == "list"
    assert sorted(model["id"] for model in listing["data"]) == ["first", "large", "small"]
    for model in listing["data"]:
        assert model.keys() == {"id", "object", "created", "owned_by"}
        assert model["object"] == "model"
        assert isinstance(model["created"], int)
        assert isinstance(model["owned_by"], str)
    assert reply.headers["x-request-id"]


@pytest.mark.contract("6.models.listed")
async def test_without_settings_the_list_is_empty_and_head_has_no_body() -> None:
    async with gateway_of(openai=ScriptedUpstream()) as world:
        assert (await world.client.get("/models")).json() == {"object": "list", "data": []}
        head = await world.client.head("/models")
        assert (head.status_code, head.content) == (200, b"")


@pytest.mark.contract("6.models.authenticated", "6.models.no-call")
@pytest.mark.parametrize("path", ["/models", "/v1/models"])
async def test_the_models_are_shown_to_those_who_may_call_alone(path: str) -> None:
    tokens: dict[str | Principal, list[str]] = {"someone": ["sk-c4n4ry-good-token"]}
    async with gateway_of(openai=ScriptedUpstream(), models=["first"], authenticate=bearer_tokens(tokens)) as world:
        nobody = await world.client.get(path)
        wrong = await world.client.get(path, headers={"authorization": "Bearer wrong"})
        someone = await world.client.get(path, headers={"authorization": "Bearer sk-c4n4ry-good-token"})
        assert world.calls() == []
    for reply in (nobody, wrong):
        assert (reply.status_code, error_of(reply)["code"]) == (401, "invalid_api_key")
        assert reply.headers["www-authenticate"] == "Bearer"
    assert someone.status_code == 200
