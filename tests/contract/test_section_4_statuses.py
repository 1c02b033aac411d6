"""Section 4, what servers say: statuses that move on, refusals that are the caller's, and the last word."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from ogw_asgi import VLLM
from ogw_asgi.testing import RawUpstream, Reply, ScriptedUpstream, answer, chat, error, http_head, raw, serve

from .harness import gateway_of, key_of

pytestmark = pytest.mark.anyio

SEQUENCE = "x-opengateway-failover-sequence"
WORDS: dict[str, Any] = {"type": "invalid_request_error", "code": "some_code", "param": "messages[0].content"}


def html(status: int) -> Reply:
    return raw(status, {"content-type": "text/html"}, [b"<html><body>Bad Gateway</body></html>"])


def empty(status: int) -> Reply:
    return raw(status, {"content-length": "0"}, [])


# --- on to the next ---------------------------------------------------------------------------------------------------

MISCONFIGURED = [300, 301, 302, 303, 304, 305, 307, 308, 401, 402, 403, 404, 405, 406, 407, 410, 415, 426, 431, 501]
TRANSIENT = [408, 409, 424, 425, 429, 498, 499, 500, 502, 503, 504, 505, 507, 508, 511, 520, 524, 529, 598, 599]


@pytest.mark.contract(
    "4.next.misconfigured",
    "B.any-3xx",
    "B.any-402",
    "B.any-405",
    "B.any-401",
    "B.any-501",
    "B.any-server",
    "B.any-overload",
    "B.any-424",
    "B.any-5xx",
)
@pytest.mark.parametrize("body", ["json", "empty"])
@pytest.mark.parametrize(
    ("status", "alert"), [*((status, True) for status in MISCONFIGURED), *((status, False) for status in TRANSIENT)]
)
async def test_these_statuses_move_on_and_only_our_own_faults_are_logged(
    status: int, alert: bool, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    failing = error(status, "no") if body == "json" else empty(status)
    async with gateway_of(openai=ScriptedUpstream(failing), azure=ScriptedUpstream(chat("Hi"))) as world:
        reply = await world.post()
        assert world.calls() == ["openai", "azure"]
    assert reply.status_code == 201
    assert reply.json()["choices"][0]["message"]["content"] == "Hi"
    assert reply.headers["x-opengateway-provider"] == "azure"
    assert reply.headers["x-opengateway-attempts"] == "2"
    assert f'desc="{status}"' in reply.headers["server-timing"]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    if status == 402:  # out of money: nobody asks there for a while
        assert warnings.pop(0).startswith("circuit_open")
    assert len(warnings) == alert
    assert all(
        "misconfigured" in warning and "provider=openai" in warning and f"status={status}" in warning
        for warning in warnings
    )


@pytest.mark.contract("B.any-400-proxy")
@pytest.mark.parametrize("failing", [html(400), empty(400)], ids=["html", "empty"])
async def test_a_400_of_a_proxy_moves_on(failing: Reply) -> None:
    async with gateway_of(openai=ScriptedUpstream(failing), azure=ScriptedUpstream()) as world:
        reply = await world.post()
        assert world.calls() == ["openai", "azure"]
    assert reply.status_code == 201


@pytest.mark.contract("B.any-invalid-answer")
@pytest.mark.parametrize("status", [101, 600, 999])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_status_that_http_does_not_have_moves_on(status: int, stream: bool) -> None:
    head = http_head(status, {"content-length": "0"} if status != 101 else {"upgrade": "x", "connection": "upgrade"})
    async with RawUpstream([head]) as odd:
        async with gateway_of(openai=odd, azure=ScriptedUpstream()) as world:
            reply = await world.post(stream=stream)
            assert world.calls() == ["openai", "azure"]
    assert reply.status_code == 201


@pytest.mark.contract("B.openai-429-rate", "B.openai-429-quota", "B.openai-429-too-large", "B.azure-429", "B.groq-413")
@pytest.mark.parametrize(
    ("provider", "failing"),
    [
        ("openai", error(429, "slow down", code="rate_limit_exceeded")),
        ("openai", error(429, "no money", type="insufficient_quota")),
        ("openai", error(429, "Request too large for gpt-4o in organization")),
        ("azure", error(429, "wait", headers={"retry-after": "86400"})),
        ("groq", error(413, "tokens per minute", type="tokens", code="rate_limit_exceeded")),
    ],
)
async def test_limits_of_a_provider_move_on(provider: str, failing: Reply) -> None:
    upstreams: dict[str, Any] = {provider: ScriptedUpstream(failing), "second": ScriptedUpstream()}
    async with gateway_of(**upstreams) as world:
        reply = await world.post(headers={SEQUENCE: json.dumps([provider, "second"])})
        assert world.calls() == [provider, "second"]
    assert reply.status_code == 201


# --- the caller's own fault -------------------------------------------------------------------------------------------


@pytest.mark.contract("4.stop.blamed", "4.stop.passed-on", "4.stop.too-large", "B.any-400", "B.any-4xx")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("said", "told"), [(400, 400), (422, 400), (414, 400), (418, 400), (451, 400), (413, 413)])
async def test_a_refusal_that_blames_the_request_is_passed_on_at_once(said: int, told: int, stream: bool) -> None:
    refusing = ScriptedUpstream(error(said, "messages[0] is odd – 错", **WORDS))
    async with gateway_of(openai=refusing, azure=ScriptedUpstream()) as world:
        reply = await world.post(stream=stream)
        assert world.calls() == ["openai"]
    assert reply.status_code == told
    problem = reply.json()["error"]
    trail = problem.pop("attempts")
    assert problem == {"message": "messages[0] is odd – 错", **WORDS}
    assert [(item["provider"], item["status"], item["code"]) for item in trail] == [("openai", said, "some_code")]
    assert reply.headers["x-opengateway-provider"] == "openai"
    assert reply.headers["x-opengateway-attempts"] == "1"
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.contract("4.stop.passed-on", "B.read-forms")
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"error": "just text"}, ("just text", "invalid_request_error", None, None)),
        ({"detail": "not so"}, ("not so", "invalid_request_error", None, None)),
        (
            {"message": "m", "type": "BadRequestError", "param": None, "code": 400},
            ("m", "BadRequestError", None, "400"),
        ),
        ([{"error": {"message": "wrapped", "code": 400}}], ("wrapped", "invalid_request_error", None, "400")),
    ],
)
async def test_a_refusal_is_passed_on_in_openai_s_envelope_whatever_form_it_had(body: Any, problem: Any) -> None:
    reply_of_provider = raw(400, {"content-type": "application/json"}, [json.dumps(body).encode()])
    async with gateway_of(openai=ScriptedUpstream(reply_of_provider), azure=ScriptedUpstream()) as world:
        reply = await world.post()
        assert world.calls() == ["openai"]
    assert reply.status_code == 400
    told = reply.json()["error"]
    assert (told["message"], told["type"], told["param"], told["code"]) == problem


@pytest.mark.contract("4.stop.policy", "4.stop.parameter", "4.opt-in")
@pytest.mark.parametrize("opted_in", [False, True])
@pytest.mark.parametrize(
    ("provider", "refusal", "reason"),
    [
        ("openai", error(400, "no", code="content_policy_violation"), "content_filter"),
        ("openai", error(400, "no", code="invalid_prompt"), "content_filter"),
        ("openai", error(400, "Rejected as a result of our safety system."), "content_filter"),
        ("azure", error(400, "filtered", code="content_filter"), "content_filter"),
        ("openai", error(400, "no", code="unsupported_parameter", param="logprobs"), "unsupported_parameter"),
        ("openai", error(400, "no", code="unsupported_value"), "unsupported_parameter"),
        ("vllm", error(400, "Extra inputs are not permitted"), "unsupported_parameter"),
    ],
)
async def test_policy_and_unsupported_parameters_stop_unless_opted_in(
    provider: str, refusal: Reply, reason: str, opted_in: bool
) -> None:
    reasons = {"context_length", *([reason] if opted_in else [])}
    upstreams: dict[str, Any] = {provider: ScriptedUpstream(refusal), "second": ScriptedUpstream()}
    async with gateway_of(**upstreams, failover_on=reasons) as world:
        reply = await world.post(headers={SEQUENCE: json.dumps([provider, "second"])})
        assert world.calls() == ([provider, "second"] if opted_in else [provider])
    assert reply.status_code == (201 if opted_in else 400)
    if not opted_in:
        assert json.loads(refusal.body[0])["error"]["message"] == reply.json()["error"]["message"]  # type: ignore[arg-type]


@pytest.mark.contract("4.stop.caller-key", "B.vllm-caller-key")
@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_of_the_caller_is_the_callers_401(status: int, caplog: pytest.LogCaptureFixture) -> None:
    refusing = ScriptedUpstream(error(status, "Unauthorized: sk-c4n4ry-of-the-caller", code="invalid_api_key"))
    after = ScriptedUpstream()
    async with serve(refusing) as url:
        vllm = VLLM(endpoint="http://elsewhere.test", api_key="sk-c4n4ry-of-the-operator", allowed_endpoints=[url])
        async with gateway_of(vllm=vllm, openai=after) as world:
            headers = {
                SEQUENCE: '["vllm", "openai"]',
                "x-opengateway-vllm-endpoint": url,
                "x-opengateway-vllm-api-key": "sk-c4n4ry-of-the-caller",
            }
            reply = await world.post(headers=headers)
            assert world.calls() == []
    assert len(refusing.requests) == 1
    assert refusing.requests[0].header("authorization") == "Bearer sk-c4n4ry-of-the-caller"
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    assert reply.headers["x-opengateway-attempts"] == "1"
    assert reply.json()["error"]["code"] == "invalid_api_key"
    assert "sk-c4n4ry-of-the-caller" not in reply.text
    assert "misconfigured" not in caplog.text


@pytest.mark.contract("4.model-not-found", "B.openai-model-not-found", "B.vllm-model-not-found")
async def test_a_model_that_nobody_knows_is_the_callers_404() -> None:
    openai = ScriptedUpstream(error(404, "no such model", code="model_not_found"))
    vllm = ScriptedUpstream(error(404, "The model does not exist.", type="NotFoundError", param="model"))
    async with gateway_of(openai=openai, vllm=vllm) as world:
        reply = await world.post(headers={SEQUENCE: '["openai", "vllm"]'})
        assert world.calls() == ["openai", "vllm"]
    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "model_not_found"
    assert reply.json()["error"]["param"] == "model"
    assert "x-opengateway-provider" not in reply.headers


@pytest.mark.contract("4.model-not-found", "4.last.misconfigured")
async def test_a_model_that_one_does_not_know_and_another_cannot_give_is_no_404() -> None:
    openai = ScriptedUpstream(error(404, "no such model", code="model_not_found"))
    async with gateway_of(openai=openai, azure=ScriptedUpstream(error(401, "bad key"))) as world:
        reply = await world.post()
    assert reply.status_code == 502


@pytest.mark.contract("4.stop.loop")
async def test_a_loop_that_the_next_gateway_saw_stops_here() -> None:
    looped = ScriptedUpstream(error(508, "went round", type="loop_detected", code="loop_detected"))
    async with gateway_of(openai=looped, azure=ScriptedUpstream()) as world:
        reply = await world.post()
        assert world.calls() == ["openai"]
    assert reply.status_code == 508
    assert reply.json()["error"]["code"] == "loop_detected"
    assert reply.headers["x-should-retry"] == "false"


# --- too long for this one --------------------------------------------------------------------------------------------


def too_long(limit: int, status: int = 400) -> Reply:
    return error(
        status,
        f"This model's maximum context length is {limit} tokens.",
        code="context_length_exceeded",
        param="messages",
    )


@pytest.mark.contract("4.length.next", "B.length-code", "B.length-text")
@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize(
    "sequence", [["openai", "azure"], ["openai", "openai", "azure"], ["openai", "openai/some-model", "azure"]]
)
async def test_a_prompt_too_long_for_one_goes_to_the_next_and_never_to_the_same_again(
    sequence: Sequence[str], status: int
) -> None:
    async with gateway_of(openai=ScriptedUpstream(too_long(8, status)), azure=ScriptedUpstream()) as world:
        reply = await world.post(headers={SEQUENCE: json.dumps(sequence)})
        assert world.calls() == ["openai", "azure"]
    assert reply.status_code == 201
    assert reply.headers["x-opengateway-attempts"] == "2"


@pytest.mark.contract("4.length.next")
async def test_a_target_that_found_the_prompt_too_long_is_not_asked_after_another_failed() -> None:
    async with gateway_of(openai=ScriptedUpstream(too_long(8)), azure=ScriptedUpstream(error(503))) as world:
        reply = await world.post(headers={SEQUENCE: '["openai", "azure", "openai"]'})
        assert world.calls() == ["openai", "azure"]
    assert reply.status_code == 502


@pytest.mark.contract("4.length.last-word", "4.last.length")
@pytest.mark.parametrize(
    ("scripts", "status", "provider"),
    [
        pytest.param([too_long(8), too_long(16)], 400, "openai", id="all-say-so"),
        pytest.param([error(503), too_long(16)], 400, "azure", id="the-last-says-so"),
        pytest.param([too_long(8), error(503)], 502, None, id="the-last-is-another-failure"),
    ],
)
async def test_the_first_length_refusal_is_the_last_word_only_when_it_was_the_last_failure(
    scripts: Sequence[Reply], status: int, provider: str | None
) -> None:
    async with gateway_of(openai=ScriptedUpstream(scripts[0]), azure=ScriptedUpstream(scripts[1])) as world:
        reply = await world.post()
        assert world.calls() == ["openai", "azure"]
    assert reply.status_code == status
    assert reply.headers.get("x-opengateway-provider") == provider
    problem = reply.json()["error"]
    assert len(problem.pop("attempts")) == 2
    if provider is not None:
        limit = 8 if provider == "openai" else 16
        assert problem == {
            "message": f"This model's maximum context length is {limit} tokens.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        }


@pytest.mark.contract("4.length.opt-out")
async def test_without_the_opt_in_a_length_refusal_stops() -> None:
    async with gateway_of(openai=ScriptedUpstream(too_long(8)), azure=ScriptedUpstream(), failover_on=()) as world:
        reply = await world.post()
        assert world.calls() == ["openai"]
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "context_length_exceeded"


# --- the last word ----------------------------------------------------------------------------------------------------


@pytest.mark.contract("4.last.one-attempt", "4.last.misconfigured")
@pytest.mark.parametrize("sequence", [["openai"], ["openai", "azure"]])
@pytest.mark.parametrize("status", [500, 503, 401, 403, 404, 302, 402])
async def test_one_failed_attempt_is_a_502_like_several(sequence: Sequence[str], status: int) -> None:
    failing = error(status, "secret words")
    upstreams: dict[str, Any] = {name: ScriptedUpstream(failing) for name in ("openai", "azure")}
    async with gateway_of(**upstreams) as world:
        reply = await world.post(headers={SEQUENCE: json.dumps(sequence)})
        assert world.calls() == sequence
    assert reply.status_code == 502
    problem = reply.json()["error"]
    assert (problem["type"], problem["code"]) == ("upstream_error", "all_attempts_failed")
    assert [item["provider"] for item in problem["attempts"]] == sequence
    assert "secret words" not in reply.text


@pytest.mark.contract("4.masked", "6.envelope.no-secrets")
async def test_keys_and_urls_in_a_provider_s_words_are_masked() -> None:
    said = f"Key {key_of('openai')} may not call http://openai.test/v1 (openai.test:80), nor may {key_of('azure')}."
    refusing = ScriptedUpstream(error(400, said, code=key_of("openai"), param="http://openai.test/v1"))
    async with gateway_of(openai=refusing, azure=ScriptedUpstream()) as world:
        reply = await world.post()
    assert reply.status_code == 400
    problem = reply.json()["error"]
    assert problem["message"] == "Key *** may not call *** (***), nor may ***."
    assert problem["code"] == problem["param"] == "***"
    assert key_of("openai") not in reply.text
    assert "openai.test" not in reply.text


@pytest.mark.contract("4.masked", "6.envelope.no-secrets")
async def test_a_key_that_a_server_puts_into_an_error_s_code_is_in_no_trail_and_no_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    echoing = [ScriptedUpstream(error(401, "no", code=key_of(name), type=key_of(name))) for name in ("openai", "azure")]
    async with gateway_of(openai=echoing[0], azure=echoing[1]) as world:
        reply = await world.post()
    assert reply.status_code == 502
    assert len(reply.json()["error"]["attempts"]) == 2
    assert "sk-c4n4ry-configured" not in reply.text
    assert "misconfigured" in caplog.text
    assert "sk-c4n4ry-configured" not in caplog.text


@pytest.mark.contract("4.masked-header")
async def test_a_relayed_header_that_holds_a_key_or_a_url_is_dropped() -> None:
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-key": f"Bearer {key_of('openai')}",
        "x-ratelimit-url": "see http://OpenAI.test/v1/limits",
        "openai-version": "2020-10-01",
    }
    async with gateway_of(openai=ScriptedUpstream(answer("Hi", headers=headers))) as world:
        reply = await world.post()
    assert reply.status_code == 201
    assert reply.headers["x-ratelimit-limit-requests"] == "60"
    assert reply.headers["openai-version"] == "2020-10-01"
    assert "x-ratelimit-key" not in reply.headers
    assert "x-ratelimit-url" not in reply.headers
