"""Each way into an app, with the life cycle wired and forgotten, answers with a failover behind it."""

from __future__ import annotations

import socket
from typing import Any

import anyio
import pytest

from ogw_asgi import VLLM, Gateway
from ogw_asgi.testing import RawUpstream
from tests.asgi.hosts import (
    EVENTS,
    PLAIN_WIRE,
    QUESTION,
    STREAM_WIRE,
    STREAMED,
    WAYS,
    Way,
    code,
    over_sockets,
    running,
    warnings,
)

pytestmark = pytest.mark.anyio

SEQUENCE = "x-opengateway-failover-sequence"
ENDPOINT = "x-opengateway-vllm-endpoint"


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@pytest.mark.contract(
    "1.endpoint",
    "1.prefix.mount",
    "1.prefix.middleware",
    "1.created",
    "1.created-stream",
    "1.unavailable.closed",
    "1.unavailable.retry-after",
    "2.first-chunk.failover",
    "6.header.provider",
    "6.header.attempts",
)
async def test_wired_it_answers_without_a_warning_and_ends_with_the_app(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    with anyio.fail_after(5):
        async with over_sockets([PLAIN_WIRE], STREAM_WIRE) as (gateway, upstream):
            app = way.build(gateway, True)
            async with running(app) as client:
                plain = await client.post(way.path, json=QUESTION)
                streamed = await client.post(way.path, json=STREAMED)
            async with running(app, lifespan=False) as client:
                afterwards = await client.post(way.path, json=QUESTION)
            await upstream.peer_closed(upstream.connections)
    assert plain.status_code == streamed.status_code == 201
    assert plain.json()["choices"][0]["message"]["content"] == "Hello"
    assert streamed.content == b"".join(EVENTS)
    for response in (plain, streamed):
        assert response.headers["x-opengateway-provider"] == "up"
        assert response.headers["x-opengateway-attempts"] == "2"
    assert (afterwards.status_code, code(afterwards)) == (503, "gateway_closed")
    assert afterwards.headers["retry-after"] == "1"
    assert warnings(caplog) == []


async def test_forgotten_it_answers_all_the_same_and_one_warning_names_the_line_to_add(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    with anyio.fail_after(5):
        async with over_sockets([PLAIN_WIRE], STREAM_WIRE) as (gateway, upstream):
            app = way.build(gateway, False)
            async with running(app, lifespan=not way.self_wiring) as client:
                plain = await client.post(way.path, json=QUESTION)
                streamed = await client.post(way.path, json=STREAMED)
            await gateway.aclose()
            await upstream.peer_closed(upstream.connections)
    assert (plain.status_code, streamed.status_code) == (201, 201)
    assert streamed.content == b"".join(EVENTS)
    (warning,) = warnings(caplog)
    assert "lifespan=gateway.lifespan" in warning


@pytest.mark.contract("1.alias-v1")
async def test_the_alias_of_sdks_is_there_too(way: Way) -> None:
    with anyio.fail_after(5):
        async with over_sockets() as (gateway, _), running(way.build(gateway, True)) as client:
            reply = await client.post(way.path.replace("/chat/", "/v1/chat/"), json=QUESTION)
    assert reply.status_code == 201


async def test_a_failure_of_every_provider_is_never_a_500(way: Way) -> None:
    with anyio.fail_after(5):
        async with over_sockets() as (gateway, _), running(way.build(gateway, True)) as client:
            reply = await client.post(way.path, json=QUESTION, headers={"x-opengateway-failover-sequence": '["down"]'})
    assert (reply.status_code, reply.json()["error"]["attempts"][0]["provider"]) == (502, "down")


@pytest.mark.contract("7.guard.loopback", "7.guard.one-answer", "7.key-bound")
@pytest.mark.parametrize("engine", ["native", "httpx", "httpx2"])
async def test_the_egress_policy_is_the_same_whichever_way_a_request_comes_in(
    way: Way, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = socket.getaddrinfo

    def look_up(name: Any, *more: Any, **options: Any) -> Any:
        return system("127.0.0.1" if str(name).endswith(".test") else name, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with RawUpstream([PLAIN_WIRE]) as upstream:
        port = upstream.port
        vllm = VLLM(
            endpoint="http://127.0.0.1:1",
            api_key="sk-configured",
            allowed_endpoints=[f"http://in.test:{port} in 127.0.0.0/8", f"http://out.test:{port}"],
        )
        gateway = Gateway(providers=[vllm], engine=engine)
        statuses = []
        async with running(way.build(gateway, True)) as client:
            for host in ("in.test", "out.test", "unlisted.test", "127.0.0.1", "0x7f.1"):
                named = {SEQUENCE: '["vllm"]', ENDPOINT: f"http://{host}:{port}"}
                statuses.append((await client.post(way.path, json=QUESTION, headers=named)).status_code)
    assert statuses == [201, 403, 403, 403, 400]
    (request,) = upstream.requests
    assert b"authorization" not in request.head.lower()
