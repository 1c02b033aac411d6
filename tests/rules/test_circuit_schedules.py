"""The circuit breaker in time: many seeded lives of a target and its callers, as tasks on a clock that jumps.

Callers are tasks that ask for a permit, wait, answer, fail, are overdue, outrun, cancelled, or die without a word. All
waits are multiples of an eighth of a second, so that lives that run beside each other share the clock's jumps.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Literal

import pytest
import trio
from trio.testing import MockClock

from ogw_asgi._rules.circuit import (
    CLOSED,
    Admitted,
    Circuit,
    Cooled,
    Event,
    Failed,
    Late,
    Outrun,
    Released,
    Succeeded,
    anchored,
    transition,
)
from ogw_asgi._rules.standing import standing
from ogw_asgi._values import Breaker

BREAKER = Breaker()
TICK_S = 0.125
LIMIT_S = 10.0
LEASE_S = LIMIT_S + 5.0
SLOW_AFTER_S = 3.0
OPEN_S = 25.0
MONEY_S = 30.0
DIES = 0.15
"""How many of the cancelled go without a word: enough that leases are left behind in every run, not by luck."""

Health = Literal["fine", "slow", "errors", "mute", "flaky", "limited", "broke"]
SICK: tuple[Health, ...] = ("slow", "errors", "errors", "mute", "mute", "flaky", "limited", "broke", "fine")


@dataclass
class Life:
    """One target: how it fares, what its circuit says, and who is probing."""

    dice: random.Random
    seen: Counter[str]
    circuit: Circuit = CLOSED
    health: Health = "fine"
    skew_s: float = 0.0
    tickets: int = 0
    probes: dict[int, float] = field(default_factory=dict)
    """Who was granted the lease in this spell of half-open, and until when."""
    died_s: float = float("-inf")
    """When the lease of the last holder that died without a word runs out."""

    @property
    def clock_s(self) -> float:
        return trio.current_time() + self.skew_s

    def ticks(self, low_s: float, high_s: float) -> float:
        return TICK_S * self.dice.randint(round(low_s / TICK_S), round(high_s / TICK_S))

    def tell(self, event: Event) -> None:
        before = self.circuit
        self.circuit = transition(before, event, self.clock_s, BREAKER, self.dice.random())
        if self.circuit.phase != before.phase:
            self.seen[self.circuit.phase] += 1
        if self.circuit.phase != "half_open":
            self.probes.clear()

    def admit(self, *, insist: bool) -> int | None:
        """A ticket, or None: it is not this target's turn."""
        self.circuit = anchored(self.circuit, self.clock_s)
        state = standing([self.circuit], self.clock_s).state
        if state == "wait" and not insist:
            self.seen["passed over"] += 1
            return None
        self.tickets += 1
        self.tell(Admitted(self.tickets, LEASE_S))
        lease = self.circuit.lease
        if lease is not None and lease.ticket == self.tickets:
            assert state == "probe" or insist
            self.seen["probe"] += 1
            now_s = trio.current_time()
            flying = [ticket for ticket, until_s in self.probes.items() if now_s < until_s]
            assert not flying, f"{flying} are probing, and so is {self.tickets}"
            self.probes[self.tickets] = now_s + LEASE_S
        else:
            assert state != "probe", "the probe was promised, and not given"
        return self.tickets

    def answer(self, ticket: int, started_s: float) -> tuple[float, Event | None]:
        """When what comes back; None: nothing ever does."""
        dice, health = self.dice, self.health
        if health == "flaky":
            health = dice.choice(("fine", "errors", "mute"))
        if health == "mute":
            return LIMIT_S, Failed(ticket, silent=True)
        if health == "errors":
            return self.ticks(0, 1), Failed(ticket)
        if health == "limited":
            return self.ticks(0, 1), Failed(ticket)
        if health == "broke":
            return self.ticks(0, 1), Failed(ticket, for_s=dice.choice((1.0, MONEY_S)))
        return self.ticks(2, 8) if health == "slow" else self.ticks(0, 2), Succeeded(ticket, started_s)

    async def attempt(self, ticket: int, started_s: float, patience_s: float) -> None:
        """One attempt from its admission to its end. A caller whose patience ends is cancelled, as a host does it."""
        takes_s, event = self.answer(ticket, started_s)
        limited = self.health == "limited"
        told = False
        try:
            with trio.move_on_after(patience_s):
                await trio.sleep(min(takes_s, SLOW_AFTER_S))
                if takes_s > SLOW_AFTER_S:
                    self.tell(Late(ticket))
                    self.seen["late"] += 1
                    await trio.sleep(takes_s - SLOW_AFTER_S)
                assert event is not None
                self.tell(event)
                if limited:
                    self.tell(Cooled(self.dice.choice((1.0, 5.0))))
                told = True
        finally:
            fate = self.dice.random()
            if told:
                pass
            elif fate < DIES:
                self.seen["died"] += 1
                self.died_s = max(self.died_s, self.probes.get(ticket, self.died_s))
            elif fate < 0.5:
                self.seen["outrun"] += 1
                self.tell(Outrun(ticket))
            else:
                self.seen["cancelled"] += 1
                self.tell(Released(ticket))
            if told or fate >= DIES:
                self.probes.pop(ticket, None)

    async def live(self) -> None:
        """Some sickness, callers all along, then health; and what must hold at the end."""
        dice = self.dice
        async with trio.open_nursery() as callers:
            for _ in range(dice.randint(1, 3)):
                self.health = dice.choice(SICK)
                if dice.random() < 0.15:
                    jump_s = dice.choice((-3600.0, -2.0, 3600.0))
                    self.skew_s += jump_s
                    if jump_s > LEASE_S:
                        self.probes.clear()  # by this clock all leases have run out
                for _ in range(dice.randint(2, 4)):
                    await trio.sleep(self.ticks(0, 3) if dice.random() < 0.8 else self.ticks(5, 25))
                    for _ in range(dice.choice((1, 1, 2, 6))):
                        ticket = self.admit(insist=dice.random() < 0.2)
                        if ticket is not None:
                            patience_s = LIMIT_S + 1 if dice.random() < 0.7 else self.ticks(0, LIMIT_S)
                            callers.start_soon(self.attempt, ticket, self.clock_s, patience_s)
        self.health = "fine"
        self.nobody_holds_it()
        await self.recover()
        self.seen["lives"] += 1

    def nobody_holds_it(self) -> None:
        """All attempts are over, so no lease is held, unless its holder died: then it runs out."""
        lease = self.circuit.lease
        if lease is not None:
            assert self.died_s > float("-inf")
            assert anchored(self.circuit, self.clock_s).lease is not None
            assert lease.until_s - self.circuit.seen_s <= LEASE_S
            self.seen["left over"] += 1
        assert not [1 for until_s in self.probes.values() if until_s > self.died_s]

    async def recover(self) -> None:
        """Asked once a second, it is closed again as soon as its times allow and two requests have come."""
        circuit = self.circuit = anchored(self.circuit, self.clock_s)
        until_s = circuit.cooling_until_s
        if circuit.phase != "closed":
            open_until_s = circuit.since_s + circuit.open_s
            assert open_until_s - self.clock_s <= max(OPEN_S, MONEY_S)
            until_s = max(until_s, open_until_s, circuit.lease.until_s if circuit.lease else 0.0)
        bound_s = max(until_s, self.clock_s) + 2.5
        while self.circuit.phase != "closed":
            ticket = self.admit(insist=False)
            if ticket is not None:
                started_s = self.clock_s
                await trio.sleep(TICK_S)
                self.tell(Succeeded(ticket, started_s))
                self.probes.pop(ticket, None)
            assert self.clock_s <= bound_s
            await trio.sleep(1.0)


