"""What a request would do if every attempt failed: the machine's own order, and the words for each target's trouble."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._rules.circuit import Circuit, Lease
from ogw_asgi._rules.failover import Failover
from ogw_asgi._rules.outlook import outlook
from ogw_asgi._rules.standing import READY, Standing, reason, standing
from ogw_asgi._rules.steps import Try
from ogw_asgi._values import Limits, Outcome, Plan, Target, Timeouts

from .driver import A, B, C, targets

NOW_S = 100.0
OPEN = Circuit(phase="open", seen_s=90.0, since_s=99.0, open_s=5.0, trips=1)
DUE = Circuit(phase="open", seen_s=90.0, since_s=90.0, open_s=5.0, trips=1)
PROBED = Circuit(phase="half_open", seen_s=90.0, lease=Lease(1, 140.0), trips=1)
COOLING = Circuit(seen_s=90.0, cooling_until_s=108.0)


@pytest.mark.parametrize(
    ("circuits", "expected"),
    [
        ([], None),
        ([Circuit()], None),
        ([OPEN], ("circuit_open", 4.0)),
        ([DUE], ("half_open", 0.0)),
        ([PROBED], ("probe_under_way", 0.0)),
        ([COOLING], ("cooling_down", 8.0)),
        ([OPEN, COOLING], ("cooling_down", 8.0)),
        ([OPEN, Circuit(seen_s=90.0, cooling_until_s=102.0)], ("circuit_open", 4.0)),
        ([OPEN, PROBED], ("circuit_open", 4.0)),
        ([PROBED, COOLING], ("cooling_down", 8.0)),
    ],
)
def test_what_lasts_longest_is_the_reason(circuits: list[Circuit], expected: object) -> None:
    assert reason(standing(circuits, NOW_S), NOW_S) == expected


def test_whoever_has_no_time_for_a_probe_does_not_wait_for_one() -> None:
    plan = Plan((A, B), stream=True, first_chunk_s=0.5)
    seen = {A: standing([DUE], NOW_S)}
    first, second = outlook(plan, seen, limits=Limits(), timeouts=Timeouts(), now_s=NOW_S).steps
    assert (first.target, second.target) == (B, A)
    assert reason(second.standing, NOW_S) == ("no_time_to_probe", 0.0)


@pytest.mark.parametrize(
    ("letters", "seen", "expected", "left_out"),
    [
        ("abc", {}, "abc", ()),
        ("abc", {A: standing([OPEN], NOW_S)}, "bca", ()),
        ("abc", {A: standing([COOLING], NOW_S), B: standing([OPEN], NOW_S)}, "cba", ()),
        ("abc", {B: standing([DUE], NOW_S)}, "abc", ()),
        ("aab", {}, "aab", ()),
        ("aab", {A: standing([OPEN], NOW_S)}, "baa", ()),
        ("abcabc", {}, "abcab", (5,)),
    ],
)
def test_the_order_is_that_of_the_machine(
    letters: str, seen: dict[Target, Standing], expected: str, left_out: tuple[int, ...]
) -> None:
    told = outlook(
        Plan(targets(letters), stream=True), seen, limits=Limits(attempts=5), timeouts=Timeouts(), now_s=NOW_S
    )
    assert "".join(step.target.provider for step in told.steps) == expected
    assert told.left_out == left_out


standings = st.sampled_from(
    [READY, *(standing([one], NOW_S) for one in (OPEN, DUE, PROBED, COOLING)), standing([OPEN, COOLING], NOW_S)]
)


@settings(max_examples=100, deadline=None)
@given(
    st.text("abc", min_size=1, max_size=16),
    st.dictionaries(st.sampled_from([A, B, C]), standings),
    st.integers(1, 16),
    st.none() | st.floats(0.01, 100.0),
    st.none() | st.floats(0.01, 100.0),
)
def test_every_position_is_asked_once_or_left_out_and_the_first_is_whom_a_request_asks(
    letters: str,
    seen: dict[Target, Standing],
    attempts: int,
    first_chunk_s: float | None,
    total_s: float | None,
) -> None:
    plan = Plan(targets(letters), stream=True, first_chunk_s=first_chunk_s, total_s=total_s)
    limits, timeouts = Limits(attempts=attempts), Timeouts()
    told = outlook(plan, seen, limits=limits, timeouts=timeouts, now_s=NOW_S)
    assert sorted([*(step.position for step in told.steps), *told.left_out]) == list(range(len(letters)))
    assert 1 <= len(told.steps) <= attempts
    fresh = Failover(plan, limits=limits, timeouts=timeouts, failover_on=frozenset(), started_s=NOW_S)
    for expected in told.steps:
        step = fresh.next_step(NOW_S, 0.5, seen)
        assert isinstance(step, Try)
        assert (step, step.position) == (expected, expected.position)
        fresh.record(step, Outcome("reset", "openai"), NOW_S)  # another failure, the same order


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([OPEN, DUE, PROBED, COOLING, Circuit()]), max_size=2), st.floats(80, 150))
def test_whoever_is_not_ready_has_a_reason_and_nobody_else(circuits: list[Circuit], now_s: float) -> None:
    seen = standing(circuits, now_s)
    told = reason(seen, now_s)
    assert (told is None) is (seen.state == "ready")
    assert told is None or told[1] >= 0
