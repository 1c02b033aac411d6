"""How things are said, on the page and in the text alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ogw_asgi._status import words
from ogw_asgi._status.snapshot import LastError, Line, Overhead, Percentiles, Segment, Tile
from tests.status.examples import ALL_WELL

TILE = Tile("a", "openai", "m")
FAILED = LastError("503", "overloaded", 4.0)


@pytest.mark.parametrize(
    ("tile", "says"),
    [
        (replace(TILE, health="open", circuit="open", probe_in_s=3.2), "open: next probe in 4 s"),
        (replace(TILE, health="open", circuit="open", probe_in_s=0.0), "open: the next request probes it"),
        (replace(TILE, health="probing", circuit="half_open"), "probing: the next request decides"),
        (replace(TILE, health="cooling", cooling_s=9.1), "cooling down: last in line for another 10 s"),
        (replace(TILE, health="failing", last_error=FAILED), "failing: 503 overloaded, 4.0 s ago"),
        (replace(TILE, health="recovering", last_error=FAILED), "recovering: 503 overloaded, 4.0 s ago"),
        (replace(TILE, health="ok", last_error=FAILED), "ok"),
    ],
)
def test_of_a_target_in_trouble_it_is_said_what_comes_next_or_what_was_last(tile: Tile, says: str) -> None:
    assert words.condition(tile) == says


def test_of_a_circuit_it_is_said_what_it_is_of() -> None:
    down = replace(TILE, circuit="open", probe_in_s=2.0)
    assert words.circuit(TILE) == "closed"
    assert words.circuit(replace(down, circuit_of="origin")) == "open for the whole server: next probe in 2 s"
    assert words.circuit(replace(down, circuit_of="model")) == "open for this model: next probe in 2 s"
    assert words.circuit(replace(TILE, circuit="half_open", circuit_of="model")) == (
        "half open for this model: the next request decides"
    )
    assert words.circuit(replace(TILE, named=True)) == "not watched: callers name the endpoints"


def test_an_error_whose_type_is_its_outcome_is_said_once() -> None:
    assert words.last_error(replace(TILE, last_error=LastError("timeout", "timeout", 90))) == "timeout, 1 m 30 s ago"
    assert words.last_error(TILE) == "none"


SEGMENT = Segment("a", "m", "first", 1500, 250, None, "complete", "200")


def test_an_attempt_is_said_by_what_it_came_to() -> None:
    assert words.attempt(SEGMENT, "m") == "a 200 250 ms"
    assert words.attempt(SEGMENT, "asked") == "a m 200 250 ms"
    assert words.attempt(replace(SEGMENT, first_chunk_ms=80), "m") == "a 200 250 ms (first chunk 80 ms)"
    assert words.attempt(replace(SEGMENT, end="running", label=""), "m") == "a running 250 ms"
    assert words.attempt(replace(SEGMENT, end="broken"), "m") == "a 200 broken off 250 ms"


def test_when_an_attempt_was_made_is_said_where_it_does_not_follow() -> None:
    said = [words.why(replace(SEGMENT, reason=reason)) for reason in ("first", "failover", "retry", "hedge")]
    assert said == [None, "failover", "retry at 1.5 s", "hedge at 1.5 s"]


def test_tokens_are_told_where_anybody_told_them_and_none_is_not_zero() -> None:
    line = Line(0, "id", "m", True, ("a",), (), "ok", 201, "a", 5)
    assert words.manner(line) == "streamed"
    assert words.manner(replace(line, input_tokens=1200)) == "streamed, 1,200 in, ? out"
    assert words.manner(replace(line, stream=False, input_tokens=0, output_tokens=7)) == "in one piece, 0 in, 7 out"


@pytest.mark.parametrize(
    ("own_s", "upstream_s", "says"),
    [(0.25, 0.75, "25.0 %"), (1e-4, 1.0, "<0.1 %"), (0.0, 1.0, "0.0 %"), (0.0, 0.0, None)],
)
def test_the_gateways_share_is_that_of_both_taken_together(own_s: float, upstream_s: float, says: str | None) -> None:
    own, upstream = (Percentiles(1, median_s, median_s) for median_s in (own_s, upstream_s))
    assert words.share_of_own(replace(ALL_WELL, overhead=Overhead(own, upstream))) == says
