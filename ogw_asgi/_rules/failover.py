"""Failover: what to do next, one question at a time (contract, section 2).

An ask/tell machine without I/O: `next_step()` says whom to ask, after what wait and for how long; the driver
does it and tells `record()` what came of it. Each position of the plan is offered at most once, so it always
ends. It reads no clock and throws no dice: both come as arguments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .._values import AttemptRecord, Limits, Outcome, Plan, Target, Timeouts
from ..exceptions import RequestRejected
from .classify import classify
from .conclude import OUT_OF_TIME, Ended, conclude
from .table import Verdict

BACKOFF_S = 0.25
"""The shortest wait before a repeat, named or not, and the width of the jitter on top."""

KEPT_BACK_S = 30.0
"""What the total holds back for each target not tried yet, when there is that much."""

NO_TIME_S = 0.001
"""Less than this is none: no provider answers in it, and sums of floats are off by less."""


@dataclass(frozen=True, slots=True)
class Try:
    """Wait, then ask this target; give up on it `first_chunk_s` after the call is sent."""

    target: Target
    wait_s: float
    first_chunk_s: float
    repeat: bool
    """The same target was asked just before (a retry in place)."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nobody is left to ask: the caller gets `refusal`, in the words of `provider` if that is not None."""

    refusal: RequestRejected
    provider: str | None


class Failover:
    """The sequential machine: one target at a time, each `Try` recorded before the next is asked for.

    `attempts` is the trail so far, one line per recorded outcome. Lines of outcomes where nothing was sent
    (`busy`, `unservable`, `key_unavailable`) stand in it, too, but `made` does not count them.
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
        self._plan = plan
        self._max_attempts = limits.attempts
        self._timeouts = timeouts
        self._failover_on = failover_on
        self._deadline_s = None if plan.total_s is None else started_s + plan.total_s
        self._ended: list[Ended] = []
        self._ended_at_s = started_s
        self._made = 0
        self._position = 0
        self._repeats = 0
        self._asked: Target | None = None
        self._tried: set[Target] = set()
        self._too_small: set[Target] = set()
        """Targets that found the prompt too long; it will not get shorter."""

    @property
    def made(self) -> int:
        """How many attempts went out: what counts towards the limit, and what the caller is told."""
        return self._made

    def next_step(self, now_s: float, jitter: float) -> Try | GiveUp:
        """Whom to ask next. `jitter`: random, in [0, 1). Raises RuntimeError if asked out of turn."""
        if self._asked is not None:
            raise RuntimeError("the outcome of the last Try has not been recorded")
        if self._ended and self._ended[-1].verdict.action != "next":
            if self._ended[-1].verdict.action == "deliver":
                raise RuntimeError("the request has been answered")
            return self._give_up()
        while self._position < len(self._plan.targets) and self._made < self._max_attempts:
            target = self._plan.targets[self._position]
            repeat = self._position > 0 and self._plan.targets[self._position - 1] == target
            self._position += 1
            if target in self._too_small:
                continue
            wait_s = self._wait_s(now_s, jitter) if repeat else 0.0
            if wait_s is None:
                continue
            others = min(len(self._untried(target)), self._max_attempts - self._made - 1)
            limit_s = self._limit_s(others)
            if self._deadline_s is not None:
                left_s = self._deadline_s - now_s
                if left_s < NO_TIME_S:
                    return self._give_up(out_of_time=True)
                share_s = left_s - others * min(KEPT_BACK_S, left_s / (others + 1))
                if wait_s >= share_s:  # only a repeat waits, and what is kept back for others is not its own
                    continue
                limit_s = min(limit_s, share_s - wait_s)
            self._repeats = self._repeats + 1 if repeat else 0
            self._asked = target
            self._tried.add(target)
            return Try(target, wait_s, limit_s, repeat)
        cut_off = bool(self._ended) and self._ended[-1].reason in OUT_OF_TIME
        return self._give_up(
            out_of_time=cut_off and self._deadline_s is not None and self._deadline_s - now_s < NO_TIME_S
        )

    def record(self, target: Target, outcome: Outcome, now_s: float) -> Verdict:
        """Tell what came of the last `Try`. Raises RuntimeError for an outcome that nobody asked for."""
        if target != self._asked:
            raise RuntimeError("this target was not asked")
        self._asked = None
        ended = Ended(target, outcome, classify(outcome, self._failover_on))
        self._ended.append(ended)
        self._ended_at_s = now_s
        self._made += ended.sent
        if ended.reason == "context_length":
            self._too_small.add(target)
        self.attempts.append(
            AttemptRecord(
                provider=target.provider,
                outcome=ended.reason,
                status=outcome.status,
                code=_code(outcome),
                duration_ms=round(outcome.duration_s * 1000),
                model=target.model,
            )
        )
        return ended.verdict

    def _wait_s(self, now_s: float, jitter: float) -> float | None:
        """How long to wait before asking the last target again; None: not at all, the next one is better."""
        last = self._ended[-1]  # of the same target: whatever was skipped since then was the same target, too
        if not last.verdict.repeatable:
            return None
        if last.reason in OUT_OF_TIME and self._untried(last.target):
            return None  # a silent target is not asked again while another is left
        wait_s = last.named_s
        if wait_s is None:
            wait_s = (BACKOFF_S + BACKOFF_S * jitter) * 2**self._repeats
        elif wait_s > self._timeouts.retry_wait_max_s:
            return None
        return max(0.0, self._ended_at_s + max(wait_s, BACKOFF_S) - now_s)

    def _untried(self, current: Target) -> set[Target]:
        return {
            target for target in self._plan.targets[self._position :] if target != current and target not in self._tried
        }

    def _limit_s(self, others: int) -> float:
        if self._plan.first_chunk_s is not None:
            return self._plan.first_chunk_s
        # The last target may take its time: a slow answer beats a 504. So may a plain answer, whose first
        # chunk is the whole completion.
        return self._timeouts.first_chunk_s if self._plan.stream and others else self._timeouts.answer_s

    def _give_up(self, *, out_of_time: bool = False) -> GiveUp:
        return GiveUp(*conclude(self._ended, out_of_time=out_of_time))


_CODE = re.compile(r"[\w.-]{1,64}", re.ASCII)


def _code(outcome: Outcome) -> str | None:
    """The provider's code if it looks like one: callers see the trail, and servers put sentences there."""
    code = outcome.error.code if outcome.error is not None else None
    return code if code is not None and _CODE.fullmatch(code) else None
