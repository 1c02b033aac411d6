"""How a target stands: its circuit, and the one word for all that is known of it. Pure, with the clock given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from .._rules.circuit import CLOSED, Circuit, anchored
from .snapshot import CircuitOf, Health, Phase

_WORSE: Final[Mapping[Phase, int]] = {"closed": 0, "half_open": 1, "open": 2}


class Stands(NamedTuple):
    """As in Tile. `answers`: it is half open, and the last probe was good."""

    circuit: Phase = "closed"
    circuit_of: CircuitOf | None = None
    probe_in_s: float | None = None
    cooling_s: float | None = None
    answers: bool = False


def stands(origin: Circuit | None, model: Circuit | None, now_s: float) -> Stands:
    """Of a target's two circuits; None: there is none, which is as good as closed."""
    two: dict[CircuitOf, Circuit] = {
        "origin": anchored(origin or CLOSED, now_s),
        "model": anchored(model or CLOSED, now_s),
    }
    of, worse = max(two.items(), key=lambda one: (_WORSE[one[1].phase], one[1].since_s + one[1].open_s))
    cooling_s = max(one.cooling_until_s for one in two.values()) - now_s
    return Stands(
        worse.phase,
        None if worse.phase == "closed" else of,
        max(0.0, worse.since_s + worse.open_s - now_s) if worse.phase == "open" else None,
        cooling_s if cooling_s > 0 else None,
        worse.phase == "half_open" and worse.recovered > 0,
    )


def health(found: Stands, *, failed_last: bool, failed_lately: bool, asked: bool, answered: bool) -> Health:
    """`failed_last`: the last attempt that says anything. `failed_lately`: one in the last minute. `asked`: in the last
    five, or it is being asked. `answered`: it has in the last five, or a stream of it runs."""
    if found.circuit == "open":
        return "open"
    if found.circuit == "half_open":
        return "recovering" if found.answers else "probing"
    if found.cooling_s is not None:
        return "cooling"
    if not asked:
        return "idle"
    if failed_last:
        return "failing"
    if not answered:
        return "silent"
    return "recovering" if failed_lately else "ok"
