"""What a part of a run has to show, as lines of the table. Pure: histories in, lines out.

The bounds are goals, not what was measured some day; where one follows from a setting, it is computed from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ..table import Line, at_most, fact, none_of, share
from .history import MAX_ATTEMPTS, History, tally, uncounted, worst_attempts
from .schedule import Unhealthy, healthy_all_along, healthy_for_s
from .traffic import Record

ONE_DEAD = 1.01
ALL_DEAD = 1.10
BUDGET_PER_S = 3.0
FAILURES = 5
JITTER = 1.25
SLOW_AFTER_S = 3.0
"""What a target may take at least before it counts as slow; more only where answers take a second and more."""

PROBE_MS = 1000.0
SOON_S = 0.3
"""A healthy first chunk in those parts, with room."""

ENOUGH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the part was run with, as far as its bounds depend on it. `short`: too short for ratios of latencies."""

    open_s: float
    open_max_s: float
    rps: float
    short: bool


def everywhere(part: str, history: History, noticed_s: float) -> list[Line]:
    """What holds in every part.

    `noticed_s`: how long a recovery may go unnoticed, where all providers may be at fault at once. Within that time a
    request is refused although a provider is well again: to ask every target that should be left alone, for every
    request, is what the retry budget is against. Such refusals are counted beside, and not judged.
    """
    sums = tally(history, noticed_s)
    attempts = sum(record.attempts for record in history.records)
    lines = [
        share(part, "answered whole, of those owed it", sums.owed - len(sums.failed), sums.owed),
        *_failed(part, history, sums.failed),
        *_unnoticed(part, history, noticed_s),
        none_of(part, "answers corrupted", len(sums.corrupted), sums.requests),
        none_of(part, "requests that got no answer at all", len(sums.lost), sums.requests),
        fact(part, "streams broken by their provider, and marked so", f"{sums.broken}"),
        fact(part, "not owed: no provider healthy all along, caller left", f"{sums.unowed}, {sums.left}"),
        at_most(part, "most attempts for one request", worst_attempts(history), MAX_ATTEMPTS),
        none_of(part, "requests with attempts that nobody was told of", len(uncounted(history))),
    ]
    if any(history.waited_s.values()):
        shown = ", ".join(f"{name} {seconds:.2g} s" for name, seconds in history.waited_s.items())
        lines.append(fact(part, "ready to run, and not run", shown))
    if sums.requests - sums.left:
        each = attempts / (sums.requests - sums.left)
        lines.append(fact(part, "attempts per request, all in all", f"{each:.3f}"))
    return lines


def _unnoticed(part: str, history: History, noticed_s: float) -> list[Line]:
    if not noticed_s:
        return []
    strict = tally(history)
    shown = f"{strict.owed - len(strict.failed)} of {strict.owed}"
    return [fact(part, f"  also counting the {noticed_s:.3g} s in which a recovery is noticed", shown)]


def _failed(part: str, history: History, failed: Sequence[Record]) -> list[Line]:
    """How it came that the healthy one did not answer: not tried at all, and for how long it had been healthy then."""
    if not failed:
        return []
    untried, known_s = 0, []
    for record in failed:
        healthy = healthy_all_along(record.asked.sequence, record.start_s, record.end_s, history.unhealthy)
        untried += not any(record.tried(name) for name in healthy)
        known_s += [healthy_for_s(name, record.start_s, history.unhealthy, history.start_s) for name in healthy]
    return [
        fact(part, "  of the others, never tried the healthy one", f"{untried} of {len(failed)}"),
        fact(part, "  which had been healthy for", f"{min(known_s):.2g}..{max(known_s):.2g} s"),
    ]


# --- one provider is down -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outage:
    """What one arm saw of one span in which `provider`, its first, was at fault."""

    span: Unhealthy
    tried: Sequence[Record]
    """Those that still tried it, before the first that did not."""
    after: Sequence[Record]
    """Those that started from that first one on, until the provider was back."""
    used_again_s: float | None
    """From the provider's being back to the start of the first request that it answered; the bench's own stalls are
    left out."""


