"""The attempts of one request: mostly one after the other, sometimes side by side; the first good first chunk wins.

The next attempt starts when the one before it has failed; or beside it, when that one is a probe that keeps its caller
waiting, when hedging is on and its time has come, or when the circuit opens behind which it waits. The losers are
cancelled, and their connections closed, before anything of the winner goes out.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable
from contextvars import Context, copy_context
from functools import partial

import anyio

from .._rules.charge import NEUTRAL, charge
from .._rules.classify import Verdict, classify
from .._rules.failover import PROBE_S, Failover, GiveUp, Try
from .._values import Outcome
from .admission import Admission, Taken
from .answer import Answer
from .attempt import Attempt
from .clock import Loop
from .race import Line
from .slots import Slots
from .terms import Run, Terms


class Contest:
    """Good for one `run`. Its runners share an event loop, and nothing is half-done where one of them waits.

    Attributes:
        refusing: the attempt whose answer ended the request without delivering.
        won: the step whose answer is the request's.
    """

    def __init__(
        self,
        terms: Terms,
        failover: Failover,
        admission: Admission,
        slots: Slots,
        loop: Loop,
        line: Line,
    ) -> None:
        self.refusing: Attempt | None = None
        self.won: Try | None = None
        self._terms = terms
        self._failover = failover
        self._account = terms.account
        self._admission = admission
        self._slots = slots
        self._loop = loop
        self._line = line
        self._under_way: tuple[Run, ...] = ()
        self._result: Answer | GiveUp | None = None
        self._over = False
        self._hedged = False
        self._others = 0
        """Runners besides the first."""
        self._one_less: anyio.Event | None = None
        self._failure: Exception | None = None
        self._context: Context | None = None

    async def run(self) -> Answer | GiveUp:
        """The winner, which whoever gets it closes; or what is left to say when there is none."""
        if self._terms.hedge_after:
            self._admission.count_hedgeable()
        try:
            await self._go_on()
            while self._others:
                self._one_less = anyio.Event()
                await self._one_less.wait()
            if self._failure is not None:
                raise self._failure
        except BaseException:
            self._end()
            if isinstance(self._result, Answer):
                with anyio.CancelScope(shield=True):
                    await self._result.aclose()
            raise
        assert self._result is not None  # the last runner asked the machine when nothing else was under way
        return self._result

    # --- runners ---

    async def _go_on(self, *, hedge: bool = False) -> None:
        """Attempts one after the other, until the request is decided or another runner's attempt is the last word."""
        while not self._over:
            run = await self._next(hedge=hedge)
            if run is None:
                return
            step = run.step
            try:
                result = await run.attempt.run(
                    self._slots,
                    run.permit,
                    slot_wait_s=self._terms.slot_wait_s,
                    first_chunk_s=step.first_chunk_s,
                    wait_s=step.wait_s,
                    until_s=step.until_s,
                    begun=partial(self._begun, run) if self._account.heard else None,
                    finish=partial(self._finish, run) if self._terms.finishes else None,
                    ends_s=self._failover.ends_s,
                )
            except BaseException:  # the caller has left
                try:
                    with anyio.CancelScope(shield=True):
                        await self._admission.settle(run.permit, NEUTRAL, self._loop.clock_s())
                finally:
                    self._account.left(run)
                raise
            finally:
                self._under_way = tuple([one for one in self._under_way if one is not run])
                # It knows the run, which knows the permit: all that they hold would wait for the garbage collector.
                run.permit.on_open = None
                if run.timer is not None:
                    run.timer.cancel()
            try:
                await self._conclude(run, result)
            except BaseException:  # a task's own cancel() goes through a store's shield
                self._account.left(run)
                raise
            if self._under_way:
                last = self._under_way[-1]
                if last.step.order > run.step.order or (run.hedge and not last.given_up_on):
                    return
            hedge = False

    def _opened(self, run: Run) -> None:
        """Called from within another request: what ends this one must not fail that one."""
        run.given_up_on = True
        if not self._over:
            # An api_key callable, or tracing, may look at context variables: they are this request's own.
            assert self._context is not None
            self._context.run(self._line.spawn, partial(self._go_on_beside, run))

    async def _go_on_beside(self, run: Run, *, hedge: bool = False) -> None:
        """Another attempt beside this one, if it is still the one that is waited for."""
        if self._over or not self._under_way or self._under_way[-1] is not run:
            return
        self._others += 1
        try:
            await self._go_on(hedge=hedge)
        except Exception as failure:
            self._failure = failure
            self._end()
        finally:
            self._others -= 1
            if self._one_less is not None:
                self._one_less.set()

    async def _after(self, run: Run, timer: anyio.CancelScope, wait_s: float, *, hedge: bool) -> None:
        with timer:
            await anyio.sleep(wait_s)
        if not timer.cancel_called:
            run.given_up_on = run.given_up_on or not hedge
            await self._go_on_beside(run, hedge=hedge)

    # --- one attempt ---

    async def _next(self, *, hedge: bool) -> Run | None:
        """The next attempt, admitted and under way; None: there is none to make, or the request is decided."""
        failover, admission, terms = self._failover, self._admission, self._terms
        while True:
            now_s = self._loop.clock_s()
            standings = await admission.standings(failover.targets_left, terms.scopes, now_s)
            if self._over or (hedge and not admission.hedge_left):
                return None
            step = failover.next_step(now_s, random.random(), standings, hedge=hedge)
            if isinstance(step, GiveUp) and not hedge:
                self._decide(step)
            if not isinstance(step, Try):
                return None
            if self._account.heard:
                self._account.looked(standings)
            if hedge:
                admission.take_hedge()
            permit = await admission.admit(
                terms.scopes[step.target],
                step.standing,
                now_s,
                wait_s=step.wait_s,
                limit_s=step.first_chunk_s,
                extra=step.extra,
                stream=terms.stream,
            )
            if permit is None:
                failover.withdraw(step)
                continue
            if isinstance(permit, Taken):
                failover.put_back(step)
                continue
            if self._over:  # decided while the store was waited for
                failover.withdraw(step)
                await admission.settle(permit, NEUTRAL, now_s)
                return None
            run = Run(step, terms.make(step.target), permit, hedge, now_s)
            self._under_way += (run,)
            self._hedged = self._hedged or hedge
            self._let_follow(run)
            return run

    def _let_follow(self, run: Run) -> None:
        """Say when the next attempt starts beside this one, besides when this one has failed."""
        step, terms = run.step, self._terms
        if not self._failover.is_anybody_left:
            return
        self._context = self._context or copy_context()
        run.permit.on_open = partial(self._opened, run)
        if step.standing.state != "ready":
            wait_s: float | None = PROBE_S
            hedge = False
        elif terms.hedge_after and not self._hedged:
            wait_s = self._admission.hedge_after_s(terms.scopes[step.target], terms.stream, terms.hedge_after)
            hedge = True
        else:
            return
        if wait_s is not None:
            timer = run.timer = anyio.CancelScope()
            self._line.spawn(partial(self._after, run, timer, step.wait_s + wait_s, hedge=hedge))

    async def _finish(self, run: Run, answer: Answer) -> Answer | Outcome:
        """Nobody starts beside it any more: it is no longer silent, and whether it ends well takes its time to tell."""
        run.begun = True
        run.permit.on_open = None
        if run.timer is not None:
            run.timer.cancel()
        self._account.has_first_chunk(run)
        await self._settle(run, classify(answer.outcome), answer.outcome, self._loop.clock_s())
        return await self._terms.finish(answer)

    def _settle(self, run: Run, verdict: Verdict, outcome: Outcome, now_s: float) -> Awaitable[None]:
        # At the time that the failover machine was told, or a cooldown of its own would look like somebody else's.
        told = charge(
            verdict,
            outcome,
            limit_s=run.attempt.limit_s,
            own_limit_s=run.step.own_limit_s,
            slow_after_s=run.permit.slow_after_s,
        )
        run.impatient = told is NEUTRAL and verdict.counts is not None
        return self._admission.settle(run.permit, told, now_s, took_s=outcome.duration_s)

    async def _conclude(self, run: Run, result: Answer | Outcome | None) -> None:
        now_s = self._loop.clock_s()
        if self._over or result is None:
            await self._conclude_late(run, result, now_s)
            return
        outcome = result.outcome if isinstance(result, Answer) else self._terms.masked(result)
        verdict = self._failover.record(run.step, outcome, now_s)
        record = self._failover.last
        assert record is not None
        if isinstance(result, Answer):
            self.won = run.step
            self._decide(result)
            if self._account.heard:
                # Before the store is waited for: whoever leaves meanwhile closes the answer.
                self._account.concluded(self._terms.request_id, run, record, result)
        elif verdict.action == "stop":
            self.refusing = run.attempt
            decided = self._failover.next_step(now_s, 0.0)
            assert isinstance(decided, GiveUp)
            self._decide(decided)
        elif self._terms.asks_again(run.step.target, outcome, verdict):
            self._failover.ask_again(run.step)
        # The total ran out while it was read on, and has no status: any caller could set a short one.
        if run.begun and verdict.counts is not None and outcome.status is not None:
            await self._admission.broken(run.permit.scope, now_s)
        await self._settle(run, verdict, outcome, now_s)
        if not isinstance(result, Answer):
            self._account.concluded(self._terms.request_id, run, record, result, misconfigured=verdict.alert)

    async def _conclude_late(self, run: Run, result: Answer | Outcome | None, now_s: float) -> None:
        """The request was decided without it: its answer, if there is one, is nobody's."""
        try:
            lost = Outcome("cancelled", run.attempt.provider.kind, duration_s=now_s - run.started_s)
            self._failover.abandon(run.step, lost, sent=run.attempt.sent)
            record = self._failover.last
            if self.won is not None and run.attempt.sent and self.won.order > run.step.order:
                await self._admission.outrun(run.permit, now_s)
            else:
                await self._admission.settle(run.permit, NEUTRAL, now_s)
            assert record is not None
            self._account.concluded(self._terms.request_id, run, record, None)
        finally:
            if isinstance(result, Answer):
                await result.aclose()

    # --- the end ---

    def _decide(self, result: Answer | GiveUp) -> None:
        self._result = result
        self._end()

    def _end(self) -> None:
        self._over = True
        for run in self._under_way:
            run.attempt.cancel()
            if run.timer is not None:
                run.timer.cancel()

    def _begun(self, run: Run) -> None:
        self._account.begun(run, self._under_way, self._terms.continues)
