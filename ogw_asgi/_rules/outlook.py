"""What a request would do, if every attempt that it makes failed at once: the order of asking, without asking.

The order comes from the machine that dispatches, driven to its end; there is no second copy of its rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .._values import Limits, Outcome, Plan, Target, Timeouts
from .failover import PROBE_S as PROBE_S
from .failover import Failover
from .standing import Standing
from .steps import Try

_FAILURE = Outcome("status", "", status=500)
"""Moves on, may be repeated in place, and cools nobody down."""

_USUAL_JITTER = 0.5


class Outlook(NamedTuple):
    """`steps`: in the order of asking. `left_out`: the positions of the plan that nobody would get to."""

    steps: tuple[Try, ...]
    left_out: tuple[int, ...]


def outlook(
    plan: Plan, standings: Mapping[Target, Standing], *, limits: Limits, timeouts: Timeouts, now_s: float
) -> Outlook:
    """Waits are those of a usual jitter; what a hedge or a second attempt beside a slow one would do is not in it."""
    failover = Failover(plan, limits=limits, timeouts=timeouts, failover_on=frozenset(), started_s=now_s)
    steps: list[Try] = []
    while isinstance(step := failover.next_step(now_s, _USUAL_JITTER, standings), Try):
        failover.record(step, _FAILURE, now_s)
        steps.append(step)
    asked = {step.position for step in steps}
    return Outlook(tuple(steps), tuple([place for place in range(len(plan.targets)) if place not in asked]))
