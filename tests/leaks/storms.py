"""Many callers who leave at once: from large streams, and from a target that has no place for them."""

from __future__ import annotations

import random
import time

import anyio
import anyio.lowlevel

from .callers import Socket, call, request
from .heartbeat import Lag, heartbeat
from .measure import LAST, until
from .plans import Plan
from .serving import world_of
from .upstream import BULK_BYTES

DROPPERS = 30
DROPPED_BYTES = 5 << 20
PLACES = 10
CALLERS = 40


async def drop_large_streams(engine: str) -> tuple[Lag, float]:
    """30 callers have had 5 MiB each, and leave at once.

    Returns how long the loop was held from then until the provider has seen all 30 close, and the longest that one of
    them took.
    """
    async with world_of(engine) as world:
        callers = [Socket(world.port) for _ in range(DROPPERS)]
        events = DROPPED_BYTES // BULK_BYTES
        async with anyio.create_task_group() as group:
            for number, caller in enumerate(callers):
                group.start_soon(_take, caller, f"leak-{number}-bulk{events}", events)
        async with heartbeat() as lag:
            left_s = time.monotonic()
            for caller in callers:
                caller.close()
            closed_s = [await world.provider.closed(number) for number in range(DROPPERS)]
        return lag, max(closed_s) - left_s


async def _take(caller: Socket, request_id: str, events: int) -> None:
    await caller.connect()
    await caller.send(request(request_id))
    await caller.read_bulk(events)


async def cancel_storm(engine: str, count: int, *, seed: int = 5) -> tuple[int, int]:
    """So many callers, 40 at a time, leave while 10 places are contended; then three more ask.

    Each leaves a random number of turns of the loop after the places have been taken: while it holds one, while it
    waits for one, or before the server has told the gateway of it. Returns what slots and permits were held behind the
    storm, and how many of the three got a whole answer.
    """
    chance = random.Random(seed)
    async with world_of(engine, concurrency=PLACES) as world:
        todo = iter(range(count))

        async def leave_soon() -> None:
            for number in todo:
                caller = Socket(world.port)
                await caller.connect()
                await caller.send(request(f"leak-{number}-mute0"))
                if number < count - CALLERS:  # the last ones do not fill the places
                    await until(lambda: world.in_flight() >= PLACES)
                for _ in range(chance.randrange(60)):
                    await anyio.lowlevel.checkpoint()
                caller.reset()

        async with anyio.create_task_group() as group:
            for _ in range(CALLERS):
                group.start_soon(leave_soon)
        served = 0
        for _ in range(3):
            with anyio.move_on_after(5):
                await call(world.port, Plan(LAST), world.provider)
                served += 1
        # An answer is whole before its request has given back what it held.
        await until(lambda: world.in_flight() == 0)
        return world.in_flight(), served
