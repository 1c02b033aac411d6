"""The circuit breaker against a model: attempts live and die at random, the clock jumps, and both must agree.

The model knows the contract's words (sections 4 and 8) and nothing of the code: it keeps instants of a time of its own
that never runs backwards, whole lists, and no state that could be derived. All times are multiples of 1/64 s, so that
sums are exact and the comparison is one of equality.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

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

NEVER_S = float("-inf")
LONGEST_LEASE_S = 605.0
LONGEST_MONEY_S = 300.0
LONGEST_OPEN_S = 25.0


# --- the model ----------------------------------------------------------------------------------------------------


@dataclass
class Seen:
    at_s: float
    kind: Literal["ok", "failed", "late"]
    ticket: int


@dataclass
class Model:
    """A target as the contract sees it. All times are the model's own."""

    failures_in_a_row: int
    window: list[Seen] = field(default_factory=list)
    row: list[Seen] = field(default_factory=list)
    opened_s: float | None = None
    opened_until_s: float = NEVER_S
    opened_by_silence: bool = False
    closed_s: float = NEVER_S
    openings: int = 0
    probing: bool = False
    lease: tuple[int, float] | None = None
    good_probes: int = 0
    cooling_until_s: float = NEVER_S

    @property
    def phase(self) -> str:
        return "closed" if self.opened_s is None else "half_open" if self.probing else "open"

    def may_probe(self, now_s: float) -> bool:
        over = now_s >= self.opened_until_s if not self.probing else True
        return self.opened_s is not None and over and (self.lease is None or now_s >= self.lease[1])

    def admitted(self, ticket: int, lease_s: float, now_s: float) -> bool:
        if not self.may_probe(now_s):
            return False
        self.probing, self.lease = True, (ticket, now_s + lease_s)
        return True

    def holds(self, ticket: int) -> bool:
        return self.lease is not None and self.lease[0] == ticket

    def succeeded(self, ticket: int, started_s: float, now_s: float) -> None:
        if self.opened_s is None:
            self._see(now_s, "ok", ticket)
        elif self.opened_by_silence or started_s >= self.opened_s or self.holds(ticket):
            if self.holds(ticket):
                self.lease = None
            self._good_probe(now_s)

    def failed(
        self, ticket: int, started_s: float, now_s: float, jitter: float, *, silent: bool, money_s: float | None
    ) -> None:
        if self.opened_s is None and money_s is None and started_s < self.closed_s:
            self._no_longer_late(ticket)  # of an outage that is over
        elif self.opened_s is None:
            self._see(now_s, "failed", ticket)
            if money_s is not None or self._bad():
                self._open(now_s, jitter, silent=silent, money_s=money_s)
        elif self.holds(ticket):
            self._open(now_s, jitter, silent=silent, money_s=money_s)
        elif money_s is not None and now_s + money_s > self.opened_until_s:
            self.opened_s, self.opened_until_s = now_s, now_s + money_s
            self.probing, self.lease, self.good_probes = False, None, 0

    def late(self, ticket: int, started_s: float, now_s: float, jitter: float) -> None:
        if self.opened_s is None and started_s >= self.closed_s:
            self._see(now_s, "late", ticket)
            if self._bad():
                self._open(now_s, jitter, silent=True, money_s=None)

    def released(self, ticket: int) -> None:
        if self.holds(ticket):
            self.lease = None
        self._no_longer_late(ticket)

    def outrun(self, ticket: int, now_s: float, jitter: float) -> None:
        if self.opened_s is not None and self.holds(ticket):
            if self.opened_by_silence:
                good_probes = self.good_probes
                self._open(now_s, jitter, silent=True, money_s=None)
                self.good_probes = good_probes
            else:
                self.lease = None
                self._good_probe(now_s)

    def cooled(self, for_s: float, now_s: float) -> None:
        self.cooling_until_s = max(self.cooling_until_s, now_s + for_s)

    def _no_longer_late(self, ticket: int) -> None:
        self.window = [seen for seen in self.window if (seen.ticket, seen.kind) != (ticket, "late")]

    def _see(self, now_s: float, kind: Literal["ok", "failed", "late"], ticket: int) -> None:
        self._no_longer_late(ticket)
        seen = Seen(now_s, kind, ticket)
        self.window = [*(old for old in self.window if now_s - old.at_s <= 30), seen][-20:]
        if kind != "late":
            self.row.append(seen)

    def _bad(self) -> bool:
        tail = [seen.kind for seen in self.row[-self.failures_in_a_row :]]
        if tail == ["failed"] * self.failures_in_a_row:
            return True
        kinds = [seen.kind for seen in self.window]
        last = kinds[-self.failures_in_a_row :]
        if len(last) == self.failures_in_a_row and "ok" not in last:
            return True
        if len(kinds) < 5:
            return False
        overdue = "late" in kinds and 100 * (len(kinds) - kinds.count("ok")) >= 80 * len(kinds)
        return 2 * kinds.count("failed") >= len(kinds) or overdue

    def _open(self, now_s: float, jitter: float, *, silent: bool, money_s: float | None) -> None:
        if self.opened_s is None and now_s - self.closed_s > 60:
            self.openings = 0
        self.openings += 1
        open_s = min(20, 5 * 2 ** (self.openings - 1)) * (0.75 + jitter / 2)
        self.opened_s, self.opened_until_s = now_s, now_s + max(open_s, money_s or 0)
        self.opened_by_silence = silent
        self.probing, self.lease, self.good_probes = False, None, 0
        self.window, self.row = [], []

    def _good_probe(self, now_s: float) -> None:
        self.probing, self.good_probes = True, self.good_probes + 1
        if self.good_probes == 2:
            self.opened_s, self.closed_s = None, now_s
            self.probing, self.lease, self.good_probes = False, None, 0


