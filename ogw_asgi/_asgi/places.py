"""Who is let in while others are: the refusals of a door behind which it is full, and places that are given back."""

from __future__ import annotations

from .._values import CallOptions, Principal
from .._wire.headers import VLLM_ENDPOINT
from ..exceptions import RequestRejected

MAX_GATEWAYS = 3
"""A request that has come through this many gateways like this one goes in a circle (contract, section 1)."""


class Places:
    """How many requests of each principal are in the gateway: of those that have a limit, while there are any."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, principal: Principal, most: int) -> Place:
        """Raises RequestRejected (429) when `most` are taken."""
        taken = self._taken.get(principal.id, 0)
        if taken >= most:
            raise principal_overloaded()
        self._taken[principal.id] = taken + 1
        return Place(self._taken, principal.id)


class Place:
    """Of one request; given back once, however often `leave` is called."""

    __slots__ = ("_id", "_taken")

    def __init__(self, taken: dict[str, int], principal_id: str) -> None:
        self._taken: dict[str, int] | None = taken
        self._id = principal_id

    def leave(self) -> None:
        taken, self._taken = self._taken, None
        if taken is None:
            return
        left = taken[self._id] - 1
        if left:
            taken[self._id] = left
        else:
            del taken[self._id]


def overloaded() -> RequestRejected:
    """The 503 at the door, before the body: an answer in time is worth more than one more request in the queue."""
    return RequestRejected(
        503,
        "The gateway has as many requests in flight as it takes.",
        type="service_unavailable_error",
        code="gateway_overloaded",
        retry_after_s=1,
        close=True,
    )


def principal_overloaded() -> RequestRejected:
    """The 429 at the door: it is this caller's own limit, and others are served."""
    return RequestRejected(
        429,
        "As many of your requests are in flight as you may have at once.",
        type="rate_limit_error",
        code="principal_overloaded",
        retry_after_s=1,
        close=True,
    )


def too_many_denials(wait_s: float) -> RequestRejected:
    return RequestRejected(
        429,
        f"Too many endpoints named by {VLLM_ENDPOINT} were not allowed.",
        type="rate_limit_error",
        param=VLLM_ENDPOINT,
        code="too_many_denials",
        retry_after_s=wait_s,
        should_retry=False,
    )


def refuse_loop(options: CallOptions, gateway_id: str) -> None:
    """Raise the 508 when the request has been here before (contract, section 1)."""
    if gateway_id in options.via or len(options.via) >= MAX_GATEWAYS:
        raise RequestRejected(
            508,
            "The request came back to this gateway: one of its providers leads here.",
            code="loop_detected",
            type="loop_detected",
            should_retry=False,
        )
