"""How many requests may be in flight at one target, and a bounded wait for a free place (contract, section 8).

Ours instead of the HTTP pool's limits: a pool that is contended while requests are cancelled may never recover
(encode/httpcore issue 1093), and a full pool says nothing that could move the request on to the next target. And a
count instead of anyio's limiter, which knows who holds what: that costs five times as much, and nobody asks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

import anyio


class Slots:
    """What is kept of a key is dropped when nobody is there: callers choose models, so keys are unbounded."""

    def __init__(self, per_key: int) -> None:
        self._per_key = per_key
        self._taken: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, OrderedDict[anyio.Event, None]] = {}
        """In the order of their coming; whoever is taken out of it has been given the place. Thousands may leave at
        once, from anywhere in it."""

    def take(self, key: Hashable) -> Slot | None:
        """A slot, or None when there is none now."""
        taken = self._taken.get(key, 0)
        if taken >= self._per_key:
            return None
        self._taken[key] = taken + 1
        return Slot(self, key)

    async def acquire(self, key: Hashable, wait_s: float) -> Slot | None:
        """A slot, or None when there was none within `wait_s`. Cancelling gives nothing away."""
        slot = self.take(key)
        return slot or (Slot(self, key) if await self._wait(key, wait_s) else None)

    async def _wait(self, key: Hashable, wait_s: float) -> bool:
        turn = anyio.Event()
        queue = self._waiting.setdefault(key, OrderedDict())
        queue[turn] = None
        try:
            with anyio.move_on_after(wait_s):
                await turn.wait()
        except BaseException:
            if turn.is_set():
                self._release(key)
            raise
        finally:
            if not turn.is_set():
                del queue[turn]
                if not queue:
                    del self._waiting[key]
        return turn.is_set()

    def in_flight(self) -> int:
        return sum(self._taken.values())

    def _release(self, key: Hashable) -> None:
        if (queue := self._waiting.get(key)) is not None:
            turn, _ = queue.popitem(last=False)
            turn.set()  # the place changes hands, and the count stays
            if not queue:
                del self._waiting[key]
        elif self._taken[key] == 1:
            del self._taken[key]
        else:
            self._taken[key] -= 1


class Slot:
    """One place at one target. `release` is harmless when repeated."""

    __slots__ = ("_held", "_key", "_slots")

    def __init__(self, slots: Slots, key: Hashable) -> None:
        self._slots = slots
        self._key = key
        self._held = True

    def release(self) -> None:
        if self._held:
            self._held = False
            self._slots._release(self._key)
