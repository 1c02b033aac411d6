"""`/healthz` and `/readyz`: what a load balancer is told, in each way in."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ogw_asgi import VLLM, Breaker, Gateway, GatewayMiddleware, Limits, OpenAI, bearer_tokens
from ogw_asgi.fastapi import gateway_router
from ogw_asgi.testing import ScriptedUpstream, asgi_client, chat, error, hang
from tests.asgi.hosts import QUESTION, WAYS, code, running, starlette, warnings
from tests.contract.checks import mock_clock, sequence
from tests.contract.harness import gateway_of, using

pytestmark = pytest.mark.anyio

TOKEN = "sk-c4n4ry-of-a-caller-0123456789abcdef"
BELOW = {name: way for name, way in WAYS.items() if name not in ("middleware-starlette", "middleware-fastapi")}
on_a_mock_clock = pytest.mark.parametrize("anyio_backend", [mock_clock()])


async def answers(client: httpx.AsyncClient, prefix: str = "") -> dict[str, Any]:
    """Status and body of both."""
    told = {}
    for name in ("healthz", "readyz"):
        reply = await client.get(f"{prefix}/{name}")
        told[name] = (reply.status_code, reply.json())
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["content-type"] == "application/json"
    return told


ALIVE = (200, {"status": "ok"})
READY = (200, {"status": "ready"})


def unready(reason: str) -> tuple[int, dict[str, str]]:
    return (503, {"status": "not_ready", "reason": reason})


@pytest.mark.contract("6.probes.alive", "6.probes.ready")
@pytest.mark.parametrize("name", BELOW)
async def test_below_the_prefix_of_each_way_in_it_is_alive_and_ready_until_it_is_closed(name: str) -> None:
    way = BELOW[name]
    prefix = way.path.removesuffix("/chat/completions")
    gateway = Gateway(providers=[OpenAI(api_key=TOKEN)])
    with anyio.fail_after(5):
        async with running(way.build(gateway, True)) as client:
            assert await answers(client, prefix) == {"healthz": ALIVE, "readyz": READY}
            assert (await client.head(f"{prefix}/readyz")).content == b""
            refused = await client.post(f"{prefix}/readyz")
            assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
            assert (await client.options(f"{prefix}/healthz")).status_code == 204
        async with running(way.build(gateway, True), lifespan=False) as client:
            assert await answers(client, prefix) == {"healthz": ALIVE, "readyz": unready("gateway_closed")}


@pytest.mark.contract("6.probes.alive")
async def test_middleware_without_a_prefix_leaves_the_hosts_own_probes_alone() -> None:
    host = starlette()
    host.router.routes.append(Route("/healthz", lambda request: PlainTextResponse("the host's")))
    async with asgi_client(GatewayMiddleware(host, gateway=Gateway(providers=[OpenAI()]))) as client:
        assert (await client.get("/healthz")).text == "the host's"
        assert (await client.get("/readyz")).status_code == 404


async def test_a_gateway_without_a_provider_is_alive_and_not_ready() -> None:
    async with gateway_of() as world:
        assert await answers(world.client) == {"healthz": ALIVE, "readyz": unready("no_provider")}


@pytest.mark.contract("6.probes.alive")
async def test_being_alive_opens_nothing_and_being_ready_does(caplog: pytest.LogCaptureFixture) -> None:
    gateway = Gateway(providers=[OpenAI(api_key=TOKEN)])
    async with asgi_client(gateway) as client:
        assert (await client.get("/healthz")).status_code == 200
        assert not any(record.getMessage().startswith("opened") for record in caplog.records)
        assert (await client.get("/readyz")).status_code == 200
    await gateway.aclose()
    (warning,) = warnings(caplog)
    assert warning.startswith("opened_lazily")


@pytest.mark.contract("6.probes.ready", "6.probes.recovers", "6.probes.no-call")
@on_a_mock_clock
async def test_it_is_not_ready_while_every_breaker_is_open_and_ready_again_when_their_time_is_over() -> None:
    async with gateway_of(openai=ScriptedUpstream(error(500)), azure=ScriptedUpstream(error(500)), limit_s=60) as world:
        for _ in range(5):
            assert (await world.post()).status_code == 502
        calls = world.calls()
        assert await answers(world.client) == {"healthz": ALIVE, "readyz": unready("no_target_may_be_tried")}
        assert (await world.client.head("/readyz")).status_code == 503
        await anyio.sleep(3.7)  # open for 5 s, 25 % less at the least
        assert (await world.client.get("/readyz")).status_code == 503
        await anyio.sleep(2.6)
        assert (await answers(world.client))["readyz"] == READY
        assert world.calls() == calls


@pytest.mark.contract("6.probes.ready")
@on_a_mock_clock
async def test_one_target_of_the_sequence_that_may_be_tried_is_enough_and_a_cooldown_is_no_outage() -> None:
    calm = using(ScriptedUpstream(error(429, headers={"retry-after": "300"})))
    async with gateway_of(
        openai=ScriptedUpstream(error(500)), azure=calm, failover_sequence=["openai", "azure"], limit_s=60
    ) as world:
        for _ in range(5):
            await world.post(headers=sequence("openai"))
        await world.post(headers=sequence("azure"))
        assert (await answers(world.client))["readyz"] == READY
    async with gateway_of(
        openai=ScriptedUpstream(error(500)), azure=ScriptedUpstream(chat()), failover_sequence=["openai"]
    ) as world:
        for _ in range(5):
            await world.post()
        assert (await answers(world.client))["readyz"] == unready("no_target_may_be_tried")


@pytest.mark.contract("6.probes.ready")
async def test_a_vllm_whose_servers_callers_name_may_always_be_tried() -> None:
    vllm = VLLM(allowed_endpoints=["http://127.0.0.1:1"])
    async with gateway_of(vllm=vllm, breaker=Breaker(failures=1)) as world:
        named = {**sequence("vllm"), "x-opengateway-vllm-endpoint": "http://127.0.0.1:1"}
        assert (await world.post(headers=named)).status_code == 502
        assert (await answers(world.client))["readyz"] == READY


@pytest.mark.contract("6.probes.open")
async def test_nobody_is_asked_who_they_are_and_no_provider_is_named() -> None:
    down = ScriptedUpstream(error(500))
    async with gateway_of(secretive=down, authenticate=bearer_tokens([TOKEN]), breaker=Breaker(failures=1)) as world:
        assert (await world.post()).status_code == 401
        await world.post(headers={"authorization": f"Bearer {TOKEN}"})
        reply = await world.client.get("/readyz")
        assert reply.status_code == 503
        assert "secretive" not in reply.text + str(reply.headers)


@pytest.mark.contract("6.probes.open")
async def test_the_dependencies_of_a_router_are_not_asked_for_its_probes() -> None:
    def nobody() -> None:
        raise HTTPException(401)

    app = FastAPI()
    app.include_router(gateway_router(Gateway(providers=[OpenAI()]), dependencies=[Depends(nobody)]), prefix="/llm")
    async with running(app) as client:
        assert await answers(client, "/llm") == {"healthz": ALIVE, "readyz": READY}
        assert (await client.get("/llm/models")).status_code == 401
        assert (await client.post("/llm/chat/completions", json=QUESTION)).status_code == 401
        assert (await client.put("/llm/chat/completions")).status_code == 401
    assert not any("z" in path.rpartition("/")[2] for path in app.openapi()["paths"])


@pytest.mark.contract("6.probes.alive")
async def test_a_gateway_that_is_full_still_answers_its_probes() -> None:
    silent = ScriptedUpstream(hang())
    async with gateway_of(openai=silent, limits=Limits(in_flight=1)) as world:
        async with anyio.create_task_group() as group:
            group.start_soon(world.post)
            await silent.wait_for_requests(1)
            assert code(await world.post()) == "gateway_overloaded"
            assert await answers(world.client) == {"healthz": ALIVE, "readyz": READY}
            group.cancel_scope.cancel()


async def test_a_probe_that_says_in_two_ways_where_its_body_ends_is_refused() -> None:
    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        scope_headers = {"content-length": "3", "transfer-encoding": "chunked"}
        for path in ("/healthz", "/readyz"):
            assert (await world.client.get(path, headers=scope_headers)).status_code == 400


async def test_probes_are_no_events_and_no_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[object] = []

    class Sink:
        def on_event(self, event: object, /) -> None:
            seen.append(event)

    async with gateway_of(openai=ScriptedUpstream(chat()), sinks=[Sink()]) as world:
        caplog.clear()
        seen.clear()
        await answers(world.client)
    assert seen == []
    assert [record for record in caplog.records if record.name == "ogw_asgi" and record.levelno > logging.DEBUG] == []