# --- the lives of attempts ----------------------------------------------------------------------------------------


@dataclass
class Attempt:
    started_s: float  # on the clock, as the code is told
    probe_until_s: float | None = None  # in the model's time


class Lives(RuleBasedStateMachine):
    """One circuit, its attempts, and a clock."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.circuit: Circuit = CLOSED
        self.model = Model(self.breaker.failures)
        self.clock_s = 0.0
        self.ahead_s = 0.0
        """How far the model's time is ahead of a clock that went back."""
        self.tickets = 0
        self.attempts: dict[int, Attempt] = {}
        self.dead: set[int] = set()

    @initialize(clock_s=st.sampled_from([0.0, 1e6]))
    def clock_starts(self, clock_s: float) -> None:
        self.clock_s = clock_s

    def now_s(self) -> float:
        """The model's time. A clock that went back took the time since the last change with it."""
        self.ahead_s += max(0.0, self.circuit.seen_s - self.clock_s)
        self.circuit = anchored(self.circuit, self.clock_s)
        return self.clock_s + self.ahead_s

    def tell(self, event: Event, jitter: float = 0.5) -> None:
        before = self.circuit
        self.circuit = transition(before, event, self.clock_s, self.breaker, jitter)
        assert transition(before, event, self.clock_s, self.breaker, jitter) == self.circuit
        if self.model.phase != "half_open":  # leases end with the phase they belong to
            for attempt in self.attempts.values():
                attempt.probe_until_s = None

    def end(self, data: st.DataObject) -> tuple[int, Attempt]:
        ticket = data.draw(st.sampled_from(sorted(self.attempts)))
        return ticket, self.attempts.pop(ticket)

    @rule(lease_s=st.sampled_from([6.0, 35.0, LONGEST_LEASE_S]), count=st.sampled_from([1, 1, 2, 6]))
    def attempts_start(self, lease_s: float, count: int) -> None:
        for _ in range(count):
            self.tickets += 1
            now_s = self.now_s()
            probe = self.model.admitted(self.tickets, lease_s, now_s)
            self.attempts[self.tickets] = Attempt(self.clock_s, now_s + lease_s if probe else None)
            self.tell(Admitted(self.tickets, lease_s))

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def attempt_succeeds(self, data: st.DataObject) -> None:
        ticket, attempt = self.end(data)
        now_s = self.now_s()
        self.model.succeeded(ticket, attempt.started_s + self.ahead_s, now_s)
        self.tell(Succeeded(ticket, attempt.started_s))

    @precondition(lambda self: self.attempts)
    @rule(
        data=st.data(),
        silent=st.booleans(),
        jitter=st.sampled_from([0.0, 0.25, 0.96875]),
        money_s=st.sampled_from([None] * 6 + [1.0, LONGEST_MONEY_S]),
        count=st.sampled_from([1, 1, 5]),
    )
    def attempts_fail(
        self, data: st.DataObject, silent: bool, jitter: float, money_s: float | None, count: int
    ) -> None:
        for _ in range(min(count, len(self.attempts))):
            ticket, attempt = self.end(data)
            now_s, started_s = self.now_s(), attempt.started_s + self.ahead_s
            self.model.failed(ticket, started_s, now_s, jitter, silent=silent, money_s=money_s)
            self.tell(Failed(ticket, silent, money_s, attempt.started_s), jitter)

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), jitter=st.sampled_from([0.0, 0.96875]), all_of_them=st.booleans())
    def attempts_are_late(self, data: st.DataObject, jitter: float, all_of_them: bool) -> None:
        for ticket in sorted(self.attempts) if all_of_them else [data.draw(st.sampled_from(sorted(self.attempts)))]:
            now_s, started_s = self.now_s(), self.attempts[ticket].started_s
            self.model.late(ticket, started_s + self.ahead_s, now_s, jitter)
            self.tell(Late(ticket, started_s), jitter)

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def caller_leaves(self, data: st.DataObject) -> None:
        ticket, _attempt = self.end(data)
        self.model.released(ticket)
        self.tell(Released(ticket))

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), jitter=st.sampled_from([0.0, 0.96875]))
    def another_target_is_quicker(self, data: st.DataObject, jitter: float) -> None:
        ticket, _attempt = self.end(data)
        self.model.outrun(ticket, self.now_s(), jitter)
        self.tell(Outrun(ticket), jitter)

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def holder_dies_without_a_word(self, data: st.DataObject) -> None:
        ticket, _attempt = self.end(data)
        self.dead.add(ticket)

    @rule(for_s=st.sampled_from([1.0, 5.0, 300.0]))
    def provider_asks_to_be_left_alone(self, for_s: float) -> None:
        self.model.cooled(for_s, self.now_s())
        self.tell(Cooled(for_s))

    @rule(by_s=st.sampled_from([0.25, 1.0, 4.0, 6.5, 26.0, 31.0, 61.0, 400.0, 3600.0]))
    def time_passes(self, by_s: float) -> None:
        self.clock_s += by_s

    @rule(by_s=st.sampled_from([0.5, 7.0, 3600.0]))
    def clock_goes_back(self, by_s: float) -> None:
        self.clock_s -= by_s

    @invariant()
    def both_agree(self) -> None:
        now_s, model, circuit = self.now_s(), self.model, self.circuit
        assert circuit.phase == model.phase
        assert (circuit.lease and circuit.lease.ticket) == (model.lease and model.lease[0])
        assert circuit.recovered == model.good_probes
        if model.lease is not None and circuit.lease is not None:
            assert circuit.lease.until_s + self.ahead_s == model.lease[1]
        if model.opened_s is not None:
            assert circuit.since_s + circuit.open_s + self.ahead_s == model.opened_until_s
        expected = "ready"
        if model.opened_s is not None:
            expected = "probe" if model.may_probe(now_s) else "wait"
        if now_s < model.cooling_until_s:
            expected = "wait"
        assert standing([circuit], self.clock_s).state == expected

    @invariant()
    def there_is_one_probe_in_flight_at_most(self) -> None:
        now_s = self.now_s()
        probes = [
            attempt
            for attempt in self.attempts.values()
            if attempt.probe_until_s is not None and now_s < attempt.probe_until_s
        ]
        assert len(probes) <= 1
        assert not probes or self.circuit.phase == "half_open"

    @invariant()
    def what_it_remembers_is_bounded(self) -> None:
        assert len(self.circuit.results) <= 20
        if self.circuit.phase != "closed":
            assert self.circuit.since_s + self.circuit.open_s - self.clock_s <= LONGEST_MONEY_S
        if self.circuit.lease is not None:
            assert self.circuit.phase == "half_open"
            assert self.circuit.lease.until_s - self.clock_s <= LONGEST_LEASE_S

    @rule()
    def a_healthy_target_asked_once_a_second_is_soon_closed(self) -> None:
        recovers(self.circuit, self.clock_s)

    def teardown(self) -> None:
        recovers(self.circuit, self.clock_s)
        for ticket in self.attempts:
            self.circuit = transition(self.circuit, Released(ticket), self.clock_s, self.breaker)
        assert self.circuit.lease is None or self.circuit.lease.ticket in self.dead
        recovers(self.circuit, self.clock_s)


