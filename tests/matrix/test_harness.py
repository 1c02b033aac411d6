"""The standing checks can fail: each finds what it is there for. And the selection covers every pair."""

from __future__ import annotations

import asyncio
import base64
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from typing import Any

import anyio
import pytest

from ogw_asgi.telemetry.events import Event, RequestEnded
from ogw_asgi.testing import Hang, OnAccept, RawUpstream, Reset

from .expect import assert_answered, assert_moved_on
from .selection import ENGINES, MODES, Case, full, pairwise
from .standing import canary
from .wire import refusal
from .world import Good, OpenWorld, Place

pytestmark = pytest.mark.anyio

on_either_loop = pytest.mark.parametrize(
    "case", [Case("native", "asyncio", "sse"), Case("httpx2", "trio", "json")], ids=lambda case: case.id
)
on_asyncio = pytest.mark.parametrize("case", [Case("native", "asyncio", "json")], ids=lambda case: case.id)
"""Trio has neither futures that nobody asks nor tasks without a nursery."""


@contextmanager
def finds(what: str) -> Iterator[None]:
    """One of the checks fails in the block, and says this."""
    with pytest.raises(AssertionError, match=what):
        yield


async def test_a_healthy_world_passes(open_world: OpenWorld) -> None:
    async with open_world(one=Good(), idle=["one"]) as world:
        for _ in range(3):
            assert_answered(world, await world.ask(), "one")
    assert world.calls() == {"one": 3}


async def test_an_answer_that_was_delivered_is_told_as_such(open_world: OpenWorld) -> None:
    async with open_world(one=Good(), idle=["one"]) as world:
        for _ in range(3):
            assert_answered(world, await world.ask(), "one")
    assert [event.outcome for event in world.events if isinstance(event, RequestEnded)] == ["ok"] * 3


async def test_a_fault_moves_on(open_world: OpenWorld) -> None:
    async with open_world(one=RawUpstream([OnAccept(), Reset()]), two=Good()) as world:
        assert_moved_on(world, await world.ask(), "reset")


@on_either_loop
async def test_a_connection_that_is_kept_unasked_is_found(open_world: OpenWorld) -> None:
    with finds("sockets to those that may keep none: 1"):
        async with open_world(one=Good(), idle=()) as world:
            await world.ask()


@on_either_loop
async def test_a_slot_that_is_not_given_back_is_found(open_world: OpenWorld) -> None:
    with finds("slots: 1"):
        async with open_world(one=Good(), idle=["one"]) as world:
            opened = world.gateway._opened
            assert opened is not None
            await opened.dispatcher.slots.acquire("somebody", 1)
            await world.ask()


@on_either_loop
async def test_a_request_that_goes_on_without_its_caller_is_found(open_world: OpenWorld) -> None:
    with finds("requests: 1"):
        async with open_world(one=RawUpstream([Hang()])) as world:
            async with world.asking():
                await world.upstreams["one"].wait_for_requests()
                await world.settled()


