"""Circuits behind a store that is waited for: the seam promises it, so nothing may count on one that never waits."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from ogw_asgi import Breaker, Timeouts
from ogw_asgi._rules.circuit import Failed
from ogw_asgi.telemetry.events import AttemptEnded, Event

from ..contract.checks import mock_clock
from .dispatching import MODEL, Told, opened, played

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return mock_clock()


def after(seconds: float, status: int = 200) -> Any:
    async def play(_: Any) -> int:
        await anyio.sleep(seconds)
        return status

    return play


async def slowly() -> None:
    await anyio.sleep(0.01)


async def test_an_attempt_that_was_let_through_too_late_does_not_hold_the_answer_up() -> None:
    """a answers while the store still ponders whether b may be asked beside it."""
    async with opened("a", "b") as gateway:
        world = played(gateway, {"a": after(1.035), "b": after(500)}, breaker=Breaker(failures=1), wait=slowly)
        for name in "ab":  # both may be probed
            await world.memory.apply([((name, MODEL), Failed(1))], anyio.current_time())
        await anyio.sleep(10)
        began_s = anyio.current_time()
        told = await world.call("a", "b")
        assert told.status == 201
        assert anyio.current_time() - began_s < 2
        assert world.left_over() == {}


@pytest.mark.contract("4.breaker.first")
async def test_a_probe_that_was_taken_while_the_store_was_waited_for_is_not_made_twice() -> None:
    """Two see at the same time that a may be probed. One does; the other asks b, and a again only for want of it."""
    async with opened("a", "b") as gateway:
        world = played(
            gateway, {"a": after(0.5), "b": after(0.1, 500)}, breaker=Breaker(failures=1), wait=slowly, crowd=True
        )
        await world.memory.apply([(("a", MODEL), Failed(1))], anyio.current_time())
        await anyio.sleep(10)
        told: dict[str, Told] = {}

        async def call(request_id: str) -> None:
            told[request_id] = await world.call("a", "b", request_id=request_id)

        async with anyio.create_task_group() as group:
            group.start_soon(call, "one")
            group.start_soon(call, "two")
        (first, second) = sorted(told.values(), key=lambda one: one.attempts)
        assert (first.status, first.attempts) == (201, 1)
        assert (second.status, second.attempts) == (201, 2), "b had failed it"
        assert [name for name, _ in world.upstreams.asked] == ["a", "b", "a"]
        assert world.left_over() == {}


class Ends:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_event(self, event: Event, /) -> None:
        if isinstance(event, AttemptEnded):
            self.seen.append(event.attempt.provider)


async def test_each_end_of_an_attempt_is_told_once() -> None:
    ends = Ends()
    async with opened("a", "b", sinks=[ends]) as gateway:
        world = played(
            gateway,
            {"a": after(1.0, 500), "b": after(0.485, 500)},
            timeouts=Timeouts(hedge_after_s=0.5),
            wait=slowly,
        )
        await world.call("a", "b", x_opengateway_hedge_after="500")
        assert sorted(ends.seen) == ["a", "b"]
