"""Places at a target: how many there are, who gets the next one, and that none is ever lost."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from ogw_asgi._dispatch.slots import Slot, Slots
from tests.contract.checks import mock_clock

pytestmark = pytest.mark.anyio


async def taken(slots: Slots, key: str = "a") -> Slot:
    slot = await slots.acquire(key, 1)
    assert slot is not None
    return slot


async def test_there_are_so_many_for_each_key_and_no_more() -> None:
    slots = Slots(2)
    held = [await taken(slots), await taken(slots), await taken(slots, "b")]
    assert slots.take("a") is None
    assert slots.in_flight() == 3
    for slot in held:
        slot.release()
        slot.release()  # harmless
    assert slots.in_flight() == 0
    assert slots._taken == slots._waiting == {}


async def test_whoever_has_waited_longest_gets_the_next_one() -> None:
    slots, got = Slots(1), []
    first = await taken(slots)

    async def wait(name: str) -> None:
        slot = await slots.acquire("a", 60)
        assert slot is not None
        got.append(name)
        await checkpoint()
        assert slots.take("a") is None, "one that is handed over is not free in between"
        slot.release()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for name in "xyz":
                group.start_soon(wait, name)
                await anyio.wait_all_tasks_blocked()
            first.release()
    assert got == ["x", "y", "z"]
    assert slots._taken == slots._waiting == {}


@pytest.mark.parametrize("anyio_backend", [mock_clock()], ids=["mock clock"])
async def test_a_wait_that_was_in_vain_takes_nothing() -> None:
    slots = Slots(1)
    first = await taken(slots)
    assert await slots.acquire("a", 1) is None
    assert slots._waiting == {}
    first.release()
    assert slots.in_flight() == 0


@pytest.mark.parametrize("released", [False, True])
async def test_whoever_is_cancelled_while_waiting_takes_nothing_even_as_the_place_is_handed_over(
    released: bool,
) -> None:
    slots = Slots(1)
    first = await taken(slots)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()

            async def wait() -> None:
                with scope:
                    slot = await slots.acquire("a", 60)
                    assert slot is not None
                    slot.release()

            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            if released:
                first.release()
        if not released:
            first.release()
        last = await taken(slots)
    last.release()
    assert slots._taken == slots._waiting == {}
