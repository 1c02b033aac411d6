"""Counts of the last five minutes, in slots of five seconds, and durations in buckets. Fixed in size. Pure."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from .snapshot import Percentiles

SLOT_S: Final = 5.0
SLOTS: Final = 60
ONE_MINUTE: Final = 12

SHORTEST_S: Final = 1e-4
PER_OCTAVE: Final = 5
BUCKETS: Final = 118
"""Up to a thousand seconds, each a seventh longer than the one before; its middle is within a twelfth of all in it."""


def slot_of(now_s: float) -> int:
    return int(now_s // SLOT_S)


class Window:
    """`width` counts for each slot. Slots are numbers that do not go down; one in the past counts as the latest."""

    __slots__ = ("_cells", "_latest", "_sums", "_width")

    def __init__(self, width: int) -> None:
        self._width = width
        self._cells = array("I", bytes(4 * width * SLOTS))
        self._sums = array("I", bytes(4 * width))
        self._latest = 0

    def add(self, index: int, slot: int) -> None:
        if slot != self._latest:  # as it mostly is not: this is called for every event
            self._turn(slot)
        self._cells[(self._latest % SLOTS) * self._width + index] += 1
        self._sums[index] += 1

    def sums(self, slot: int) -> Sequence[int]:
        """Of all slots, as of this one."""
        self._turn(slot)
        return self._sums

    def lately(self, slot: int, slots: int, start: int, end: int) -> list[int]:
        """The counts from `start` to before `end`, of that many of the latest slots."""
        found = [0] * (end - start)
        for cells in self.each(slot, slots, start, end):
            found = [one + more for one, more in zip(found, cells, strict=True)]
        return found

    def each(self, slot: int, slots: int, start: int, end: int) -> list[array[int]]:
        """The same, of each by itself, the latest last."""
        self._turn(slot)
        places = [(self._latest - back) % SLOTS * self._width for back in range(slots - 1, -1, -1)]
        return [self._cells[place + start : place + end] for place in places]

    def _turn(self, slot: int) -> None:
        ahead = slot - self._latest
        if ahead <= 0:
            return
        if ahead >= SLOTS:
            if any(self._sums):
                self._cells = array("I", bytes(4 * self._width * SLOTS))
                self._sums = array("I", bytes(4 * self._width))
        else:
            for step in range(1, ahead + 1):
                self._empty((self._latest + step) % SLOTS * self._width)
        self._latest = slot

    def _empty(self, place: int) -> None:
        gone = self._cells[place : place + self._width]
        if any(gone):
            for index, count in enumerate(gone):
                if count:
                    self._sums[index] -= count
            self._cells[place : place + self._width] = array("I", bytes(4 * self._width))


def bucket_of(duration_s: float) -> int:
    if duration_s <= SHORTEST_S:
        return 0
    return min(BUCKETS - 1, int(math.log2(duration_s / SHORTEST_S) * PER_OCTAVE))


def middle_s(bucket: int) -> float:
    return SHORTEST_S * math.exp2((bucket + 0.5) / PER_OCTAVE)


def percentile_s(counts: Sequence[int], share: float) -> float | None:
    """The middle of the bucket in which that share of all is reached. None: nothing was counted."""
    total = sum(counts)
    if not total:
        return None
    enough = share * total
    return next(middle_s(bucket) for bucket, sofar in enumerate(accumulate(counts)) if sofar >= enough)


def percentiles(counts: Sequence[int]) -> Percentiles | None:
    p50_s, p95_s = percentile_s(counts, 0.5), percentile_s(counts, 0.95)
    return None if p50_s is None or p95_s is None else Percentiles(sum(counts), p50_s, p95_s)
