"""100,000 inputs, the same ones each time, over all that reads bytes; and whatever once failed.

More of them by hand: `python -m tests.fuzz`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .all import TARGETS
from .target import SLOWEST_MS, Target, check, check_memory, crashes, run

RUNS = 100_000 // len(TARGETS) + 1


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_no_bytes_make_a_reader_raise_stall_or_lie(target: Target) -> None:
    tally = run(target, RUNS, seed=1)
    assert tally.failures == []
    assert tally.runs == RUNS
    assert tally.accepted >= RUNS // 50, "most of the seeds' children are broken, but not nearly all"


@pytest.mark.parametrize("crash", crashes(), ids=lambda path: path.name)
def test_what_once_failed_does_not(crash: Path) -> None:
    check(TARGETS[crash.name.partition("-")[0]], crash.read_bytes())


# --- that a failure would be seen ---


def _broken(name: str, data: bytes) -> bool:
    if name == "raises":
        raise KeyError("x")
    if name == "recurses":
        return _broken(name, data)
    if name == "stalls":
        return sum(at * at for at in range(2_000_000)) > 0
    if name == "hoards":
        return len([bytes(1000) for _ in range(40_000)]) > 0
    return True


def _target(name: str) -> Target:
    def judge(data: bytes, result: bool) -> bool:
        assert name != "lies", "not so"
        return result

    return Target(name, [b"seed"], lambda data: _broken(name, data), judge)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("raises", "KeyError"),
        ("recurses", "RecursionError"),
        ("stalls", "ms for"),
        ("hoards", "bytes held"),
        ("lies", "not so"),
    ],
)
def test_a_reader_that_is_broken_is_found_out(name: str, why: str) -> None:
    tally = run(_target(name), 1, seed=1)
    assert len(tally.failures) == 1
    assert why in tally.failures[0][1]


def test_a_sound_one_is_not_and_the_same_seed_gives_the_same_inputs() -> None:
    seen: list[list[bytes]] = []
    for _ in range(2):
        inputs: list[bytes] = []
        target = Target("sound", [b"seed"], inputs.append, lambda data, result: True)
        tally = run(target, 300, seed=7)
        assert (tally.failures, tally.accepted, tally.refused) == ([], 300, 0)
        assert tally.slowest_ms < SLOWEST_MS
        seen.append(inputs)
    assert seen[0] == seen[1]
    assert len(set(seen[0])) > 100


def test_a_limit_of_memory_holds_for_what_is_refused_too() -> None:
    def refuse(data: bytes) -> Iterator[bytes]:
        raise ValueError(bytes(8 << 20))

    with pytest.raises(AssertionError, match="bytes held"):
        check_memory(Target("refuses", [], refuse, lambda data, result: False, (ValueError,)), b"x")