def outage(history: History, records: Sequence[Record], span: Unhealthy) -> Outage:
    ordered = sorted(records, key=lambda record: record.start_s)
    during = [record for record in ordered if span.from_s < record.start_s <= span.to_s]
    spared = next((i for i, record in enumerate(during) if not record.tried(span.provider)), len(during))
    again_s = next((one.start_s for one in ordered if one.start_s > span.to_s and one.served_by == span.provider), None)
    if again_s is not None:
        again_s -= span.to_s + history.stalled_s(span.to_s, again_s)
    return Outage(span, during[:spared], during[spared:], again_s)


def attempts_each(records: Sequence[Record]) -> float | None:
    return sum(record.attempts for record in records) / len(records) if records else None


def dead(part: str, history: History, bounds: Bounds) -> list[Line]:
    """Twice: shortly, for the first recovery; then for long, until the open time is at its longest."""
    spans = [span for span in history.unhealthy if span.provider == "a" and span.state == "refused"]
    if len(spans) != 2:
        return [none_of(part, "spans that were not as planned", 1)]
    records = history.arm("a first")
    first, long = (outage(history, records, span) for span in spans)
    lines = [
        at_most(part, "failures until it is no longer tried", _detected(first, _failures(first)), FAILURES),
        fact(part, "time until it is no longer tried", _shown_s(_last_try_s(first))),
        _used_again(part, "first recovery, used again after", first, bounds.open_s, bounds),
        _used_again(part, "recovery after a long outage", long, bounds.open_max_s, bounds),
        _spared(part, long),
    ]
    mine, reference = _beside(history, long)
    judged = not bounds.short
    p50 = _p(mine, 50) - _p(reference, 50) if mine and reference else None
    p99 = _p(mine, 99) - _p(reference, 99) if mine and reference else None
    lines += [
        at_most(part, "p50 of the first chunk, added to healthy order", p50, 0.1, unit=" ms", judged=judged),
        at_most(part, "p99 of the first chunk, added to healthy order", p99, 2.0, unit=" ms", judged=judged),
        *_absolute(part, mine, reference),
    ]
    return lines


def silent(part: str, history: History, bounds: Bounds, *, state: str, streams: float) -> list[Line]:
    """A provider that says nothing: accepts and is mute, or drops every SYN."""
    spans = [span for span in history.unhealthy if span.provider == "a" and span.state == state]
    if len(spans) != 1:
        return [none_of(part, "spans that were not as planned", 1)]
    seen = outage(history, history.arm("a first"), spans[0])
    arrivals_s = FAILURES / (bounds.rps * streams)
    mine, reference = _beside(history, seen)
    judged = not bounds.short
    ratio = _p(mine, 99) / _p(reference, 99) if mine and reference else None
    longest = max(mine) - max(reference) if mine and reference else None
    waited = max((record.first_ms for record in seen.tried), default=0)
    last_try_s = _last_try_s(seen)
    last_try_s -= history.stalled_s(spans[0].from_s, spans[0].from_s + last_try_s)
    return [
        at_most(
            part, "time until it is no longer tried", _detected(seen, last_try_s), SLOW_AFTER_S + arrivals_s, unit=" s"
        ),
        fact(part, "longest wait for a first chunk until then", f"{waited / 1000:.3g} s"),
        _used_again(part, "used again after", seen, bounds.open_max_s, bounds, probe_s=PROBE_MS / 1000 + SOON_S),
        _spared(part, seen),
        at_most(part, "p99 of the first chunk, times healthy order's", ratio, 1.05, judged=judged),
        at_most(part, "max of the first chunk, added to healthy order", longest, PROBE_MS, unit=" ms", judged=judged),
        *_absolute(part, mine, reference),
    ]


def _absolute(part: str, mine: Sequence[float], reference: Sequence[float]) -> list[Line]:
    return [
        fact(part, f"  {what}: p50, p99, max", f"{_p(values, 50):.3g}, {_p(values, 99):.3g}, {max(values):.3g} ms")
        for what, values in (("with it", mine), ("without it", reference))
        if values
    ] + [fact(part, "  of", f"{len(mine)} and {len(reference)} requests")]


def _spared(part: str, seen: Outage) -> Line:
    """Of fewer requests one probe alone is a percent or two: then there is nothing to judge."""
    enough = not seen.after or len(seen.after) >= ENOUGH
    return at_most(part, "attempts per request after detection", attempts_each(seen.after), ONE_DEAD, judged=enough)