def lives(count: int, *, seed: int, beside: int = 1000) -> Counter[str]:
    """That many lives, `beside` each other on one clock."""
    seen: Counter[str] = Counter()

    async def batch(first: int, size: int) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(first, first + size):
                nursery.start_soon(Life(random.Random(f"{seed}-{number}"), seen).live)

    for first in range(0, count, beside):
        trio.run(batch, first, min(beside, count - first), clock=MockClock(autojump_threshold=0))
    return seen


def thorough(seen: Counter[str], count: int) -> None:
    """The lives were worth living: everything that may happen did, and often."""
    assert seen["lives"] == count
    for what in ("probe", "open", "half_open", "closed", "late", "outrun", "cancelled", "passed over"):
        assert seen[what] >= count / 10, what
    for what in ("died", "left over"):
        assert seen[what] >= count / 2000, what


@pytest.mark.timeout(120)  # all of it is work, and measuring coverage on a busy machine makes it many times as long
def test_no_schedule_has_two_probes_a_lost_permit_or_a_circuit_stuck_open() -> None:
    thorough(lives(1_500, seed=6), 1_500)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [2, 3, 4, 5])
def test_no_schedule_of_a_hundred_thousand_has_either(seed: int) -> None:
    thorough(lives(25_000, seed=seed), 25_000)


def test_a_second_probe_would_have_been_noticed() -> None:
    async def two() -> None:
        life = Life(random.Random(0), Counter())
        for _ in range(5):
            life.tell(Failed(0))
        await trio.sleep(10)
        assert life.admit(insist=False) == 1
        assert life.circuit.lease is not None
        life.circuit = replace(life.circuit, lease=None)
        with pytest.raises(AssertionError, match="are probing"):
            life.admit(insist=False)

    trio.run(two, clock=MockClock(autojump_threshold=0))
