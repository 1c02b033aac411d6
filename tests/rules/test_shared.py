"""What workers tell each other of a circuit: what is news, what is said of it, and what becomes of it elsewhere."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._rules.circuit import (
    CLOSED,
    Admitted,
    Circuit,
    Cooled,
    Event,
    Failed,
    Late,
    Lease,
    Outrun,
    Released,
    Result,
    Succeeded,
    transition,
)
from ogw_asgi._rules.cooldown import LONGEST_S
from ogw_asgi._rules.shared import (
    ELSEWHERE,
    LONG_S,
    NO_NEWS,
    SLACK_S,
    News,
    Word,
    aged,
    heard,
    longest_s,
    news,
    word_of,
)
from ogw_asgi._rules.standing import standing
from ogw_asgi._values import Breaker

BREAKER = Breaker()
LEASE_S = 35.0
NOW_S = 1000.0
NEVER_S = float("-inf")

SOUND = Circuit(seen_s=990.0, since_s=900.0, results=(Result(990.0, "ok", 1),))
OPEN = Circuit(phase="open", seen_s=998.0, since_s=998.0, open_s=5.0, trips=1)
DUE = Circuit(phase="open", seen_s=990.0, since_s=990.0, open_s=5.0, trips=1)
PROBING = Circuit(phase="half_open", seen_s=999.0, since_s=990.0, open_s=5.0, trips=1, lease=Lease(7, 1030.0))
FREE = replace(PROBING, lease=None)

OPENED = Word("open", ago_s=1.0, since_s=1.0, left_s=4.0, trips=1)
OVER = Word("open", ago_s=9.0, since_s=9.0, left_s=0.0, trips=2)
PROBED = Word("half_open", ago_s=0.5, since_s=9.0, trips=1, leased_s=30.0)
CLOSED_AGAIN = Word("closed", ago_s=0.5, since_s=0.5, trips=1)
LIMITED = Word(None, cooling_s=10.0)


def hear(state: Circuit, word: Word, now_s: float = NOW_S) -> Circuit:
    return heard(state, word, now_s, BREAKER, longest_lease_s=LEASE_S)


# --- what is news -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "event", "expected"),
    [
        pytest.param(CLOSED, Failed(1), NO_NEWS, id="one failure"),
        pytest.param(SOUND, Succeeded(1, 990.0), NO_NEWS, id="one success"),
        pytest.param(CLOSED, Failed(1, for_s=60.0), News(True, False, False), id="opens"),
        pytest.param(CLOSED, Cooled(3.0), News(False, True, False), id="cools"),
        pytest.param(replace(CLOSED, cooling_until_s=2000.0), Cooled(3.0), NO_NEWS, id="cools no longer than it does"),
        pytest.param(DUE, Admitted(1, 35.0), News(True, False, True), id="is probed"),
        pytest.param(FREE, Admitted(1, 35.0), News(False, False, True), id="is probed again"),
        pytest.param(PROBING, Released(7), News(False, False, True), id="is probed no more"),
        pytest.param(PROBING, Released(8), NO_NEWS, id="nothing"),
        pytest.param(PROBING, Succeeded(7, 999.0), News(True, False, True), id="recovers"),
        pytest.param(replace(PROBING, recovered=1), Succeeded(7, 999.0), News(True, False, True), id="closes"),
        pytest.param(PROBING, Failed(7), News(True, False, True), id="opens again"),
        pytest.param(OPEN, Cooled(3.0), News(False, True, False), id="cools as well"),
    ],
)
def test_what_others_should_hear(before: Circuit, event: Event, expected: News) -> None:
    told = news(before, transition(before, event, NOW_S, BREAKER))
    assert told == expected
    assert bool(told) == (expected != NO_NEWS)


# --- what is heard ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [CLOSED, SOUND, DUE, FREE], ids=["unknown", "closed", "due", "half-open"])
def test_what_opens_elsewhere_opens_here_for_the_time_that_is_left(state: Circuit) -> None:
    after = hear(state, OPENED)
    assert (after.phase, after.since_s, after.since_s + after.open_s) == ("open", 999.0, 1004.0)
    assert standing([after], 1003.9).state == "wait"
    assert standing([after], 1004.0).state == "probe"


def test_what_is_due_elsewhere_may_be_probed_here() -> None:
    assert standing([hear(CLOSED, OVER)], NOW_S).state == "probe"
    assert hear(CLOSED, OVER).trips == 2


@pytest.mark.parametrize("state", [OPEN, DUE, FREE, PROBING], ids=["open", "due", "half-open", "probing"])
def test_what_closes_elsewhere_closes_here(state: Circuit) -> None:
    after = hear(state, CLOSED_AGAIN)
    assert standing([after], NOW_S).state == "ready"
    assert (after.since_s, after.trips) == (999.5, 1), "so that a series goes on"


def test_what_is_closed_on_both_sides_stays_as_it_is() -> None:
    assert hear(SOUND, CLOSED_AGAIN) is SOUND


@pytest.mark.parametrize("word", [OPENED, OVER, PROBED, CLOSED_AGAIN])
@pytest.mark.parametrize("state", [OPEN, SOUND], ids=["open", "closed"])
def test_a_word_from_before_what_was_seen_here_changes_no_phase(state: Circuit, word: Word) -> None:
    newer = replace(state, seen_s=NOW_S, since_s=NOW_S)
    before = replace(word, ago_s=SLACK_S + 0.1, since_s=word.since_s + 10)
    assert hear(newer, before) is newer
    assert hear(newer, replace(before, cooling_s=7.0)) == replace(newer, cooling_until_s=1007.0)


def test_a_probe_elsewhere_makes_one_here_wait_until_its_lease_has_run_out() -> None:
    after = hear(DUE, PROBED)
    assert after.lease == Lease(ELSEWHERE, 1030.0)
    assert standing([after], 1029.9).state == "wait"
    assert standing([after], 1030.0).state == "probe"
    given_back = hear(after, replace(PROBED, leased_s=0.0))
    assert standing([given_back], NOW_S).state == "probe"


def test_who_has_a_lease_here_keeps_it() -> None:
    assert hear(PROBING, PROBED).lease == PROBING.lease
    run_out = replace(PROBING, lease=Lease(7, 999.0))
    assert hear(run_out, PROBED).lease == Lease(ELSEWHERE, 1030.0)


def test_a_success_elsewhere_counts_and_closes_nothing_by_itself() -> None:
    after = hear(DUE, replace(PROBED, recovered=9))
    assert (after.phase, after.recovered) == ("half_open", 1)
    assert standing([after], NOW_S).recovering


@pytest.mark.parametrize("state", [CLOSED, SOUND, OPEN, PROBING])
def test_of_two_cooldowns_the_later_end_counts(state: Circuit) -> None:
    assert hear(state, LIMITED) == replace(state, seen_s=NOW_S, cooling_until_s=1010.0)
    cooling = replace(state, cooling_until_s=1060.0)
    assert hear(cooling, LIMITED) == cooling
    assert hear(cooling, OPENED).cooling_until_s == 1060.0
    assert hear(replace(cooling, since_s=NEVER_S), CLOSED_AGAIN).cooling_until_s == 1060.0


# --- of any of them ---------------------------------------------------------------------------------------------------

numbers = st.floats() | st.sampled_from([0.0, 1.0, 5.0, 20.0, 60.0, 1e9])
words = st.builds(
    Word,
    st.sampled_from([None, "closed", "open", "half_open"]),
    ago_s=numbers,
    since_s=numbers,
    left_s=numbers,
    trips=st.integers(),
    silent=st.booleans(),
    recovered=st.integers(),
    cooling_s=numbers,
    leased_s=numbers,
)
events = st.one_of(
    st.builds(Admitted, st.integers(0, 3), st.sampled_from([6.0, 35.0])),
    st.builds(Succeeded, st.integers(0, 3), st.sampled_from([0.0, 5.0])),
    st.builds(Failed, st.integers(0, 3), st.booleans(), st.sampled_from([None, None, 60.0, 300.0])),
    st.builds(Late, st.integers(0, 3)),
    st.builds(Released, st.integers(0, 3)),
    st.builds(Outrun, st.integers(0, 3)),
    st.builds(Cooled, st.sampled_from([1.0, 5.0, 300.0])),
)
ONCE = Breaker(failures=1)
lives = st.lists(st.tuples(events, st.sampled_from([0.0, 0.1, 4.0, 30.0])), max_size=12)


def lived(life: list[tuple[Event, float]]) -> tuple[Circuit, float]:
    state, now_s = CLOSED, NOW_S
    for event, wait_s in life:
        now_s += wait_s
        state = transition(state, event, now_s, ONCE)
    return state, now_s


def ends_s(state: Circuit) -> float:
    """Until when it stands in anybody's way."""
    open_s = state.since_s + state.open_s if state.phase == "open" else NEVER_S
    leased_s = state.lease.until_s if state.phase == "half_open" and state.lease is not None else NEVER_S
    return max(open_s, leased_s, state.cooling_until_s)


