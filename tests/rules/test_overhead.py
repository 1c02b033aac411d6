"""How much of a request's time was nobody's but the gateway's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._rules.overhead import own_time_s


@pytest.mark.parametrize(
    ("waits", "own_s"),
    [
        ([], 10),
        ([(2, 5)], 7),
        ([(0, 10)], 0),
        ([(2, 5), (6, 9)], 4),
        ([(6, 9), (2, 5)], 4),
        ([(2, 7), (5, 9)], 3),
        ([(2, 9), (5, 6)], 3),
        ([(-5, 1), (9, 20)], 8),
        ([(11, 12)], 10),
        ([(-2, -1)], 10),
    ],
)
def test_what_is_left_when_nobody_was_waited_for(waits: list[tuple[float, float]], own_s: float) -> None:
    assert own_time_s(0, 10, waits) == pytest.approx(own_s)


spans = st.tuples(st.integers(-5, 25), st.integers(0, 10)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 20), st.lists(spans, max_size=6))
def test_it_is_what_a_count_of_seconds_says(ended_s: int, waits: list[tuple[int, int]]) -> None:
    alone = sum(not any(start <= second < end for start, end in waits) for second in range(ended_s))
    assert own_time_s(0, ended_s, waits) == pytest.approx(alone)
