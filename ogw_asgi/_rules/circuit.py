"""The circuit breaker: closed, open, half-open, as a frozen state and one pure function (contract, section 4).

`transition` is the law; whoever keeps the state applies it. There are two circuits to an attempt, its origin's and its
model's there, and this file knows of one. Every clock reading is an argument and may run backwards: then the state's
times move with it, as if no time had passed. Jitter is an argument, too, random in [0, 1).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, NamedTuple

from .._frozen import dataclass
from .._values import Breaker

WINDOW = 20
WINDOW_S = 30.0
"""Results count while they are among so many and not older than this."""

LEAST = 5
"""Fewer results are no share of anything."""

FAILED_SHARE = 0.5
LATE_SHARE = 0.8
"""Lateness is a weaker sign than failure: only a target that has all but stopped answering is down."""

RECOVERED = 2
"""So many probes in a row close a circuit."""

SERIES_S = 60.0
"""A circuit that opens again so soon after it closed goes on with the open times where they were."""

JITTER = 0.25


class Result(NamedTuple):
    """One attempt as a closed circuit remembers it; `late` until its outcome replaces that."""

    at_s: float
    kind: Literal["ok", "failed", "late"]
    ticket: int


class Lease(NamedTuple):
    """The one probe of a half-open circuit. It runs out, so that a holder that died holds nothing up."""

    ticket: int
    until_s: float


@dataclass(frozen=True, slots=True)
class Circuit:
    """What is known of one origin, or of one model there.

    Attributes:
        seen_s: the clock at the last change; all other times are on the same clock.
        since_s: when it opened, or (closed) when it closed the last time.
        results, in_a_row: of a closed circuit: its last attempts, and how many of them failed since the last success.
        trips: how often it has opened in this series.
        open_s: how long it stays open, counted from `since_s`.
        silent: it opened because nothing came, not because errors came.
        recovered: probes that succeeded since it opened.
        cooling_until_s: until then the provider asked not to be asked. It moves no phase.
        sound_until_s: until then one more success says nothing new: `results` holds nothing else, as many as it can,
            and all of this second.
    """

    phase: Literal["closed", "open", "half_open"] = "closed"
    seen_s: float = float("-inf")
    since_s: float = float("-inf")
    results: tuple[Result, ...] = ()
    in_a_row: int = 0
    trips: int = 0
    open_s: float = 0.0
    silent: bool = False
    lease: Lease | None = None
    recovered: int = 0
    cooling_until_s: float = float("-inf")
    sound_until_s: float = float("-inf")


CLOSED = Circuit()


# --- what happens to it -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Admitted:
    """An attempt goes out. Of a circuit whose open time is over it becomes the probe, if there is none."""

    ticket: int
    lease_s: float


@dataclass(frozen=True, slots=True)
class Succeeded:
    """Its first chunk came. `started_s`: when it was admitted, on the same clock."""

    ticket: int
    started_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """It failed, and this circuit is to blame.

    `silent`: nothing came in time. `for_s`: opens it at once, that long. `started_s`: when it was admitted.
    """

    ticket: int
    silent: bool = False
    for_s: float | None = None
    started_s: float = float("inf")
    broke: bool = False
    """Its first chunk had counted as a success, and then it broke."""


@dataclass(frozen=True, slots=True)
class Late:
    """Its first chunk is overdue by the target's own measure."""

    ticket: int
    started_s: float = float("inf")


@dataclass(frozen=True, slots=True)
class Released:
    """It ended in a way that says nothing of the target: the caller's fault, the caller gone, nothing sent."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Outrun:
    """It was cancelled since another target answered first, although that one had started later."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Cooled:
    """The provider asked not to be asked for `for_s`. Of two such words the later end counts."""

    for_s: float


Event = Admitted | Succeeded | Failed | Late | Released | Outrun | Cooled


def transition(state: Circuit, event: Event, now_s: float, breaker: Breaker, jitter: float = 0.5) -> Circuit:
    """The state after the event. Total: any event may come in any phase; what says nothing changes nothing."""
    if now_s < state.seen_s:
        state = anchored(state, now_s)
    if now_s < state.sound_until_s and state.phase == "closed" and type(event) is Succeeded:
        return state  # as nearly always
    match event:
        case Admitted():
            return _admitted(state, event, now_s)
        case Succeeded():
            return _succeeded(state, event, now_s)
        case Failed():
            return _failed(state, event, now_s, breaker, jitter)
        case Late() if state.phase == "closed" and event.started_s >= state.since_s:
            result = Result(now_s, "late", event.ticket)
            noted = _noted(state, result, now_s)
            return _open(noted, now_s, breaker, jitter, silent=True) if _down(noted, breaker) else noted
        case Released():
            return _released(state, event.ticket)
        case Outrun() if _holds(state, event.ticket):
            if state.silent:
                # What succeeded before still counts: against a quicker target, slow ones seldom win twice in a row.
                return replace(_open(state, now_s, breaker, jitter, silent=True), recovered=state.recovered)
            # It had failed with errors and this time did not: another target was quicker, and that is all.
            return _one_recovered(_released(state, event.ticket), now_s)
        case Cooled():
            return replace(state, seen_s=now_s, cooling_until_s=max(state.cooling_until_s, now_s + event.for_s))
    return state


