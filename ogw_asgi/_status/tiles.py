"""A tile for each target: how it is, how it has been, how fast it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Final

from . import words
from .markup import Markup, tag, together
from .snapshot import Counts, Health, Percentiles, Tile

ICONS: Final[Mapping[Health, str]] = {
    "ok": "M3 8.5l3.2 3.2L13 5",
    "recovering": "M3 11l4-4 2.5 2.5L13 5M9.5 5H13v3.5",
    "failing": "M8 2.5v7M8 12.2v1.3",
    "cooling": "M5.5 3.5v9M10.5 3.5v9",
    "open": "M4 4l8 8M12 4l-8 8",
    "probing": "M5.6 5.8a2.5 2.5 0 1 1 3.4 2.4c-.8.4-1 .9-1 1.8M8 12.4v1",
    "silent": "M3 8.5h.1M8 8.5h.1M13 8.5h.1",
    "idle": "M3.5 8h9",
}
"""Paths in a square of 16; every one has its own shape, so that colour tells nothing alone."""


def icon(health: Health) -> Markup:
    return tag(
        "svg", tag("path", d=ICONS[health]), class_="icon", viewBox="0 0 16 16", width=16, height=16, aria_hidden="true"
    )


def tile(one: Tile, key: str) -> Markup:
    facts = [
        _fact("circuit", words.circuit(one)),
        _fact("cooling", f"last in line for another {words.countdown(one.cooling_s)}")
        if one.cooling_s is not None
        else None,
        _fact("last error", words.last_error(one)),
        _fact("first chunk", _pace(one.first_chunk)) if one.first_chunk or not one.answer else None,
        _fact("answers", _pace(one.answer)) if one.answer else None,
        _fact("in flight", words.number(one.in_flight)),
    ]
    model = (
        "endpoints that callers name" if one.named else "not asked yet" if one.model is None else tag("bdi", one.model)
    )
    return tag(
        "li",
        tag(
            "div",
            tag(
                "h3",
                tag("bdi", one.provider, class_="provider"),
                " ",
                tag("span", model, class_="model" if one.model is not None else "model quiet"),
            ),
            tag("p", icon(one.health), one.health, class_="health"),
            class_="who",
        ),
        tag("p", one.kind, " at ", tag("bdi", one.where or "no fixed address"), class_="where quiet"),
        tag("dl", *facts, class_="facts"),
        _sparkline(one.sparkline),
        _counts(one),
        id=key,
        class_=f"tile h-{one.health}",
        data_health=one.health,
        data_says=f"{words.name(one)} is {one.health}",
    )


def _fact(term: str, said: str) -> Markup:
    return tag("div", tag("dt", term), tag("dd", said))


def _pace(told: Percentiles | None) -> str:
    if told is None:
        return words.percentiles(told)
    return together(
        tag("span", "p50 ", class_="quiet"),
        tag("b", words.duration(told.p50_s)),
        tag("span", " p95 ", class_="quiet"),
        tag("b", words.duration(told.p95_s)),
        tag("span", f" of {words.number(told.count)}", class_="quiet"),
    )


def _counts(one: Tile) -> Markup:
    told = (("1 min", one.one_minute), ("5 min", one.five_minutes))
    head = tag("tr", tag("td"), *(tag("th", word, scope="col") for word, _, _ in words.COUNTED))
    rows = (tag("tr", tag("th", within, scope="row"), *_cells(counted)) for within, counted in told)
    caption = tag("caption", "Attempts that ended, by what came of them", class_="hidden")
    table = tag("table", caption, tag("thead", head), tag("tbody", *rows), class_="counts")
    return together(_stack(one.five_minutes), table)


def _cells(counted: Counts) -> Iterator[Markup]:
    for _, field, _ in words.COUNTED:
        count = getattr(counted, field)
        yield tag("td", words.number(count), class_=f"c-{field.replace('_', '-')}" if count else "zero")


def _stack(counted: Counts) -> Markup:
    """The five minutes as one bar; the table below it tells the same."""
    shown, at = [], 0.0
    for _, field, _ in words.COUNTED:
        if count := getattr(counted, field):
            width = count / counted.total * 100
            shown.append(
                tag("rect", x=f"{at:.1f}%", width=f"{width:.1f}%", height=6, class_=f"f-{field.replace('_', '-')}")
            )
            at += width
    return tag("svg", *shown, class_="stack", width="100%", height=6, aria_hidden="true")


def _sparkline(medians: tuple[float | None, ...]) -> Markup:
    told = [median for median in medians if median is not None]
    if not told:
        return tag("p", "nothing timed in two minutes", class_="spark none quiet")
    top, step = max(told) or 1.0, 120 / max(len(medians) - 1, 1)
    lines = []
    places = [(place * step, median) for place, median in enumerate(medians)]
    for timed, run in groupby(places, key=lambda place: place[1] is not None):
        if timed:
            points = [f"{x:.0f} {30 - (median or 0.0) / top * 27:.1f}" for x, median in run]
            lines.append("M" + "L".join(points if len(points) > 1 else points * 2))
    said = f"{words.duration(min(told))} to {words.duration(max(told))}"
    drawn = tag(
        "svg",
        tag("path", d="M0 31.5H120", class_="base"),
        tag("path", d="".join(lines), class_="line"),
        viewBox="0 0 120 32",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"Time to the first of an answer, in the last two minutes: medians of five seconds from {said}",
    )
    return tag("div", drawn, tag("p", "2 min: ", said, class_="quiet", aria_hidden="true"), class_="spark")
