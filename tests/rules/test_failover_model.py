"""The failover machine under any order of questions, answers, hedges and changes of mind (stateful)."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ogw_asgi._rules.failover import Failover, GiveUp, Try
from ogw_asgi._rules.standing import Standing
from ogw_asgi._values import Limits, Outcome, Plan, Target, Timeouts

from .driver import BUSY, NO_ROUTE, OK, RESET, SILENT, TOO_LONG, status, targets

answers = st.sampled_from(
    [
        RESET,
        SILENT,
        NO_ROUTE,
        BUSY,
        TOO_LONG,
        status(429),
        status(429, 2.0),
        status(500),
        status(503, 90.0),
        status(401),
        status(400),
    ]
)
standings = st.dictionaries(
    st.sampled_from(targets("abc")),
    st.sampled_from(
        [Standing(), Standing("probe", open=True), Standing("wait", 200.0, open=True), Standing("wait", 150.0, 150.0)]
    ),
)
CANCELLED = Outcome("cancelled", "openai")


class Requests(RuleBasedStateMachine):
    """One request, its driver as careless as the machine allows."""

    @initialize(
        letters=st.text("abc", min_size=1, max_size=6),
        attempts=st.integers(1, 5),
        stream=st.booleans(),
        first_chunk_s=st.none() | st.sampled_from([0.5, 5.0]),
        total_s=st.none() | st.sampled_from([0.5, 20.0, 300.0]),
    )
    def begin(
        self, letters: str, attempts: int, stream: bool, first_chunk_s: float | None, total_s: float | None
    ) -> None:
        self.now_s = 100.0
        self.attempts = attempts
        self.plan = Plan(targets(letters), stream, first_chunk_s, total_s)
        self.machine = Failover(
            self.plan,
            limits=Limits(attempts=attempts),
            timeouts=Timeouts(),
            failover_on=frozenset({"context_length"}),
            started_s=self.now_s,
        )
        self.under_way: list[Try] = []
        self.offered: list[int] = []
        self.again: list[int] = []
        self.lines = self.sent = 0
        self.taken: Try | None = None
        self.ended: GiveUp | None = None

    @precondition(lambda self: self.taken is None)
    @rule(
        jitter=st.floats(0, 1, exclude_max=True),
        known=standings,
        hedge=st.booleans(),
        later_s=st.sampled_from([0.0, 0.2, 3.0]),
    )
    def ask(self, jitter: float, known: dict[Target, Standing], hedge: bool, later_s: float) -> None:
        self.now_s += later_s
        hedge = hedge and bool(self.under_way)
        step = self.machine.next_step(self.now_s, jitter, known, hedge=hedge)
        if isinstance(step, GiveUp):
            assert not self.under_way or self.ended is not None or step.refusal.status in (400, 401)
            assert step.refusal.status in (400, 401, 404, 429, 502, 503, 504)
            self.ended = step
            return
        if step is None:
            assert self.under_way, "somebody has to decide"
            return
        assert self.plan.targets[step.position] == step.target
        assert step.target not in [other.target for other in self.under_way]
        if step.position in self.again:
            self.again.remove(step.position)
        else:
            assert step.position not in self.offered, "each position is offered once"
        assert step.wait_s >= 0
        assert step.first_chunk_s > 0
        if hedge:
            assert step.standing.state == "ready"
            assert not step.repeat
        if self.plan.total_s is not None:
            assert self.now_s + step.wait_s + step.first_chunk_s <= 100.0 + self.plan.total_s + 1e-6
        self.offered.append(step.position)
        self.under_way.append(step)

    def _take(self, at: int) -> Try:
        return self.under_way.pop(at % len(self.under_way))

    @precondition(lambda self: self.under_way and self.taken is None)
    @rule(at=st.integers(0, 4), answer=answers, took_s=st.sampled_from([0.0, 0.3, 6.0]))
    def fail(self, at: int, answer: Outcome, took_s: float) -> None:
        self.now_s += took_s
        step = self._take(at)
        verdict = self.machine.record(step, answer, self.now_s)
        assert verdict.action != "deliver"
        self.lines += 1
        self.sent += answer is not BUSY

    @precondition(lambda self: self.under_way and self.taken is None)
    @rule(at=st.integers(0, 4))
    def answer(self, at: int) -> None:
        step = self._take(at)
        assert self.machine.record(step, OK, self.now_s).action == "deliver"
        self.lines += 1
        self.sent += 1
        self.taken = step
        for other in self.under_way:
            self.machine.abandon(other, CANCELLED, sent=True)
            self.lines += 1
            self.sent += 1
        self.under_way = []

    @precondition(lambda self: self.under_way)
    @rule(at=st.integers(0, 4))
    def withdraw(self, at: int) -> None:
        self.machine.withdraw(self._take(at))

    @precondition(lambda self: self.under_way)
    @rule(at=st.integers(0, 4))
    def put_back(self, at: int) -> None:
        step = self._take(at)
        self.machine.put_back(step)
        self.again.append(step.position)

    @precondition(lambda self: self.under_way)
    @rule(at=st.integers(0, 4), sent=st.booleans())
    def abandon(self, at: int, sent: bool) -> None:
        self.machine.abandon(self._take(at), CANCELLED, sent=sent)
        self.lines += 1
        self.sent += sent

    @precondition(lambda self: self.taken is not None)
    @rule(stalled=st.booleans(), again=st.booleans())
    def breaks(self, stalled: bool, again: bool) -> None:
        assert self.taken is not None
        self.machine.broke(self.taken, RESET, self.now_s, stalled=stalled)
        if again and not stalled:
            self.machine.ask_again(self.taken)
            self.again.append(self.taken.position)
        self.taken = None

    @invariant()
    def counts_agree(self) -> None:
        if not hasattr(self, "machine"):
            return
        machine = self.machine
        assert machine.made == self.sent
        assert machine.made + len(self.under_way) <= self.attempts
        assert len(machine.attempts) == self.lines
        left = machine.targets_left
        assert len(left) == len(set(left)) <= len(set(self.plan.targets))
        for step in self.under_way:
            assert step.order <= len(self.offered)


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
