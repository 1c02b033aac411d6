"""Contract section 1, the bright side: where the endpoint is, and which status success has."""

from __future__ import annotations

import json
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from ogw_asgi import Gateway, GatewayMiddleware, OpenAI
from ogw_asgi.testing import ScriptedUpstream, asgi_client, chat, serve

from .harness import gateway_of

pytestmark = pytest.mark.anyio

CALL: dict[str, Any] = {"model": "gpt", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.contract("1.endpoint", "1.created")
@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
async def test_a_post_of_json_is_answered_with_201_and_the_completion(content_type: str) -> None:
    async with gateway_of(openai=ScriptedUpstream(chat("Hello"))) as world:
        content = json.dumps(CALL).encode()
        reply = await world.post(headers={"content-type": content_type}, content=content)
    assert reply.status_code == 201
    assert reply.json()["choices"][0]["message"]["content"] == "Hello"
    assert world.upstreams["openai"].requests[0].json == CALL


@pytest.mark.contract("1.created-stream")
async def test_a_stream_is_answered_with_201_as_well() -> None:
    async with gateway_of(openai=ScriptedUpstream(chat("Hello"))) as world, world.stream() as reply:
        assert reply.status_code == 201
        assert reply.headers["content-type"] == "text/event-stream"
        assert (await reply.aread()).endswith(b"data: [DONE]\n\n")


@pytest.mark.contract("1.alias-v1")
@pytest.mark.parametrize("stream", [False, True])
async def test_the_path_with_v1_in_front_is_the_same_endpoint(stream: bool) -> None:
    async with gateway_of(openai=ScriptedUpstream(chat("Hello"))) as world:
        plain = await world.post("/chat/completions", stream=stream)
        alias = await world.post("/v1/chat/completions", stream=stream)
    assert (alias.status_code, alias.content) == (plain.status_code, plain.content)
    assert alias.status_code == 201


@pytest.mark.contract("1.success-status")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("configured", "headers", "expected"),
    [
        (None, {}, 201),
        (200, {}, 200),
        (201, {}, 201),
        (None, {"x-opengateway-success-status": "200"}, 200),
        (200, {"x-opengateway-success-status": "201"}, 201),
    ],
)
async def test_the_status_of_success_is_a_setting_and_a_header(
    configured: int | None, headers: dict[str, str], expected: int, stream: bool
) -> None:
    settings = {} if configured is None else {"success_status": configured}
    async with gateway_of(openai=ScriptedUpstream(), **settings) as world:
        reply = await world.post(headers=headers, stream=stream)
    assert reply.status_code == expected


@pytest.mark.contract("1.success-status")
@pytest.mark.parametrize("value", ["200", "201"])
async def test_the_status_of_success_can_come_from_the_environment(value: str) -> None:
    upstream = ScriptedUpstream()
    with anyio.fail_after(5):
        async with serve(upstream) as url:
            environ = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": f"{url}/v1", "OGW_SUCCESS_STATUS": value}
            gateway = Gateway.from_env(environ)
            async with gateway, asgi_client(gateway) as client:
                reply = await client.post("/chat/completions", json=CALL)
    assert reply.status_code == int(value)


def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("the host's own")


async def posted(app: Any, path: str) -> httpx.Response:
    with anyio.fail_after(5):
        async with asgi_client(app) as client:
            return await client.post(path, json=CALL)


@pytest.mark.contract("1.prefix.mount")
@pytest.mark.parametrize("framework", ["starlette", "fastapi"])
@pytest.mark.parametrize("mount", ["/llm", "/apps/{tenant}/llm"])
@pytest.mark.parametrize("path", ["/chat/completions", "/v1/chat/completions"])
async def test_mounted_the_endpoint_lies_below_the_mount_point_alone(framework: str, mount: str, path: str) -> None:
    async with ScriptedUpstream().client() as upstream:
        gateway = Gateway(providers=[OpenAI(api_key="sk-c4n4ry-k", client=upstream)])
        app: Any
        if framework == "starlette":
            app = Starlette(routes=[Mount(mount, gateway), Route("/", hello)])
        else:
            app = FastAPI()
            app.mount(mount, gateway)
            app.add_route("/", hello)
        async with gateway:
            below = await posted(app, mount.replace("{tenant}", "acme") + path)
            beside = await posted(app, path)
    assert below.status_code == 201
    assert beside.status_code == 404
    assert beside.headers.get("x-request-id") is None  # the host's own 404


@pytest.mark.contract("1.prefix.middleware")
async def test_around_a_host_the_endpoint_has_no_prefix_and_the_host_keeps_the_rest() -> None:
    async with ScriptedUpstream().client() as upstream:
        gateway = Gateway(providers=[OpenAI(api_key="sk-c4n4ry-k", client=upstream)])
        routes = [Route("/", hello), Route("/chat/completions", hello, methods=["GET"])]
        app = GatewayMiddleware(Starlette(routes=routes), gateway)
        async with gateway, asgi_client(app) as client:
            assert (await posted(app, "/chat/completions")).status_code == 201
            assert (await posted(app, "/v1/chat/completions")).status_code == 201
            for path in ("/", "/chat/completions"):
                assert (await client.get(path)).text == "the host's own"
            assert (await client.get("/nowhere")).text == "Not Found"


@pytest.mark.contract("1.prefix.middleware")
async def test_around_a_host_with_a_prefix_all_below_it_is_the_gateways() -> None:
    async with ScriptedUpstream().client() as upstream:
        gateway = Gateway(providers=[OpenAI(api_key="sk-c4n4ry-k", client=upstream)])
        app = GatewayMiddleware(Starlette(routes=[Route("/", hello)]), gateway, prefix="/llm")
        async with gateway, asgi_client(app) as client:
            assert (await posted(app, "/llm/chat/completions")).status_code == 201
            assert (await posted(app, "/llm/v1/chat/completions")).status_code == 201
            assert (await client.get("/llm/nowhere")).json()["error"]["code"] == "unknown_url"
            assert (await posted(app, "/chat/completions")).text == "Not Found"
            assert (await posted(app, "/llmx/chat/completions")).text == "Not Found"
            assert (await client.get("/")).text == "the host's own"
