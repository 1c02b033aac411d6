"""Verdict -> what the two circuits of an attempt are told: whose fault, or nobody's (contract, section 4)."""

from __future__ import annotations

from typing import Literal

from .._frozen import dataclass
from .._values import Outcome
from .cooldown import cooldown_s
from .table import Verdict

Word = Literal["ok", "failed", "nothing"]

_SILENT = frozenset({"timeout", "connect_timeout"})


@dataclass(frozen=True, slots=True)
class Charge:
    """`origin`, `model`: what each circuit hears. `silent`: nothing came. `opens_s`: the model's circuit opens at once
    for so long. `cools_s`: nobody else asks the model there for so long."""

    origin: Word = "nothing"
    model: Word = "nothing"
    silent: bool = False
    opens_s: float | None = None
    cools_s: float | None = None


NEUTRAL = Charge()
DELIVERED = Charge("ok", "ok")
BROKEN = Charge(origin="nothing", model="failed")
"""A stream that its provider broke after the first chunk, which had counted as a success."""


NEARLY = 0.9
"""A limit that an SDK announces is often the operator's own, less what others have used of it."""


def charge(verdict: Verdict, outcome: Outcome, *, limit_s: float, own_limit_s: float, slow_after_s: float) -> Charge:
    """`limit_s`: the time the attempt had; `own_limit_s`: what it would have had without the caller's word.
    `slow_after_s`: what the target may take before it counts as slow.

    A limit shorter than both is the caller's impatience: any caller could open a shared breaker with a millisecond.
    """
    if verdict.action == "deliver":
        return DELIVERED
    impatient = outcome.kind == "timeout" and limit_s < min(slow_after_s, NEARLY * own_limit_s)
    if verdict.counts is None or impatient:
        return NEUTRAL
    silent = outcome.kind in _SILENT
    if verdict.counts == "origin":
        return Charge("failed", "nothing", silent=silent)
    # Whatever it said, a head came: the network is sound.
    origin: Word = "ok" if outcome.status is not None else "nothing"
    if verdict.cools is None:
        return Charge(origin, "failed", silent=silent)
    wait_s = cooldown_s(verdict.cools, outcome.retry_after_s)
    if verdict.cools == "money":
        return Charge(origin, "failed", opens_s=wait_s)
    return Charge(origin, "failed", cools_s=wait_s)
