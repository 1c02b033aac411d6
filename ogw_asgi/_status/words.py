"""How numbers and names are said, on the page and in the text alike."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from math import ceil
from typing import Final

from .snapshot import Counts, End, Health, Line, Percentiles, Segment, Sharing, Snapshot, Tile

COUNTED: Final = (
    ("ok", "ok", "ended well"),
    ("429", "rate_limited", "rate limited"),
    ("5xx", "server_error", "errors of the server"),
    ("timeout", "timeout", "no first chunk in time, or silence after it"),
    ("other", "other", "failed otherwise, such as a refused connection"),
    ("refused", "refused", "the request was at fault, not the target"),
    ("moot", "unfinished", "unfinished: the caller left or gave it too little time, or another was faster"),
)
"""The word, the field of Counts, what it means."""

SHARING: Final[Mapping[Sharing, str]] = {
    "own": "this process's own",
    "shared": "shared with other workers",
    "lost": "lost: should be shared, and is not now",
}

HEALTH: Final[Mapping[Health, str]] = {
    "ok": "answers",
    "recovering": "has failed in the last minute, and answers again",
    "failing": "failed the last time",
    "cooling": "has asked not to be asked for a while: asked only after the others",
    "open": "its breaker is open: asked only after the others, or to probe it",
    "probing": "its breaker is half open: the request on its way decides, or the next one",
    "silent": "asked in the last five minutes, has neither answered nor failed: callers wait, or did not wait for it",
    "idle": "has not been asked for five minutes",
}

ENDS: Final[Mapping[End, str]] = {
    "complete": "complete",
    "failed": "failed",
    "broken": "broken off",
    "left": "caller left",
    "cancelled": "not needed: another was faster",
    "running": "running",
}


def plain(text: str) -> str:
    """What could move a cursor, turn a line round or hide is written out, as Python would."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def duration(seconds: float) -> str:
    """In ms, s, m, h or d, to two or three digits, as people say it."""
    if seconds < 0.00995:
        return f"{seconds * 1000:.1f} ms" if seconds > 0 else "0 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    units = ((86_400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s"))
    size, unit, below, smaller = next(one for one in units if whole >= one[0])
    rest = whole % size // below
    return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"


def round_time(ms: float) -> str:
    """Of an axis: without the decimals that a measured one has."""
    return "0" if not ms else f"{ms / 1000:g} s" if 1000 <= ms < 60_000 else duration(ms / 1000)


def countdown(seconds: float) -> str:
    """Never sooner than it is."""
    return f"{ceil(seconds)} s" if seconds <= 59 else duration(ceil(seconds))


def number(count: int) -> str:
    return f"{count:,}"


def percent(part: int, whole: int) -> str:
    """Never 100 % of less than all, and never 0 % of something."""
    if part >= whole:
        return "100 %"
    tenths = part * 1000 // whole
    if part and not tenths:
        return "<0.1 %"
    whole_ones = tenths % 10 == 0 or 100 <= tenths < 900
    return f"{tenths // 10} %" if whole_ones else f"{tenths / 10:.1f} %"


def many(count: int, word: str) -> str:
    return f"{number(count)} {word}" if count == 1 else f"{number(count)} {word}s"


def clock(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%H:%M:%S")


def moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def name(tile: Tile) -> str:
    if tile.named:
        return f"{tile.provider} (endpoints that callers name)"
    return f"{tile.provider} {tile.model}" if tile.model is not None else tile.provider


def percentiles(told: Percentiles | None) -> str:
    if told is None:
        return "none in five minutes"
    return f"p50 {duration(told.p50_s)}, p95 {duration(told.p95_s)} of {number(told.count)}"


def probe(tile: Tile) -> str | None:
    if tile.probe_in_s is None:
        return None
    return f"next probe in {countdown(tile.probe_in_s)}" if tile.probe_in_s > 0 else "the next request probes it"


def _decides(tile: Tile) -> str:
    """Of a breaker that is half open. Between two probes nothing is under way, for as long as nobody asks."""
    return "a request on its way decides" if tile.in_flight else "the next request decides"


def circuit(tile: Tile) -> str:
    if tile.named:
        return "not watched: callers name the endpoints"
    of = {"origin": " for the whole server", "model": " for this model", None: ""}[tile.circuit_of]
    state = "half open" if tile.circuit == "half_open" else tile.circuit
    then = probe(tile) if tile.circuit == "open" else _decides(tile) if tile.circuit == "half_open" else None
    return f"{state}{of}{f': {then}' if then else ''}"


def last_error(tile: Tile) -> str:
    error = tile.last_error
    if error is None:
        return "none"
    kind = error.error_type if error.error_type == error.outcome else f"{error.error_type} {error.outcome}"
    return f"{kind}, {duration(error.age_s)} ago"


def condition(tile: Tile) -> str:
    """What follows the target's name and `is`."""
    if tile.health == "open":
        then = probe(tile)
        return f"open: {then}" if then else "open"
    if tile.health == "probing":
        return f"probing: {_decides(tile)}"
    if tile.health == "cooling":
        return (
            f"cooling down: last in line for another {countdown(tile.cooling_s)}"
            if tile.cooling_s is not None
            else "cooling down"
        )
    if tile.health in ("failing", "recovering") and tile.last_error is not None:
        return f"{tile.health}: {last_error(tile)}"
    return tile.health


def counts(told: Counts) -> str:
    """All that there are, in one line."""
    return ", ".join(f"{number(getattr(told, field))} {word}" for word, field, _ in COUNTED)


def why(segment: Segment) -> str | None:
    """Why it was made; and when, where that does not follow from the end of the one before."""
    if segment.reason == "first":
        return None
    alone = segment.reason not in ("hedge", "retry")
    return segment.reason if alone else f"{segment.reason} at {duration(segment.start_ms / 1000)}"


def attempt(segment: Segment, asked: str) -> str:
    """An attempt of a request that asked for the model `asked`, as text; why it was made stands elsewhere."""
    said = [segment.provider if segment.model == asked else f"{segment.provider} {segment.model}", segment.label]
    if not segment.label or (segment.end not in ("complete", "failed") and segment.label != segment.end):
        said.append(ENDS[segment.end])
    said.append(duration(segment.duration_ms / 1000))
    if segment.first_chunk_ms is not None:
        said.append(f"(first chunk {duration(segment.first_chunk_ms / 1000)})")
    return " ".join(filter(None, said))


def manner(line: Line) -> str:
    """How it was asked for, and its tokens where anybody told: that nobody did is no news, in line after line."""
    how = "streamed" if line.stream else "in one piece"
    if line.input_tokens is None and line.output_tokens is None:
        return how
    taken, given = ("?" if count is None else number(count) for count in (line.input_tokens, line.output_tokens))
    return f"{how}, {taken} in, {given} out"


def share_of_own(snapshot: Snapshot) -> str | None:
    """What of the median time was the gateway's own."""
    own, upstream = snapshot.overhead.own, snapshot.overhead.upstream
    if own is None or upstream is None or own.p50_s + upstream.p50_s <= 0:
        return None
    share = own.p50_s / (own.p50_s + upstream.p50_s) * 100
    return "<0.1 %" if 0 < share < 0.1 else f"{share:.1f} %"