@settings(max_examples=150, deadline=None)
@given(lives, words, st.sampled_from([-3600.0, -0.01, 0.0, 2.0, 100.0]))
def test_nothing_gets_longer_by_a_word_than_it_could_have_got_here(
    life: list[tuple[Event, float]], word: Word, later_s: float
) -> None:
    state, now_s = lived(life)
    now_s += later_s
    here_s = max(ends_s(state) + min(0.0, later_s), now_s)
    after = heard(state, word, now_s, ONCE, longest_lease_s=LEASE_S)
    assert longest_s(ONCE) == max(LONGEST_S, ONCE.open_max_s * 1.25)
    assert ends_s(after) <= max(here_s, now_s + max(longest_s(ONCE), LEASE_S)) + 1e-6
    assert after.phase in ("closed", "open", "half_open")
    assert not math.isnan(ends_s(after))
    assert standing([after], now_s).state in ("ready", "probe", "wait")
    if after.phase != "closed":
        assert after.trips >= 1
    # And whatever happens next is a state again.
    for event in (Admitted(5, 6.0), Succeeded(5, now_s), Failed(6), Cooled(1.0)):
        after = transition(after, event, now_s + 1, ONCE)


@settings(max_examples=100, deadline=None)
@given(lives, events)
def test_what_is_no_news_changes_nothing_that_could_be_said(life: list[tuple[Event, float]], event: Event) -> None:
    before, now_s = lived(life)
    after = transition(before, event, now_s, ONCE)
    told = news(before, after)
    said, then = (word_of(state, now_s, changed_s=now_s) for state in (before, after))
    if not told.phase:
        assert replace(then, cooling_s=said.cooling_s) == said
    if not told.cooling:
        assert then.cooling_s <= said.cooling_s
    if not told.lease:
        assert after.phase == "closed" or after.lease == before.lease


