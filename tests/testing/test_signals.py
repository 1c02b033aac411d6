"""Events that cross loops and threads."""

from __future__ import annotations

import threading

import anyio
import anyio.lowlevel
import pytest

from ogw_asgi.testing import SharedEvent

pytestmark = pytest.mark.anyio


async def test_an_event_set_in_another_thread_wakes_every_waiter() -> None:
    event, woken = SharedEvent(), []

    async def wait(name: str) -> None:
        await event.wait()
        woken.append(name)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(wait, "a")
            group.start_soon(wait, "b")
            await anyio.wait_all_tasks_blocked()
            assert woken == []
            thread = threading.Thread(target=event.set)
            thread.start()
    thread.join(5)
    assert sorted(woken) == ["a", "b"]


async def test_waiting_for_an_event_that_is_set_returns_but_lets_others_run() -> None:
    event = SharedEvent()
    event.set()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await event.wait()
    assert scope.cancelled_caught


async def test_a_cancelled_waiter_is_forgotten() -> None:
    event = SharedEvent()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(event.wait)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    event.set()
    assert event.is_set()
    assert event._bell._wakers == []


def test_one_event_serves_loops_one_after_another_and_at_the_same_time() -> None:
    event, waiting, seen = SharedEvent(), threading.Barrier(3), []

    async def wait(backend: str) -> None:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(event.wait)
                await anyio.wait_all_tasks_blocked()
                waiting.wait(5)
        seen.append(backend)

    threads = [
        threading.Thread(target=lambda backend=backend: anyio.run(wait, backend, backend=backend))
        for backend in ("asyncio", "trio")
    ]
    for thread in threads:
        thread.start()
    waiting.wait(5)
    event.set()
    for thread in threads:
        thread.join(5)
    assert sorted(seen) == ["asyncio", "trio"]
    anyio.run(event.wait, backend="trio")
    anyio.run(event.wait)
