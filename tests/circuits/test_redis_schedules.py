"""Three workers, one target and a real Redis, in seeded schedules: who may probe, and that all of them come together.

Time stands still but for the leaps of a schedule, which the clock of Redis makes, too.
"""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from ogw_asgi._rules.circuit import Admitted, Circuit, Event, Failed, Released, Succeeded
from ogw_asgi._rules.standing import standing
from ogw_asgi._values import Breaker
from ogw_asgi.circuits.memory import MemoryCircuits
from ogw_asgi.circuits.redis import RedisLink, read_place
from ogw_asgi.circuits.shared import SharedCircuits
from ogw_asgi.transports.dial import Dialer

from .redis_server import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patient")]

KEY = ("a", "m")
ONCE = Breaker(failures=1, open_s=5, open_max_s=20)
LEASE_S = 10.0


@pytest.fixture
def clock() -> MockClock:
    return MockClock()


@pytest.fixture
def anyio_backend(clock: MockClock) -> Any:
    return "trio", {"clock": clock}


class Fleet:
    def __init__(self, server: RedisServer, clock: MockClock, dice: random.Random) -> None:
        self.server = server
        self.clock = clock
        self.dice = dice
        self.workers = [self._worker() for _ in range(3)]
        self.probes: dict[int, tuple[SharedCircuits, float]] = {}
        """By ticket, those of this spell of half-open: whose, and until when."""
        self.tickets = 0
        self.granted = self.refused = 0

    def _worker(self) -> SharedCircuits:
        link = RedisLink(read_place(self.server.url, "redis_url"), Dialer().dial)
        memory = MemoryCircuits(ONCE, jitter=self.dice.random)
        return SharedCircuits(memory, link, ONCE, places={}, longest_lease_s=LEASE_S)

    async def pass_on(self, seconds: float) -> None:
        self.clock.jump(seconds)
        self.server.clock_jumps(seconds)

    async def look(self, worker: SharedCircuits) -> Circuit:
        (circuit,) = await worker.read([KEY], anyio.current_time())
        return circuit

    async def tell(self, worker: SharedCircuits, event: Event) -> Circuit:
        ((before, after),) = await worker.apply([(KEY, event)], anyio.current_time())
        if after.phase != "half_open" and after.phase != before.phase:
            self.probes.clear()
        return after

    async def ask(self, worker: SharedCircuits) -> None:
        """One request, which may become the probe."""
        now_s = anyio.current_time()
        self.tickets += 1
        seen = standing([await self.look(worker)], now_s)
        if seen.state == "ready" and self.dice.random() < 0.3:
            await self.tell(worker, Failed(self.tickets))
        if seen.state != "probe":
            return
        after = await self.tell(worker, Admitted(self.tickets, LEASE_S))
        if after.lease is None or after.lease.ticket != self.tickets:
            self.refused += 1
            return
        self.granted += 1
        alive = [until_s for _, until_s in self.probes.values() if until_s > now_s + 0.1]
        assert alive == [], "somebody else is probing"
        self.probes[self.tickets] = (worker, now_s + LEASE_S)

    async def settle(self) -> None:
        """One of the probes comes to its end; or its worker dies, and says nothing."""
        alive = [ticket for ticket, (worker, _) in self.probes.items() if worker in self.workers]
        if not alive:
            return
        ticket = self.dice.choice(alive)
        worker, _ = self.probes[ticket]
        match self.dice.choice(["ok", "ok", "ok", "failed", "nothing", "dies"]):
            case "ok":
                await self.tell(worker, Succeeded(ticket, anyio.current_time()))
            case "failed":
                await self.tell(worker, Failed(ticket))
            case "nothing":
                await self.tell(worker, Released(ticket))
            case "dies":
                self.workers[self.workers.index(worker)] = self._worker()
                return
        self.probes.pop(ticket, None)


@pytest.mark.contract("4.shared.probe", "4.shared.lease")
@pytest.mark.parametrize("seed", range(4))
async def test_no_schedule_has_two_probes_and_all_workers_agree_in_the_end(
    server: RedisServer, clock: MockClock, seed: int
) -> None:
    dice = random.Random(seed)
    fleet = Fleet(server, clock, dice)
    for _ in range(150):
        match dice.choice(["ask", "ask", "ask", "settle", "time"]):
            case "ask":
                await fleet.ask(dice.choice(fleet.workers))
            case "settle":
                await fleet.settle()
            case "time":
                await fleet.pass_on(dice.choice([0.2, 1.1, 1.1, 4.0, 7.0, LEASE_S + 1]))
    assert fleet.granted > 3
    await fleet.pass_on(25 + LEASE_S)
    for worker in fleet.workers:  # whoever it is, two probes that succeed close it
        for ticket in (-10, -11):
            if standing([await fleet.look(worker)], anyio.current_time()).state == "probe":
                await fleet.tell(worker, Admitted(ticket, LEASE_S))
                await fleet.tell(worker, Succeeded(ticket, anyio.current_time()))
            await fleet.pass_on(1.1)
    assert [(await fleet.look(worker)).phase for worker in fleet.workers] == ["closed"] * 3
