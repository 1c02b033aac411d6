"""P11: gateways that are opened late, not at all, again, beside each other, and on one loop after another."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from ogw_asgi import Breaker, Gateway, OpenAICompatible
from ogw_asgi.testing import RawUpstream

from .caller import Reply, call, request
from .expect import assert_answered, assert_moved_on
from .selection import Case
from .serving import served
from .standing import canary, connected_to, open_sockets, soon
from .watching import question
from .wire import good, payload, refusal
from .world import Good, OpenWorld

pytestmark = pytest.mark.anyio


class WithoutLifespan:
    """A host that forgot to pass its lifespan on."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self._gateway(scope, receive, send)
            return
        for word in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{word}.complete"})


def lazily(records: Any) -> list[str]:
    return [record.levelname for record in records if record.getMessage().startswith("opened_lazily")]


@pytest.mark.fault("P11")
async def test_a_gateway_that_nobody_opened_opens_itself_once_and_says_so(open_world: OpenWorld) -> None:
    async with open_world(one=Good(), idle=["one"], host=WithoutLifespan) as world:
        assert world.gateway._opened is None
        for _ in range(3):
            assert_answered(world, await world.ask(), "one")
        assert lazily(world.complaints.records) == ["WARNING"]
        assert world.calls() == {"one": 3}


@pytest.mark.fault("P11")
async def test_an_opening_that_is_cancelled_can_be_done_again(open_world: OpenWorld) -> None:
    async with open_world(one=Good(), idle=["one"], host=WithoutLifespan) as world:
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with world.gateway:
                await anyio.lowlevel.checkpoint()
                raise AssertionError("this is not reached")
        assert scope.cancelled_caught
        await world.gateway.__aenter__()  # the world closes it, as the host's lifespan would
        for _ in range(2):
            assert_answered(world, await world.ask(), "one")
        assert lazily(world.complaints.records) == []


@pytest.mark.fault("P11")
async def test_a_gateway_that_was_closed_refuses_and_opened_again_knows_nothing_of_before(
    open_world: OpenWorld, case: Case
) -> None:
    one = RawUpstream([refusal(500)])
    async with open_world(
        one=one, two=Good(), idle=["one", "two"], breaker=Breaker(failures=1, open_s=60, open_max_s=60)
    ) as world:
        assert_moved_on(world, await world.ask(), "500")
        assert_answered(world, await world.ask(), "two")
        await world.gateway.aclose()
        ports = world.ports.values()
        await soon(lambda: connected_to(ports) <= world.others, 0.1, lambda: "closing left connections open")
        async with call(world.port, request(question(stream=case.stream))) as exchange:
            closed = await exchange.rest()
        assert (closed.status, closed.error["code"]) == (503, "gateway_closed")
        assert closed.header("retry-after") == "1"
        assert world.calls() == {"one": 1, "two": 2}
        async with world.gateway:
            assert_moved_on(world, await world.ask(), "500")
            assert_answered(world, await world.ask(), "two")
            await world.settled()
        await world.gateway.__aenter__()  # for the world to close


async def ask(port: int, case: Case) -> Reply:
    async with call(port, request(question(stream=case.stream))) as exchange:
        return await exchange.rest()


@asynccontextmanager
async def gateway_served(case: Case, one: str, two: str, **settings: Any) -> AsyncIterator[tuple[Gateway, int]]:
    """A gateway of its own beside a world's."""
    urls = {"one": one, "two": two}
    providers = [OpenAICompatible(name, base_url=f"{url}/v1", api_key=canary(name)) for name, url in urls.items()]
    gateway = Gateway(providers=providers, failover_sequence=["one", "two"], engine=case.engine, **settings)
    async with served(gateway) as port:
        yield gateway, port


@pytest.mark.fault("P11")
async def test_two_gateways_with_the_same_providers_share_nothing(open_world: OpenWorld, case: Case) -> None:
    one = RawUpstream([refusal(500)])
    settings: dict[str, Any] = {"breaker": Breaker(failures=1, open_s=60, open_max_s=60)}
    async with open_world(one=one, two=Good(), idle=["one", "two"], **settings) as world:
        urls = [upstream.url for upstream in world.upstreams.values()]
        assert_moved_on(world, await world.ask(), "500")
        async with gateway_served(case, *urls, **settings) as (other, port):
            before = world.upstreams["two"].connections
            assert_moved_on(world, await ask(port, case), "500")
            assert_answered(world, await ask(port, case), "two")
            assert world.upstreams["two"].connections > before, "a connection of its own"
            await other.aclose()
            assert (await ask(port, case)).status == 503
            assert_answered(world, await world.ask(), "two")
        vias = {_via(seen.head) for seen in world.upstreams["two"].requests}
        assert len(vias) == 2, "names of their own"


def _via(head: bytes) -> bytes:
    return next(line for line in head.split(b"\r\n") if line.lower().startswith(b"via:"))


# Nobody can close the sockets of a loop that has ended: Python says so of them when it collects them.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.fault("P11")
@pytest.mark.parametrize("closed", [True, False], ids=["closed in between", "left open"])
def test_one_gateway_works_on_one_loop_after_another(
    case: Case, closed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    gateways: list[Gateway] = []
    before = open_sockets()

    async def ask_twice(loop: str) -> list[tuple[int, bytes]]:
        async with RawUpstream([good(case.mode, f"on {loop}")]) as upstream:
            provider = OpenAICompatible("one", base_url=f"{upstream.url}/v1", api_key=canary("one"))
            if not gateways:
                gateways.append(Gateway(providers=[provider], engine=case.engine))
            gateway = gateways[0]
            gateway._providers["one"] = provider
            replies = []
            with anyio.fail_after(5):
                async with served(gateway if closed else WithoutLifespan(gateway)) as port:
                    for _ in range(2):
                        reply = await ask(port, case)
                        replies.append((reply.status, reply.body))
            assert len(upstream.requests) == 2
            return replies

    name, options = case.backend
    other = "trio" if case.loop != "trio" else "asyncio"
    for number, (backend, settings) in enumerate([(name, options), (other, {}), (name, options)]):
        replies = anyio.run(ask_twice, str(number), backend=backend, backend_options=settings)
        assert replies == [(201, payload(case.mode, f"on {number}"))] * 2
        if closed:
            assert open_sockets() <= before
    gateways.clear()
    gc.collect()
    assert len(lazily(caplog.records)) == (0 if closed else 1)
