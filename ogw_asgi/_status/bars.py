"""Requests as bars: a segment for each attempt, all on one scale of time, and the same in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from . import words
from .keys import Keys
from .markup import Markup, tag, together
from .scale import Scale
from .snapshot import Line, Segment

_HEIGHT, _BAR = 16, 12
_UNSEEN: Final = 1.0
"""Per cent of the width: attempts that overlap by no more came one after the other."""

FILLS: Final = (
    ("complete", "complete"),
    ("limited", "rate limited (429)"),
    ("failed", "failed"),
    ("broken", "broken off"),
    ("cancelled", "another was faster"),
    ("left", "caller left"),
    ("running", "running"),
)


def fill(segment: Segment) -> str:
    return "limited" if segment.end == "failed" and segment.label == "429" else segment.end


def patterns() -> Markup:
    """What segments are filled with. Outside what changes; drawn nowhere."""
    lines = {
        "limited": "M-1 1l2-2M0 6l6-6M5 7l2-2",
        "failed": "M0 0l6 6M6 0l-6 6",
        "broken": "M0 1.5h6M0 4.5h6",
        "cancelled": "M1.5 0v6M4.5 0v6",
        "left": "M1 2h1M4 5h1",
        "running": "M-1 5l2 2M0 0l6 6M5-1l2 2",
    }
    made = (
        tag(
            "pattern",
            tag("rect", width=6, height=6, class_=f"f-{name}"),
            tag("path", d=path, class_="over"),
            id=f"p-{name}",
            width=6,
            height=6,
            patternUnits="userSpaceOnUse",
        )
        for name, path in lines.items()
    )
    return tag("svg", tag("defs", *made), class_="hidden", width=0, height=0, aria_hidden="true")


def legend() -> Markup:
    entries = (
        tag(
            "li",
            tag("svg", tag("rect", width=18, height=10, class_=f"s-{name}"), width=18, height=10, aria_hidden="true"),
            said,
        )
        for name, said in FILLS
    )
    dot = tag("svg", tag("circle", cx=9, cy=5, r=3, class_="first"), width=18, height=10, aria_hidden="true")
    return tag("ul", *entries, tag("li", dot, "first chunk"), class_="legend quiet")


def axis(scale: Scale) -> Markup:
    """The ticks, with the lines that every bar repeats."""
    ticks = [(words.round_time(ms), at) for ms, at in scale.ticks()]
    lines = (tag("line", x1=f"{at:.1f}%", x2=f"{at:.1f}%", y1=0, y2=_HEIGHT) for _, at in ticks)
    labels = (
        tag("text", said, x=f"{at:.1f}%", y=11, class_="begin" if at == 0 else "end" if at == 100 else "mid")
        for said, at in ticks
    )
    drawn = tag("svg", tag("defs", tag("g", *lines, id="grid", class_="grid")), *labels, class_="bar")
    return tag("div", drawn, class_="row axis", aria_hidden="true", id="axis")


def rows(lines: Iterable[Line], scale: Scale, keys: Keys, label: str) -> Markup:
    return tag(
        "ol",
        *(_row(line, scale, keys.of("r", line.began_at_s, line.request_id)) for line in lines),
        class_="rows",
        aria_labelledby=label,
    )


def _row(line: Line, scale: Scale, key: str) -> Markup:
    status = f" {line.status}" if line.status is not None else ""
    told = [
        tag("time", words.clock(line.began_at_s), datetime=words.moment(line.began_at_s), class_="began"),
        tag("p", tag("bdi", line.model, title=line.model if len(line.model) > 24 else None), class_="asked"),
        _bar(line, scale),
        tag("p", *_trail(line), class_="trail"),
        tag("p", tag("b", f"{line.outcome}{status}"), _by(line), class_=f"outcome o-{line.outcome}"),
        tag("p", words.duration(line.duration_ms / 1000), class_="took"),
        tag("p", "of ", tag("bdi", ", ".join(line.sequence)), class_="sequence quiet"),
        tag("p", tag("bdi", line.request_id), class_="id quiet"),
        tag("p", words.manner(line), class_="manner quiet"),
    ]
    return tag("li", *told, id=key, class_="row")


def _by(line: Line) -> str | None:
    return f" by {line.provider}" if line.provider is not None else None


def _trail(line: Line) -> Iterable[Markup]:
    if not line.segments:
        yield tag("span", "no attempt", class_="quiet")
    for place, segment in enumerate(line.segments):
        why = tag("i", said) if (said := words.why(segment)) else None
        tried = tag("bdi", words.attempt(segment, line.model))
        yield together(" " if place else "", tag("span", why, " " if why else "", tried, class_=f"a-{fill(segment)}"))


def _lanes(spans: list[tuple[float, float]]) -> list[int]:
    """Which attempts ran beside which, by where they begin and end: each gets the first lane that is free when it
    starts. One that is out of time is given up while the next is under way, and nobody would take that for a hedge."""
    free_at: list[float] = []
    lanes = []
    for begin, end in spans:
        lane = next((place for place, at in enumerate(free_at) if at <= begin + _UNSEEN), len(free_at))
        free_at[lane : lane + 1] = [end]
        lanes.append(lane)
    return lanes


def _bar(line: Line, scale: Scale) -> Markup:
    spans = [(scale.at(one.start_ms), scale.at(one.start_ms + one.duration_ms)) for one in line.segments]
    lanes = _lanes(spans)
    high = _BAR / (max(lanes, default=0) + 1)
    whole = tag("rect", x=0, y=7.5, width=f"{scale.at(line.duration_ms):.2f}%", height=1, class_="whole")
    drawn = []
    for segment, (begin, end), lane in zip(line.segments, spans, lanes, strict=True):
        top = 2 + lane * high
        width = max(end - begin, 0.4)
        box = {"x": f"{min(begin, 99.6):.2f}%", "y": f"{top:g}", "width": f"{width:.2f}%", "height": f"{high:g}"}
        drawn.append(tag("rect", class_=f"s-{fill(segment)}", **box))
        if segment.first_chunk_ms is not None:
            at = scale.at(segment.start_ms + segment.first_chunk_ms)
            drawn.append(tag("circle", cx=f"{at:.2f}%", cy=f"{top + high / 2:g}", r=min(3, high / 2), class_="first"))
    return tag("svg", tag("use", href="#grid"), whole, *drawn, class_="bar", aria_hidden="true")
