"""Whether a target may be asked in its turn, as its circuits say (contract, section 4). Pure, with the clock given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from .._frozen import dataclass
from .circuit import Circuit, anchored


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a target may be tried in its turn.

    `ready`: at once and freely. `probe`: at once, as the one probe. `wait`: only after the others, in the order of
    `until_s`; `cooling_until_s` says how much of that is a cooldown, and `open`, whether any of it is a breaker.
    """

    state: Literal["ready", "probe", "wait"] = "ready"
    until_s: float = float("-inf")
    cooling_until_s: float = float("-inf")
    open: bool = False
    recovering: bool = False
    """It has answered since it was open: whoever asks it next does not add to an outage."""
    half_open: bool = False
    """It waits for its cooldown alone, and then for a probe."""


READY = Standing()


def uncooled(waiting: Standing) -> Standing:
    """What is left of one that only its cooldown keeps waiting when that does not count."""
    return Standing("probe", open=True, recovering=waiting.recovering) if waiting.half_open else READY


def standing(circuits: Iterable[Circuit], now_s: float) -> Standing:
    """What an attempt that all of these circuits must admit may expect: the strictest of them speaks."""
    probe = False
    until_s = cooling_until_s = float("-inf")
    blocked = recovering = False
    for seen in circuits:
        circuit = seen if seen.seen_s <= now_s else anchored(seen, now_s)
        if now_s < circuit.cooling_until_s > cooling_until_s:
            cooling_until_s = circuit.cooling_until_s
        if circuit.phase == "closed":
            continue
        probe = True
        recovering = recovering or circuit.recovered > 0
        if circuit.phase == "open" and now_s < (ends_s := circuit.since_s + circuit.open_s):
            blocked = True
            if ends_s > until_s:
                until_s = ends_s
        elif circuit.lease is not None and now_s < circuit.lease.until_s:
            blocked = True
            until_s = max(until_s, now_s)  # somebody is about to find out
    if blocked or cooling_until_s > now_s:
        return Standing(
            "wait",
            max(until_s, cooling_until_s),
            cooling_until_s,
            open=blocked,
            recovering=recovering,
            half_open=probe and not blocked,
        )
    return Standing("probe", open=True, recovering=recovering) if probe else READY


Reason = Literal["circuit_open", "probe_under_way", "half_open", "cooling_down", "no_time_to_probe"]
"""Why a target is not simply asked in its turn."""


def reason(seen: Standing, now_s: float) -> tuple[Reason, float] | None:
    """Why it is not `ready`, and for how many seconds yet (0: that is not known, or it may be asked now); None if it
    is. `now_s`: as it was when this was made. Of a breaker and a cooldown the one that ends last speaks."""
    if seen.state == "ready":
        return None
    if seen.state == "probe":
        return "half_open", 0.0
    if seen.cooling_until_s > now_s and seen.cooling_until_s >= seen.until_s:
        return "cooling_down", seen.cooling_until_s - now_s
    if seen.until_s > now_s:
        return "circuit_open", seen.until_s - now_s
    return ("probe_under_way" if seen.until_s == now_s else "no_time_to_probe"), 0.0
