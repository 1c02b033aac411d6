"""Waking a task of any event loop from any thread; knows neither HTTP nor ASGI.

anyio's own events belong to one loop. A served upstream runs in a thread of its own and a trio test awaits
what happened there, so what this package records is awaited through these.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import anyio
import anyio.lowlevel


class Waitable(Protocol):
    """What a script may wait for: an `anyio.Event` of the same loop, or a `SharedEvent`."""

    async def wait(self) -> object: ...


def _waker(call: Callable[[], object]) -> Callable[[], object]:
    """A function, callable from any thread, that runs `call` in the loop of the task that asked for it."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return partial(trio.lowlevel.current_trio_token().run_sync_soon, call)
    return partial(asyncio.get_running_loop().call_soon_threadsafe, call)


class Bell:
    """Wakes every waiter when something may have changed; each then looks for itself whether it did."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wakers: list[Callable[[], object]] = []

    def ring(self) -> None:
        # Under the lock, because a waiter takes itself off the list under it: no loop that has ended is
        # ever called.
        with self._lock:
            wakers, self._wakers = self._wakers, []
            for wake in wakers:
                wake()

    async def wait_until(self, predicate: Callable[[], bool]) -> None:
        """Returns once `predicate` holds; whoever makes it true must ring afterwards."""
        while True:
            rung = anyio.Event()
            wake = _waker(rung.set)
            with self._lock:
                holds = predicate()
                if not holds:
                    self._wakers.append(wake)
            if holds:
                await anyio.lowlevel.checkpoint()
                return
            try:
                await rung.wait()
            finally:
                with self._lock:
                    if wake in self._wakers:
                        self._wakers.remove(wake)


class SharedEvent:
    """An event that any thread may set and tasks of any loop may await. Once set it stays set."""

    def __init__(self) -> None:
        self._bell = Bell()
        self._is_set = False

    def set(self) -> None:
        self._is_set = True
        self._bell.ring()

    def is_set(self) -> bool:
        return self._is_set

    async def wait(self) -> None:
        await self._bell.wait_until(self.is_set)

    def __repr__(self) -> str:
        return f"<SharedEvent {'set' if self._is_set else 'not set'}>"


async def leave(group: Any) -> None:
    """Ends a task group that was entered by hand, whatever error is passing.

    The error is withheld from the group: it would come back wrapped in an ExceptionGroup, and a test's own
    assertion must reach its reader as it is. Returning normally lets it pass on.
    """
    await group.__aexit__(None, None, None)
