"""Run the work of a request until it ends or the caller leaves. The only place that starts tasks.

Only `receive()` tells that the caller left: `send()` stays silent on uvicorn, hypercorn and granian. So a watcher runs
beside the work for the whole request. asyncio's own TaskGroup costs a sixth of anyio's, and this is once per request;
trio has anyio's. Either way the watcher's life ends inside the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, Protocol

import anyio
from anyio.abc import TaskGroup

from .clock import this_loop

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

# After the body a server's receive() says nothing but "disconnect". One that keeps repeating itself without ever
# waiting would spin; it is not asked again.
_REPEATS = 16


class Spawn(Protocol):
    """Starts `work()` beside the request's own work. It is cancelled when that ends, and must not raise."""

    def __call__(self, work: Callable[[], Coroutine[Any, Any, None]], /) -> None: ...


def never() -> bool:
    return False


class Line(Protocol):
    """The line to the caller, as the work of a request has it.

    Attributes:
        scope: around the work; cancelled when the caller has left. Its deadline is free: whoever waits for the caller
            sets it, for a scope of its own would cost more than the wait.
    """

    scope: anyio.CancelScope

    def watch(self) -> None:
        """From now on be told when the caller leaves. To be called once, when the body is read."""
        ...

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], /) -> None:
        """See Spawn."""
        ...


Work = Callable[[Line], Awaitable[None]]


def race(work: Work, receive: Receive, answered: Callable[[], bool] = never) -> Awaitable[bool]:
    """Await `work(line)`; True when it was cancelled, for the caller left first or a deadline of `line.scope` passed.

    A caller that leaves when all is `answered` interrupts nothing: hypercorn says "disconnect" from within the send()
    of the last message, and one that is cancelled there leaves its connection half-way.

    Raises what `work` raises, as it is, not in a group. Whatever it spawned has ended by then.
    """
    loop = this_loop()
    if loop.asyncio:
        return _on_asyncio(work, receive, answered, loop.cancel_scope())
    return _on_trio(work, receive, answered)


async def _on_asyncio(work: Work, receive: Receive, answered: Callable[[], bool], scope: anyio.CancelScope) -> bool:
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        line = _AsyncioLine(scope, group, receive, answered)
        try:
            with scope:
                await work(line)
        except Exception as error:
            failure = error
        finally:
            line.hang_up()
    if failure is not None:
        raise failure
    return scope.cancelled_caught


class _AsyncioLine:
    __slots__ = ("_answered", "_beside", "_group", "_receive", "_watcher", "scope")

    def __init__(
        self, scope: anyio.CancelScope, group: asyncio.TaskGroup, receive: Receive, answered: Callable[[], bool]
    ) -> None:
        self.scope = scope
        self._group = group
        self._receive = receive
        self._answered = answered
        self._watcher: asyncio.Task[None] | None = None
        self._beside: tuple[anyio.CancelScope, ...] = ()

    def watch(self) -> None:
        self._watcher = self._group.create_task(_watch(self._receive, self.scope, self._answered))

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], /) -> None:
        scope = anyio.CancelScope()
        self._beside = (*self._beside, scope)
        self._group.create_task(_within(scope, work))

    def hang_up(self) -> None:
        # The request knows us, and what we know knows the request: it would all wait for the garbage collector.
        self._answered = never
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
        for scope in self._beside:
            scope.cancel()


async def _on_trio(work: Work, receive: Receive, answered: Callable[[], bool]) -> bool:
    failure: Exception | None = None
    scope = anyio.CancelScope()
    async with anyio.create_task_group() as group:
        line = _TrioLine(scope, group, receive, answered)
        try:
            with scope:
                await work(line)
        except Exception as error:
            failure = error
        finally:
            line.hang_up()
    if failure is not None:
        raise failure
    return scope.cancelled_caught


class _TrioLine:
    def __init__(
        self, scope: anyio.CancelScope, group: TaskGroup, receive: Receive, answered: Callable[[], bool]
    ) -> None:
        self.scope = scope
        self._group = group
        self._receive = receive
        self._answered = answered

    def watch(self) -> None:
        self._group.start_soon(_watch, self._receive, self.scope, self._answered)

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], /) -> None:
        self._group.start_soon(work)

    def hang_up(self) -> None:
        self._answered = never
        self._group.cancel_scope.cancel()


async def _within(scope: anyio.CancelScope, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    # A task's own cancel() would go through the shields that connections are closed under.
    with scope:
        await work()


async def _watch(receive: Receive, scope: anyio.CancelScope, answered: Callable[[], bool]) -> None:
    try:
        for _ in range(_REPEATS):
            message = await receive()
            if message["type"] == "http.disconnect":
                break
        else:
            return
    except Exception:  # a receive() that fails has no caller behind it
        pass
    if not answered():
        scope.cancel()
