"""How long an attempt may take: its own limit, and its share of what is left for all of them (contract, section 2)."""

from __future__ import annotations

import math
from typing import NamedTuple

from .._values import Plan, Timeouts

KEPT_BACK_S = 30.0
"""What the total holds back for each target not tried yet, when there is that much."""

NO_TIME_S = 0.001
"""Less than this is none: no provider answers in it, and sums of floats are off by less."""


class Share(NamedTuple):
    """`limit_s` is from the sending of the call; `own_limit_s` what it would be if the caller had set no limit.
    `until_s`: when its part of the total is over, waits included; None without a total."""

    limit_s: float
    own_limit_s: float
    until_s: float | None = None


class Shares:
    """Of one request."""

    def __init__(self, plan: Plan, timeouts: Timeouts, started_s: float) -> None:
        self._plan = plan
        self._timeouts = timeouts
        self.ends_s = math.inf if plan.total_s is None else started_s + plan.total_s
        """When the total is over, on the clock of the arguments; inf without one."""
        self._own_ends_s = math.inf if plan.own_total_s is None else started_s + plan.own_total_s

    def is_over(self, now_s: float) -> bool:
        return self.ends_s - now_s < NO_TIME_S

    def of(self, now_s: float, others: int, wait_s: float) -> Share | None:
        """The share of one attempt that begins with a wait, while `others` have not been tried.

        None: the wait takes all of it; what is kept back for others is not its own.
        """
        # The last target may take its time: a slow answer beats a 504. So may a plain answer, whose first
        # chunk is the whole completion.
        own_s = self._timeouts.first_chunk_s if self._plan.stream and others else self._timeouts.answer_s
        limit_s = own_s if self._plan.first_chunk_s is None else self._plan.first_chunk_s
        if self._own_ends_s < math.inf:
            own_s = min(own_s, _share_s(self._own_ends_s - now_s, others) - wait_s)
        if self.ends_s == math.inf:
            return Share(limit_s, own_s)
        share_s = _share_s(self.ends_s - now_s, others)
        if wait_s >= share_s:
            return None
        return Share(min(limit_s, share_s - wait_s), own_s, now_s + share_s)


def _share_s(left_s: float, others: int) -> float:
    """Of the total, what is not kept back for targets that have not been tried."""
    return left_s - others * min(KEPT_BACK_S, left_s / (others + 1))
