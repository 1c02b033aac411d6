"""Requests begin a few at a time: what is under way comes before what is new.

A loop hands out all that is ready at once. Of a thousand callers who ask together it would begin every request before
it looks at the first answer: each a hundred objects for the garbage collector to look through, none of them in a cache
by the time its answer comes, and a connection to the provider for each. So when a few have begun, a turn of the loop
has to pass, in which answers that have come are taken.

Who comes too early queues. No task moves the queue: of those that it lets in, the last one moves it on, a turn later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
from anyio.lowlevel import checkpoint

from .clock import loop_id, this_loop

AT_ONCE = 6
"""So many begin in a turn, however short it is; twice as many where the queue ends. Together they are some 700 objects,
which is when CPython's collector (of 3.11 to 3.13) looks for the first time."""

PER_S = 500
"""And so many for each second that a turn takes: where something else holds up the loop, there are few of them."""


def so_many(turn_s: float) -> int:
    """How many may begin after a turn of the loop that took `turn_s`."""
    return max(AT_ONCE, int(turn_s * PER_S))


class Pace:
    """Whoever is about to begin: `pace.free() or await pace.turn()`. Usable in one loop after another."""

    def __init__(self) -> None:
        self._queue: _Queue | None = None

    def free(self) -> bool:
        """Whether one may begin at once. Then it counts as begun."""
        queue = self._queue
        if queue is None or queue.free <= 0:
            return False
        queue.free -= 1
        return True

    async def turn(self) -> None:
        """Until one may begin, in the order of coming."""
        loop = loop_id()
        queue = self._queue
        if queue is not None and queue.loop == loop:
            await queue.wait()
        else:  # whoever queues in another loop is let in by those of that queue
            self._queue = _Queue(loop)


class _Queue:
    """Of one loop, where one has begun. Nobody waits in it while more are `free` to begin."""

    __slots__ = ("_clock_s", "_last", "_make_turn", "_moved_s", "_moving", "_waiting", "free", "loop")

    def __init__(self, loop: object) -> None:
        ours = this_loop()
        self.loop = loop
        self.free = AT_ONCE - 1
        self._clock_s = ours.clock_s
        self._make_turn: Callable[[], _Turn] = _FutureTurn if ours.asyncio else _EventTurn
        self._waiting: deque[_Turn] = deque()
        self._moving = False
        self._moved_s = 0.0
        self._last: _Turn | None = None

    async def wait(self) -> None:
        if not self._moving:
            self._moving = True
            self._moved_s = self._clock_s()
            try:
                await checkpoint()
            finally:
                self._move()
            return
        turn = self._make_turn()
        self._waiting.append(turn)
        try:
            await turn.wait()
        finally:
            if turn is self._last:  # also where it was cancelled meanwhile
                self._move()

    def _move(self) -> None:
        """A turn is over: let the next ones in."""
        now_s = self._clock_s()
        left = so_many(now_s - self._moved_s)
        self._moved_s = now_s
        self._last = None
        while left and self._waiting:
            turn = self._waiting.popleft()
            if turn.give():
                self._last = turn
                left -= 1
        self._moving = self._last is not None
        self.free = min(left, AT_ONCE)  # what a long turn would have let in is not saved up


class _Turn(Protocol):
    def wait(self) -> Awaitable[object]:
        """Until it is given."""
        ...

    def give(self) -> bool:
        """False: who waited for it has left."""
        ...


class _FutureTurn:
    """On asyncio, where an event costs five times as much."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wait(self) -> Awaitable[object]:
        return self._future

    def give(self) -> bool:
        if self._future.done():
            return False
        try:
            self._future.set_result(None)
        except RuntimeError:  # its loop is closed
            return False
        return True


class _EventTurn:
    __slots__ = ("_event", "_left")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._left = False

    async def wait(self) -> None:
        try:
            await self._event.wait()
        except BaseException:
            self._left = True
            raise

    def give(self) -> bool:
        self._event.set()
        return not self._left