def recovers(circuit: Circuit, clock_s: float) -> None:
    """It closes as soon as its open time, its lease or its cooldown allows, and two requests have come."""
    until_s = max(circuit.since_s + circuit.open_s, circuit.lease.until_s if circuit.lease else NEVER_S)
    bound_s = max(clock_s, until_s, circuit.cooling_until_s) + 2.5
    ticket = 10**9
    # Nothing happens before: no need to ask, second by second, a target that is waited for.
    clock_s = max(clock_s, bound_s - 10.0)
    while circuit.phase != "closed":
        assert clock_s <= bound_s
        if standing([circuit], clock_s).state != "wait":
            ticket += 1
            circuit = transition(circuit, Admitted(ticket, 35.0), clock_s, Breaker())
            circuit = transition(circuit, Succeeded(ticket, clock_s), clock_s + 0.25, Breaker())
        clock_s += 1.0


Lives.TestCase.settings = settings(
    derandomize=True,
    max_examples=300,
    stateful_step_count=60,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
TestLives = pytest.mark.timeout(300)(Lives.TestCase)  # finding the shortest life that breaks it takes time


# --- the same claims on the sequences that matter most ------------------------------------------------------------

_TROUBLES: list[tuple[str, Callable[[int], Event]]] = [
    ("errors", lambda ticket: Failed(ticket)),
    ("silence", lambda ticket: Failed(ticket, silent=True)),
    ("lateness", lambda ticket: Late(ticket)),
]


@pytest.mark.parametrize(("trouble", "event"), _TROUBLES, ids=[name for name, _ in _TROUBLES])
@pytest.mark.parametrize("outage_s", [1, 7, 60, 600])
@pytest.mark.parametrize("jitter", [0.0, 0.999])
def test_a_recovered_target_is_used_again_within_its_open_time_and_two_requests(
    trouble: str, event: Callable[[int], Event], outage_s: int, jitter: float
) -> None:
    breaker = Breaker()
    circuit: Circuit = CLOSED
    ticket = 0
    for second in range(outage_s + 60):
        now_s = float(second)
        if circuit.phase == "closed" and second >= max(outage_s, 10):
            break
        if standing([circuit], now_s).state == "wait":
            continue
        ticket += 1
        circuit = transition(circuit, Admitted(ticket, 35.0), now_s, breaker, jitter)
        if second < outage_s:
            ended: Event = event(ticket) if circuit.phase == "closed" else Failed(ticket, silent=trouble != "errors")
            circuit = transition(circuit, ended, now_s + 0.1, breaker, jitter)
        else:
            circuit = transition(circuit, Succeeded(ticket, now_s), now_s + 0.1, breaker, jitter)
    assert circuit.phase == "closed"
    assert circuit.trips >= (outage_s >= 7)
    assert second <= max(outage_s, 10) + LONGEST_OPEN_S + 3
