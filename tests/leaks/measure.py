"""Many streams through one gateway, and what there is of this process before, between and after them."""

from __future__ import annotations

import gc
import os
import sys
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import anyio
import trio

from ..transports.cancelling import count_tasks, nothing_unheard, open_sockets
from .callers import call
from .plans import Plan, plans
from .serving import CALLERS, KEEP_ALIVE_S, World, world_of

LAST = 10**9
"""The number of requests that are no part of a run."""


@dataclass(frozen=True, slots=True)
class Held:
    """Of this process, with nothing going on."""

    tasks: int
    sockets: int
    objects: int
    """That the garbage collector knows of."""
    blocks: int
    """That Python's allocator has given out: of containers, bytes, numbers, all."""
    rss_bytes: int


@dataclass(slots=True)
class Numbers:
    """What came of a run.

    Attributes:
        early, late: after the first part, and after the last.
        in_flight: slots and permits in the end.
        kept: connections that the provider still has in the end, the gateway being open.
        left: sockets when all has been closed, beyond those of the beginning. (That the provider has no connection left
            then is waited for.)
        delays_s: from a caller's leaving to the close at the provider.
    """

    streams: int = 0
    early: Held = Held(0, 0, 0, 0, 0)
    late: Held = Held(0, 0, 0, 0, 0)
    in_flight: int = 0
    kept: int = 0
    left: int = 0
    delays_s: array[float] = field(default_factory=lambda: array("d"))

    @property
    def grown(self) -> Held:
        early, late = self.early, self.late
        return Held(
            late.tasks - early.tasks,
            late.sockets - early.sockets,
            late.objects - early.objects,
            late.blocks - early.blocks,
            late.rss_bytes - early.rss_bytes,
        )

    def delay_s(self, quantile: float) -> float:
        ordered = sorted(self.delays_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * quantile))]


async def measure(engine: str, first: int, rest: int, *, seed: int = 5) -> Numbers:
    """`first` streams, after which the process is what it is, and `rest` more, after which it is to be the same."""
    numbers = Numbers(streams=first + rest)
    sockets = len(open_sockets())
    with nothing_unheard():
        async with world_of(engine) as world:
            await call(world.port, Plan(LAST), world.provider)
            await world.provider.close_idle()
            await anyio.wait_all_tasks_blocked()
            before = len(open_sockets()), count_tasks()
            await run(world, plans(first, seed=seed), numbers)
            numbers.early = early = await settled(world, *before, at_most=(0, 1))
            await run(world, plans(rest, seed=seed, first=first), numbers)
            numbers.late = await settled(world, *before, at_most=(early.tasks, early.sockets))
            numbers.in_flight = world.in_flight()
            numbers.kept = await world.provider.connections()
            await world.gateway.aclose()
            await world.provider.no_connections()
        numbers.left = len(open_sockets()) - sockets
    return numbers


async def run(world: World, todo: Iterator[Plan], numbers: Numbers, *, callers: int = CALLERS) -> None:
    """Plays the plans, so many at a time."""

    async def work() -> None:
        for plan in todo:
            try:
                with anyio.fail_after(20):
                    delay_s = await call(world.port, plan, world.provider)
            except Exception as error:
                error.add_note(str(plan))
                raise
            if delay_s is not None:
                numbers.delays_s.append(delay_s)

    async with anyio.create_task_group() as group:
        for _ in range(callers):
            group.start_soon(work)


async def settled(world: World, sockets: int, tasks: int, *, at_most: tuple[int, int]) -> Held:
    """What is held beyond `sockets` and `tasks` when the last requests have ended, and the pool has one connection.

    `at_most`: so many tasks and sockets more are waited for, for a while.

    How many it has otherwise depends on how many requests were at it at once, and each is some objects and a socket.
    The provider therefore closes those that are idle; engines notice when they next want one, at the latest.
    """
    await world.provider.close_idle()
    await call(world.port, Plan(LAST), world.provider)
    # Servers need a moment for connections that callers have closed; hypercorn, which tells nobody, its keep-alive.
    if trio.lowlevel.in_trio_task():
        await anyio.sleep(KEEP_ALIVE_S)
    await until(lambda: count_tasks() - tasks <= at_most[0] and len(open_sockets()) - sockets <= at_most[1])
    gc.collect()
    return Held(
        tasks=count_tasks() - tasks,
        sockets=len(open_sockets()) - sockets,
        objects=sum(not _of_a_past_deadline(one) for one in gc.get_objects()),
        blocks=sys.getallocatedblocks(),
        rss_bytes=rss_bytes(),
    )


async def until(condition: Callable[[], bool], *, limit_s: float = 5) -> None:
    """Turns of the loop until the condition holds or the time is over; what then is, is seen by whoever looks."""
    with anyio.move_on_after(limit_s):
        while not condition():  # noqa: ASYNC110 - others leave things behind, and tell nobody
            await anyio.sleep(0.001)


def _of_a_past_deadline(one: object) -> bool:
    """Trio keeps deadlines that were moved, with their scopes, until there are a thousand of them."""
    if isinstance(one, tuple) and len(one) == 3:
        one = one[2]
    return type(one) is trio.CancelScope or type(one).__name__ == "CancelReason"


def rss_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
