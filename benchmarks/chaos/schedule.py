"""Which provider is at fault when, and how. All of it follows from the seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PROVIDERS = ("a", "b", "c")
HEALTHY = "healthy"

OF_THE_LISTENER = ("refused", "crash", "black_hole")
"""No connection can be made: the port is closed; closed and live connections reset; SYNs are dropped."""

OF_THE_ANSWER = (
    "mute",
    "reset",
    "status_500",
    "status_503",
    "status_429",
    "garbage",
    "slow",
    "head_only",
    "cut_rst",
    "cut_fin",
    "cut_stall",
    "half_event",
    "error_first",
    "error_amid",
    "flap",
)
FAULTS = (*OF_THE_LISTENER, *OF_THE_ANSWER)

AFTER_THE_FIRST_CHUNK = frozenset({"cut_rst", "cut_fin", "cut_stall", "half_event", "error_amid", "crash"})
"""What can break a stream that has begun: all that a caller may be left with is that it is told."""


@dataclass(frozen=True, slots=True, order=True)
class Switch:
    """From `at_s` after the start this provider is in this state."""

    at_s: float
    provider: str
    state: str


def one_always_healthy(seed: int, seconds: float, *, epoch_s: float, overlap_s: float) -> list[Switch]:
    """Epochs with one provider each that stays healthy, from `overlap_s` before to `overlap_s` after, whatever else is.

    The overlap has to be longer than a request lives, or none was healthy all along for one that spans two epochs.
    """
    dice = random.Random(f"always {seed}")
    safe: dict[str, list[tuple[float, float]]] = {name: [] for name in PROVIDERS}
    start_s, name = 0.0, PROVIDERS[0]
    while start_s < seconds:
        name = dice.choice([other for other in PROVIDERS if other != name])
        safe[name].append((start_s - overlap_s, start_s + epoch_s + overlap_s))
        start_s += epoch_s
    return _faults(dice, seconds, safe)


def anything_goes(seed: int, seconds: float) -> list[Switch]:
    """Three providers on their own; sooner or later all of them are down."""
    return _faults(random.Random(f"anything {seed}"), seconds, {name: [] for name in PROVIDERS})


def _faults(dice: random.Random, seconds: float, safe: dict[str, list[tuple[float, float]]]) -> list[Switch]:
    switches = []
    for name in PROVIDERS:
        bag: list[str] = []
        now_s = dice.uniform(0, 2)
        while now_s < seconds:
            bag = bag or dice.sample(FAULTS, len(FAULTS))  # every fault comes before one comes twice
            until_s = min(now_s + dice.uniform(0.5, 4), seconds)
            kept = [span for span in safe[name] if span[0] < until_s and now_s < span[1]]
            if kept:
                until_s = kept[0][1] if kept[0][0] <= now_s else kept[0][0]
            if not kept or kept[0][0] > now_s:
                switches += [Switch(now_s, name, bag.pop()), Switch(until_s, name, HEALTHY)]
                until_s += dice.uniform(0.2, 3)
            now_s = until_s
    return sorted(switches)


def scripted(*switches: tuple[float, str, str]) -> list[Switch]:
    return sorted(Switch(*switch) for switch in switches)


@dataclass(frozen=True, slots=True)
class Unhealthy:
    """A span in which a provider was at fault, as it was, not as planned; the system's monotonic clock."""

    provider: str
    from_s: float
    to_s: float
    state: str


def healthy_for_s(provider: str, at_s: float, spans: Iterable[Unhealthy], since_s: float) -> float:
    """How long it had been healthy by then; `since_s`: when the spans begin."""
    return at_s - max([span.to_s for span in spans if span.provider == provider and span.to_s <= at_s], default=since_s)


def healthy_all_along(sequence: Sequence[str], from_s: float, to_s: float, spans: Iterable[Unhealthy]) -> set[str]:
    """Those of the sequence that had no fault at any moment of this time."""
    at_fault = {span.provider for span in spans if span.from_s <= to_s and from_s <= span.to_s}
    return {item.partition("/")[0] for item in sequence} - at_fault
