"""How long one target takes to its first chunk, of late: what is slow for it, and when a hedge is worth starting."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque

KEPT = 100
ENOUGH = 20
"""Fewer samples say nothing of a tail."""

SLOW_FLOOR_S = 3.0
SLOW_FACTOR = 3.0
HEDGE_FLOOR_S = 0.2


class FirstChunks:
    """The last times to the first chunk, in seconds; knows no clock."""

    __slots__ = ("_order", "_sorted")

    def __init__(self) -> None:
        self._order: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, took_s: float) -> None:
        if len(self._order) == KEPT:
            del self._sorted[bisect_left(self._sorted, self._order.popleft())]
        self._order.append(took_s)
        insort(self._sorted, took_s)

    def quantile(self, share: float) -> float | None:
        """The nearest rank; None while there are too few."""
        if len(self._sorted) < ENOUGH:
            return None
        return self._sorted[min(len(self._sorted), math.ceil(share * len(self._sorted))) - 1]

    def slow_after_s(self) -> float | None:
        """Longer than this is late, for this target: reasoning models are slow, not dead. None until learned."""
        usual_s = self.quantile(0.99)
        return None if usual_s is None else max(SLOW_FLOOR_S, SLOW_FACTOR * usual_s)

    def hedge_after_s(self, share: float) -> float | None:
        """When a second attempt is worth its price: None until learned, for it may be always or never."""
        usual_s = self.quantile(share)
        return None if usual_s is None else max(HEDGE_FLOOR_S, usual_s)
