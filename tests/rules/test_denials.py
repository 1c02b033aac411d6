"""How often one may be denied before being slowed down."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._rules.denials import MOST_PRINCIPALS, Denials


@pytest.mark.contract("7.guard.denials")
def test_ten_at_once_and_then_one_every_six_seconds() -> None:
    denials = Denials()
    assert [denials.wait_s("p", 0.0) for _ in range(10)] == [None] * 10
    assert denials.wait_s("p", 0.0) == pytest.approx(6.0)
    assert denials.wait_s("p", 3.0) == pytest.approx(3.0)
    assert denials.wait_s("p", 6.1) is None
    assert denials.wait_s("p", 6.1) is not None


def test_each_principal_has_ten_and_so_has_nobody() -> None:
    denials = Denials()
    for who in ("p", "q", None):
        assert [denials.wait_s(who, 0.0) is None for _ in range(11)] == [True] * 10 + [False]


def test_those_who_were_denied_longest_ago_are_forgotten_first() -> None:
    denials = Denials()
    for _ in range(11):
        denials.wait_s("first", 0.0)
    for number in range(MOST_PRINCIPALS - 1):
        denials.wait_s(f"p{number}", 0.0)
    assert denials.wait_s("first", 0.0) is not None
    for number in range(MOST_PRINCIPALS):
        denials.wait_s(f"q{number}", 0.0)
    assert denials.wait_s("first", 0.0) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 30), max_size=60))
def test_nobody_is_denied_more_than_ten_times_and_one_every_six_seconds(pauses: list[float]) -> None:
    denials, now_s, let = Denials(), 0.0, 0
    for pause_s in pauses:
        now_s += pause_s
        wait_s = denials.wait_s("p", now_s)
        assert wait_s is None or 0 < wait_s <= 6.0
        let += wait_s is None
        assert let <= 10 + now_s / 6 + 1e-6
