"""The gateway as a FastAPI router: in the docs, behind dependencies, and below a prefix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import anyio
import httpx
import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Header, HTTPException, Request
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from ogw_asgi import Gateway, OpenAI, Principal
from ogw_asgi.fastapi import gateway_router
from ogw_asgi.testing import Break, asgi_client, stream
from tests.asgi.hosts import QUESTION, STREAMED, code, in_process, running, warnings

anyio_test = pytest.mark.anyio

PATH = "/chat/completions"
HEADERS = {
    "x-opengateway-failover-sequence",
    "x-opengateway-vllm-endpoint",
    "x-opengateway-vllm-api-key",
    "x-opengateway-timeout",
    "x-opengateway-on-stream-break",
    "x-opengateway-success-status",
    "x-opengateway-hedge-after",
}


def app_of(gateway: Gateway, *, prefix: str = "", **options: Any) -> FastAPI:
    app = FastAPI()
    app.include_router(gateway_router(gateway, **options), prefix=prefix)
    return app


def described(app: FastAPI, path: str = PATH, method: str = "post") -> Any:
    return app.openapi()["paths"][path][method]


# --- /docs and /openapi.json ---


@pytest.mark.parametrize("status", [201, 200])
def test_the_operation_is_described_under_its_success_status(status: Literal[200, 201]) -> None:
    operation = described(app_of(Gateway(success_status=status)))
    assert str(status) in operation["responses"]
    assert str(401 - status) not in operation["responses"]
    success = operation["responses"][str(status)]
    assert {"application/json", "text/event-stream"} <= set(success["content"])
    assert {"x-opengateway-provider", "x-opengateway-attempts", "x-request-id"} <= set(success["headers"])


def test_every_header_of_the_contract_is_described_and_none_is_required() -> None:
    parameters = described(app_of(Gateway()))["parameters"]
    assert {parameter["name"] for parameter in parameters} == HEADERS
    assert all(parameter["in"] == "header" and parameter["description"] for parameter in parameters)
    assert not any(parameter.get("required") for parameter in parameters)


def test_the_body_is_described() -> None:
    body = described(app_of(Gateway()))["requestBody"]
    schema = body["content"]["application/json"]["schema"]
    assert body["required"] is True
    assert set(schema["required"]) == {"model", "messages"}
    for field in ("temperature", "tools", "stream", "stream_options", "response_format", "logit_bias", "seed"):
        assert field in schema["properties"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 415, 429, 502, 503, 504, 508])
def test_every_error_of_the_contract_is_described_with_the_envelope(status: int) -> None:
    response = described(app_of(Gateway()))["responses"][str(status)]
    envelope = response["content"]["application/json"]["schema"]
    assert set(envelope["properties"]["error"]["required"]) == {"message", "type", "param", "code"}


def _schemas(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "schema":
                yield value
            else:
                yield from _schemas(value)
    elif isinstance(node, list):
        for value in node:
            yield from _schemas(value)


def test_the_document_is_valid() -> None:
    document = app_of(Gateway(), prefix="/llm").openapi()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {"/llm/chat/completions", "/llm/models"}
    ids = []
    for operations in document["paths"].values():
        for operation in operations.values():
            ids.append(operation["operationId"])
            assert all(response["description"] for response in operation["responses"].values())
            assert all(status.isdigit() for status in operation["responses"])
            names = [(parameter["in"], parameter["name"]) for parameter in operation.get("parameters", [])]
            assert len(names) == len(set(names))
    assert len(ids) == len(set(ids))
    schemas = list(_schemas(document["paths"]))
    assert len(schemas) > 20
    for schema in schemas:
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("body", "good"),
    [
        (QUESTION, True),
        (STREAMED, True),
        ({**QUESTION, "unknown": 1, "temperature": 0.5, "stop": ["a"], "logit_bias": "{}"}, True),
        ({"model": "m"}, False),
        ({**QUESTION, "messages": []}, False),
        ({**QUESTION, "n": 0}, False),
        ({**QUESTION, "temperature": 3}, False),
    ],
)
@anyio_test
async def test_the_described_body_and_the_gateway_agree(body: dict[str, Any], good: bool) -> None:
    async with in_process() as (gateway, _):
        app = app_of(gateway)
        schema = described(app)["requestBody"]["content"]["application/json"]["schema"]
        async with running(app) as client:
            reply = await client.post(PATH, json=body)
            assert Draft202012Validator(schema).is_valid(body) is good
            assert (reply.status_code == 201) is good
            if not good:
                envelope = described(app)["responses"]["400"]["content"]["application/json"]["schema"]
                Draft202012Validator(envelope).validate(reply.json())


@anyio_test
async def test_an_error_with_attempts_is_as_described() -> None:
    async with in_process() as (gateway, _):
        app = app_of(gateway)
        async with running(app) as client:
            reply = await client.post(PATH, json=QUESTION, headers={"x-opengateway-failover-sequence": '["down"]'})
    envelope = described(app)["responses"]["502"]["content"]["application/json"]["schema"]
    assert reply.status_code == 502
    assert len(reply.json()["error"]["attempts"]) == 1
    Draft202012Validator(envelope).validate(reply.json())


@anyio_test
async def test_the_docs_are_served() -> None:
    async with in_process() as (gateway, _), running(app_of(gateway)) as client:
        page = await client.get("/docs")
        document = await client.get("/openapi.json")
    assert page.status_code == document.status_code == 200
    assert "x-opengateway-timeout" in document.text


# --- dependencies ---


@anyio_test
async def test_what_a_dependency_refuses_is_the_hosts_own_answer() -> None:
    def user(authorization: Annotated[str | None, Header()] = None) -> None:
        if authorization is None:
            raise HTTPException(418, detail="the host's own")

    with anyio.fail_after(5):
        async with in_process() as (gateway, upstream):
            async with running(app_of(gateway, dependencies=[Depends(user)])) as client:
                refused = [await client.post(PATH, json=QUESTION), await client.get("/models"), await client.get(PATH)]
                assert upstream.requests == []
                allowed = await client.post(PATH, json=QUESTION, headers={"authorization": "anything"})
    assert [(reply.status_code, reply.json()) for reply in refused] == [(418, {"detail": "the host's own"})] * 3
    assert allowed.status_code == 201


@anyio_test
@pytest.mark.contract("1.forbidden.provider", "1.forbidden.model", "1.forbidden.endpoint")
@pytest.mark.parametrize(
    ("principal", "headers", "status", "expected"),
    [
        (Principal("ada"), {}, 201, None),
        (Principal("ada", providers=frozenset({"up"})), {}, 201, None),
        (
            Principal("ada", providers=frozenset({"up"})),
            {"x-opengateway-failover-sequence": '["down"]'},
            403,
            "provider_not_allowed",
        ),
        (Principal("ada", models=frozenset({"other"})), {}, 403, "model_not_allowed"),
        (
            Principal("ada", endpoints=False),
            {"x-opengateway-vllm-endpoint": "http://10.0.0.7:8000"},
            403,
            "endpoint_not_allowed",
        ),
    ],
)
async def test_a_principal_that_a_dependency_sets_is_the_gateways(
    principal: Principal, headers: dict[str, str], status: int, expected: str | None
) -> None:
    async def user(request: Request) -> None:
        request.scope["ogw_asgi.principal"] = principal

    with anyio.fail_after(5):
        # The gateway's own authenticator is not asked then: the host has answered the question.
        async with in_process(authenticate=lambda connection: None) as (gateway, _):
            async with running(app_of(gateway, dependencies=[Depends(user)])) as client:
                reply = await client.post(PATH, json=QUESTION, headers=headers)
    assert reply.status_code == status
    if expected is not None:
        assert code(reply) == expected


@anyio_test
async def test_a_dependency_with_yield_ends_after_the_answer() -> None:
    log: list[str] = []

    async def session() -> Any:
        log.append("in")
        yield
        log.append("out")

    async with in_process() as (gateway, _), running(app_of(gateway, dependencies=[Depends(session)])) as client:
        reply = await client.post(PATH, json=STREAMED)
    assert reply.content.endswith(b"data: [DONE]\n\n")
    assert log == ["in", "out"]


@anyio_test
async def test_what_a_dependency_leaves_to_be_done_is_done_after_the_answer() -> None:
    log: list[str] = []

    async def account(background: BackgroundTasks) -> None:
        background.add_task(log.append, "accounted for")

    async with in_process() as (gateway, _), running(app_of(gateway, dependencies=[Depends(account)])) as client:
        for body in (QUESTION, STREAMED):
            assert (await client.post(PATH, json=body)).status_code == 201
    assert log == ["accounted for"] * 2


# --- routes ---


@anyio_test
@pytest.mark.contract("1.method", "1.alias-v1", "6.models.listed", "6.models.no-call")
@pytest.mark.parametrize("prefix", ["", "/llm", "/a/b"])
async def test_every_route_is_there_below_any_prefix(prefix: str) -> None:
    with anyio.fail_after(5):
        async with in_process(models=["gpt-4o"]) as (gateway, upstream):
            async with running(app_of(gateway, prefix=prefix)) as client:
                for alias in ("", "/v1"):
                    models = await client.get(f"{prefix}{alias}/models")
                    assert [model["id"] for model in models.json()["data"]] == ["gpt-4o"]
                    assert upstream.requests == []
                for alias in ("", "/v1"):
                    reply = await client.post(f"{prefix}{alias}{PATH}", json=QUESTION)
                    assert reply.status_code == 201
                    upstream.requests.clear()


@anyio_test
@pytest.mark.contract("1.method", "1.method.head")
@pytest.mark.parametrize("path", [PATH, "/v1/chat/completions", "/models"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "POST"])
async def test_a_wrong_method_gets_the_gateways_405(method: str, path: str) -> None:
    right = {"GET", "HEAD"} if path == "/models" else {"POST"}
    async with in_process() as (gateway, _), running(app_of(gateway)) as client:
        reply = await client.request(method, path)
    if method in right:
        assert reply.status_code != 405
        return
    if method == "OPTIONS":
        assert (reply.status_code, reply.content) == (204, b"")
    else:
        assert reply.status_code == 405
        assert (reply.content == b"") is (method == "HEAD")
        assert method == "HEAD" or code(reply) == "method_not_allowed"
    assert right <= set(reply.headers["allow"].split(", "))


@anyio_test
async def test_the_routers_lifespan_opens_and_closes_the_gateway_also_when_nested(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with anyio.fail_after(5):
        async with in_process() as (gateway, _):
            outer = APIRouter(prefix="/v2")
            outer.include_router(gateway_router(gateway), prefix="/llm")
            app = FastAPI()
            app.include_router(outer)
            async with running(app) as client:
                assert (await client.post("/v2/llm/chat/completions", json=QUESTION)).status_code == 201
            async with asgi_client(app) as client:
                assert (await client.post("/v2/llm/chat/completions", json=QUESTION)).status_code == 503
    assert warnings(caplog) == []


async def _read_into(received: list[bytes], reply: httpx.Response) -> None:
    async for chunk in reply.aiter_raw():
        received += [chunk]


@anyio_test
@pytest.mark.contract("5.unterminated", "5.never-raises")
async def test_a_broken_stream_is_left_without_its_end_by_the_router_too() -> None:
    with anyio.fail_after(5):
        async with in_process(stream(["Hel", Break()])) as (gateway, _), running(app_of(gateway)) as client:
            async with client.stream("POST", PATH, json=STREAMED) as reply:
                received: list[bytes] = []
                with pytest.raises(httpx.RemoteProtocolError):
                    await _read_into(received, reply)
    assert b"stream_interrupted" in received[-1]


@anyio_test
async def test_what_apirouter_takes_is_passed_on_and_the_tag_can_be_changed() -> None:
    async with in_process() as (gateway, _):
        app = FastAPI()
        app.include_router(gateway_router(gateway, prefix="/llm", tags=["AI"]))
        assert described(app, "/llm/chat/completions")["tags"] == ["AI"]
        assert described(app, "/llm/models", "get")["tags"] == ["AI"]
        async with running(app) as client:
            assert (await client.post("/llm/chat/completions", json=QUESTION)).status_code == 201


def test_two_gateways_live_in_one_app() -> None:
    app = FastAPI()
    for name in ("one", "two"):
        app.include_router(gateway_router(Gateway(providers=[OpenAI()])), prefix=f"/{name}")
    assert {"/one/chat/completions", "/two/chat/completions"} <= set(app.openapi()["paths"])
