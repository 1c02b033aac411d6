"""Counts over time, held against a list that is never forgotten; durations, against the ones that were counted."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw_asgi._status.windows import (
    BUCKETS,
    SHORTEST_S,
    SLOTS,
    Window,
    bucket_of,
    middle_s,
    percentile_s,
    percentiles,
)

WIDTH = 3

steps = st.one_of(st.just(0), st.integers(0, 3), st.integers(SLOTS - 2, SLOTS + 2), st.integers(0, 1 << 40))


@given(st.lists(st.tuples(steps, st.integers(0, WIDTH - 1))), steps, st.integers(1, SLOTS))
def test_a_window_counts_what_a_list_would(adds: list[tuple[int, int]], later: int, slots: int) -> None:
    window, seen, slot = Window(WIDTH), [], 0
    for ahead, index in adds:
        slot += ahead
        window.add(index, slot)
        seen.append((slot, index))
    slot += later

    def counted(of: range) -> list[int]:
        return [sum(at in of and one == index for at, one in seen) for index in range(WIDTH)]

    # Slot 0 is the one before anything was counted, so a new window has it in sight.
    assert list(window.sums(slot)) == counted(range(slot - SLOTS + 1, slot + 1))
    latest = range(slot - slots + 1, slot + 1)
    assert window.lately(slot, slots, 1, WIDTH) == counted(latest)[1:]
    assert [list(cells) for cells in window.each(slot, slots, 0, WIDTH)] == [
        counted(range(at, at + 1)) for at in latest
    ]


def test_a_slot_in_the_past_counts_as_the_latest() -> None:
    window = Window(1)
    window.add(0, 100)
    window.add(0, 90)
    assert window.lately(100, 1, 0, 1) == [2]
    assert list(window.sums(80)) == [2]


@given(st.floats(SHORTEST_S, 1000))
def test_a_duration_is_within_a_twelfth_of_what_is_told_of_it(duration_s: float) -> None:
    assert abs(middle_s(bucket_of(duration_s)) / duration_s - 1) < 1 / 12


@pytest.mark.parametrize("duration_s", [-1.0, 0.0, SHORTEST_S])
def test_what_takes_no_time_is_in_the_first_bucket(duration_s: float) -> None:
    assert bucket_of(duration_s) == 0


def test_what_takes_for_ever_is_in_the_last_bucket() -> None:
    assert bucket_of(1e9) == BUCKETS - 1
    assert bucket_of(1000) < BUCKETS


@given(st.lists(st.floats(SHORTEST_S, 1000), min_size=1), st.sampled_from([0.5, 0.95]))
def test_a_percentile_is_that_of_the_durations_themselves(durations: list[float], share: float) -> None:
    counts = [0] * BUCKETS
    for duration_s in durations:
        counts[bucket_of(duration_s)] += 1
    exact = sorted(durations)[math.ceil(share * len(durations)) - 1]
    found = percentile_s(counts, share)
    assert found is not None
    assert abs(found / exact - 1) < 1 / 12


def test_of_nothing_there_are_no_percentiles() -> None:
    assert percentiles([0] * BUCKETS) is None


def test_half_of_all_are_below_the_one_and_a_twentieth_above_the_other() -> None:
    found = percentiles([0, 12, 7, 1])
    assert found is not None
    assert (found.count, found.p50_s, found.p95_s) == (20, middle_s(1), middle_s(2))
