"""Failover: whom to ask next, one question at a time (contract, sections 2 and 4).

An ask/tell machine without I/O: `next_step()` says whom to ask, after what wait and for how long; the driver does it
and tells `record()` what came of it. Several attempts may be under way: a hedge, or the one beside a probe. Targets
that should not be asked now go to the back of the queue, never away. Each position of the plan is offered at most
once, so it always ends. It reads no clock and throws no dice: both come as arguments.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from .._values import AttemptRecord, Limits, Outcome, Plan, Target, Timeouts
from .classify import classify
from .conclude import OUT_OF_TIME, Ended, conclude
from .cooldown import cooldown_s
from .shares import NO_TIME_S, Shares
from .standing import READY, Standing, uncooled
from .steps import GiveUp as GiveUp
from .steps import Try as Try
from .table import Verdict
from .trail import line_of

BACKOFF_S = 0.25
"""The shortest wait before a repeat, named or not, and the width of the jitter on top."""

PROBE_S = 1.0
"""A target that may still be down is waited for alone no longer than this: then the next one starts beside it."""

NO_STANDINGS: Mapping[Target, Standing] = {}


class _Choice(NamedTuple):
    position: int
    target: Target
    wait_s: float
    repeat: bool
    standing: Standing


class Failover:
    """The machine of one request.

    `attempts` is the trail so far, one line per recorded outcome, in the order in which they were asked. Lines of
    outcomes where nothing was sent (`busy`, `unservable`, `key_unavailable`) stand in it, too, but `made` does not
    count them.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        limits: Limits,
        timeouts: Timeouts,
        failover_on: frozenset[str],
        started_s: float,
    ) -> None:
        self.attempts: list[AttemptRecord] = []
        self.last: AttemptRecord | None = None
        """The line that was recorded last."""
        self._plan = plan
        self._max_attempts = limits.attempts
        self._timeouts = timeouts
        self._failover_on = failover_on
        self._shares = Shares(plan, timeouts, started_s)
        self._left = tuple(range(len(plan.targets)))
        # Tuples from here on: most of these stay empty, and what is in them is a handful.
        self._orders: tuple[int, ...] = ()
        self._asked = 0
        self._under_way: tuple[Try, ...] = ()
        self._ended: tuple[Ended, ...] = ()
        self._last_of: dict[Target, tuple[Ended, float]] = {}
        self._made = 0
        self._repeats = 0
        self._tried: tuple[Target, ...] = ()
        self._too_small: tuple[Target, ...] = ()
        """Targets that found the prompt too long; it will not get shorter."""
        self._cooled_until_s: dict[Target, float] = {}
        """Cooldowns that answers to this very request have set: they do not push its own repeats back."""
        self._going_on = False
        """The caller has the beginning of an answer, so no refusal can be the last word any more."""
        self._at_trouble: tuple[int, ...] = ()
        """Of the steps at targets that should wait or be probed, the places in the order of asking."""
        self._outdone: tuple[Target, ...] = ()
        """Targets whose probe somebody else has got: it is not asked for a second time."""
        self._paid: tuple[Target, ...] = ()
        """Those of them for which the budget has been drawn on."""
        self._asked_again: tuple[int, ...] = ()
        """Positions that are offered once more, at once."""

    @property
    def made(self) -> int:
        """How many attempts went out and ended: what the caller is told."""
        return self._made

    @property
    def orders(self) -> tuple[int, ...]:
        """Of the lines of the trail, the steps that they are of."""
        return self._orders

    @property
    def ends_s(self) -> float:
        """When the total is over, on the clock that `next_step` is given; inf without one."""
        return self._shares.ends_s

    @property
    def targets_left(self) -> list[Target]:
        """Whose standing the next question depends on, each once, in their order."""
        targets, left = self._plan.targets, self._left
        if len(left) == 1:
            return [targets[left[0]]]
        return list(dict.fromkeys([targets[position] for position in left]))

    @property
    def is_anybody_left(self) -> bool:
        return bool(self._left)

    def next_step(
        self,
        now_s: float,
        jitter: float,
        standings: Mapping[Target, Standing] = NO_STANDINGS,
        *,
        hedge: bool = False,
    ) -> Try | GiveUp | None:
        """Whom to ask next, or None: nobody now, the attempts under way decide.

        `jitter`: random, in [0, 1). `hedge`: nothing has failed yet, so only a target in good standing will do.
        Raises RuntimeError if the request is over.
        """
        if self._ended and self._ended[-1].verdict.action != "next":
            if self._ended[-1].verdict.action == "deliver":
                raise RuntimeError("the request has been answered")
            return self._give_up()
        while choice := self._choose(now_s, jitter, standings, hedge=hedge):
            target = choice.target
            others = 0
            if len(self._left) > 1:
                others = min(len(self._untried(target)), self._max_attempts - self._made - len(self._under_way) - 1)
            if self._shares.is_over(now_s):
                return self._give_up(out_of_time=True) if not self._under_way else None
            share = self._shares.of(now_s, others, choice.wait_s)
            self._drop(choice.position)
            if share is None:  # only a repeat waits
                continue
            self._repeats = self._repeats + 1 if choice.repeat else 0
            self._tried += (target,)
            self._asked += 1
            extra = self._is_extra(choice.standing) and target not in self._paid
            if choice.standing.state != "ready":
                self._at_trouble += (self._asked,)
            step = Try(
                target,
                choice.wait_s,
                share.limit_s,
                choice.repeat,
                choice.standing,
                extra,
                share.own_limit_s,
                share.until_s,
                self._asked,
                choice.position,
            )
            self._under_way += (step,)
            return step
        if self._under_way:
            return None
        cut_off = bool(self._ended) and self._ended[-1].reason in OUT_OF_TIME
        return self._give_up(out_of_time=cut_off and self._shares.is_over(now_s))

    def record(self, step: Try, outcome: Outcome, now_s: float) -> Verdict:
        """Tell what came of a `Try`. Raises RuntimeError for an outcome that nobody asked for."""
        self._leave(step)
        target = step.target
        verdict = classify(outcome, self._failover_on)
        if self._going_on and verdict.action == "stop":
            verdict = replace(verdict, action="next")
        ended = Ended(target, outcome, verdict)
        self._ended += (ended,)
        self._last_of[target] = (ended, now_s)
        self._made += ended.sent
        if ended.reason == "context_length":
            self._too_small += (target,)
        if ended.verdict.cools == "rate":
            self._cooled_until_s[target] = now_s + cooldown_s("rate", outcome.retry_after_s)
        self._note(step, ended)
        return ended.verdict

    def broke(self, step: Try, outcome: Outcome, now_s: float, *, stalled: bool) -> None:
        """The answer to `step` had been taken, and has come to this; who is left may be asked to go on with it.

        `stalled`: it had fallen silent, so its target is not asked again. Raises RuntimeError if it was not taken.
        """
        if not self._ended or self._ended[-1].verdict.action != "deliver":
            raise RuntimeError("no answer was taken")
        self._going_on = True
        ended = Ended(step.target, outcome, replace(classify(outcome, self._failover_on), action="next"))
        self._ended = (*self._ended[:-1], ended)
        self._last_of[step.target] = (ended, now_s)
        self.last = line_of(ended)
        self.attempts[self._orders.index(step.order)] = self.last
        if stalled:
            self._left = tuple(position for position in self._left if self._plan.targets[position] != step.target)

    def ask_again(self, step: Try) -> None:
        """Offer the same target at once, and once more: it refused only the way in which it was asked."""
        self._asked_again += (step.position,)
        self._left = (step.position, *self._left)

    def withdraw(self, step: Try) -> None:
        """Nobody was asked, for want of a retry or since the request is decided: its position is not offered again."""
        self._leave(step)
        self._at_trouble = tuple(order for order in self._at_trouble if order != step.order)

    def put_back(self, step: Try) -> None:
        """Nobody was asked, since somebody else has its probe by now: it waits for its turn behind the others."""
        self.withdraw(step)
        self._left = tuple(sorted((*self._left, step.position)))
        last = len(self._tried) - 1 - self._tried[::-1].index(step.target)
        self._tried = (*self._tried[:last], *self._tried[last + 1 :])
        self._outdone += (step.target,)
        if step.extra:
            self._paid += (step.target,)

    def abandon(self, step: Try, outcome: Outcome, *, sent: bool) -> None:
        """It was cancelled because another attempt decided the request; it says nothing of its target."""
        self._leave(step)
        self._made += sent
        self._note(step, Ended(step.target, outcome, classify(outcome, self._failover_on)))

    def _leave(self, step: Try) -> None:
        under_way = self._under_way
        if len(under_way) == 1 and under_way[0] is step:
            self._under_way = ()
            return
        left = tuple([other for other in under_way if other is not step])
        if len(left) == len(under_way):
            raise RuntimeError("this step is not under way")
        self._under_way = left

    def _drop(self, position: int) -> None:
        """Nothing is asked there any more."""
        self._left = tuple([other for other in self._left if other != position]) if len(self._left) > 1 else ()

    def _note(self, step: Try, ended: Ended) -> None:
        self.last = line_of(ended)
        if ended.reason == "denied":
            return  # a line of it would tell the caller's names that resolve from those that do not
        orders = self._orders
        if not orders or orders[-1] < step.order:
            self._orders = (*orders, step.order)
            self.attempts.append(self.last)
            return
        place = bisect(orders, step.order)
        self._orders = (*orders[:place], step.order, *orders[place:])
        self.attempts.insert(place, self.last)

    def _choose(
        self, now_s: float, jitter: float, standings: Mapping[Target, Standing], *, hedge: bool
    ) -> _Choice | None:
        """The first of those left that may be asked now; else whoever may be asked soonest."""
        if self._made + len(self._under_way) >= self._max_attempts:
            return None
        asked = [step.target for step in self._under_way] if self._under_way else ()
        soonest: _Choice | None = None
        for position in self._left:
            target = self._plan.targets[position]
            if target in self._too_small or (self._going_on and self._has_been_silent(target)):
                self._drop(position)
                continue
            if target in asked:
                continue
            # Mostly nothing has ended yet, and there is nothing to ask.
            repeat = bool(self._last_of) and self._repeats_the_last(position)
            wait_s = self._wait_s(target, now_s, jitter) if repeat else 0.0
            if wait_s is None:
                self._drop(position)
                continue
            standing = standings.get(target, READY)
            if repeat and self._cooled_by_us(target, standing):
                standing = uncooled(standing)
            if standing.state == "probe" and (target in self._outdone or self._is_hasty(now_s)):
                standing = replace(standing, state="wait")
            choice = _Choice(position, target, wait_s, repeat, standing)
            if standing.state == "ready":
                if hedge and repeat:
                    continue
                return choice
            if hedge:
                continue
            if standing.state == "probe":
                return choice
            if soonest is None or standing.until_s < soonest.standing.until_s:
                soonest = choice
        return soonest

    def _is_extra(self, standing: Standing) -> bool:
        """Whether an attempt there adds to an outage. The first of a request does not, wherever it goes; nor does its
        first at an open circuit, when the closed ones have failed it: else it is refused beside a provider that has
        recovered, as long as nobody has found that out. More than that only where nobody has to wait for a cooldown.
        """
        if standing.state == "ready" or not (self._made or self._under_way):
            return False
        return bool(self._at_trouble) or standing.cooling_until_s > float("-inf")

    def _is_hasty(self, now_s: float) -> bool:
        """Its limit is too short for a probe to tell anything; it would only be in the way of one that does."""
        if self._plan.first_chunk_s is not None and self._plan.first_chunk_s < PROBE_S:
            return True
        still_to_ask = min(len(self.targets_left), self._max_attempts - self._made - len(self._under_way))
        return self._shares.ends_s - now_s < PROBE_S * still_to_ask

    def _repeats_the_last(self, position: int) -> bool:
        target = self._plan.targets[position]
        if position in self._asked_again:
            return False
        return position > 0 and self._plan.targets[position - 1] == target and target in self._last_of

    def _has_been_silent(self, target: Target) -> bool:
        """Who waits in the middle of a text has no time for whoever had nothing to say the last time."""
        last = self._last_of.get(target)
        return last is not None and last[0].reason in OUT_OF_TIME

    def _cooled_by_us(self, target: Target, standing: Standing) -> bool:
        return (
            not standing.open
            and standing.cooling_until_s <= self._cooled_until_s.get(target, float("-inf")) + NO_TIME_S
        )

    def _wait_s(self, target: Target, now_s: float, jitter: float) -> float | None:
        """How long to wait before asking this target again; None: not at all, the next one is better."""
        last, ended_at_s = self._last_of[target]
        if not last.verdict.repeatable:
            return None
        if last.reason in OUT_OF_TIME and self._untried(last.target):
            return None  # a silent target is not asked again while another is left
        wait_s = last.named_s
        if wait_s is None:
            wait_s = (BACKOFF_S + BACKOFF_S * jitter) * 2**self._repeats
        elif wait_s > self._timeouts.retry_wait_max_s:
            return None
        return max(0.0, ended_at_s + max(wait_s, BACKOFF_S) - now_s)

    def _untried(self, current: Target) -> set[Target]:
        targets, tried = self._plan.targets, self._tried
        return {other for position in self._left if (other := targets[position]) != current and other not in tried}

    def _give_up(self, *, out_of_time: bool = False) -> GiveUp:
        return GiveUp(*conclude(self._ended, out_of_time=out_of_time))
