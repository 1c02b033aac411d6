"""The work of a request, and the caller who may leave: one of them ends first, and nothing is left over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from ogw_asgi._dispatch.race import line_to

pytestmark = pytest.mark.anyio


async def silence() -> Any:
    await anyio.sleep_forever()


class Work:
    """Work that goes on until it is cancelled, and says that it was."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.cancelled = False

    async def __call__(self) -> None:
        self.begun.set()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            self.cancelled = True
            raise


class Reply:
    def __init__(self, ending: bool) -> None:
        self.ending = ending


async def race(
    work: Callable[[], Awaitable[None]], receive: Callable[[], Awaitable[Any]], *, ending: bool = False
) -> bool:
    """Whether the caller was the first to end it."""
    async with line_to(receive, Reply(ending)) as line:
        await line.watch()
        await work()
    return line.scope.cancelled_caught


async def alone(work: Callable[[], Awaitable[None]], receive: Callable[[], Awaitable[Any]]) -> bool:
    """The race, and the promise that however it ended, no task is left over in the very moment of its end."""
    before = {task.id for task in anyio.get_running_tasks()}
    try:
        return await race(work, receive)
    finally:
        assert {task.id for task in anyio.get_running_tasks()} == before


async def test_work_that_ends_first_wins_and_the_watcher_ends_with_it() -> None:
    watching = anyio.Event()
    ended: list[str] = []

    async def receive() -> Any:
        watching.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("receive")

    async def work() -> None:
        await watching.wait()
        ended.append("work")

    with anyio.fail_after(5):
        assert await alone(work, receive) is False
    assert ended == ["work", "receive"]


async def test_work_that_never_waits_ends_well() -> None:
    async def work() -> None:
        pass

    with anyio.fail_after(5):
        assert await alone(work, silence) is False


@pytest.mark.contract("4.caller-gone.receive")
async def test_a_caller_who_leaves_first_cancels_the_work() -> None:
    work = Work()

    async def receive() -> Any:
        await work.begun.wait()
        return {"type": "http.disconnect"}

    with anyio.fail_after(5):
        assert await alone(work, receive) is True
    assert work.cancelled


@pytest.mark.contract("4.caller-gone.receive")
async def test_for_a_caller_who_had_left_by_then_no_work_begins() -> None:
    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def work() -> None:
        raise AssertionError("it was begun")

    with anyio.fail_after(5):
        assert await alone(work, receive) is True


async def test_a_receive_that_raises_has_no_caller_behind_it() -> None:
    work = Work()

    async def receive() -> Any:
        await work.begun.wait()
        raise OSError("connection lost")

    with anyio.fail_after(5):
        assert await alone(work, receive) is True
    assert work.cancelled


async def test_a_receive_that_repeats_itself_without_waiting_does_not_stop_the_work() -> None:
    asked = 0

    async def receive() -> Any:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b"", "more_body": False}

    async def work() -> None:
        for _ in range(50):
            await anyio.lowlevel.checkpoint()

    with anyio.fail_after(5):
        assert await alone(work, receive) is False
    assert 1 < asked < 100


async def test_a_leaving_that_follows_repetitions_is_seen() -> None:
    messages = [{"type": "http.request"}] * 3 + [{"type": "http.disconnect"}]
    work = Work()

    async def receive() -> Any:
        await work.begun.wait()
        return messages.pop(0)

    with anyio.fail_after(5):
        assert await alone(work, receive) is True


@pytest.mark.parametrize("error", [ValueError("no"), OSError("no"), KeyError("no")])
async def test_what_the_work_raises_arrives_as_it_is(error: Exception) -> None:
    async def work() -> None:
        await anyio.lowlevel.checkpoint()
        raise error

    with anyio.fail_after(5), pytest.raises(type(error)) as caught:
        await alone(work, silence)
    assert caught.value is error


async def test_a_group_that_the_work_raises_is_not_unpacked() -> None:
    group = ExceptionGroup("theirs", [ValueError("one"), OSError("two")])

    async def work() -> None:
        raise group

    with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
        await alone(work, silence)
    assert caught.value is group


async def test_an_error_of_the_work_while_it_is_cancelled_is_not_lost() -> None:
    begun = anyio.Event()

    async def work() -> None:
        try:
            begun.set()
            await anyio.sleep_forever()
        finally:
            raise ValueError("while closing")

    async def receive() -> Any:
        await begun.wait()
        return {"type": "http.disconnect"}

    with anyio.fail_after(5), pytest.raises(ValueError, match="while closing"):
        await alone(work, receive)


async def test_a_host_that_cancels_is_obeyed() -> None:
    work = Work()
    after: list[str] = []
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:

            async def request() -> None:
                await alone(work, silence)
                after.append("went on")

            group.start_soon(request)
            await work.begun.wait()
            group.cancel_scope.cancel()
    assert work.cancelled
    assert after == []


async def test_a_time_limit_of_the_host_ends_both() -> None:
    work = Work()
    async with anyio.create_task_group() as group:
        scope = anyio.CancelScope()

        async def limit() -> None:
            await work.begun.wait()
            scope.deadline = anyio.current_time() + 0.01

        group.start_soon(limit)
        with scope:
            await race(work, silence)
    assert scope.cancelled_caught
    assert work.cancelled


async def test_many_races_at_once_do_not_disturb_each_other() -> None:
    results: list[bool] = []

    async def one(leaves: bool) -> None:
        go = anyio.Event()

        async def receive() -> Any:
            await go.wait()
            return {"type": "http.disconnect"} if leaves else await silence()

        async def work() -> None:
            go.set()
            await (anyio.sleep_forever() if leaves else anyio.lowlevel.checkpoint())

        results.append(await race(work, receive) is leaves)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(one, number % 2 == 0)
    assert results == [True] * 50


async def test_a_caller_who_leaves_when_all_is_answered_interrupts_nothing() -> None:
    said = anyio.Event()

    async def receive() -> Any:
        said.set()
        return {"type": "http.disconnect"}

    async def work() -> None:
        await said.wait()
        await anyio.wait_all_tasks_blocked()

    with anyio.fail_after(5):
        assert await race(work, receive, ending=True) is False
