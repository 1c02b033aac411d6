"""Errors before the stream, as the SDK raises them: its class, its fields, its headers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import openai
import pytest
from openai import APIStatusError

from ogw_asgi import Principal, bearer_tokens
from ogw_asgi.testing import Script, ScriptedUpstream, dead_port, error, hang

from ..served import ServeGateway, key_of
from .clients import ATTEMPTS, PROVIDER, Make, ask, complete, raised, sdk

pytestmark = pytest.mark.anyio

SEQUENCE = "x-opengateway-failover-sequence"


@dataclass(frozen=True)
class Case:
    """Replies of providers, and what the SDK's user sees. Without replies no provider may be asked."""

    raises: type[APIStatusError]
    status: int
    replies: Mapping[str, Script] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    """`message`, `type`, `param`, `code`: those that matter."""
    headers: Mapping[str, str | None] = field(default_factory=dict)
    """None: the header must not be there."""
    request: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


CASES = {
    "the provider's 400": Case(
        openai.BadRequestError,
        400,
        {"openai": error(400, "Too hot.", param="temperature", code="invalid_value"), "azure": error(500)},
        {"message": "Too hot.", "type": "invalid_request_error", "param": "temperature", "code": "invalid_value"},
        {PROVIDER: "openai", ATTEMPTS: "1"},
    ),
    "the provider's 422": Case(
        openai.BadRequestError,
        400,
        {"openai": error(422, "Not so.", param="tools")},
        {"message": "Not so.", "param": "tools"},
    ),
    "the gateway's own 400 for a field": Case(
        openai.BadRequestError,
        400,
        fields={"param": "temperature", "type": "invalid_request_error"},
        headers={PROVIDER: None, ATTEMPTS: None},
        request={"temperature": 7},
    ),
    "the gateway's own 400 for a header": Case(
        openai.BadRequestError,
        400,
        fields={"param": SEQUENCE},
        request={"extra_headers": {SEQUENCE: '["nobody"]'}},
    ),
    "401 for a wrong token": Case(
        openai.AuthenticationError,
        401,
        headers={"www-authenticate": "Bearer", ATTEMPTS: None},
        settings={"authenticate": bearer_tokens(["another-token"])},
    ),
    "403 for a provider that the token may not use": Case(
        openai.PermissionDeniedError,
        403,
        fields={"code": "provider_not_allowed"},
        request={"extra_headers": {SEQUENCE: '["openai"]'}},
        settings={
            "authenticate": bearer_tokens(
                {Principal("team", providers=frozenset({"azure"})): ["sk-c4n4ry-token-of-the-caller"]}
            )
        },
    ),
    "404 for a model that nobody knows": Case(
        openai.NotFoundError,
        404,
        {
            "openai": error(404, "No such model.", code="model_not_found"),
            "azure": error(404, "No such deployment.", code="DeploymentNotFound"),
        },
        {"param": "model", "code": "model_not_found"},
        {ATTEMPTS: "2", "x-should-retry": "false"},
    ),
    "413 that blames the request": Case(
        APIStatusError,
        413,
        {"openai": error(413, "Too many images.")},
        {"message": "Too many images."},
    ),
    "429 of all": Case(
        openai.RateLimitError,
        429,
        {
            "openai": error(429, code="rate_limit_exceeded", headers={"retry-after": "20"}),
            "azure": error(429, headers={"retry-after-ms": "2500"}),
        },
        {"type": "rate_limit_error", "code": "rate_limit_exceeded"},
        {"retry-after": "3", "retry-after-ms": "2500", ATTEMPTS: "2", PROVIDER: None},
    ),
    "502 for mixed failures": Case(
        openai.InternalServerError,
        502,
        {"openai": error(503), "azure": error(401, "Bad key.")},
        {"type": "upstream_error", "code": "all_attempts_failed", "param": None},
        {ATTEMPTS: "2", PROVIDER: None},
    ),
    "502 that no retry cures": Case(
        openai.InternalServerError,
        502,
        {"openai": error(401, f"Incorrect API key provided: {key_of('openai')}.")},
        {"code": "all_attempts_failed"},
        {"x-should-retry": "false"},
    ),
    "503 without a provider": Case(
        openai.InternalServerError,
        503,
        fields={"code": "no_provider", "type": "service_unavailable_error"},
        headers={"retry-after": "60", "x-should-retry": "false"},
        settings={
            "authenticate": bearer_tokens({Principal("team", providers=frozenset()): ["sk-c4n4ry-token-of-the-caller"]})
        },
    ),
    "504 when nobody answers in time": Case(
        openai.InternalServerError,
        504,
        {"openai": hang(), "azure": hang()},
        {"type": "upstream_error", "code": "timeout"},
        {ATTEMPTS: "2"},
        request={"extra_headers": {"x-opengateway-timeout": "50"}},
    ),
}


