"""How long the loop was held: a task that wants to run all the time, and how long it did not."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import anyio.lowlevel


@dataclass(slots=True)
class Lag:
    """The longest stretch between two turns of the loop, in seconds.

    `wall_s` is what a caller would notice; `cpu_s` is the part in which this thread had a processor, so that what
    others do on the machine is left out of it; `process_s` that in which any thread of this process had one.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    process_s: float = 0.0


@asynccontextmanager
async def heartbeat() -> AsyncIterator[Lag]:
    lag = Lag()

    async def beat() -> None:
        wall_s, cpu_s, process_s = time.monotonic(), time.thread_time(), time.process_time()
        while True:
            await anyio.lowlevel.checkpoint()
            last_wall_s, last_cpu_s, last_process_s = wall_s, cpu_s, process_s
            wall_s, cpu_s, process_s = time.monotonic(), time.thread_time(), time.process_time()
            lag.wall_s = max(lag.wall_s, wall_s - last_wall_s)
            lag.cpu_s = max(lag.cpu_s, cpu_s - last_cpu_s)
            lag.process_s = max(lag.process_s, process_s - last_process_s)

    async with anyio.create_task_group() as group:
        group.start_soon(beat)
        await anyio.lowlevel.checkpoint()
        yield lag
        group.cancel_scope.cancel()
