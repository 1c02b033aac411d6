"""How a target stands, as a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ogw_asgi._rules.circuit import Circuit
from ogw_asgi._status.health import Stands, health, stands

NOW_S = 100.0


def opened(left_s: float) -> Circuit:
    return Circuit(phase="open", seen_s=90, since_s=90, open_s=10 + left_s)


CLOSED = Circuit()
HALF = Circuit(phase="half_open", seen_s=95, since_s=80, open_s=10)


@pytest.mark.parametrize(
    ("origin", "model", "expected"),
    [
        (None, None, Stands()),
        (CLOSED, CLOSED, Stands()),
        (opened(4), None, Stands("open", "origin", 4.0)),
        (None, opened(4), Stands("open", "model", 4.0)),
        (opened(2), opened(7), Stands("open", "model", 7.0)),
        (opened(7), opened(2), Stands("open", "origin", 7.0)),
        (opened(7), HALF, Stands("open", "origin", 7.0)),
        (HALF, opened(-5), Stands("open", "model", 0.0)),
        (HALF, CLOSED, Stands("half_open", "origin")),
        (CLOSED, HALF, Stands("half_open", "model")),
        (replace(HALF, recovered=1), CLOSED, Stands("half_open", "origin", answers=True)),
        (replace(HALF, recovered=1), opened(1), Stands("open", "model", 1.0)),
        (Circuit(seen_s=90, cooling_until_s=103), None, Stands(cooling_s=3.0)),
        (Circuit(seen_s=90, cooling_until_s=103), Circuit(seen_s=90, cooling_until_s=120), Stands(cooling_s=20.0)),
        (Circuit(seen_s=90, cooling_until_s=100), None, Stands()),
        # A clock that went back moves all times with it.
        (Circuit(phase="open", seen_s=200, since_s=195, open_s=10), None, Stands("open", "origin", 5.0)),
    ],
)
def test_of_two_circuits_the_worse_is_told(origin: Circuit | None, model: Circuit | None, expected: Stands) -> None:
    assert stands(origin, model, NOW_S) == expected


WELL = {"failed_last": False, "failed_lately": False, "asked": True, "answered": True}


@pytest.mark.parametrize(
    ("found", "known", "expected"),
    [
        (Stands(), WELL, "ok"),
        (Stands(), WELL | {"asked": False}, "idle"),
        (Stands(), WELL | {"answered": False}, "silent"),
        (Stands(), WELL | {"answered": False, "failed_last": True}, "failing"),
        (Stands(), WELL | {"failed_lately": True}, "recovering"),
        (Stands(), WELL | {"failed_lately": True, "failed_last": True}, "failing"),
        (Stands(), WELL | {"failed_last": True}, "failing"),
        (Stands(), WELL | {"failed_last": True, "asked": False}, "idle"),
        (Stands(cooling_s=1), WELL, "cooling"),
        (Stands(cooling_s=1), WELL | {"asked": False}, "cooling"),
        (Stands("open", "origin", 3.0, 1), WELL, "open"),
        (Stands("open", "origin", 0.0), WELL | {"asked": False}, "open"),
        (Stands("half_open", "model", answers=True), WELL, "recovering"),
        (Stands("half_open", "model", None, 1), WELL | {"failed_last": True}, "probing"),
    ],
)
def test_one_word_for_it(found: Stands, known: dict[str, Any], expected: str) -> None:
    assert health(found, **known) == expected