def anchored(state: Circuit, now_s: float) -> Circuit:
    """The state as of `now_s`. On a clock that went back, its times go back as far: nothing gets longer by it."""
    back_s = state.seen_s - now_s
    if back_s <= 0:
        return state
    return replace(
        state,
        seen_s=now_s,
        since_s=state.since_s - back_s,
        results=tuple(result._replace(at_s=result.at_s - back_s) for result in state.results),
        lease=state.lease and state.lease._replace(until_s=state.lease.until_s - back_s),
        cooling_until_s=state.cooling_until_s - back_s,
        sound_until_s=state.sound_until_s - back_s,
    )


def _admitted(state: Circuit, event: Admitted, now_s: float) -> Circuit:
    due = state.phase == "open" and now_s >= state.since_s + state.open_s
    free = state.phase == "half_open" and (state.lease is None or now_s >= state.lease.until_s)
    if not (due or free):
        return state
    return replace(state, phase="half_open", seen_s=now_s, lease=Lease(event.ticket, now_s + event.lease_s))


def _succeeded(state: Circuit, event: Succeeded, now_s: float) -> Circuit:
    if state.phase == "closed":
        return _noted(state, Result(now_s, "ok", event.ticket), now_s)
    if event.started_s < state.since_s and not (state.silent or _holds(state, event.ticket)):
        return state  # it went out before the errors began, so it says nothing about their end
    return _one_recovered(_released(state, event.ticket), now_s)


def _failed(state: Circuit, event: Failed, now_s: float, breaker: Breaker, jitter: float) -> Circuit:
    if state.phase == "closed":
        if event.started_s < state.since_s and event.for_s is None:
            return _released(state, event.ticket)  # of the outage that is over: it would keep a sound target out
        result = Result(now_s, "failed", event.ticket)
        noted = _noted(state, result, now_s)
        if event.for_s is None and not _down(noted, breaker):
            return noted
        return _open(noted, now_s, breaker, jitter, silent=event.silent, for_s=event.for_s)
    if _holds(state, event.ticket) or (event.broke and state.phase == "half_open"):
        return _open(state, now_s, breaker, jitter, silent=event.silent, for_s=event.for_s)
    # An attempt from before, or one that went out for want of anything better: it makes nothing worse than it is, or
    # traffic alone could keep a circuit open for ever.
    if event.for_s is not None and state.since_s + state.open_s < now_s + event.for_s:
        return replace(state, phase="open", seen_s=now_s, since_s=now_s, open_s=event.for_s, lease=None, recovered=0)
    return state


def _released(state: Circuit, ticket: int) -> Circuit:
    if _holds(state, ticket):
        state = replace(state, lease=None)
    if any(result.ticket == ticket and result.kind == "late" for result in state.results):
        return replace(state, results=_without_late(state.results, ticket))
    return state


def _holds(state: Circuit, ticket: int) -> bool:
    return state.lease is not None and state.lease.ticket == ticket


def _one_recovered(state: Circuit, now_s: float) -> Circuit:
    recovered = state.recovered + 1
    if recovered < RECOVERED:
        return replace(state, phase="half_open", seen_s=now_s, recovered=recovered)  # another may be probing
    return Circuit(seen_s=now_s, since_s=now_s, trips=state.trips, cooling_until_s=state.cooling_until_s)


def _open(
    state: Circuit, now_s: float, breaker: Breaker, jitter: float, *, silent: bool, for_s: float | None = None
) -> Circuit:
    afresh = state.phase == "closed" and now_s - state.since_s > SERIES_S
    trips = 1 if afresh else state.trips + 1
    # Bounded before it is raised: a series may be long.
    grown_s = min(breaker.open_s * 2.0 ** min(trips - 1, 32), breaker.open_max_s)
    open_s = grown_s * (1 - JITTER + 2 * JITTER * jitter)
    return Circuit(
        phase="open",
        seen_s=now_s,
        since_s=now_s,
        trips=trips,
        open_s=open_s if for_s is None else max(open_s, for_s),
        silent=silent,
        cooling_until_s=state.cooling_until_s,
    )


def _down(state: Circuit, breaker: Breaker) -> bool:
    if state.in_a_row >= breaker.failures:
        return True
    streak = next((index for index, one in enumerate(reversed(state.results)) if one.kind == "ok"), len(state.results))
    if streak >= breaker.failures:  # failed or late, without a success since
        return True
    known = len(state.results)
    failed = sum(result.kind == "failed" for result in state.results)
    late = sum(result.kind == "late" for result in state.results)
    return known >= max(LEAST, breaker.failures) and (
        failed >= FAILED_SHARE * known or (late > 0 and failed + late >= LATE_SHARE * known)
    )


_ALL_WELL = {"ok"}


def _noted(state: Circuit, result: Result, now_s: float) -> Circuit:
    """A closed circuit, with one more result."""
    recent = [old for old in _without_late(state.results, result.ticket) if now_s - old.at_s <= WINDOW_S]
    results = (*recent[-(WINDOW - 1) :], result)
    sound = len(results) == WINDOW and {one.kind for one in results} == _ALL_WELL
    in_a_row = {"ok": 0, "failed": state.in_a_row + 1, "late": state.in_a_row}[result.kind]
    return replace(
        state,
        seen_s=now_s,
        in_a_row=in_a_row,
        results=results,
        sound_until_s=results[0].at_s + 1.0 if sound else float("-inf"),
    )


def _without_late(results: Iterable[Result], ticket: int) -> tuple[Result, ...]:
    return tuple(old for old in results if not (old.ticket == ticket and old.kind == "late"))
