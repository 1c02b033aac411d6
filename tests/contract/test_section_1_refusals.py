"""Contract section 1: what is refused before any provider is called. Each test checks that none was."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
import trio.testing

from ogw_asgi import Gateway, Limits, OpenAI, Principal, Timeouts, bearer_tokens
from ogw_asgi.testing import RawUpstream, ScriptedUpstream, error, http_response, serve

from .harness import World, gateway_of, using
from .schema import error_of

pytestmark = pytest.mark.anyio

VIRTUAL_TIME = pytest.mark.parametrize(
    "anyio_backend",
    [pytest.param(("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}), id="virtual-time")],
)
"""Waits of many seconds, in none."""

SEQUENCE = "x-opengateway-failover-sequence"
ENDPOINT = "x-opengateway-vllm-endpoint"
JSON = {"content-type": "application/json"}


def refused(reply: httpx.Response, status: int, code: str, world: World, *, param: str | None = None) -> None:
    found = error_of(reply)
    assert (reply.status_code, found["code"], found["param"]) == (status, code, param)
    assert "attempts" not in found
    assert not {"x-opengateway-attempts", "x-opengateway-provider", "server-timing"} & reply.headers.keys()
    assert world.calls() == []


# --- who is calling ---------------------------------------------------------------------------------------------------


@pytest.mark.contract("1.unauthorized")
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic dG9rZW4="}])
async def test_a_missing_or_wrong_token_is_a_401_where_the_host_asked_for_one(headers: dict[str, str]) -> None:
    async with gateway_of(openai=ScriptedUpstream(), authenticate=bearer_tokens(["sk-c4n4ry-good-token"])) as world:
        reply = await world.post(headers=headers)
        refused(reply, 401, "invalid_api_key", world)
        assert reply.headers["www-authenticate"] == "Bearer"
        assert error_of(reply)["type"] == "authentication_error"
        assert (await world.post(headers={"authorization": "Bearer sk-c4n4ry-good-token"})).status_code == 201


@pytest.mark.contract("1.unauthorized")
async def test_without_an_authenticator_no_token_is_asked_for() -> None:
    async with gateway_of(openai=ScriptedUpstream()) as world:
        assert (await world.post()).status_code == 201
        assert (await world.post(headers={"authorization": "Bearer whatever"})).status_code == 201


@pytest.mark.parametrize(
    ("principal", "headers", "code", "param"),
    [
        pytest.param(
            Principal("p", providers=frozenset({"azure"})),
            {SEQUENCE: '["openai"]'},
            "provider_not_allowed",
            SEQUENCE,
            marks=pytest.mark.contract("1.forbidden.provider"),
        ),
        pytest.param(
            Principal("p", models=frozenset({"small"})),
            {},
            "model_not_allowed",
            "model",
            marks=pytest.mark.contract("1.forbidden.model"),
        ),
        pytest.param(
            Principal("p", models=frozenset({"some-model"})),
            {SEQUENCE: '["openai/large"]'},
            "model_not_allowed",
            SEQUENCE,
            marks=pytest.mark.contract("1.forbidden.model"),
        ),
        pytest.param(
            Principal("p", endpoints=False),
            {ENDPOINT: "http://10.0.0.7:8000", SEQUENCE: '["vllm"]'},
            "endpoint_not_allowed",
            ENDPOINT,
            marks=pytest.mark.contract("1.forbidden.endpoint"),
        ),
    ],
)
async def test_what_the_token_may_not_use_is_a_403(
    principal: Principal, headers: dict[str, str], code: str, param: str
) -> None:
    tokens: dict[str | Principal, list[str]] = {principal: ["token"]}
    async with gateway_of(
        openai=ScriptedUpstream(),
        azure=ScriptedUpstream(),
        vllm=using(ScriptedUpstream(), allowed_endpoints=["http://10.0.0.7:8000"]),
        authenticate=bearer_tokens(tokens),
    ) as world:
        reply = await world.post(headers={"authorization": "Bearer token", **headers})
        refused(reply, 403, code, world, param=param)
        assert error_of(reply)["type"] == "permission_error"


# --- path and method --------------------------------------------------------------------------------------------------


@pytest.mark.contract("1.not-found")
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path", ["/", "/chat", "/chat/completions/", "/v2/chat/completions", "//chat/completions", "/completions"]
)
async def test_another_path_is_a_404(method: str, path: str) -> None:
    async with gateway_of(openai=ScriptedUpstream()) as world:
        reply = await world.client.request(method, f"http://app{path}", content=b"{}", headers=JSON)
        refused(reply, 404, "unknown_url", world)


@pytest.mark.contract("1.method")
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "TRACE", "BREW"])
@pytest.mark.parametrize("path", ["/chat/completions", "/v1/chat/completions"])
async def test_another_method_is_a_405_that_names_those_allowed(method: str, path: str) -> None:
    async with gateway_of(openai=ScriptedUpstream()) as world:
        reply = await world.client.request(method, path)
        refused(reply, 405, "method_not_allowed", world)
        assert "POST" in reply.headers["allow"].split(", ")


@pytest.mark.contract("1.method")
async def test_the_models_are_read_only() -> None:
    async with gateway_of(openai=ScriptedUpstream()) as world:
        reply = await world.client.post("/models", json={})
        refused(reply, 405, "method_not_allowed", world)
        assert reply.headers["allow"].split(", ")[:2] == ["GET", "HEAD"]


@pytest.mark.contract("1.method.head")
@pytest.mark.parametrize("path", ["/chat/completions", "/v1/chat/completions"])
async def test_the_answer_to_head_has_the_head_of_the_405_and_no_body(path: str) -> None:
    async with gateway_of(openai=ScriptedUpstream()) as world:
        got = await world.client.get(path)
        head = await world.client.head(path)
    sent = await raw_answer(f"HEAD {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n".encode())
    assert head.status_code == 405
    assert head.content == b""
    assert {**head.headers, "x-request-id": ""} == {**got.headers, "x-request-id": ""}
    assert sent.startswith(b"HTTP/1.1 405 ")
    assert sent.endswith(b"\r\n\r\n")


@pytest.mark.contract("1.method.head")
@pytest.mark.parametrize("path", ["/chat/completions", "/models", "/nowhere"])
async def test_the_gateway_itself_sends_no_body_to_head_and_leaves_that_to_no_server(path: str) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async with gateway_of(openai=ScriptedUpstream()) as world:
        scope = {"type": "http", "method": "HEAD", "path": path, "headers": [], "http_version": "1.1"}
        await world.gateway(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[1]["body"] == b""
    assert int(dict(sent[0]["headers"])[b"content-length"]) > 0


# --- the upload -------------------------------------------------------------------------------------------------------


async def raw_answer(sent: bytes, **settings: Any) -> bytes:
    """All that a gateway on a real server sends back until it closes, while the caller goes on keeping quiet."""
    async with RawUpstream([http_response(500)]) as upstream:
        gateway = Gateway(providers=[OpenAI(api_key="sk-c4n4ry-k", base_url=f"{upstream.url}/v1")], **settings)
        received = b""
        with anyio.fail_after(5):
            async with serve(gateway) as url:
                host, _, port = url.removeprefix("http://").partition(":")
                async with await anyio.connect_tcp(host, int(port)) as stream:
                    await stream.send(sent)
                    with contextlib.suppress(anyio.EndOfStream):
                        while True:
                            received += await stream.receive()
        assert upstream.connections == 0
    return received


@pytest.mark.contract("1.upload-stall")
@pytest.mark.parametrize("sent_before", [b"", b'{"model"'])
async def test_an_upload_that_stalls_is_a_408(sent_before: bytes) -> None:
    head = b"POST /chat/completions HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n"
    received = await raw_answer(head + sent_before, timeouts=Timeouts(upload_stall_s=0.1))
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"\r\nconnection: close\r\n" in received
    assert b'"code":"body_timeout"' in received


async def dripping(chunk: bytes, every_s: float, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield chunk
        await anyio.sleep(every_s)


@VIRTUAL_TIME
@pytest.mark.parametrize(
    ("chunk", "every_s", "count", "status"),
    [
        pytest.param(b" ", 10.5, 3, 408, marks=pytest.mark.contract("1.upload-stall")),
        # A byte in time each time, but 1 KiB/s on average.
        pytest.param(b" " * 1024, 1.0, 60, 408, marks=pytest.mark.contract("1.upload-slow")),
        # As slow, but over before the average counts.
        pytest.param(b" " * 1024, 1.0, 9, 400, marks=pytest.mark.contract("1.upload-slow")),
        # Long, and fast enough.
        pytest.param(b" " * 17_000, 1.0, 60, 400, marks=pytest.mark.contract("1.upload-stall", "1.upload-slow")),
    ],
)
async def test_an_upload_may_take_ten_seconds_between_bytes_and_needs_16_kib_a_second_on_average(
    chunk: bytes, every_s: float, count: int, status: int
) -> None:
    async with gateway_of(openai=ScriptedUpstream(), limit_s=300) as world:
        body = dripping(chunk, every_s, count)
        reply = await world.client.post("/chat/completions", content=body, headers=JSON)
        code = {408: "body_timeout", 400: "invalid_body"}[status]
        assert (reply.status_code, error_of(reply)["code"]) == (status, code)
        assert world.calls() == []


@pytest.mark.contract("1.too-large.declared")
async def test_a_body_that_says_it_is_too_large_is_refused_before_a_byte_of_it_is_read() -> None:
    head = "POST /chat/completions HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n"
    received = await raw_answer(f"{head}content-length: {(16 << 20) + 1}\r\n\r\n".encode())
    assert received.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"body_too_large"' in received
    assert b"\r\nconnection: close\r\n" in received


@pytest.mark.contract("1.too-large.counted")
async def test_a_body_of_unknown_length_is_counted_while_it_is_read() -> None:
    async with gateway_of(openai=ScriptedUpstream(), limits=Limits(body_bytes=1000)) as world:
        pulled = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal pulled
            while True:
                pulled += 1
                yield b" " * 100
                await anyio.lowlevel.checkpoint()

        reply = await world.client.post("/chat/completions", content=endless(), headers=JSON)
        refused(reply, 413, "body_too_large", world)
        assert reply.headers["connection"] == "close"
        assert pulled < 100


@pytest.mark.contract("1.too-large.declared", "1.too-large.counted")
async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    content = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'
    limits = Limits(body_bytes=len(content))

    async def parts() -> AsyncIterator[bytes]:
        yield content[:10]
        yield content[10:]

    async with gateway_of(openai=ScriptedUpstream(), limits=limits) as world:
        assert (await world.post(content=content)).status_code == 201
        assert (await world.client.post("/chat/completions", content=parts(), headers=JSON)).status_code == 201
        refused_reply = await world.post(content=content + b" ")
        assert refused_reply.status_code == 413


@pytest.mark.contract("1.content-type")
@pytest.mark.parametrize(
    "value", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonl", "json"]
)
async def test_a_content_type_that_is_not_json_is_a_415(value: str | None) -> None:
    async with gateway_of(openai=ScriptedUpstream()) as world:
        headers = {} if value is None else {"content-type": value}
        reply = await world.client.post("/chat/completions", content=b"{}", headers=headers)
        refused(reply, 415, "unsupported_media_type", world, param="content-type")


@pytest.mark.contract("1.content-encoding")
@pytest.mark.parametrize("value", ["gzip", "br", "zstd", "identity, gzip"])
async def test_a_compressed_body_is_a_415(value: str) -> None:
    async with gateway_of(openai=ScriptedUpstream()) as world:
        reply = await world.post(headers={"content-encoding": value}, content=b"{}")
        refused(reply, 415, "unsupported_media_type", world, param="content-encoding")
        assert (await world.post(headers={"content-encoding": "identity"})).status_code == 201


# --- a model that nobody knows ----------------------------------------------------------------------------------------


OPENAI_404 = error(404, "The model does not exist.", code="model_not_found", param="model")
AZURE_404 = error(404, "The deployment does not exist.", code="DeploymentNotFound")


@pytest.mark.contract("4.model-not-found")
async def test_a_model_that_every_target_says_it_does_not_know_is_a_404() -> None:
    async with gateway_of(openai=ScriptedUpstream(OPENAI_404), azure=ScriptedUpstream(AZURE_404)) as world:
        reply = await world.post()
    found = error_of(reply)
    assert (reply.status_code, found["code"], found["param"]) == (404, "model_not_found", "model")
    assert [attempt["provider"] for attempt in found["attempts"]] == ["openai", "azure"]
