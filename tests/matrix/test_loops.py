"""E09: requests that come back to a gateway they have been at, over real sockets all the way round."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest

from ogw_asgi import VLLM, Gateway
from ogw_asgi.telemetry.events import Event, RequestEnded
from ogw_asgi.testing import RawUpstream

from .caller import Reply
from .expect import assert_answered
from .selection import Case
from .serving import served
from .wire import good, payload
from .world import Good, OpenWorld, Place, World

pytestmark = pytest.mark.anyio

ENDPOINT = "x-opengateway-vllm-endpoint"


@contextmanager
def listeners(count: int) -> Iterator[list[tuple[socket.socket, str]]]:
    """Listening sockets and their URLs: each gateway of a circle must know the next one's before that is there."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        yield [(each, f"http://127.0.0.1:{each.getsockname()[1]}") for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Ends:
    """The ends of the requests of a gateway that is not the world's."""

    def __init__(self) -> None:
        self.seen: list[RequestEnded] = []

    def on_event(self, event: Event, /) -> None:
        if isinstance(event, RequestEnded):
            self.seen.append(event)


@asynccontextmanager
async def another(case: Case, on: socket.socket, leads_to: str) -> AsyncIterator[Ends]:
    """A gateway whose first provider is at `leads_to`, and whose second one nobody may ask."""
    ends = Ends()
    async with RawUpstream([good(case.mode)]) as spare:
        providers = [
            VLLM(endpoint=leads_to, api_key="sk-of-another"),
            VLLM(endpoint=spare.url, name="spare"),
        ]
        sequence = ["vllm", "spare"]
        gateway = Gateway(providers=providers, failover_sequence=sequence, engine=case.engine, sinks=[ends])
        async with served(gateway, on=on):
            yield ends
        assert spare.requests == [], "nobody is asked after a loop"


def assert_looped(world: World, reply: Reply, provider: str, *, asked: int = 1) -> None:
    """The caller's 508: one attempt, nobody else asked, and nothing that a client should try again.

    So many requests have been `asked`, and none of them went past the door of the world's gateway a second time.
    """
    assert (reply.status, reply.ended) == (508, True)
    assert (reply.error["type"], reply.error["code"]) == ("loop_detected", "loop_detected")
    attempts: list[dict[str, Any]] = reply.error["attempts"]
    assert [(each["provider"], each["outcome"], each["status"]) for each in attempts] == [
        (provider, "loop_detected", 508)
    ]
    assert reply.header("x-should-retry") == "false"
    assert reply.header("retry-after") is None
    assert reply.header("x-opengateway-attempts") == "1"
    assert reply.header("x-opengateway-provider") == provider
    assert set(world.calls().values()) == {0}
    assert len([event for event in world.events if isinstance(event, RequestEnded)]) == asked


@pytest.mark.fault("E09")
async def test_a_gateway_that_is_named_as_its_own_endpoint_says_so_after_one_hop(
    open_world: OpenWorld, case: Case
) -> None:
    with listeners(1) as [(own, url)]:
        async with open_world(on=own, vllm=Place(Good(), allowed_endpoints=[url]), two=Good()) as world:
            assert_looped(world, await world.ask("vllm", "two", headers={ENDPOINT: url}), "vllm")
            assert_answered(world, await world.ask("two"), "two")


@pytest.mark.fault("E09")
async def test_a_configured_provider_that_leads_back_is_found_out_the_same_way(
    open_world: OpenWorld, case: Case
) -> None:
    with listeners(1) as [(own, url)]:
        async with open_world(on=own, mirror=url, two=Good(), idle=["mirror", "two"]) as world:
            for asked in (1, 2):  # the second time over the connection that was kept
                assert_looped(world, await world.ask(), "mirror", asked=asked)
            assert_answered(world, await world.ask("two", "mirror"), "two")


@pytest.mark.fault("E09")
@pytest.mark.parametrize("named_by", ["the caller", "the operator"])
async def test_the_508_of_a_gateway_behind_this_one_that_leads_back_is_the_callers(
    open_world: OpenWorld, case: Case, named_by: str
) -> None:
    with listeners(2) as [(own, url), (others, other_url)]:
        place = Place(Good() if named_by == "the caller" else other_url, allowed_endpoints=[other_url])
        headers = {ENDPOINT: other_url} if named_by == "the caller" else {}
        async with open_world(on=own, vllm=place, two=Good(), idle=["vllm", "two"]) as world:
            async with another(case, others, url) as ends:
                assert_looped(world, await world.ask("vllm", "two", headers=headers), "vllm")
                (inner,) = ends.seen
                assert (inner.status, [each.outcome for each in inner.attempts]) == (508, ["loop_detected"])
            assert_answered(world, await world.ask("two"), "two")


@pytest.mark.fault("E09")
@pytest.mark.parametrize("gateways", [3, 4])
async def test_three_gateways_in_a_row_are_no_loop_and_four_are_taken_for_one(
    open_world: OpenWorld, case: Case, gateways: int
) -> None:
    with listeners(gateways - 1) as behind:
        async with RawUpstream([good(case.mode)]) as provider:
            urls = [url for _, url in behind] + [provider.url]
            async with open_world(vllm=Place(Good(), allowed_endpoints=[urls[0]]), two=Good()) as world:
                async with AsyncExitStack() as row:
                    ends = [
                        await row.enter_async_context(another(case, listener, leads_to))
                        for (listener, _), leads_to in zip(behind, urls[1:], strict=True)
                    ]
                    reply = await world.ask("vllm", "two", headers={ENDPOINT: urls[0]})
                    if gateways == 3:
                        assert (reply.status, reply.header("x-opengateway-provider")) == (201, "vllm")
                        assert reply.body == payload(case.mode, "Hello")
                        (request,) = provider.requests
                        assert request.head.count(b"1.1 ogw-") == 3
                        assert [end.outcome for each in ends for end in each.seen] == ["ok", "ok"]
                    else:
                        assert_looped(world, reply, "vllm")
                        assert provider.requests == []
                        assert [len(each.seen) for each in ends] == [1, 1, 0]
