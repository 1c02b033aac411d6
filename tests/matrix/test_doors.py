"""P09 and P10: a gateway that is full, and the host's own code that fails at its door."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from ogw_asgi import Limits, Principal, Timeouts
from ogw_asgi.telemetry.events import Event
from ogw_asgi.testing import Hang, OnAccept, RawUpstream, Reset, SharedEvent, Wait

from .caller import Reply, connected
from .expect import assert_answered, assert_moved_on
from .selection import Case
from .watching import turns
from .wire import good
from .world import Good, OpenWorld, World

pytestmark = pytest.mark.anyio

HEAD = (
    b"POST /chat/completions HTTP/1.1\r\nhost: gateway.test\r\ncontent-type: application/json\r\n"
    b"content-length: 1000000\r\n\r\n"
)
"""With a body that never comes: whoever answers has not read it."""


async def at_the_door(world: World) -> Reply:
    async with connected(world.port) as exchange:
        await exchange.send_raw(HEAD)
        reply = await exchange.rest()
        world.received.append(bytes(exchange.raw).decode("latin-1"))
        return reply


def assert_too_many(reply: Reply) -> None:
    assert (reply.status, reply.ended) == (429, True)
    assert (reply.error["code"], reply.error["type"]) == ("principal_overloaded", "rate_limit_error")
    assert (reply.header("retry-after"), reply.header("retry-after-ms")) == ("1", "1000")
    assert reply.header("connection") == "close"
    assert reply.header("x-opengateway-attempts") is None


def assert_unavailable(reply: Reply, code: str) -> None:
    assert (reply.status, reply.ended) == (503, True)
    assert (reply.error["code"], reply.error["type"]) == (code, "service_unavailable_error")
    assert (reply.header("retry-after"), reply.header("retry-after-ms")) == ("1", "1000")
    assert reply.header("connection") == "close"
    assert reply.header("x-opengateway-attempts") is None


# --- P09 --------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("P09")
async def test_beyond_the_limit_a_request_is_refused_at_the_door_at_once(open_world: OpenWorld, case: Case) -> None:
    gate = SharedEvent()
    held = RawUpstream([Wait(gate), good(case.mode)])
    async with open_world(one=held, two=Good(), idle=["one"], limits=Limits(in_flight=2)) as world:
        async with world.asking() as first, world.asking() as second:
            await held.wait_for_requests(2)
            took_s: list[float] = []
            while len(took_s) < 20 and not any(each_s <= 0.01 for each_s in took_s):  # a busy machine gets some tries
                started_s = anyio.current_time()
                assert_unavailable(await at_the_door(world), "gateway_overloaded")
                took_s.append(anyio.current_time() - started_s)
            assert min(took_s) <= 0.01
            gate.set()
            for exchange in (first, second):
                assert_answered(world, await exchange.rest(), "one", text="Hello")
        assert_answered(world, await world.ask(), "one", text="Hello")
        assert world.calls() == {"one": 3, "two": 0}


@pytest.mark.fault("P09")
async def test_callers_who_leave_make_room(open_world: OpenWorld) -> None:
    async with open_world(one=RawUpstream([Hang()]), two=Good(), limits=Limits(in_flight=1)) as world:
        for _ in range(3):
            async with world.asking("one") as exchange:
                while not world.app.in_flight:
                    await turns(1)
                assert_unavailable(await at_the_door(world), "gateway_overloaded")
                exchange.leave("fin")
                await world.settled()
        assert_answered(world, await world.ask("two"), "two")


def named(connection: Any) -> Principal:
    return Principal(connection.headers.get("x-who", "somebody"), in_flight=1)


@pytest.mark.fault("P09")
@pytest.mark.parametrize("way", ["answered", "fin"])
async def test_one_principals_limit_is_its_own_and_there_is_room_when_a_request_ends(
    open_world: OpenWorld, case: Case, way: Any
) -> None:
    gate = SharedEvent()
    held = RawUpstream([Wait(gate), good(case.mode)]) if way == "answered" else RawUpstream([Hang()])
    async with open_world(one=held, two=Good(), idle=["one", "two"], authenticate=named) as world:
        async with world.asking("one", headers={"x-who": "somebody"}) as exchange:
            await held.wait_for_requests(1)
            assert_too_many(await at_the_door(world))
            async with world.asking("two", headers={"x-who": "another"}) as other:
                assert_answered(world, await other.rest(), "two")
            if way == "answered":
                gate.set()
                assert_answered(world, await exchange.rest(), "one", text="Hello")
            else:
                exchange.leave(way)
        assert_answered(world, await world.ask("two"), "two")
        assert len(world.gateway.app.completions.places) == 0
        assert world.calls() == {"one": 1, "two": 2}


# --- P10 --------------------------------------------------------------------------------------------------------------

SECRET = "a-secret-of-the-hosts"


def raising(connection: Any) -> Any:
    raise LookupError(f"no such user: {SECRET}")


async def raising_later(connection: Any) -> Any:
    await turns(1)
    raise LookupError(SECRET)


async def hanging(connection: Any) -> Any:
    await anyio.sleep_forever()


def answering_nonsense(connection: Any) -> Any:
    return SECRET


async def answering_nonsense_later(connection: Any) -> Any:
    return {"id": SECRET}


AUTHENTICATORS = [raising, raising_later, hanging, answering_nonsense, answering_nonsense_later]


@pytest.mark.fault("P10")
@pytest.mark.parametrize("authenticate", AUTHENTICATORS, ids=lambda function: function.__name__)
async def test_an_authenticator_that_fails_lets_nobody_in(
    open_world: OpenWorld, authenticate: Callable[[Any], Any]
) -> None:
    timeouts = Timeouts(authenticate_s=0.1)
    async with open_world(one=Good(), authenticate=authenticate, timeouts=timeouts) as world:
        started_s = anyio.current_time()
        assert_unavailable(await at_the_door(world), "authentication_unavailable")
        if authenticate is hanging:
            assert anyio.current_time() - started_s >= 0.1 - 0.001  # a tick of uvloop's clock
        await world.settled()
        assert world.calls() == {"one": 0}
        logged = [record for record in world.complaints.records if record.levelname == "WARNING"]
        assert [record.getMessage().split()[0] for record in logged] == ["authenticator_failed"]
        assert SECRET not in "".join([*world.received, world.complaints.shown()])


class Failing:
    """A sink that fails at everything. One that blocks, on the other hand, blocks the loop with all that is on it: it
    is called there, and must not (`ogw_asgi.telemetry.Sink`); no gateway can take that back."""

    def __init__(self) -> None:
        self.told = 0

    def on_event(self, event: Event, /) -> None:
        self.told += 1
        raise LookupError(SECRET)


@pytest.mark.fault("P10")
async def test_a_sink_that_raises_touches_neither_the_answer_nor_the_sinks_behind_it(open_world: OpenWorld) -> None:
    failing, behind = Failing(), []

    class Behind:
        def on_event(self, event: Event, /) -> None:
            behind.append(event)

    async with open_world(one=RawUpstream([OnAccept(), Reset()]), two=Good(), sinks=[failing, Behind()]) as world:
        assert_moved_on(world, await world.ask(), "reset")
        assert world.calls() == {"one": 0, "two": 1}
        assert failing.told == len(behind) == len(world.events) > 0
        failed = [record for record in world.complaints.records if record.getMessage().startswith("sink_failed")]
        assert len(failed) == failing.told
        assert all(
            re.fullmatch(r"sink_failed sink=Failing error=LookupError at test_doors\.py:\d+", each.getMessage())
            for each in failed
        )
        assert SECRET not in world.complaints.shown()
