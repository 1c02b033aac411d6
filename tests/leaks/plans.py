"""What each caller does: read to the end, or leave at some point, in some way. Seeded; knows no socket."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

Point: TypeAlias = Literal["upload", "sent", "head", "first", "mid"]
"""Where a caller leaves: in mid-upload; at once behind its request; while the provider has not answered; when it has
sent its head and no chunk; after some chunks."""

Way: TypeAlias = Literal["fin", "rst", "half"]
"""How: close; reset; or it ends its own direction only, and reads on."""

CHUNKS = 5
POINTS: tuple[Point, ...] = ("upload", "sent", "head", "first", "mid")
WAYS: tuple[Way, ...] = ("fin", "rst", "half")


@dataclass(frozen=True, slots=True)
class Plan:
    """One stream. `number` is unique; `leaves` is None when the caller reads to the end."""

    number: int
    leaves: Point | None = None
    way: Way = "fin"
    chunks: int = CHUNKS
    """How many chunks the provider sends before it is done, or falls silent."""

    @property
    def request_id(self) -> str:
        """Goes up to the provider with the request, and is its script."""
        return f"leak-{self.number}-{self.script}"

    @property
    def script(self) -> str:
        match self.leaves:
            case None | "upload" | "sent":
                return f"whole{self.chunks}"
            case "head":
                return "mute0"
            case "first" | "mid":
                return f"open{self.chunks}"


def plans(count: int, *, seed: int, first: int = 0) -> Iterator[Plan]:
    """So many streams, a third of them abandoned."""
    chance = random.Random(f"{seed}-{first}")
    for number in range(first, first + count):
        if chance.randrange(3):
            yield Plan(number)
            continue
        point, way = chance.choice(POINTS), chance.choice(WAYS)
        chunks = {"head": 0, "first": 0, "mid": chance.randrange(1, CHUNKS)}.get(point, CHUNKS)
        yield Plan(number, point, way, chunks)
