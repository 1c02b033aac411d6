"""Run the work of a request until it ends or the caller leaves. The only place that starts tasks.

Only `receive()` tells that the caller left: `send()` stays silent on uvicorn, hypercorn and granian. So a watcher runs
beside the work for the whole request. asyncio's own TaskGroup costs a sixth of anyio's, and this is once per request;
trio has anyio's. Either way the watcher's life ends inside the call.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from types import TracebackType
from typing import Any, Protocol, Self

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from .clock import this_loop
from .limit import Deadline, Limit, Timer

Group = asyncio.TaskGroup | TaskGroup
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

# After the body a server's receive() says nothing but "disconnect". One that keeps repeating itself without ever
# waiting would spin; it is not asked again.
_REPEATS = 16


class Answered(Protocol):
    """Whoever answers. A caller that leaves while all is `ending` interrupts nothing: hypercorn says "disconnect" from
    within the send() of the last message, and a task that is cancelled there leaves its connection half-way."""

    @property
    def ending(self) -> bool: ...


class Line(Protocol):
    """The line to the caller, while a request is worked on: `async with line_to(...) as line`.

    The work ends early when the caller leaves; `scope.cancelled_caught` tells afterwards. What it raises arrives as it
    is, not in a group, and whatever it spawned has ended by then.

    Attributes:
        scope: around the work; cancelled when the caller has left.
        limit: on `scope`, and free: whoever waits for the caller moves it, for a scope of its own would cost more than
            the wait.
    """

    scope: anyio.CancelScope
    limit: Limit

    async def watch(self) -> None:
        """From now on be told when the caller leaves; one that has left already ends the work here, if `receive()` says
        so without waiting. To be called once, when the body is read."""
        ...

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], /) -> None:
        """Start `work()` beside the request's own work. It is cancelled when that ends, and must not raise."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool: ...


def line_to(receive: Receive, reply: Answered) -> Line:
    """To whoever is behind `receive`, and gets `reply`. No coroutine is around the work: each would wake up with it."""
    loop = this_loop()
    if loop.asyncio:
        return _AsyncioLine(receive, reply, loop.cancel_scope())
    return _TrioLine(receive, reply)


class _Line(ABC):
    """What the two have in common: a scope around the work, within a group for all that goes on beside it."""

    __slots__ = ("_group", "_receive", "_reply", "limit", "scope")

    def __init__(self, receive: Receive, reply: Answered, scope: anyio.CancelScope, limit: Limit, group: Group) -> None:
        self.scope = scope
        self.limit = limit
        self._receive = receive
        self._reply = reply
        self._group = group

    @abstractmethod
    async def watch(self) -> None: ...

    @abstractmethod
    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], /) -> None: ...

    @abstractmethod
    def _hang_up(self) -> None:
        """Tell whatever goes on beside the work to end."""

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self.scope.__enter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        swallowed = False
        try:
            swallowed = bool(self.scope.__exit__(exc_type, exc, traceback))
        finally:
            self.limit.stop()
            self._hang_up()
            await _leave(self._group, None if swallowed else exc)
        return swallowed


class _AsyncioLine(_Line):
    __slots__ = ("_beside", "_tasks", "_watcher")

    def __init__(self, receive: Receive, reply: Answered, scope: anyio.CancelScope) -> None:
        self._tasks = asyncio.TaskGroup()
        super().__init__(receive, reply, scope, Timer(scope), self._tasks)
        self._watcher: asyncio.Task[None] | None = None
        self._beside: tuple[anyio.CancelScope, ...] = ()

    async def watch(self) -> None:
        self._watcher = self._tasks.create_task(_watch(self._receive, self.scope, self._reply))
        await asyncio.sleep(0)  # anyio's checkpoint, at a fifth of its price

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], /) -> None:
        scope = anyio.CancelScope()
        self._beside = (*self._beside, scope)
        self._tasks.create_task(_within(scope, work))

    def _hang_up(self) -> None:
        # What has ended is let go of: a task that was cancelled knows all that its frames knew.
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
        for scope in self._beside:
            scope.cancel()


class _TrioLine(_Line):
    def __init__(self, receive: Receive, reply: Answered) -> None:
        scope = anyio.CancelScope()
        self._tasks = anyio.create_task_group()
        super().__init__(receive, reply, scope, Deadline(scope), self._tasks)

    async def watch(self) -> None:
        self._tasks.start_soon(_watch, self._receive, self.scope, self._reply)
        for _ in range(2):  # whoever is ready runs in any order there: the watcher has asked by the second time
            await checkpoint()

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], /) -> None:
        self._tasks.start_soon(work)

    def _hang_up(self) -> None:
        self._tasks.cancel_scope.cancel()


async def _leave(group: Group, exc: BaseException | None) -> None:
    """Await what is left of a group, whose tasks have been told to end."""
    if exc is None or isinstance(exc, Exception):
        # Errors of the work are not the group's: it would wrap them.
        await group.__aexit__(None, None, None)
        return
    try:
        await group.__aexit__(type(exc), exc, exc.__traceback__)
    except BaseException as raised:
        if raised is not exc:
            raise


async def _within(scope: anyio.CancelScope, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    # A task's own cancel() would go through the shields that connections are closed under.
    with scope:
        await work()


async def _watch(receive: Receive, scope: anyio.CancelScope, reply: Answered) -> None:
    try:
        for _ in range(_REPEATS):
            message = await receive()
            if message["type"] == "http.disconnect":
                break
        else:
            return
    except Exception:  # a receive() that fails has no caller behind it
        pass
    if not reply.ending:
        scope.cancel()
