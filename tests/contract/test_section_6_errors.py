"""Contract section 6: errors. Each is checked against OpenAI's own schema by `error_of`."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from ogw_asgi import VLLM, Limits, bearer_tokens
from ogw_asgi.testing import Reply, ScriptedUpstream, answer, chat, error, hang, raw

from .harness import gateway_of, key_of, using
from .schema import error_of

pytestmark = pytest.mark.anyio

SEQUENCE = "x-opengateway-failover-sequence"
TIMEOUT = "x-opengateway-timeout"
ENDPOINT = "x-opengateway-vllm-endpoint"


# --- the envelope -----------------------------------------------------------------------------------------------------


def status_only(status: int, body: bytes = b"", content_type: str = "application/json") -> Reply:
    return raw(status, {"content-type": content_type}, [body])


@pytest.mark.contract("6.envelope.shape", "6.envelope.request-id")
@pytest.mark.parametrize(
    ("upstream", "call", "status"),
    [
        (chat(), {"headers": {SEQUENCE: "nonsense"}}, 400),
        (chat(), {"headers": {"x-opengateway-typo": "1"}}, 400),
        (chat(), {"headers": {ENDPOINT: "http://10.0.0.1"}}, 403),
        (chat(), {"content": b"\xff{"}, 400),
        (chat(), {"messages": []}, 400),
        (chat(), {"temperature": 3}, 400),
        (chat(), {"path": "/nowhere"}, 404),
        (chat(), {"content": b"{" + b" " * 5000}, 413),
        (chat(), {"headers": {"content-encoding": "gzip"}, "content": b"x"}, 415),
        (chat(), {"headers": {"via": "1.1 ogw-a, 1.1 ogw-b, 1.1 ogw-c"}}, 508),
        (error(400, "Bad.", code="bad_value", param="top_p"), {}, 400),
        # Providers' errors in all their forms become one.
        (error(422, "Bad.", code=1234), {}, 400),
        (status_only(400, b'{"error": "just a text"}'), {}, 400),
        (status_only(400, b'{"message": {"nested": true}, "type": null, "code": 400}'), {}, 400),
        (status_only(400, b'[{"error": {"message": "In an array.", "status": "INVALID_ARGUMENT"}}]'), {}, 400),
        (status_only(400, b'{"detail": [{"loc": ["body"], "msg": "field required"}]}'), {}, 400),
        (status_only(422, b"plain text", "text/plain"), {}, 400),
        (status_only(413, b"<html>too large</html>", "text/html"), {}, 413),
        (status_only(418, b'{"error":{"message":"\\ud800","type":7,"param":["x"],"code":{}}}'), {}, 400),
        (error(429), {}, 429),
        (error(401), {}, 502),
        (status_only(302), {}, 502),
        (hang(), {"headers": {TIMEOUT: "20"}}, 504),
    ],
)
async def test_every_error_is_openais_envelope_under_the_callers_request_id(
    upstream: Any, call: dict[str, Any], status: int
) -> None:
    call = {**call, "headers": {**call.get("headers", {}), "x-request-id": "the-callers-id"}}
    limits = Limits(body_bytes=4096)
    async with gateway_of(openai=ScriptedUpstream(upstream), limits=limits) as world:
        reply = await world.post(**call)
        without = await world.post(**{**call, "headers": {**call["headers"], "x-request-id": ""}})
    assert reply.status_code == status
    error_of(reply)
    error_of(without)
    assert reply.headers.get_list("x-request-id") == ["the-callers-id"]
    assert without.headers.get_list("x-request-id") not in (["the-callers-id"], [""])


@pytest.mark.contract("6.envelope.attempts", "6.header.on-errors")
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_error_after_attempts_tells_each_of_them_in_the_body_and_in_the_head(streamed: bool) -> None:
    async with gateway_of(
        openai=ScriptedUpstream(error(503, code="server_overloaded")),
        azure=ScriptedUpstream(hang()),
    ) as world:
        reply = await world.post(headers={TIMEOUT: "60"}, stream=streamed)
    attempts = error_of(reply)["attempts"]
    durations = [attempt.pop("duration_ms") for attempt in attempts]
    assert attempts == [
        {"provider": "openai", "outcome": "overloaded", "status": 503, "code": "server_overloaded"},
        {"provider": "azure", "outcome": "timeout", "status": None, "code": None},
    ]
    assert reply.headers["x-opengateway-attempts"] == "2"
    timing = f'openai;dur={durations[0]};desc="503", azure;dur={durations[1]};desc="timeout"'
    assert reply.headers["server-timing"] == timing
    assert durations[1] >= 55
    assert "x-opengateway-provider" not in reply.headers


@pytest.mark.contract("6.header.on-errors")
async def test_an_error_without_attempts_tells_of_none() -> None:
    async with gateway_of(openai=ScriptedUpstream()) as world:
        reply = await world.post(content=b"{")
    assert "attempts" not in error_of(reply)
    assert not {"x-opengateway-attempts", "server-timing", "x-opengateway-provider"} & reply.headers.keys()


@pytest.mark.contract("6.header.provider-refusal", "6.header.on-errors")
async def test_a_refusal_that_is_passed_on_names_the_provider_and_the_attempts_before_it() -> None:
    refusal = error(400, "Invalid 'top_p'.", type="invalid_request_error", code="bad_value", param="top_p")
    async with gateway_of(openai=ScriptedUpstream(error(500)), azure=ScriptedUpstream(refusal)) as world:
        reply = await world.post()
    found = error_of(reply)
    assert reply.status_code == 400
    assert reply.headers["x-opengateway-provider"] == "azure"
    assert reply.headers["x-opengateway-attempts"] == "2"
    assert re.fullmatch(r'openai;dur=\d+;desc="500", azure;dur=\d+;desc="400"', reply.headers["server-timing"])
    assert [attempt["provider"] for attempt in found["attempts"]] == ["openai", "azure"]
    passed_on = {name: found[name] for name in ("message", "type", "code", "param")}
    assert passed_on == {
        "message": "Invalid 'top_p'.",
        "type": "invalid_request_error",
        "code": "bad_value",
        "param": "top_p",
    }


@pytest.mark.contract("6.header.retries-count")
async def test_retries_in_place_count_towards_the_attempts_that_one_request_may_cost() -> None:
    down = ScriptedUpstream(error(500, headers={"retry-after-ms": "1"}))
    spare = ScriptedUpstream()
    sequence = ["openai", "openai", "openai", "spare"]
    async with gateway_of(openai=down, spare=spare, failover_sequence=sequence, limits=Limits(attempts=2)) as world:
        reply = await world.post()
    assert reply.status_code == 502
    assert reply.headers["x-opengateway-attempts"] == "2"
    assert len(error_of(reply)["attempts"]) == 2
    assert world.calls() == ["openai", "openai"]


@pytest.mark.contract("6.header.provider-refusal")
async def test_a_sum_of_several_refusals_is_nobodys_words() -> None:
    async with gateway_of(openai=ScriptedUpstream(error(401)), azure=ScriptedUpstream(error(404))) as world:
        reply = await world.post()
    assert reply.status_code == 502
    assert "x-opengateway-provider" not in reply.headers


# --- secrets ----------------------------------------------------------------------------------------------------------


def shown(reply: httpx.Response) -> str:
    """All that the caller can see."""
    return "\n".join([*(f"{name}: {value}" for name, value in reply.headers.multi_items()), reply.text])


LEAK = (
    "key sk-c4n4ry-configured-for-openai / X-Team-42-secret at"
    " http://gpu.internal.test:8000/v1 (gpu.internal.test:8000)"
)
SECRETS = ("sk-c4n4ry-configured", "X-Team-42", "gpu.internal.test")


@pytest.mark.contract("6.envelope.no-secrets", "4.masked")
@pytest.mark.parametrize(
    "reply",
    [
        error(400, LEAK, type=LEAK, code=LEAK, param=LEAK),
        error(400, f"Incorrect API key provided: {key_of('openai')}."),
        error(413, LEAK),
        error(400, LEAK, code="context_length_exceeded"),
        error(400, LEAK, code="content_filter"),
        error(401, LEAK, code=LEAK),
        error(429, LEAK, code=key_of("openai")),
        error(500, LEAK, type=LEAK, code=LEAK),
        error(508, LEAK, code="loop_detected"),
        status_only(422, LEAK.encode(), "text/plain"),
        status_only(301, LEAK.encode(), "text/plain"),
        status_only(200, LEAK.encode(), "text/html"),
        status_only(200, b'{"error": {"message": "%b", "code": "%b"}}' % (LEAK.encode(), LEAK.encode())),
    ],
)
async def test_no_error_shows_a_key_a_configured_header_or_the_url_of_a_provider(reply: Reply) -> None:
    upstream = using(
        ScriptedUpstream(reply), base_url="http://gpu.internal.test:8000/v1", headers={"x-team": "X-Team-42-secret"}
    )
    async with gateway_of(openai=upstream) as world:
        got = await world.post()
        request = world.upstreams["openai"].requests[0]
    assert request.header("authorization") == f"Bearer {key_of('openai')}"
    assert request.header("x-team") == "X-Team-42-secret"
    assert got.status_code >= 400
    error_of(got)
    for secret in SECRETS:
        assert secret not in shown(got)


@pytest.mark.contract("6.envelope.no-secrets", "4.masked")
async def test_a_callers_key_and_a_key_that_was_asked_for_are_masked_as_well() -> None:
    refusal = error(400, "Refused for sk-c4n4ry-made-a-minute-ago and for sk-of-another.")

    def fresh_key() -> str:
        return "sk-c4n4ry-made-a-minute-ago"

    async with gateway_of(openai=using(ScriptedUpstream(refusal), api_key=fresh_key)) as world:
        got = await world.post()
    assert error_of(got)["message"] == "Refused for *** and for sk-of-another."


@pytest.mark.contract("4.masked-header", "6.envelope.no-secrets")
async def test_a_relayed_header_that_holds_a_key_or_a_url_is_dropped() -> None:
    headers = {
        "x-ratelimit-limit-requests": f"10;key={key_of('openai')}",
        "openai-model": "http://openai.test/v1/models/gpt",
        "x-ratelimit-remaining-requests": "9",
    }
    async with gateway_of(openai=ScriptedUpstream(answer(headers=headers))) as world:
        got = await world.post()
    assert got.status_code == 201
    assert got.headers["x-ratelimit-remaining-requests"] == "9"
    assert not {"x-ratelimit-limit-requests", "openai-model"} & got.headers.keys()


@pytest.mark.contract("6.envelope.no-secrets")
async def test_an_authenticator_and_a_key_source_that_fail_show_nothing_of_their_failure() -> None:
    def broken(_: object = None) -> Any:
        raise RuntimeError("vault at https://vault.internal said sk-c4n4ry-hidden")

    async with gateway_of(openai=ScriptedUpstream(), authenticate=broken) as world:
        unknown_caller = await world.post()
        assert world.calls() == []
    async with gateway_of(openai=using(ScriptedUpstream(), api_key=broken)) as world:
        no_key = await world.post()
        assert world.calls() == []
    assert (unknown_caller.status_code, error_of(unknown_caller)["code"]) == (503, "authentication_unavailable")
    assert no_key.status_code == 502
    for reply in (unknown_caller, no_key):
        assert not re.search(r"vault|sk-c4n4ry-hidden|RuntimeError|Traceback|\.py", shown(reply))


@pytest.mark.contract("6.envelope.no-secrets")
@pytest.mark.parametrize(
    "headers",
    [
        {"x-opengateway-vllm-api-key": "sk-c4n4ry-secret of-the-caller", ENDPOINT: "http://10.0.0.1"},
        {"x-opengateway-vllm-api-key": "sk-c4n4ry-secret-of-the-caller"},
        {ENDPOINT: "http://user:sk-c4n4ry-secret@10.0.0.1"},
        {"authorization": "Bearer sk-c4n4ry-secret"},
        {SEQUENCE: '["sk-c4n4ry-secret"]'},
    ],
)
async def test_a_refused_header_is_named_and_its_value_never_repeated(headers: dict[str, str]) -> None:
    async with gateway_of(
        openai=ScriptedUpstream(),
        vllm=VLLM(endpoint="http://vllm.test"),
        authenticate=bearer_tokens(["sk-c4n4ry-good"]),
    ) as world:
        reply = await world.post(headers={"authorization": "Bearer sk-c4n4ry-good", **headers})
    assert 400 <= reply.status_code < 500
    error_of(reply)
    assert "sk-c4n4ry-secret" not in shown(reply)
