"""Failovers from whom to whom, and the settings in force."""

from __future__ import annotations

from . import words
from .markup import Markup, tag, together
from .snapshot import Failover, Snapshot


def in_region(table: Markup, label: str) -> Markup:
    """What is wide moves in a frame of its own, which the keyboard reaches."""
    return tag("div", table, class_="scroll", tabindex=0, role="region", aria_label=label)


def failovers(snapshot: Snapshot) -> Markup:
    told = snapshot.failovers
    if not told:
        return tag("p", "No request has had to go from one provider to another.", class_="empty")
    order = {tile.provider: place for place, tile in reversed(list(enumerate(snapshot.targets)))}
    before, after = (
        sorted({getattr(one, side): None for one in told}, key=lambda name: order.get(name, len(order)))
        for side in ("before", "after")
    )
    of = max(snapshot.requests.ended, *(one.count for one in told))
    cells = {(one.before, one.after): one for one in told}
    head = tag(
        "tr", tag("td", "from \\ to", class_="quiet"), *(tag("th", tag("bdi", name), scope="col") for name in after)
    )
    body = (
        tag("tr", tag("th", tag("bdi", row), scope="row"), *(_cell(cells.get((row, column)), of) for column in after))
        for row in before
    )
    caption = tag("caption", "Failovers in five minutes, and their main reason", class_="hidden")
    matrix = tag("table", caption, tag("thead", head), tag("tbody", *body), class_="matrix")
    return together(in_region(matrix, "Failover matrix"), _since_start(told))


def _cell(one: Failover | None, of: int) -> Markup:
    """The more of all the requests, the warmer."""
    if one is None:
        return tag("td", tag("span", "none", class_="hidden"), class_="zero")
    if not one.count:
        return tag("td", "0", class_="zero")
    heat = 1 + sum(one.count * 100 >= of * share for share in (2, 10, 25))
    main = f"{one.reasons[0][0]} \N{MULTIPLICATION SIGN}{words.number(one.reasons[0][1])}" if one.reasons else None
    return tag("td", tag("b", words.number(one.count)), " ", tag("span", main), class_=f"heat-{heat}")


def _since_start(told: tuple[Failover, ...]) -> Markup:
    rows = (
        tag(
            "tr",
            tag("th", tag("bdi", one.before), " to ", tag("bdi", one.after), scope="row"),
            tag("td", words.number(one.count)),
            tag("td", ", ".join(f"{reason} {words.number(count)}" for reason, count in one.reasons) or "none"),
            tag("td", words.number(one.total)),
        )
        for one in told
    )
    heads = ("from, to", "five minutes", "reasons", "since the start")
    head = tag("tr", *(tag("th", one, scope="col") for one in heads))
    table = tag("table", tag("thead", head), tag("tbody", *rows))
    summary = tag("summary", "All reasons, and since the start")
    return tag("details", summary, in_region(table, "Failovers with all reasons"), id="failovers-all")


def settings(snapshot: Snapshot) -> Markup:
    if not snapshot.settings:
        return tag("p", "No setting is known.", class_="empty")
    head = tag("tr", *(tag("th", one, scope="col") for one in ("setting", "value", "from")))
    rows = (
        tag(
            "tr",
            tag("th", tag("bdi", one.name), scope="row"),
            tag("td", tag("bdi", one.value)),
            tag("td", tag("bdi", one.source), class_="quiet" if one.source == "default" else None),
        )
        for one in snapshot.settings
    )
    table = tag("table", tag("thead", head), tag("tbody", *rows))
    summary = tag("summary", f"{words.many(len(snapshot.settings), 'setting')}, each with where it comes from")
    return tag("details", summary, in_region(table, "Settings"), id="settings-all")
