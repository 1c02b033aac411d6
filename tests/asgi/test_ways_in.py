"""Each way into an app, with the life cycle wired and forgotten, answers with a failover behind it."""

from __future__ import annotations

import anyio
import pytest

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
