"""The same as the page, for a terminal: no colour, no control character, and never wider than it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final
from unicodedata import east_asian_width

from . import words
from .bars import fill
from .scale import Scale
from .snapshot import Line, Snapshot, Tile
from .verdict import verdict

_NARROWEST: Final = 40
_BAR: Final = 30
_FILLS: Final = {
    "complete": "=",
    "limited": "%",
    "failed": "x",
    "broken": "!",
    "cancelled": "~",
    "left": "-",
    "running": ">",
}
_MEDIANS: Final = "▁▂▃▄▅▆▇█"
_BETWEEN: Final = re.compile(r" (?!(?:%|ms|s|m|h|d)(?![^ ,.:;)]))")
"""Where a line may break: a number keeps its unit."""
_SIGNS: Final = {"ok": "[ok]", "warn": "[!]", "bad": "[!!]", "idle": "[-]"}


def render_text(snapshot: Snapshot, width: int = 80) -> str:
    """No line is wider than `width` columns, of which there are at least forty. Ends with a line break."""
    width = max(width, _NARROWEST)
    blocks = (
        _head(snapshot),
        _strip(snapshot),
        _titled("TARGETS", (line for one in snapshot.targets for line in _tile(one)), "none"),
        _titled("FAILOVERS IN FIVE MINUTES", _failovers(snapshot), "none: no request had to go to another provider"),
        _titled("REQUESTS", _requests(snapshot), "none has come in yet"),
        _titled("WHERE THE TIME GOES", _overhead(snapshot), ""),
        _titled("SETTINGS IN FORCE", _settings(snapshot), "none is known"),
    )
    return "\n\n".join("\n".join(wrapped(line, width) for line in block) for block in blocks) + "\n"


def wrapped(line: str, width: int) -> str:
    """What goes on below is further in than what it goes on from. Between words where it can be."""
    inner = line.lstrip(" ")
    indent = " " * min(len(line) - len(inner), width // 2)
    lines, used = [indent], len(indent)
    for word in _BETWEEN.split(words.plain(inner)):
        wide = columns(word)
        gap = 0 if lines[-1].isspace() or not lines[-1] else 1
        if used + gap + wide <= width:
            lines[-1] += " " * gap + word
            used += gap + wide
            continue
        if gap:
            lines.append(indent + "  ")
            used = len(indent) + 2
        # What callers wrote may be long, and is as wide as it is long where it is ASCII: pieces instead of characters.
        room = width - used
        inside = width - len(indent) - 2
        pieces: Iterable[str] = word
        if word.isascii():
            pieces = (word[:room], *(word[at : at + inside] for at in range(room, len(word), inside)))
        for piece in pieces:
            if used + columns(piece) > width:
                lines.append(indent + "  ")
                used = len(indent) + 2
            lines[-1] += piece
            used += columns(piece)
    return "\n".join(lines)


def columns(text: str) -> int:
    """At most so many. Marks that stand above others are counted, too."""
    return len(text) if text.isascii() else sum(2 if east_asian_width(char) in "WF" else 1 for char in text)


def _titled(title: str, lines: Iterable[str], none: str) -> Iterator[str]:
    yield title
    told = False
    for line in lines:
        told = True
        yield f"  {line}"
    if not told:
        yield f"  {none}"


def _head(snapshot: Snapshot) -> Iterator[str]:
    found = verdict(snapshot)
    yield f"ogw_asgi {snapshot.version} status, {words.moment(snapshot.at_s)}"
    yield f"what process {snapshot.process} sees; other workers have pages of their own"
    yield ""
    yield f"{_SIGNS[found.level]} {found.says}."
    yield found.callers
    if len(found.troubled) > 1:
        for place in found.troubled:
            one = snapshot.targets[place]
            yield f"  {words.name(one)} is {words.condition(one)}"
    for warning in snapshot.warnings:
        yield f"warning: {warning.name}: {warning.says}"
        yield f"  {warning.mend}"


def _strip(snapshot: Snapshot) -> Iterator[str]:
    asked = snapshot.requests
    late = f" ({words.percent(asked.after_failover, asked.ok)})" if asked.ok else ""
    yield f"in flight {words.number(snapshot.in_flight)}, requests/s {asked.per_second:.1f}"
    yield (
        f"answered {words.percent(asked.ok, asked.judged) if asked.judged else 'none'}, "
        f"after failover {words.number(asked.after_failover)}{late}, exhausted {words.number(asked.exhausted)}, "
        f"broken off {words.number(asked.broken)}"
    )
    yield (
        f"ended {words.number(asked.ended)}: ok {words.number(asked.ok)}, refused {words.number(asked.refused)}, "
        f"callers left {words.number(asked.left)}; rejected at the door {words.number(asked.rejected)}"
    )
    yield f"up {words.duration(snapshot.uptime_s)}, engine {snapshot.engine}, loop {snapshot.loop}"
    yield f"breakers {words.SHARING[snapshot.sharing]}; snapshot {words.number(snapshot.number)}"


def _tile(one: Tile) -> Iterator[str]:
    model = " (not asked yet)" if one.model is None and not one.named else ""
    yield f"{one.health.upper():<10} {words.name(one)}{model}"
    yield f"  {one.kind} at {one.where or 'no fixed address'}; in flight {words.number(one.in_flight)}"
    yield f"  circuit {words.circuit(one)}"
    if one.cooling_s is not None:
        yield f"  cooling: last in line for another {words.countdown(one.cooling_s)}"
    yield f"  1 min {words.counts(one.one_minute)}"
    yield f"  5 min {words.counts(one.five_minutes)}"
    yield f"  first chunk {words.percentiles(one.first_chunk)}"
    if one.answer is not None:
        yield f"  answers {words.percentiles(one.answer)}"
    timed = [median for median in one.sparkline if median is not None]
    if timed:
        yield f"  2 min {_sparkline(one.sparkline)} {words.duration(min(timed))} to {words.duration(max(timed))}"
    yield f"  last error {words.last_error(one)}"


def _sparkline(medians: tuple[float | None, ...]) -> str:
    top = max(median for median in medians if median is not None) or 1.0
    last = len(_MEDIANS) - 1
    return "".join("." if median is None else _MEDIANS[round(median / top * last)] for median in medians)


def _failovers(snapshot: Snapshot) -> Iterator[str]:
    for one in snapshot.failovers:
        reasons = ", ".join(f"{reason} {words.number(count)}" for reason, count in one.reasons)
        since = f"{words.number(one.total)} since the start"
        yield f"{one.before} to {one.after}: {words.number(one.count)}{f' ({reasons})' if reasons else ''}, {since}"


def _overhead(snapshot: Snapshot) -> Iterator[str]:
    yield f"ogw_asgi's own: {words.percentiles(snapshot.overhead.own)}"
    yield f"providers, and callers who read: {words.percentiles(snapshot.overhead.upstream)}"
    if (share := words.share_of_own(snapshot)) is not None:
        yield f"of the median request, {share} is ogw_asgi's"


def _settings(snapshot: Snapshot) -> Iterator[str]:
    for one in snapshot.settings:
        yield f"{one.name} = {one.value} (from {one.source})"


def _requests(snapshot: Snapshot) -> Iterator[str]:
    lines = (*snapshot.running, *snapshot.recent)
    if not lines and not snapshot.in_flight:
        return
    scale = Scale(lines)
    yield ", ".join(f"{sign} {'429' if name == 'limited' else name}" for name, sign in _FILLS.items())
    yield "times of day are UTC; bars show short times wider:"
    yield f"         {_axis(scale)}"
    yield f"running: {words.number(snapshot.in_flight)}"
    for line in snapshot.running:
        yield from _request(line, scale)
    if (more := snapshot.in_flight - len(snapshot.running)) > 0 and snapshot.running:
        yield f"and {words.number(more)} more"
    yield f"the last {len(snapshot.recent)}:" if snapshot.recent else "none has ended yet"
    for line in snapshot.recent:
        yield from _request(line, scale)


def _axis(scale: Scale) -> str:
    drawn = ""
    for ms, at in reversed(scale.ticks()):
        place, said = round(at / 100 * _BAR), words.round_time(ms).replace(" ", "")
        if place >= len(drawn):
            drawn = f"{drawn:<{place}}{said} "
    return drawn.rstrip().replace(" ", ".")


def _request(line: Line, scale: Scale) -> Iterator[str]:
    status = f" {line.status}" if line.status is not None else ""
    by = f" by {line.provider}" if line.provider is not None else ""
    took = words.duration(line.duration_ms / 1000)
    yield f"{words.clock(line.began_at_s)} {_bar(line, scale)} {took} {line.outcome}{status}{by}"
    yield f"  {line.model} {words.manner(line)}, id {line.request_id}"
    trail = (" ".join(filter(None, (words.why(one), words.attempt(one, line.model)))) for one in line.segments)
    yield f"  of {', '.join(line.sequence)}: {' > '.join(trail) or 'no attempt'}"


def _bar(line: Line, scale: Scale) -> str:
    drawn = ["."] * _BAR
    for one in line.segments:
        begin, end = (round(scale.at(ms) / 100 * _BAR) for ms in (one.start_ms, one.start_ms + one.duration_ms))
        begin = min(begin, _BAR - 1)
        for place in range(begin, max(end, begin + 1)):
            drawn[place] = _FILLS[fill(one)]
    return "".join(drawn)
