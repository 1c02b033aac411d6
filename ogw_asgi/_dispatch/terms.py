"""What the attempts of one request have in common, and what is kept of each while it is under way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import anyio

from .._rules.classify import Verdict
from .._rules.failover import Try
from .._values import Outcome, Target
from .admission import Permit, Scope
from .answer import Answer
from .attempt import Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is the same for every attempt of the request. `scopes` has each target of the plan.

    Attributes:
        finish: takes an answer's stream that has its first chunk, and says what came of it; None: the first chunk wins.
        asks_again: whether a target whose attempt came to this is asked once more, in another way.
    """

    request_id: str
    stream: bool
    scopes: Mapping[Target, Scope]
    hedge_after: float | str | None
    slot_wait_s: float
    make: Callable[[Target], Attempt]
    masked: Callable[[Outcome], Outcome]
    finish: Callable[[Answer], Awaitable[Answer | Outcome]] | None = None
    asks_again: Callable[[Target, Outcome, Verdict], bool] | None = None


@dataclass(slots=True, eq=False)
class Run:
    """One attempt under way. `timer`: when it ends untouched, another attempt starts beside this one."""

    step: Try
    attempt: Attempt
    permit: Permit
    number: int
    hedge: bool
    started_s: float
    timer: anyio.CancelScope | None = None
    given_up_on: bool = False
    """It is not waited for alone: a probe that has had its second, or one behind a circuit that has opened."""
    begun: bool = False
    """It has its first chunk, for which its target has its credit, and is being finished."""
