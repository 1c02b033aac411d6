"""What workers tell each other of a circuit, and what one makes of what it hears (contract, section 4).

A `Word` crosses the wire, so it holds durations alone: no two workers share a clock, and what one of them calls an hour
is an hour for all. Whose word is the newest is decided where the words meet; `heard` only refuses what is older than
what it has seen with its own eyes. It is total, for another version may have said anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from .._values import Breaker
from .circuit import JITTER, RECOVERED, Circuit, Lease, anchored
from .cooldown import LONGEST_S

ELSEWHERE = -1
"""The ticket of a lease that another worker holds: no attempt of this one has it."""

SLACK_S = 0.05
"""A word is on its way for so long at most, so an opening may look that much younger than it is."""

LONG_S = 86_400.0
"""As long ago as anything is said to be: beyond it lies what never was."""

MOST_TRIPS = 1_000


@dataclass(frozen=True, slots=True)
class Word:
    """What somebody says of a circuit, as of now.

    Attributes:
        phase: None: nothing but the cooldown is said.
        ago_s: when it came to this phase, or to the last success in it.
        since_s: how long ago it opened; or closed.
        left_s: how long it stays open.
        trips, silent, recovered: as in Circuit.
        cooling_s: how much of its cooldown is left.
        leased_s: for how long somebody else still has its probe.
    """

    phase: Literal["closed", "open", "half_open"] | None
    ago_s: float = 0.0
    since_s: float = 0.0
    left_s: float = 0.0
    trips: int = 0
    silent: bool = False
    recovered: int = 0
    cooling_s: float = 0.0
    leased_s: float = 0.0


@dataclass(frozen=True, slots=True)
class News:
    """What of a change concerns others. `phase`: and whatever belongs to it."""

    phase: bool
    cooling: bool
    lease: bool

    def __bool__(self) -> bool:
        return self.phase or self.cooling or self.lease


NO_NEWS = News(False, False, False)


def news(before: Circuit, after: Circuit) -> News:
    """What of this change others should hear. The results of a closed circuit are its own."""
    cooling = after.cooling_until_s > before.cooling_until_s
    if before.phase == after.phase == "closed":
        return News(False, True, False) if cooling else NO_NEWS
    phase = (before.phase, before.since_s, before.open_s, before.recovered) != (
        after.phase,
        after.since_s,
        after.open_s,
        after.recovered,
    )
    return News(phase, cooling, before.lease != after.lease)


def word_of(circuit: Circuit, now_s: float, *, changed_s: float | None) -> Word:
    """What is to be said of it. `changed_s`: when it came to its phase; None: that is no news."""
    seen = anchored(circuit, now_s)
    cooling_s = _bounded(seen.cooling_until_s - now_s, LONGEST_S)
    if changed_s is None:
        return Word(None, cooling_s=cooling_s)
    return Word(
        seen.phase,
        ago_s=_bounded(now_s - changed_s, LONG_S),
        since_s=_bounded(now_s - seen.since_s, LONG_S),
        left_s=_bounded(seen.since_s + seen.open_s - now_s, LONG_S) if seen.phase == "open" else 0.0,
        trips=min(seen.trips, MOST_TRIPS),
        silent=seen.silent,
        recovered=seen.recovered,
        cooling_s=cooling_s,
    )


def aged(word: Word, by_s: float) -> Word:
    """The same word, `by_s` after it was heard."""
    by_s = _bounded(by_s, LONG_S)
    return replace(
        word,
        ago_s=word.ago_s + by_s,
        since_s=word.since_s + by_s,
        left_s=max(0.0, word.left_s - by_s),
        cooling_s=max(0.0, word.cooling_s - by_s),
        leased_s=max(0.0, word.leased_s - by_s),
    )


def heard(state: Circuit, word: Word, now_s: float, breaker: Breaker, *, longest_lease_s: float) -> Circuit:
    """The state after somebody else's word, which counts as far as it is no older than what is known here.

    Nothing gets longer by it than the breaker, a provider's own wish or a lease could have made it here.
    """
    state = anchored(state, now_s)
    cooling_s = _bounded(word.cooling_s, LONGEST_S)
    if cooling_s > 0 and now_s + cooling_s > state.cooling_until_s:
        state = replace(state, seen_s=now_s, cooling_until_s=now_s + cooling_s)
    if word.phase is None or now_s - _bounded(word.ago_s, LONG_S) + SLACK_S < state.since_s:
        return state
    since_s = now_s - _bounded(word.since_s, LONG_S)
    trips = min(max(word.trips, 0), MOST_TRIPS)
    if word.phase == "closed":
        if state.phase == "closed":
            return state
        return Circuit(seen_s=now_s, since_s=since_s, trips=trips, cooling_until_s=state.cooling_until_s)
    left_s = _bounded(word.left_s, longest_s(breaker))
    learned = Circuit(
        phase=word.phase,
        seen_s=now_s,
        since_s=since_s,
        trips=max(trips, 1),
        open_s=now_s - since_s + left_s if word.phase == "open" else now_s - since_s,
        silent=word.silent,
        # One less than closes it: to close is a change of phase, which is said in so many words.
        recovered=min(max(word.recovered, 0), RECOVERED - 1),
        cooling_until_s=state.cooling_until_s,
    )
    if word.phase == "open":
        return learned
    leased_s = _bounded(word.leased_s, longest_lease_s)
    lease = Lease(ELSEWHERE, now_s + leased_s) if leased_s > 0 else None
    if state.lease is not None and state.lease.ticket != ELSEWHERE and now_s < state.lease.until_s:
        lease = state.lease  # it was given away here while others could not be asked
    return replace(learned, lease=lease)


def longest_s(breaker: Breaker) -> float:
    """For how long a circuit may stay open here, or cool down, by its own rules or a provider's word."""
    return max(breaker.open_max_s * (1 + JITTER), LONGEST_S)


def _bounded(value_s: float, most_s: float) -> float:
    """Between 0 and `most_s`, whatever it was; what is no number is nothing."""
    return min(max(0.0, value_s), most_s) if value_s == value_s else 0.0
