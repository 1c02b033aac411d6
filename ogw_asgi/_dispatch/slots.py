"""How many requests may be in flight at one target, and a bounded wait for a free place (contract, section 8).

Ours instead of the HTTP pool's limits: a pool that is contended while requests are cancelled may never recover
(encode/httpcore issue 1093), and a full pool says nothing that could move the request on to the next target.
"""

from __future__ import annotations

from collections.abc import Hashable

import anyio


class Slots:
    """One limiter per key, made on first use and dropped when idle: callers choose models, so keys are unbounded."""

    def __init__(self, per_key: int) -> None:
        self._per_key = per_key
        self._limiters: dict[Hashable, anyio.CapacityLimiter] = {}

    async def acquire(self, key: Hashable, wait_s: float) -> Slot | None:
        """A slot, or None when there was none within `wait_s`. Cancelling gives nothing away."""
        limiter = self._limiters.get(key)
        if limiter is None:
            limiter = self._limiters[key] = anyio.CapacityLimiter(self._per_key)
        slot = Slot(self, key, limiter)
        try:
            limiter.acquire_on_behalf_of_nowait(slot)
        except anyio.WouldBlock:
            got = False
            try:
                with anyio.move_on_after(wait_s):
                    await limiter.acquire_on_behalf_of(slot)
                    got = True
            finally:
                if not got:
                    self._drop_idle(key, limiter)
            if not got:
                return None
        return slot

    def in_flight(self) -> int:
        return sum(int(limiter.borrowed_tokens) for limiter in self._limiters.values())

    def _drop_idle(self, key: Hashable, limiter: anyio.CapacityLimiter) -> None:
        idle = limiter.borrowed_tokens == 0 and limiter.statistics().tasks_waiting == 0
        if idle and self._limiters.get(key) is limiter:
            del self._limiters[key]


class Slot:
    """One place at one target. `release` is harmless when repeated."""

    __slots__ = ("_held", "_key", "_limiter", "_slots")

    def __init__(self, slots: Slots, key: Hashable, limiter: anyio.CapacityLimiter) -> None:
        self._slots = slots
        self._key = key
        self._limiter = limiter
        self._held = True

    def release(self) -> None:
        if self._held:
            self._held = False
            self._limiter.release_on_behalf_of(self)
            self._slots._drop_idle(self._key, self._limiter)
