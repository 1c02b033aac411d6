"""What is slow for one target: quantiles of its own last hundred times."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._rules.first_chunks import ENOUGH, KEPT, FirstChunks


def fed(*times_s: float) -> FirstChunks:
    chunks = FirstChunks()
    for took_s in times_s:
        chunks.add(took_s)
    return chunks


def test_nineteen_samples_say_nothing_and_twenty_do() -> None:
    chunks = fed(*[1.0] * 19)
    assert (chunks.quantile(0.5), chunks.slow_after_s(), chunks.hedge_after_s(0.95)) == (None, None, None)
    chunks.add(1.0)
    assert (chunks.quantile(0.5), chunks.slow_after_s(), chunks.hedge_after_s(0.95)) == (1.0, 3.0, 1.0)


@pytest.mark.parametrize(
    ("count", "share", "rank"),
    [
        (20, 0.5, 10),
        (20, 0.95, 19),
        (20, 0.951, 20),
        (20, 0.99, 20),
        (20, 1.0, 20),
        (21, 0.5, 11),
        (100, 0.01, 1),
        (100, 0.5, 50),
        (100, 0.95, 95),
        (100, 0.99, 99),
        (100, 0.991, 100),
        (100, 1.0, 100),
        (100, 2.0, 100),
    ],
)
def test_a_quantile_is_the_nearest_rank(count: int, share: float, rank: int) -> None:
    times_s = [float(n) for n in range(1, count + 1)]
    random.Random(count).shuffle(times_s)
    assert fed(*times_s).quantile(share) == rank


def test_only_the_last_hundred_count() -> None:
    chunks = fed(*[50.0] * 3, *[1.0] * 99)
    assert chunks.quantile(1.0) == 50.0
    chunks.add(2.0)
    assert (chunks.quantile(1.0), chunks.quantile(0.99)) == (2.0, 1.0)


def test_of_equal_times_one_is_forgotten_at_a_time() -> None:
    chunks = fed(*[1.0] * 40, *[2.0] * 60)
    for ones in range(39, 0, -1):
        chunks.add(2.0)
        assert (chunks.quantile((ones - 0.5) / 100), chunks.quantile((ones + 0.5) / 100)) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("usual_s", "slow_s"), [(0.001, 3.0), (0.5, 3.0), (1.0, 3.0), (1.5, 4.5), (4.0, 12.0), (60.0, 180.0)]
)
def test_slow_is_three_times_its_own_tail_and_at_least_three_seconds(usual_s: float, slow_s: float) -> None:
    assert fed(*[usual_s] * ENOUGH).slow_after_s() == slow_s


def test_one_straggler_in_a_hundred_does_not_move_what_is_slow_and_two_do() -> None:
    assert fed(*[1.0] * 99, 30.0).slow_after_s() == 3.0
    assert fed(*[1.0] * 98, 30.0, 30.0).slow_after_s() == 90.0


@pytest.mark.parametrize(("usual_s", "hedge_s"), [(0.001, 0.2), (0.2, 0.2), (0.21, 0.21), (5.0, 5.0)])
def test_a_hedge_waits_for_the_usual_time_and_at_least_two_hundred_milliseconds(usual_s: float, hedge_s: float) -> None:
    assert fed(*[usual_s] * ENOUGH).hedge_after_s(0.95) == hedge_s


def test_a_hedge_waits_for_the_quantile_that_was_asked() -> None:
    chunks = fed(*[float(n) for n in range(1, 101)])
    assert [chunks.hedge_after_s(share) for share in (0.5, 0.9, 0.95)] == [50.0, 90.0, 95.0]


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 50).map(float), max_size=260), st.sampled_from([0.01, 0.25, 0.5, 0.95, 0.99, 1.0]))
def test_it_is_the_quantile_of_the_last_hundred_whatever_came_before(times_s: list[float], share: float) -> None:
    got = fed(*times_s).quantile(share)
    last = sorted(times_s[-KEPT:])
    if len(last) < ENOUGH:
        assert got is None
    else:
        assert got in last
        assert sum(took_s <= got for took_s in last) >= share * len(last) - 1e-9
        assert sum(took_s < got for took_s in last) < share * len(last) + 1e-9
