"""A limit that is moved again and again: it ends what it is around at the time that was set last, and at no other."""

from __future__ import annotations

import asyncio
import gc
import math
import weakref

import anyio
import pytest
import uvloop

from ogw_asgi._dispatch.limit import Timer, limited

pytestmark = pytest.mark.anyio


async def test_it_ends_at_the_time_that_was_set_last() -> None:
    started_s = anyio.current_time()
    with anyio.fail_after(5), limited() as limit:
        limit.move(started_s + 0.05)
        limit.move(started_s + 60)
        limit.move(started_s + 0.1)
        await anyio.sleep_forever()
    assert limit.scope.cancelled_caught
    assert 0.09 < anyio.current_time() - started_s < 1


async def test_one_that_was_moved_away_does_not_end_it_when_its_first_time_comes() -> None:
    started_s = anyio.current_time()
    with anyio.fail_after(5), limited() as limit:
        for step in range(1, 10):
            limit.move(started_s + 0.05 * step + 0.2)
            await anyio.sleep_until(started_s + 0.05 * step)
    assert not limit.scope.cancel_called


async def test_one_that_was_lifted_never_ends_it() -> None:
    failures: list[object] = []
    with limited() as limit:
        if isinstance(limit, Timer):
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
        limit.move(anyio.current_time() + 0.02)
        limit.move(math.inf)
        await anyio.sleep(0.06)
        limit.move(anyio.current_time() + 0.02)
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.06)
        assert limit.scope.cancel_called
    assert failures == []


async def test_without_a_time_it_never_ends() -> None:
    with limited() as limit:
        await anyio.sleep(0.01)
    assert not limit.scope.cancel_called


async def test_a_time_that_has_passed_ends_it_at_once() -> None:
    with anyio.fail_after(5), limited() as limit:
        limit.move(anyio.current_time() - 1)
        await anyio.sleep_forever()
    assert limit.scope.cancelled_caught


def test_it_sets_one_timer_however_often_it_is_moved_on_and_leaves_none_behind() -> None:
    async def count() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        timers: list[weakref.ref[asyncio.TimerHandle]] = []
        call_at = loop.call_at

        class Counting:
            time = staticmethod(loop.time)

            def call_at(self, when: float, callback: object) -> asyncio.TimerHandle:
                handle = call_at(when, callback)  # type: ignore[arg-type]
                timers.append(weakref.ref(handle))
                return handle

        with limited() as limit:
            assert isinstance(limit, Timer)
            limit._loop = Counting()  # type: ignore[assignment]
            for step in range(1000):
                limit.move(loop.time() + 60 + step)
        del limit
        await asyncio.sleep(0)
        gc.collect()
        left = [handle for one in timers if (handle := one()) is not None]
        return len(timers), sum(not handle.cancelled() for handle in left)

    for run in (asyncio.run, uvloop.run):
        assert run(count()) == (1, 0)
