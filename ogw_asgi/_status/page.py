"""The page: a document that tells all without JavaScript, and its changing part, which a stream may carry."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from . import words
from .bars import axis, legend, patterns, rows
from .keys import Keys
from .markup import Markup, tag, together
from .scale import Scale
from .snapshot import Health, Snapshot
from .tables import failovers, settings
from .tiles import icon, tile
from .verdict import Level, Verdict, verdict

_SIGNS: Final[Mapping[Level, Health]] = {"ok": "ok", "warn": "failing", "bad": "open", "idle": "idle"}


@cache
def _file(name: str) -> Markup:
    """Ours, and as it is: what stands in style and script is not escaped."""
    return Markup(files(__package__).joinpath(name).read_text("utf-8"))


def render_page(snapshot: Snapshot, nonce: str, parts: str | None = None) -> bytes:
    """The whole document. `nonce`: of its policy, for the one style and the one script that are in it. `parts`: what
    `render_parts` has made of this snapshot, if it is known already."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="robots", content="noindex"),
        tag("noscript", tag("meta", http_equiv="refresh", content="5")),
        tag("title", verdict(snapshot).title),
        tag("link", rel="icon", href="data:,"),
        tag("style", _file("page.css"), nonce=nonce),
    )
    live = tag(
        "p",
        tag("noscript", "reloads every five seconds"),
        tag("span", id="link", class_="quiet"),
        class_="link",
    )
    body = tag(
        "body",
        tag("a", "Skip to the state", href="#main", class_="skip"),
        tag("header", tag("h1", "ogw_asgi", tag("span", " status", class_="quiet")), live, class_="top"),
        patterns(),
        tag("main", Markup(render_parts(snapshot) if parts is None else parts), id="main", tabindex=-1),
        tag("p", id="told", class_="hidden", aria_live="polite"),
        _footer(),
        tag("script", _file("page.js"), nonce=nonce),
    )
    page = together(Markup("<!doctype html>\n"), tag("html", head, body, lang="en"), Markup("\n"))
    return page.encode()


def render_parts(snapshot: Snapshot) -> str:
    """What is inside `main`. What moves or may be opened has an id of its own, the same in every snapshot."""
    keys = Keys()
    tiles = [(one, keys.of("t", one.provider, one.model, one.named)) for one in snapshot.targets]
    found = verdict(snapshot)
    parts = [
        _verdict(snapshot, found, [key for _, key in tiles]),
        _section("targets", "Targets", tag("ul", *(tile(*one) for one in tiles), class_="tiles"), _meanings())
        if tiles
        else None,
        _section("failovers", "Failovers in five minutes", failovers(snapshot)),
        _requests(snapshot, keys),
        _section("overhead", "Where the time goes", *_overhead(snapshot)),
        _section("settings", "Settings in force", settings(snapshot)),
        _provenance(snapshot),
    ]
    return str(together(*parts))


def _section(name: str, title: str, *children: Markup | str | None) -> Markup:
    heading = tag("h2", title, id=f"{name}-title")
    return tag("section", heading, *children, id=name, aria_labelledby=f"{name}-title")


def _verdict(snapshot: Snapshot, found: Verdict, keys: list[str]) -> Markup:
    headline = tag("h2", icon(_SIGNS[found.level]), tag("bdi", found.says, "."), id="verdict-title")
    listed = None
    if len(found.troubled) > 1:
        items = (
            tag(
                "li",
                tag("a", icon(one.health), tag("bdi", words.name(one)), href=f"#{keys[place]}"),
                " ",
                tag("span", words.condition(one)),
                class_=f"h-{one.health}",
                id=f"w-{keys[place]}",
            )
            for place, one in ((place, snapshot.targets[place]) for place in found.troubled)
        )
        listed = tag("ul", *items, class_="troubled")
    return tag(
        "section",
        headline,
        tag("p", found.callers, class_="callers"),
        listed,
        _warnings(snapshot),
        _strip(snapshot),
        id="verdict",
        class_=f"v-{found.level}",
        aria_labelledby="verdict-title",
        data_title=found.title,
    )


