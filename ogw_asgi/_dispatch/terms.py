"""What the attempts of one request have in common, and what is kept of each while it is under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import anyio

from .._rules.classify import Verdict
from .._rules.failover import Try
from .._values import Outcome, Target
from .account import Unheard
from .admission import Permit, Scope
from .answer import Answer
from .attempt import Attempt


class Terms(Protocol):
    """What is the same for every attempt of the request.

    Attributes:
        scopes: the circuits of each target of the plan.
        hedge_after: as in Timeouts.
        finishes: an answer's stream that has its first chunk is handed to `finish`; else the first chunk wins.
        continues: the caller has the beginning of an answer.
        account: what observers are told.
    """

    request_id: str
    stream: bool
    scopes: Mapping[Target, Scope]
    hedge_after: float | str | None
    slot_wait_s: float
    finishes: bool
    continues: bool
    account: Unheard

    def make(self, target: Target) -> Attempt:
        """An attempt at it, to be run once."""
        ...

    def masked(self, outcome: Outcome) -> Outcome:
        """The same outcome with a provider's words as they may be shown."""
        ...

    async def finish(self, answer: Answer) -> Answer | Outcome:
        """What came of the rest of it."""
        ...

    def asks_again(self, target: Target, outcome: Outcome, verdict: Verdict) -> bool:
        """Whether a target whose attempt came to this is asked once more, in another way."""
        ...


@dataclass(slots=True, eq=False)
class Run:
    """One attempt under way. `timer`: when it ends untouched, another attempt starts beside this one."""

    step: Try
    attempt: Attempt
    permit: Permit
    hedge: bool
    started_s: float
    over: bool = False
    """Its end is told, or will be when its answer is closed."""
    number: int = 0
    """From 1 in the order of going out, where somebody listens."""
    timer: anyio.CancelScope | None = None
    given_up_on: bool = False
    """It is not waited for alone: a probe that has had its second, or one behind a circuit that has opened."""
    begun: bool = False
    """It has its first chunk, for which its target has its credit, and is being finished."""
    impatient: bool = False
    """It ran out of a time that its caller had set too short to say anything of the target."""
