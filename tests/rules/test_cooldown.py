"""How long a provider is left alone: what it named, within bounds, or a default."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._rules.cooldown import cooldown_s

Kind = Literal["rate", "money"]


@pytest.mark.parametrize("kind", ["rate", "money"])
@pytest.mark.parametrize(
    ("named_s", "expected_s"),
    [
        (2.0, 2.0),
        (0.5, 1.0),
        (0.0, 1.0),
        (-0.0, 1.0),
        (1.0, 1.0),
        (1.001, 1.001),
        (299.9, 299.9),
        (300.0, 300.0),
        (300.1, 300.0),
        (86_400.0, 300.0),
        (1e308, 300.0),
    ],
)
def test_a_named_time_is_kept_within_one_second_and_five_minutes(kind: Kind, named_s: float, expected_s: float) -> None:
    assert cooldown_s(kind, named_s) == expected_s


@pytest.mark.parametrize(("kind", "default_s"), [("rate", 5.0), ("money", 300.0)])
@pytest.mark.parametrize("named_s", [None, -1.0, -5e-324, float("nan"), float("inf"), float("-inf")])
def test_what_is_no_time_is_the_default_of_its_kind(kind: Kind, default_s: float, named_s: float | None) -> None:
    assert cooldown_s(kind, named_s) == default_s


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.sampled_from(["rate", "money"]), st.none() | st.floats())
def test_it_is_never_shorter_than_a_second_nor_longer_than_five_minutes(kind: Kind, named_s: float | None) -> None:
    assert 1.0 <= cooldown_s(kind, named_s) <= 300.0