@settings(max_examples=150, deadline=None)
@given(lives, words)
def test_to_hear_it_twice_is_to_hear_it_once(life: list[tuple[Event, float]], word: Word) -> None:
    state, now_s = lived(life)
    once = heard(state, word, now_s, ONCE, longest_lease_s=LEASE_S)
    assert heard(once, word, now_s, ONCE, longest_lease_s=LEASE_S) == once


@settings(max_examples=150, deadline=None)
@given(lives, st.floats(0, 30))
def test_to_hear_ones_own_words_changes_nothing(life: list[tuple[Event, float]], ago_s: float) -> None:
    state, now_s = lived(life)
    for changed_s in (None, now_s - ago_s):
        after = heard(state, word_of(state, now_s, changed_s=changed_s), now_s, ONCE, longest_lease_s=LEASE_S)
        assert after.phase == state.phase
        assert (after.recovered, after.silent) == (state.recovered, state.silent)
        assert after.lease == state.lease or (state.lease is not None and state.lease.until_s <= now_s)
        assert ends_s(after) == pytest.approx(ends_s(state)) or ends_s(state) < now_s
        assert standing([after], now_s + 1e-6).state == standing([state], now_s + 1e-6).state


@settings(max_examples=100, deadline=None)
@given(lives)
def test_whoever_knew_nothing_is_as_well_told_as_whoever_saw_it(life: list[tuple[Event, float]]) -> None:
    state, now_s = lived(life)
    told = heard(CLOSED, word_of(state, now_s, changed_s=now_s), now_s, ONCE, longest_lease_s=LEASE_S)
    for later_s in (1e-6, 3.0, 10.0, 400.0):
        seen = standing([replace(state, lease=None)], now_s + later_s)
        assert standing([told], now_s + later_s).state == seen.state


@settings(max_examples=100, deadline=None)
@given(words, st.floats(0, 1000), st.floats(0, 1000))
def test_a_word_ages_as_what_it_says_does(word: Word, first_s: float, then_s: float) -> None:
    whole = replace(word, ago_s=5.0, since_s=5.0, left_s=15.0, cooling_s=30.0, leased_s=60.0)
    older = aged(aged(whole, first_s), then_s)
    assert older.since_s == pytest.approx(5.0 + first_s + then_s)
    assert older.ago_s == pytest.approx(5.0 + first_s + then_s)
    for before_s, after_s in ((15.0, older.left_s), (30.0, older.cooling_s), (60.0, older.leased_s)):
        assert after_s == pytest.approx(max(0.0, before_s - first_s - then_s), abs=1e-6)
    assert (older.phase, older.trips) == (word.phase, word.trips)


@pytest.mark.parametrize("back_s", [0.0, 0.5, 3600.0])
def test_of_a_clock_that_went_back_the_same_is_said(back_s: float) -> None:
    assert word_of(OPEN, 998.0 - back_s, changed_s=998.0 - back_s) == Word("open", left_s=5.0, trips=1)
    assert word_of(CLOSED, NOW_S, changed_s=NEVER_S) == Word("closed", ago_s=LONG_S, since_s=LONG_S)