def _detected(seen: Outage, value: float) -> float | None:
    return value if seen.after else None


def _failures(seen: Outage) -> int:
    """Without those that were under way when the last of the FAILURES was known: they could not know."""
    known_s = sorted(record.first_s or record.end_s for record in seen.tried)
    if len(known_s) <= FAILURES:
        return len(known_s)
    return FAILURES + sum(record.start_s > known_s[FAILURES - 1] for record in seen.tried)


def _last_try_s(seen: Outage) -> float:
    return seen.tried[-1].start_s - seen.span.from_s if seen.tried else 0.0


def _used_again(part: str, what: str, seen: Outage, open_s: float, bounds: Bounds, *, probe_s: float = 0.0) -> Line:
    """`probe_s`: so long a probe that went out just before the recovery may take to be given up."""
    return at_most(part, what, seen.used_again_s, JITTER * open_s + probe_s + 1 / bounds.rps, unit=" s")


def _beside(history: History, seen: Outage) -> tuple[list[float], list[float]]:
    """First-chunk times of the arm after detection, and of the healthy order in the same minutes."""
    if not seen.after:
        return [], []
    from_s, to_s = seen.after[0].start_s, seen.span.to_s
    healthy = [one for one in history.arm("healthy order") if from_s <= one.start_s <= to_s]
    return [one.first_ms for one in seen.after], [one.first_ms for one in healthy]


def _shown_s(value: float) -> str:
    return f"{value:.3g} s"


def _p(values: Sequence[float], percent: int) -> float:
    """The nearest rank."""
    ordered = sorted(values)
    return median(ordered) if percent == 50 else ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


# --- all of them are down -----------------------------------------------------------------------------------------


def total_outage(part: str, history: History, bounds: Bounds, *, settled_s: float) -> list[Line]:
    """`settled_s`: after so long every circuit had its failures, and what the buckets had saved is spent."""
    spans = [span for span in history.unhealthy if span.state != "not run"]
    if len(spans) != 3:
        return [none_of(part, "spans that were not as planned", 1)]
    down_s, up_s = max(span.from_s for span in spans), min(span.to_s for span in spans)
    down = [one for one in history.records if down_s + settled_s <= one.start_s and one.end_s <= up_s]
    back = [one for one in history.records if one.start_s > max(span.to_s for span in spans)]
    bound = ALL_DEAD + BUDGET_PER_S / bounds.rps + 2 / max(1, len(down))  # one attempt at either end
    first = min((one.start_s - up_s for one in back if one.verdict.kind == "whole"), default=None)
    lines = [
        at_most(part, "attempts per request meanwhile", attempts_each(down), bound),
        fact(part, "of", f"{len(down)} requests"),
        at_most(part, "answered again after", first, JITTER * bounds.open_s + 1 / bounds.rps, unit=" s"),
    ]
    for span in sorted(spans, key=lambda span: span.provider):
        seen = outage(history, history.records, span)
        # Asked first by a third of the requests: three arrivals bring it one.
        soon_s = JITTER * bounds.open_max_s + 3 / bounds.rps
        lines.append(at_most(part, f"{span.state} before: used again after", seen.used_again_s, soon_s, unit=" s"))
    return lines


# --- hedging ------------------------------------------------------------------------------------------------------


def hedging(part: str, history: History, bounds: Bounds) -> list[Line]:
    """The arm "on" against "off", which took turns with it."""
    records = history.arm("on")
    ids = {record.asked.request for record in records}
    arrived = sum(exchange.request in ids for exchange in history.exchanges)
    mine, off = ([one.first_ms for one in history.arm(name) if one.verdict.kind == "whole"] for name in ("on", "off"))
    ratio = _p(mine, 99) / _p(off, 99) if mine and off else None
    extra = (arrived - len(records)) / len(records) if arrived else None
    return [
        at_most(part, "p99 of the first chunk, times without hedging", ratio, 0.5, judged=not bounds.short),
        at_most(part, "extra attempts per request", extra, 0.05),
        *_absolute(part, mine, off),
    ]