@pytest.mark.contract("6.envelope.shape", "4.stop.passed-on", "6.envelope.request-id", "6.envelope.no-secrets")
@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
async def test_an_error_before_the_first_chunk_is_the_sdks_own_exception(
    gateway_served: ServeGateway, make: Make, case: Case
) -> None:
    providers = {name: ScriptedUpstream(reply) for name, reply in case.replies.items()}
    unasked = {name: ScriptedUpstream() for name in ("openai", "azure") if not providers}
    async with gateway_served(**providers, **unasked, **case.settings) as served, sdk(make, served) as client:
        for streamed in (False, True):
            check(await raised(complete(client, **case.request, stream=streamed)), case)
        assert len(served.arrivals) == 2
    assert [request for upstream in unasked.values() for request in upstream.requests] == []


def check(failure: Any, case: Case) -> None:
    assert isinstance(failure, case.raises)
    assert failure.status_code == case.status
    body: Any = failure.body
    assert {name: body[name] for name in case.fields} == dict(case.fields)
    assert (failure.type, failure.param, failure.code) == (body["type"], body["param"], body["code"])
    assert body["message"] in failure.message
    assert failure.request_id == failure.response.headers["x-request-id"]
    assert {name: failure.response.headers.get(name) for name in case.headers} == dict(case.headers)
    assert "sk-c4n4ry-configured" not in failure.message + json.dumps(body)


@pytest.mark.contract("6.envelope.attempts", "1.all-failed", "6.header.on-errors")
async def test_the_attempts_of_a_failed_request_are_in_the_body_of_the_exception(
    gateway_served: ServeGateway, make: Make
) -> None:
    with dead_port() as port:
        async with gateway_served(
            openai=ScriptedUpstream(error(503, code="server_is_overloaded")),
            azure=f"http://127.0.0.1:{port}",
            vllm=ScriptedUpstream(hang()),
        ) as served:
            headers = {SEQUENCE: '["openai","azure","vllm"]', "x-opengateway-timeout": "100"}
            async with sdk(make, served) as client:
                failure = await raised(complete(client, extra_headers=headers))
    attempts = failure.body["attempts"]
    assert [(one["provider"], one["outcome"], one["status"], one["code"]) for one in attempts] == [
        ("openai", "overloaded", 503, "server_is_overloaded"),
        ("azure", "connect", None, None),
        ("vllm", "timeout", None, None),
    ]
    assert attempts[2]["duration_ms"] >= 100
    assert failure.response.headers[ATTEMPTS] == "3"
    timing = failure.response.headers["server-timing"]
    assert [entry.split(";")[0].strip() for entry in timing.split(",")] == ["openai", "azure", "vllm"]
    assert "openai (503), azure (connect), vllm (timeout)" in failure.message


@pytest.mark.contract("1.not-found", "1.method")
@pytest.mark.parametrize(
    ("call", "raises", "status"),
    [
        pytest.param(lambda c: c.models.retrieve("gpt-4o"), openai.NotFoundError, 404, id="an unknown path"),
        pytest.param(lambda c: c.embeddings.create(model="m", input="x"), openai.NotFoundError, 404, id="embeddings"),
        pytest.param(lambda c: c.chat.completions.list(), APIStatusError, 405, id="GET of the completions"),
    ],
)
async def test_what_the_gateway_does_not_do_is_refused_in_the_sdks_terms(
    gateway_served: ServeGateway,
    make: Make,
    call: Callable[[Any], Any],
    raises: type[APIStatusError],
    status: int,
) -> None:
    async def listed(client: Any) -> None:
        await call(client)

    async with gateway_served(openai=ScriptedUpstream()) as served, sdk(make, served) as client:
        failure = await raised(ask(client, call if make is openai.OpenAI else listed))
    assert isinstance(failure, raises)
    assert failure.status_code == status
    body: Any = failure.body
    assert isinstance(body["message"], str)
    assert failure.request_id
