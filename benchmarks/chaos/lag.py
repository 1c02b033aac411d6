"""When a process of the bench itself was not run, so that nobody else is blamed for it."""

from __future__ import annotations

import asyncio
import time

BEAT_S = 0.01
STALL_S = 0.1
"""A provider that is not run for this long is no healthy provider for that time."""


class LagMeter:
    """A heartbeat; the spans between two beats that took far too long, in monotonic seconds."""

    def __init__(self) -> None:
        self._stalls: list[tuple[float, float]] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._beat())

    def take(self) -> list[tuple[float, float]]:
        stalls, self._stalls = self._stalls, []
        return stalls

    async def _beat(self) -> None:
        last_s = time.monotonic()
        while True:
            await asyncio.sleep(BEAT_S)
            now_s = time.monotonic()
            if now_s - last_s - BEAT_S > STALL_S:
                self._stalls.append((last_s, now_s))
            last_s = now_s
