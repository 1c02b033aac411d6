"""What a page says, as a strict reader finds it; and what a snapshot has to say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any
from xml.etree.ElementTree import Element

import html5lib

from ogw_asgi._status import words
from ogw_asgi._status.snapshot import Counts, LastError, Line, Segment, Snapshot, Tile


def read(page: bytes | str) -> Element:
    """Raises html5lib's ParseError for what a browser would have to mend."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    found: Element = parser.parse(page.decode() if isinstance(page, bytes) else page)
    return found


def text_of(page: Element) -> str:
    """As it is shown: without style and script."""
    return "".join(_shown(page))


def _shown(element: Element) -> Iterator[str]:
    if element.tag in ("style", "script", "noscript"):
        return
    yield element.text or ""
    for child in element:
        yield from _shown(child)
        yield " "
        yield child.tail or ""


def pressed(text: str) -> str:
    """Without spaces, since lines break anywhere, and without capitals."""
    return re.sub(r"\s+", "", text).casefold()


def to_tell(snapshot: Snapshot) -> set[str]:
    """Every word and number of a snapshot, as it has to be found."""
    return {pressed(words.plain(one)) for one in _leaves(snapshot)}


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Counts):
        yield from (f"{getattr(value, one.name):,}" for one in fields(value))
    elif is_dataclass(value):
        for one in fields(value):
            yield from _field(value, one.name, getattr(value, one.name))
    elif isinstance(value, tuple):
        for one in value:
            yield from _leaves(one)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int):
        yield f"{value:,}"


def _field(of: Any, name: str, value: Any) -> Iterator[str]:
    match of, name:
        case _, "at_s" | "began_at_s":
            yield words.clock(value)
        case Tile(), "sparkline":
            timed = [one for one in value if one is not None]
            yield from (words.duration(one) for one in (min(timed), max(timed)) if timed) if timed else ()
        case Tile(), "named":
            yield "endpoints that callers name" if value else ""
        case Tile(), "health":
            yield value
        case Tile(), "circuit":
            yield "not watched" if of.named else value.replace("_", " ")
        case Tile(), "circuit_of":
            yield {"origin": "whole server", "model": "this model"}[value] if value and not of.named else ""
        case Tile(), "probe_in_s":
            yield (words.probe(of) or "") if of.circuit == "open" and not of.named else ""
        case Tile(), "cooling_s":
            yield words.countdown(value) if value is not None else ""
        case Line(), "stream":
            yield "streamed" if value else "in one piece"
        case Line(), "status":
            yield str(value) if value is not None else ""
        case Segment(), "start_ms":
            yield words.duration(value / 1000) if of.reason in ("hedge", "retry") else ""
        case Segment(), "end":
            yield words.ENDS[value] if not of.label or value not in ("complete", "failed", of.label) else ""
        case Segment(), "reason":
            yield value if value != "first" else ""
        case LastError(), "age_s":
            yield f"{words.duration(value)} ago"
        case Snapshot(), "sharing":
            yield words.SHARING[value]
        case Snapshot(), "process":
            yield str(value)
        case _, "per_second":
            yield f"{value:.1f}"
        case _ if value is not None and name.endswith(("_ms", "_s")):
            yield words.duration(value / 1000 if name.endswith("_ms") else value)
        case _:
            yield from _leaves(value)
