"""What is drawn is where and as large as the numbers say."""

from __future__ import annotations

from dataclasses import replace
from xml.etree.ElementTree import Element, fromstring

import pytest

from ogw_asgi._status.bars import fill, rows
from ogw_asgi._status.keys import Keys
from ogw_asgi._status.scale import Scale
from ogw_asgi._status.snapshot import Counts, Failover, Line, Segment, Tile
from ogw_asgi._status.tables import failovers
from ogw_asgi._status.text import render_text
from ogw_asgi._status.tiles import tile
from tests.status.examples import ALL_WELL

COMPLETE = Segment("a", "m", "first", 0, 1000, None, "complete", "200")


def line(*segments: Segment, duration_ms: float = 10_000) -> Line:
    return Line(0, "id", "m", True, ("a",), segments, "ok", 201, "a", duration_ms)


def drawn(one: Line) -> list[Element]:
    """The segments and first chunks of its bar."""
    page = fromstring(rows([one], Scale([one]), Keys(), "title"))
    return [part for part in page.iter() if part.get("class", "").startswith(("s-", "first"))]


@pytest.mark.parametrize(
    ("end", "label", "expected"),
    [("failed", "429", "limited"), ("failed", "500", "failed"), ("complete", "429", "complete"), ("left", "", "left")],
)
def test_a_rate_limit_looks_other_than_a_failure(end: str, label: str, expected: str) -> None:
    assert fill(replace(COMPLETE, end=end, label=label)) == expected  # type: ignore[arg-type]


def test_short_times_are_shown_wider() -> None:
    scale = Scale([line(duration_ms=10_000)])
    assert scale.end_ms == 10_000
    assert [scale.at(ms) for ms in (-1, 0, 100, 2500, 10_000, 20_000)] == pytest.approx([0, 0, 10, 50, 100, 100])


def test_attempts_that_run_beside_each_other_are_drawn_beside_each_other() -> None:
    def lanes(*starts_and_ends_ms: tuple[float, float]) -> list[tuple[str | None, str | None]]:
        made = [replace(COMPLETE, start_ms=start, duration_ms=end - start) for start, end in starts_and_ends_ms]
        return [(part.get("y"), part.get("height")) for part in drawn(line(*made))]

    assert lanes((0, 1000), (1000, 2000)) == [("2", "12"), ("2", "12")]
    assert lanes((0, 1000), (500, 2000)) == [("2", "6"), ("8", "6")]
    assert lanes((0, 1000), (990, 2000)) == [("2", "12"), ("2", "12")], "given up while the next was under way"
    assert lanes((0, 1000), (500, 3000), (1000, 2000)) == [("2", "6"), ("8", "6"), ("2", "6")]


def test_a_first_chunk_is_marked_where_it_came_in_its_attempt() -> None:
    box, dot = drawn(line(replace(COMPLETE, start_ms=400, duration_ms=2100, first_chunk_ms=500)))
    assert (box.get("x"), box.get("width"), dot.get("cx")) == ("20.00%", "30.00%", "30.00%")


def test_counts_are_parts_of_one_bar() -> None:
    counted = Tile("a", "openai", "m", five_minutes=Counts(ok=3, timeout=1))
    stack = [part for part in fromstring(tile(counted, "t")).iter("rect") if part.get("class", "").startswith("f-")]
    assert [(part.get("class"), part.get("x"), part.get("width")) for part in stack] == [
        ("f-ok", "0.0%", "75.0%"),
        ("f-timeout", "75.0%", "25.0%"),
    ]


def test_the_highest_of_a_sparkline_is_the_slowest_and_where_nothing_was_it_is_interrupted() -> None:
    timed = Tile("a", "openai", "m", sparkline=(0.5, 1.0, None, 0.25))
    (path,) = [part for part in fromstring(tile(timed, "t")).iter("path") if part.get("class") == "line"]
    assert path.get("d") == "M0 16.5L40 3.0M120 23.2L120 23.2"
    assert "▅█.▃ 250 ms to 1.0 s" in render_text(replace(ALL_WELL, targets=(timed,)))


@pytest.mark.parametrize(("count", "heat"), [(1, 1), (2, 2), (9, 2), (10, 3), (24, 3), (25, 4), (100, 4)])
def test_the_more_requests_fail_over_the_warmer_it_is(count: int, heat: int) -> None:
    told = replace(
        ALL_WELL,
        requests=replace(ALL_WELL.requests, ended=100),
        failovers=(Failover("a", "b", count, count, (("timeout", count),)),),
    )
    page = fromstring(f"<div>{failovers(told)}</div>")
    assert [part.get("class") for part in page.iter("td") if part.get("class", "").startswith("heat")] == [
        f"heat-{heat}"
    ]


def test_an_attempt_that_took_no_time_has_its_sign_in_the_text_too() -> None:
    told = render_text(replace(ALL_WELL, running=(), recent=(line(replace(COMPLETE, end="failed", duration_ms=0)),)))
    assert "00:00:00 x............................. 10 s" in told
