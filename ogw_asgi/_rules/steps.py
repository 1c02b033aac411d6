"""What the failover machine says to do."""

from __future__ import annotations

from dataclasses import field

from .._frozen import dataclass
from .._values import Target
from ..exceptions import RequestRejected
from .standing import READY, Standing


@dataclass(frozen=True, slots=True)
class Try:
    """Wait, then ask this target; give up on it `first_chunk_s` after the call is sent.

    `repeat`: the same target was asked just before (a retry in place). `standing`: as it was when this was chosen;
    `extra`: one more attempt at a target that should wait or be probed, which draws on the retry budget.
    """

    target: Target
    wait_s: float
    first_chunk_s: float
    repeat: bool
    standing: Standing = READY
    extra: bool = False
    own_limit_s: float = field(default=0.0, compare=False)
    """What `first_chunk_s` would be if the caller had set no limit."""
    until_s: float | None = field(default=None, compare=False)
    """When its share of the total is over, waits included."""
    order: int = field(default=0, compare=False)
    """The place in the order of asking."""
    position: int = field(default=-1, compare=False)
    """The place in the plan."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nobody is left to ask: the caller gets `refusal`, in the words of `provider` if that is not None."""

    refusal: RequestRejected
    provider: str | None
