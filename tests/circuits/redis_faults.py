"""`python -m tests.circuits.redis_faults`: what a Redis in trouble costs callers, as a table; takes some seconds.

Two providers in memory, of which one is dead; a real redis-server; CALLERS calls, eight at a time, over two seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

import anyio

from ogw_asgi.circuits.shared import SharedCircuits
from ogw_asgi.testing import error

from .redis_server import RedisServer, Slow, redis_server
from .test_redis_faults import BREAKING, command
from .workers import Worker, worker

CALLERS = 400
AT_ONCE = 8
SECONDS = 2.0


class Waits:
    """How long each exchange with Redis kept its request waiting."""

    def __init__(self, store: SharedCircuits) -> None:
        self.longest_s = 0.0
        self._exchange = store._exchange
        store._exchange = self._timed  # type: ignore[method-assign, assignment]

    async def _timed(self, *arguments: object) -> bool:
        began_s = time.perf_counter()
        try:
            return await self._exchange(*arguments)  # type: ignore[arg-type]
        finally:
            self.longest_s = max(self.longest_s, time.perf_counter() - began_s)


async def measured(one: Worker, disturb: Callable[[], object]) -> tuple[int, float, float, int]:
    """How many were answered, what the longest waited for Redis and altogether, and how often Redis was asked."""
    await one.ask("b")
    waits, asked = Waits(one.store), one.link.asked
    disturb()
    answered, longest_s = 0, 0.0
    places = anyio.CapacityLimiter(AT_ONCE)

    async def call(number: int) -> None:
        nonlocal answered, longest_s
        await anyio.sleep(SECONDS * number / CALLERS)
        async with places:
            began_s = time.perf_counter()
            by = await one.ask()
            answered += by == "b"
            longest_s = max(longest_s, time.perf_counter() - began_s)

    async with anyio.create_task_group() as group:
        for number in range(CALLERS):
            group.start_soon(call, number)
    return answered, waits.longest_s, longest_s, one.link.asked - asked


async def main() -> None:
    faults: dict[str, Callable[[RedisServer], object]] = {
        "is well": lambda server: None,
        "refuses": BREAKING["refused"],
        "hangs (SIGSTOP)": BREAKING["paused"],
        "forbids it": BREAKING["forbidden"],
        "wants a password": BREAKING["password"],
        "has forgotten its scripts": command("SCRIPT", "FLUSH"),
        "is full": BREAKING["full"],
        "is a replica": BREAKING["a replica"],
    }
    say("| Redis | callers answered | the longest that one waited for it | times it was asked | the longest answer |")
    say("|---|---|---|---|---|")
    for name, disturb in faults.items():
        with redis_server() as server:
            await row(name, server.url, partial(disturb, server))
    with redis_server() as server:
        async with anyio.create_task_group() as group:
            proxy = Slow(server, 0.0)
            await group.start(proxy.serve)
            await row("takes a second", proxy.url, partial(setattr, proxy, "delay_s", 1.0))
            group.cancel_scope.cancel()


async def row(name: str, url: str, disturb: Callable[[], object]) -> None:
    async with worker(url, error(500)) as one:
        answered, waited_s, longest_s, asked = await measured(one, disturb)
    say(f"| {name} | {answered} of {CALLERS} | {waited_s * 1000:.0f} ms | {asked} | {longest_s * 1000:.0f} ms |")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(main)