def _warnings(snapshot: Snapshot) -> Markup | None:
    if not snapshot.warnings:
        return None
    items = (tag("li", tag("b", one.name), ": ", one.says, " ", tag("code", one.mend)) for one in snapshot.warnings)
    return tag("ul", *items, class_="warnings", aria_label="Warnings")


def _strip(snapshot: Snapshot) -> Markup:
    asked = snapshot.requests
    late = together(
        words.number(asked.after_failover),
        tag("small", f" {words.percent(asked.after_failover, asked.ok)}", class_="quiet") if asked.ok else None,
    )
    vital = (
        ("in flight", words.number(snapshot.in_flight), None),
        ("requests/s", f"{asked.per_second:.1f}", None),
        ("answered", words.percent(asked.ok, asked.judged) if asked.judged else "none", None),
        ("after failover", late, None),
        ("exhausted", words.number(asked.exhausted), "alarming" if asked.exhausted else None),
        ("broken off", words.number(asked.broken), "alarming" if asked.broken else None),
    )
    more = (
        ("ended", words.number(asked.ended), None),
        ("ok", words.number(asked.ok), None),
        ("refused", words.number(asked.refused), None),
        ("callers left", words.number(asked.left), None),
        ("rejected at the door", words.number(asked.rejected), None),
        ("up", words.duration(snapshot.uptime_s), None),
        ("version", snapshot.version, None),
        ("engine", snapshot.engine, None),
        ("loop", snapshot.loop, None),
        ("breakers", words.SHARING[snapshot.sharing], "alarming" if snapshot.sharing == "lost" else None),
        ("process", f"this one, {snapshot.process}", None),
    )
    lists = (
        tag(
            "dl",
            *(tag("div", tag("dt", term), tag("dd", said), class_=how) for term, said, how in entries),
            class_=name,
        )
        for name, entries in (("vital", vital), ("more", more))
    )
    return tag("div", *lists, class_="strip")


def _meanings() -> Markup:
    terms = (*words.HEALTH.items(), *((word, means) for word, _, means in words.COUNTED))
    entries = (tag("div", tag("dt", word), tag("dd", means)) for word, means in terms)
    return tag("details", tag("summary", "What the words mean"), tag("dl", *entries, class_="meanings"), id="meanings")


def _requests(snapshot: Snapshot, keys: Keys) -> Markup:
    running, recent = snapshot.running, snapshot.recent
    if not running and not recent:
        return _section("requests", "Requests", tag("p", "No request has come in yet.", class_="empty"))
    scale = Scale((*running, *recent))
    more = snapshot.in_flight - len(running)
    now = f"Running: {words.number(snapshot.in_flight)}"
    note = "A segment is an attempt. All are on one scale, which shows short times wider. Times of day are UTC."
    return _section(
        "requests",
        "Requests",
        tag("p", note, class_="quiet"),
        legend(),
        axis(scale),
        tag("h3", now, id="running-title"),
        rows(running, scale, keys, "running-title") if running else None,
        tag("p", f"and {words.number(more)} more", class_="quiet") if running and more > 0 else None,
        tag("h3", f"The last {len(recent)}" if recent else "Ended", id="recent-title"),
        rows(recent, scale, keys, "recent-title") if recent else tag("p", "None yet.", class_="empty"),
    )


def _overhead(snapshot: Snapshot) -> list[Markup]:
    told = (("ogw_asgi's own", snapshot.overhead.own), ("providers, and callers who read", snapshot.overhead.upstream))
    entries = (tag("div", tag("dt", term), tag("dd", words.percentiles(times))) for term, times in told)
    said = [tag("dl", *entries, class_="overhead")]
    if (share := words.share_of_own(snapshot)) is not None:
        said.append(tag("p", f"Of the median request, {share} is ogw_asgi's.", class_="quiet"))
    return said


def _provenance(snapshot: Snapshot) -> Markup:
    at = tag("time", words.clock(snapshot.at_s), " UTC", datetime=words.moment(snapshot.at_s))
    said = f"This is what process {snapshot.process} sees; other workers have pages of their own."
    number = f" Snapshot {words.number(snapshot.number)} of "
    return tag("p", said, number, at, ".", class_="provenance quiet")


def _footer() -> Markup:
    return tag(
        "footer",
        tag("p", "The same as ", tag("a", "JSON", href="_status.json"), ", or as text with Accept: text/plain."),
    )
