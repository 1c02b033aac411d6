"""The one scale of time that all requests are drawn on.

A square root: a rejection that took 80 ms and a stream of a minute are on the same page, and a failover is what must
not be a hair's breadth. The axis tells it by its ticks.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Final

from .snapshot import Line

_MS: Final = (
    100, 200, 500, 1000, 2000, 3000, 5000, 7000, 10_000, 15_000, 20_000, 30_000, 40_000, 60_000, 90_000, 120_000,
    180_000, 300_000, 600_000, 900_000, 1_800_000,
)  # fmt: skip
_HOUR_MS: Final = 3_600_000
_APART: Final = 11.0
"""Per cent of the axis between two ticks, so that their labels do not touch on a phone."""


class Scale:
    """From 0 to `end_ms`, which is a round time that nothing exceeds."""

    def __init__(self, lines: Iterable[Line]) -> None:
        longest = max((self._end(line) for line in lines), default=0.0)
        over = (ms for ms in _MS if ms >= longest)
        self.end_ms: float = next(over, -(-longest // _HOUR_MS) * _HOUR_MS)

    @staticmethod
    def _end(line: Line) -> float:
        return max([line.duration_ms, *(one.start_ms + one.duration_ms for one in line.segments)])

    def at(self, ms: float) -> float:
        """Where that is, in per cent of the width."""
        return sqrt(min(max(ms / self.end_ms, 0.0), 1.0)) * 100

    def ticks(self) -> list[tuple[float, float]]:
        """Times in ms and where they are, from the last to the first."""
        told = [(self.end_ms, 100.0)]
        for ms in reversed((0, *_MS, *(_HOUR_MS * hours for hours in (1, 4, 12, 24)))):
            if ms < self.end_ms and told[-1][1] - self.at(ms) >= _APART and (not ms or self.at(ms) >= _APART):
                told.append((ms, self.at(ms)))
        return told
