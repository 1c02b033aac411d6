"""The schedules of the chaos bench: the same seed is the same run, and the promise of each holds at every moment."""

from __future__ import annotations

import itertools
import random

import pytest

from benchmarks.chaos.proof import Stamp
from benchmarks.chaos.replies import Order, Pace, play
from benchmarks.chaos.schedule import FAULTS, HEALTHY, PROVIDERS, Switch, anything_goes, one_always_healthy
from benchmarks.chaos.traffic import Arm, Traffic, requests

SEEDS = range(40)
EPOCH_S, OVERLAP_S = 12.0, 4.0


def storm(seed: int) -> list[Switch]:
    return one_always_healthy(seed, 60, epoch_s=EPOCH_S, overlap_s=OVERLAP_S)


def healthy(switches: list[Switch], from_s: float, to_s: float) -> set[str]:
    """Who is healthy throughout."""
    found = set()
    for name in PROVIDERS:
        own = [switch for switch in switches if switch.provider == name]
        before = [switch.state for switch in own if switch.at_s <= from_s] or [HEALTHY]
        if before[-1] == HEALTHY and not any(from_s < one.at_s <= to_s and one.state != HEALTHY for one in own):
            found.add(name)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_one_provider_is_healthy_all_along_whenever_a_request_starts(seed: int) -> None:
    switches = storm(seed)
    assert all(healthy(switches, at_s, at_s + OVERLAP_S) for at_s in (number / 10 for number in range(550)))


def test_sooner_or_later_nobody_is_healthy_when_anything_goes() -> None:
    down = [not all(healthy(anything_goes(seed, 60), at_s, at_s) for at_s in range(60)) for seed in SEEDS]
    assert all(down)


def test_every_fault_comes_in_one_minute() -> None:
    for seed in SEEDS:
        assert {switch.state for switch in anything_goes(seed, 120)} == {*FAULTS, HEALTHY}


def test_everybody_is_healthy_in_the_end() -> None:
    for switches in (storm(1), anything_goes(1, 60)):
        assert healthy(switches, 60, 61) == set(PROVIDERS)


def test_the_same_seed_is_the_same_schedule_and_another_is_another() -> None:
    assert storm(1) == storm(1) != storm(2)
    assert anything_goes(1, 60) == anything_goes(1, 60) != anything_goes(2, 60)


def test_the_same_seed_is_the_same_traffic() -> None:
    traffic = Traffic(seconds=1, arms=(Arm(name="one"), Arm(name="two", sequence=("a",))), leave=0.1)

    def some(seed: int) -> list[object]:
        return list(itertools.islice(requests(traffic, "p", seed), 50))

    assert some(1) == some(1) != some(2)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if fault not in ("refused", "crash", "black_hole", "flap")]
)
def test_no_fault_of_an_answer_ever_gives_a_whole_answer_but_slowness(fault: str, stream: bool) -> None:
    order = Order(stamp=Stamp("a", "r", "x"), words=4, stream=stream, pace=Pace(first_chunk_s=0, chunk_s=0, slow_s=1))
    for seed in range(30):
        last = [getattr(step, "last", False) for step in play(fault, order, random.Random(seed))]
        assert any(last) == (fault == "slow")
