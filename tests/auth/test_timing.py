"""The instrument of timing.py can see what it looks for. What it finds of the package is run by hand."""

from __future__ import annotations

import random
from statistics import fmean

import pytest

from tests.auth.timing import THRESHOLD, compare, kinds_of, stops_at_the_first_difference, welch_t

VALID = "x9GmK2rQ7tUvWc4yZbNn1aPfLsDhEjR0oIuYqTgVkM8"


def test_welchs_t_is_what_can_be_worked_out_by_hand() -> None:
    first, second = [1.0, 2.0, 3.0], [2.0, 4.0, 6.0]  # means 2 and 4, variances 1 and 4
    assert welch_t(first, second) == pytest.approx(2 / (1 / 3 + 4 / 3) ** 0.5)
    assert welch_t(second, first) == welch_t(first, second)


def test_what_is_the_same_is_taken_for_the_same_and_what_is_not_is_not() -> None:
    noise = random.Random(7)
    one, same = ([noise.gauss(100, 10) for _ in range(5000)] for _ in range(2))
    assert welch_t(one, same) < THRESHOLD < welch_t(one, [each + 2 for each in same])


def test_the_tokens_of_each_kind_are_wrong_where_they_say() -> None:
    (first, last), (known, unknown), _ = kinds_of(VALID).values()
    for _ in range(50):
        assert first()[0] != VALID[0]
        assert first()[1:] == VALID[1:]
        assert last()[-1] != VALID[-1]
        assert last()[:-1] == VALID[:-1]
        assert known()[:20] == VALID[:20]
        assert VALID not in (known(), unknown())
        assert len(known()) == len(unknown()) == len(VALID)
    assert fmean(unknown()[0] == VALID[0] for _ in range(2000)) < 0.1


def test_a_comparison_that_stops_at_the_first_difference_is_seen() -> None:
    pair = kinds_of(VALID)["wrong in the first byte, in the last"]
    assert compare(stops_at_the_first_difference(VALID), pair, samples=500) > THRESHOLD
