"""What `curl` shows: all of it, in eighty columns, and nothing that a terminal would take for a command."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._status.snapshot import Snapshot
from ogw_asgi._status.text import columns, render_text, wrapped
from tests.status.examples import EXAMPLES, HOSTILE, OUTAGE
from tests.status.reading import pressed, to_tell
from tests.status.snapshots import anything, snapshots


def check(snapshot: Snapshot, width: int = 80) -> None:
    text = render_text(snapshot, width)
    assert max(map(columns, text.split("\n"))) <= width
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.endswith("\n")
    told = pressed(text)
    assert {one for one in to_tell(snapshot) if one not in told} == set()


@pytest.mark.parametrize("snapshot", EXAMPLES.values(), ids=EXAMPLES)
def test_an_example_is_told_wholly_in_eighty_columns(snapshot: Snapshot) -> None:
    check(snapshot)


@settings(max_examples=60, deadline=None)
@given(snapshots, st.sampled_from((80, 40, 120)))
def test_any_snapshot_is_told_wholly_in_any_width(snapshot: Snapshot, width: int) -> None:
    check(snapshot, width)


def test_what_would_move_a_cursor_is_written_out() -> None:
    text = render_text(HOSTILE)
    assert "\\x1b[2J\\x1b]0;owned\\x07\\r\\n\\x9b31m" in text
    assert "\\u202egnp.exe\\u202c" in text


@given(anything, st.integers(40, 90))
def test_a_long_line_goes_on_further_in_and_loses_nothing(line: str, width: int) -> None:
    told = wrapped(f"  {line}", width)
    assert all(columns(one) <= width for one in told.split("\n"))
    assert pressed(told) == pressed(wrapped(line, 10_000))


def test_a_number_keeps_its_unit_where_a_line_breaks() -> None:
    assert wrapped("17 of them (70 %) took 1.2 s; (first chunk 160 ms)", 14).split("\n") == [
        "17 of them",
        "  (70 %) took",
        "  1.2 s;",
        "  (first chunk",
        "  160 ms)",
    ]
    assert wrapped("one of several models", 12) == "one of\n  several\n  models"


def test_the_verdict_comes_first_and_every_attempt_has_its_sign() -> None:
    text = render_text(OUTAGE)
    assert text.index("[!!] 2 of 5 targets are in trouble.") < text.index("TARGETS")
    assert "x=======......................" in text
    assert "~~~~====......................" in text