class Doing:
    """A sink that does something at the end of each request."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self._act = act
        self.kept: list[Any] = []

    def on_event(self, event: Event, /) -> None:
        if isinstance(event, RequestEnded):
            self.kept.append(self._act())


@pytest.mark.shows_keys("a key is planted in the log, for the world to find")
@on_either_loop
@pytest.mark.parametrize(
    "said", [canary("one"), repr(canary("one")), f"Bearer {canary('one')}".encode()], ids=["raw", "repr", "bytes"]
)
async def test_a_key_in_a_log_is_found(open_world: OpenWorld, said: str | bytes) -> None:
    log = Doing(lambda: logging.getLogger("anybody").debug("sent %s", said))
    with finds("the key of one is shown in a log record"):
        async with open_world(one=Good(), idle=["one"], sinks=[log]) as world:
            await world.ask()


@on_either_loop
@pytest.mark.parametrize("lead", ["", "u", "us", "user:", "Basic "])
async def test_a_key_in_base64_is_found(open_world: OpenWorld, lead: str) -> None:
    coded = base64.b64encode(f"{lead}{canary('one')} and more".encode()).decode()
    log = Doing(lambda: logging.getLogger("anybody").debug("sent", extra={"coded": coded}))
    with finds("the key of one is shown in a log record"):
        async with open_world(one=Good(), idle=["one"], sinks=[log]) as world:
            await world.ask()


@pytest.mark.shows_keys("an upstream says a key that nobody sent it, for the world to find")
@on_either_loop
async def test_a_key_in_an_answer_is_found_and_one_that_an_upstream_echoes_is_masked(open_world: OpenWorld) -> None:
    echo = refusal(400, {"message": f"bad key {canary('one')}, not {canary('nobody')}"})
    with finds("the key of nobody is shown in an answer"):
        async with open_world(one=RawUpstream([echo]), idle=["one"]) as world:
            reply = await world.ask()
            assert canary("one") not in reply.error["message"]
            world.plant("nobody")


@on_either_loop
async def test_a_key_at_another_provider_is_found(open_world: OpenWorld) -> None:
    with finds("the key of one is shown in a request to two"):
        async with open_world(
            one=RawUpstream([OnAccept(), Reset()]), two=Place(RawUpstream([refusal(500)]), api_key=canary("one"))
        ) as world:
            await world.ask()


@on_either_loop
async def test_the_url_of_a_provider_in_an_answer_is_found(open_world: OpenWorld) -> None:
    with finds("the URL of two is shown to a caller"):
        async with open_world(one=Good(), two=Good(), idle=["one"]) as world:
            await world.ask()
            world.received.append(f"see http://127.0.0.1:{world.ports['two']}/v1")


@on_either_loop
async def test_a_socket_that_is_left_open_is_found(open_world: OpenWorld) -> None:
    with ExitStack() as later:
        opening = Doing(lambda: later.enter_context(socket.socket()))
        with finds("1 sockets left over"):
            async with open_world(one=Good(), idle=["one"], sinks=[opening]) as world:
                await world.ask()


@on_either_loop
async def test_an_exception_that_nobody_can_catch_is_found(open_world: OpenWorld) -> None:
    class Bad:
        def __del__(self) -> None:
            raise ValueError("in a finaliser")

    def drop() -> None:
        Bad()

    with finds("in a finaliser"):
        async with open_world(one=Good(), idle=["one"], sinks=[Doing(drop)]) as world:
            await world.ask()


@on_asyncio
async def test_an_exception_that_nobody_retrieved_is_found(open_world: OpenWorld) -> None:
    def forget() -> None:
        asyncio.get_running_loop().create_future().set_exception(ValueError("forgotten"))

    with finds("never retrieved.*forgotten"):
        async with open_world(one=Good(), idle=["one"], sinks=[Doing(forget)]) as world:
            await world.ask()


@on_asyncio
async def test_a_task_that_is_left_running_is_found(open_world: OpenWorld) -> None:
    leaving = Doing(lambda: asyncio.get_running_loop().create_task(anyio.sleep_forever(), name="forgotten"))
    with finds("tasks left over: .*forgotten"):
        async with open_world(one=Good(), idle=["one"], sinks=[leaving]) as world:
            await world.ask()
    (task,) = leaving.kept
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@on_either_loop
async def test_what_the_app_raises_is_found(open_world: OpenWorld) -> None:
    with finds("the app raised"):
        async with open_world(one=Good(), idle=["one"]) as world:
            world.app.raised.append(ValueError("lost in the server's log"))
            await world.ask()


# --- the selection ----------------------------------------------------------------------------------------------------


def test_six_cases_show_every_pair_of_engine_loop_and_mode() -> None:
    cases = pairwise()
    assert len(cases) == 6
    assert {(case.engine, case.loop) for case in cases} == set(product(ENGINES, ("asyncio", "trio")))
    assert {(case.engine, case.mode) for case in cases} == set(product(ENGINES, MODES))
    assert {(case.loop, case.mode) for case in cases} == set(product(("asyncio", "trio"), MODES))


def test_the_full_product_is_eighteen_cases() -> None:
    cases = full()
    assert len(set(cases)) == len(cases) == 18
    assert set(pairwise()) < set(cases)
    assert {case.engine for case in cases if case.loop == "uvloop"} == set(ENGINES)


@pytest.mark.parametrize("mode", MODES)
def test_a_row_of_one_mode_sees_every_engine_on_every_loop(mode: Any) -> None:
    assert {(case.engine, case.loop) for case in pairwise(mode)} == set(product(ENGINES, ("asyncio", "trio")))
    assert {case.mode for case in [*pairwise(mode), *full(mode)]} == {mode}
