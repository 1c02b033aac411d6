"""Cancels an operation at each of its awaits in turn, and tells what it left open. Knows no engine and no HTTP.

An await is a moment at which any task of the operation, its children included, lets go of the loop. Tests count to the
n-th and cancel there, for n = 1, 2, ... until the operation ends before it gets so far.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import stat
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import anyio
import anyio.lowlevel
import trio
import trio.lowlevel

Call = Callable[[], Coroutine[Any, Any, object]]

Moment = Literal["blocked", "resuming"]
"""As a task begins to wait; or as it is about to go on, the result that it waited for being there already."""

Means = Literal["scope", "task"]
"""A cancel scope, which goes on cancelling (level); or `Task.cancel`, which throws once (edge) and only asyncio has."""


def means_here() -> tuple[Means, ...]:
    return ("scope",) if trio.lowlevel.in_trio_task() else ("scope", "task")


@dataclass(slots=True)
class Cancellation:
    """One run of one operation, cancelled at its n-th await; n = 0 is before it began."""

    n: int
    moment: Moment
    means: Means
    awaits: int = 0
    begun: bool = False
    """Whether it was cancelled before it had ended."""
    _over: bool = False
    _cancel: Callable[[], object] = bool

    def __str__(self) -> str:
        return f"cancelled by its {self.means}, {self.moment}, at await {self.n}"

    async def run(self, call: Call) -> None:
        """Returns when it was cancelled or has ended by itself; raises whatever else came out of it."""
        if trio.lowlevel.in_trio_task():
            await self._run_on_trio(call)
        else:
            await self._run_on_asyncio(call)

    def begin(self) -> None:
        if not self._over and not self.begun:
            self.begun = True
            self._cancel()

    async def _in_scope(self, call: Call, drive: Callable[[Coroutine[Any, Any, object]], Awaitable[object]]) -> None:
        """An operation that needs no await any more may end well although its scope has been cancelled."""
        with anyio.CancelScope() as scope:
            self._cancel = scope.cancel
            try:
                if self.n == 0:
                    self.begin()
                await drive(call())
            finally:
                self._over = True

    # --- trio: an instrument sees every step of every task ---

    async def _run_on_trio(self, call: Call) -> None:
        async def alone() -> None:
            instrument = _Steps(self, trio.lowlevel.current_task())
            trio.lowlevel.add_instrument(instrument)
            try:
                await self._in_scope(call, lambda coroutine: coroutine)
            finally:
                trio.lowlevel.remove_instrument(instrument)

        async with anyio.create_task_group() as group:
            group.start_soon(alone)

    # --- asyncio: every coroutine is driven by hand, and sees each future on its way to the task ---

    async def _run_on_asyncio(self, call: Call) -> None:
        loop = asyncio.get_running_loop()

        async def alone() -> None:
            _under_way.set(self)
            if self.means == "scope":
                await self._in_scope(call, lambda coroutine: _driven(coroutine, self))
                return
            this = asyncio.current_task()
            assert this is not None
            self._cancel = this.cancel
            try:
                await _driven(call(), self)
            finally:
                self._over = True

        loop.set_task_factory(_make_task)
        task = loop.create_task(alone())
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()  # only if this was left early
            loop.set_task_factory(None)
        if not task.cancelled():
            task.result()
        if self.means == "task":
            assert task.cancelled() == self.begun, "the cancellation was swallowed"

    def passes(self, awaited: asyncio.Future[Any] | None) -> None:
        """A task is about to wait for this; None is a turn of the loop, after which there is no result."""
        self.awaits += 1
        if self.awaits != self.n:
            return
        if self.moment == "resuming" and awaited is not None:
            # First in the row of callbacks: the task is cancelled when its future is done and before it knows.
            awaited.add_done_callback(lambda _: self.begin())
        else:
            self.begin()


class _Steps(trio.abc.Instrument):
    def __init__(self, cancellation: Cancellation, root: trio.lowlevel.Task) -> None:
        self._cancellation = cancellation
        self._root = root

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._count(task, "resuming")

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._count(task, "blocked")

    def _count(self, task: trio.lowlevel.Task, moment: Moment) -> None:
        if moment == self._cancellation.moment and self._is_ours(task):
            self._cancellation.awaits += 1
            if self._cancellation.awaits == self._cancellation.n:
                self._cancellation.begin()

    def _is_ours(self, task: trio.lowlevel.Task | None) -> bool:
        while task is not None and task is not self._root:
            task = task.parent_nursery.parent_task if task.parent_nursery is not None else None
        return task is self._root


_under_way: ContextVar[Cancellation | None] = ContextVar("under_way", default=None)
"""Children inherit it, and nobody else has it."""


@types.coroutine
def _driven(coroutine: Coroutine[Any, Any, Any], cancellation: Cancellation) -> Generator[Any, Any, Any]:
    step: Callable[[], Any] = partial(coroutine.send, None)
    while True:
        try:
            awaited = step()
        except StopIteration as end:
            return end.value
        cancellation.passes(awaited)
        try:
            result = yield awaited
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:
            step = partial(coroutine.throw, error)
        else:
            step = partial(coroutine.send, result)


def _make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any] | Generator[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    context = options.get("context")
    cancellation = _under_way.get() if context is None else context.get(_under_way)
    if cancellation is None or not isinstance(coroutine, Coroutine):
        return asyncio.Task(coroutine, loop=loop, **options)

    async def child(coroutine: Coroutine[Any, Any, Any], cancellation: Cancellation) -> Any:
        return await _driven(coroutine, cancellation)

    task = asyncio.Task(child(coroutine, cancellation), loop=loop, **options)
    # One that is cancelled before its first step never gets at its coroutine, which would be reported.
    task.add_done_callback(lambda _: coroutine.close())
    return task


async def cancelled_after(turns: int, call: Call, means: Means) -> None:
    """Cancels from beside it, after so many turns of the loop, whatever it is at then, if it has not ended."""
    if means == "task":
        task = asyncio.get_running_loop().create_task(call())
        await _turns(turns, task.done)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
        return
    ended = False

    async def run() -> None:
        nonlocal ended
        await call()
        ended = True

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await _turns(turns, lambda: ended)
        group.cancel_scope.cancel()


async def _turns(turns: int, enough: Callable[[], bool]) -> None:
    for _ in range(turns):
        if enough():
            return
        await anyio.lowlevel.checkpoint()


# --- what is left ---


def open_sockets() -> dict[int, int]:
    """The file descriptor of every open socket of this process, by its inode: of Python objects or not."""
    found = {}
    for name in os.listdir("/dev/fd"):
        try:
            status = os.fstat(int(name))
        except OSError:  # the directory itself
            continue
        if stat.S_ISSOCK(status.st_mode):
            found[status.st_ino] = int(name)
    return found


def local_port(descriptor: int) -> int | None:
    with socket.socket(fileno=os.dup(descriptor)) as same:
        name = same.getsockname()
    return name[1] if isinstance(name, tuple) else None


def count_tasks() -> int:
    """Of the whole loop."""
    if trio.lowlevel.in_trio_task():
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


@contextmanager
def nothing_unheard() -> Iterator[None]:
    """Fails when the loop was told of something that nobody awaited: a lost exception, a pending task thrown away.

    trio has no such place, and pytest fails tests for what Python reports by itself.
    """
    told: list[dict[str, Any]] = []
    loop = None if trio.lowlevel.in_trio_task() else asyncio.get_running_loop()
    before = loop.get_exception_handler() if loop is not None else None
    if loop is not None:
        loop.set_exception_handler(lambda _, context: told.append(context))
    try:
        yield
        gc.collect()
        assert told == []
    finally:
        if loop is not None:
            loop.set_exception_handler(before)


async def until(condition: Callable[[], bool], else_: Callable[[], str]) -> None:
    """Turns of the loop until the condition holds."""
    with anyio.move_on_after(3):
        while not condition():
            await anyio.lowlevel.checkpoint()
    assert condition(), else_()
