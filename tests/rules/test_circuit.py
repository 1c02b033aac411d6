"""The circuit breaker by tables: every event in every phase, and each number of the contract (sections 4 and 8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from ogw_asgi._rules.circuit import (
    CLOSED,
    LEAST,
    WINDOW,
    WINDOW_S,
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
    anchored,
    transition,
)
from ogw_asgi._rules.standing import standing
from ogw_asgi._values import Breaker

BREAKER = Breaker()
LEASE_S = 35.0
HOUR_S = 3600.0

Step = tuple[float, Event]


def after(*steps: Step, state: Circuit = CLOSED, breaker: Breaker = BREAKER, jitter: float = 0.5) -> Circuit:
    """The state after these events at these times."""
    for now_s, event in steps:
        state = transition(state, event, now_s, breaker, jitter)
    return state


def failures(count: int, at_s: float = 0.0, *, silent: bool = False, first: int = 1) -> list[Step]:
    return [(at_s, Failed(first + n, silent=silent)) for n in range(count)]


def successes(count: int, at_s: float = 0.0, *, first: int = 1) -> list[Step]:
    return [(at_s, Succeeded(first + n, at_s)) for n in range(count)]


def tripped(at_s: float = 0.0, *, silent: bool = False) -> Circuit:
    return after(*failures(5, at_s, silent=silent))


PROBE = 50
OTHER = 60

OPEN = tripped()  # until 5.0
SILENT = tripped(silent=True)
HALF_OPEN = after((5.0, Admitted(PROBE, LEASE_S)), state=OPEN)
HALF_OPEN_SILENT = after((5.0, Admitted(PROBE, LEASE_S)), state=SILENT)
FREE = after((5.0, Released(PROBE)), state=HALF_OPEN)
HALF_WAY = after((5.0, Succeeded(PROBE, 5.0)), state=HALF_OPEN)


def test_the_phases_of_these_tables_are_what_their_names_say() -> None:
    seen = [
        (state.phase, state.lease and state.lease.ticket, state.silent, state.recovered)
        for state in (CLOSED, OPEN, SILENT, HALF_OPEN, HALF_OPEN_SILENT, FREE, HALF_WAY)
    ]
    assert seen == [
        ("closed", None, False, 0),
        ("open", None, False, 0),
        ("open", None, True, 0),
        ("half_open", PROBE, False, 0),
        ("half_open", PROBE, True, 0),
        ("half_open", None, False, 0),
        ("half_open", None, False, 1),
    ]


# --- every event in every phase -----------------------------------------------------------------------------------

Expected = tuple[Literal["closed", "open", "half_open"], int | None, int]
"""Phase, whose lease, probes that succeeded."""


@pytest.mark.parametrize(
    ("state", "now_s", "event", "expected"),
    [
        # closed: nothing but failures, lateness and the provider's word moves it
        pytest.param(CLOSED, 1.0, Admitted(9, LEASE_S), ("closed", None, 0), id="closed-admitted"),
        pytest.param(CLOSED, 1.0, Succeeded(9, 0.0), ("closed", None, 0), id="closed-succeeded"),
        pytest.param(CLOSED, 1.0, Failed(9), ("closed", None, 0), id="closed-failed"),
        pytest.param(CLOSED, 1.0, Failed(9, for_s=300.0), ("open", None, 0), id="closed-money"),
        pytest.param(CLOSED, 1.0, Late(9), ("closed", None, 0), id="closed-late"),
        pytest.param(CLOSED, 1.0, Released(9), ("closed", None, 0), id="closed-released"),
        pytest.param(CLOSED, 1.0, Outrun(9), ("closed", None, 0), id="closed-outrun"),
        pytest.param(CLOSED, 1.0, Cooled(9.0), ("closed", None, 0), id="closed-cooled"),
        # open: it waits for its time, unless somebody finds out that it works
        pytest.param(OPEN, 4.999, Admitted(9, LEASE_S), ("open", None, 0), id="open-admitted"),
        pytest.param(OPEN, 1.0, Succeeded(9, -0.001), ("open", None, 0), id="open-succeeded-from-before"),
        pytest.param(OPEN, 1.0, Succeeded(9, 0.0), ("half_open", None, 1), id="open-succeeded-since"),
        pytest.param(SILENT, 1.0, Succeeded(9, -30.0), ("half_open", None, 1), id="silent-succeeded-from-before"),
        pytest.param(OPEN, 1.0, Failed(9), ("open", None, 0), id="open-failed"),
        pytest.param(OPEN, 1.0, Failed(9, for_s=300.0), ("open", None, 0), id="open-money"),
        pytest.param(OPEN, 1.0, Late(9), ("open", None, 0), id="open-late"),
        pytest.param(OPEN, 1.0, Released(9), ("open", None, 0), id="open-released"),
        pytest.param(OPEN, 1.0, Outrun(9), ("open", None, 0), id="open-outrun"),
        pytest.param(SILENT, 1.0, Outrun(9), ("open", None, 0), id="silent-outrun"),
        pytest.param(OPEN, 1.0, Cooled(9.0), ("open", None, 0), id="open-cooled"),
        # open, its time over: the first to come is the probe
        pytest.param(OPEN, 5.0, Admitted(9, LEASE_S), ("half_open", 9, 0), id="due-admitted"),
        pytest.param(OPEN, 5.0, Failed(9), ("open", None, 0), id="due-failed"),
        # half open, the probe under way
        pytest.param(HALF_OPEN, 6.0, Admitted(9, LEASE_S), ("half_open", PROBE, 0), id="probing-admitted"),
        pytest.param(HALF_OPEN, 6.0, Succeeded(PROBE, 5.0), ("half_open", None, 1), id="probing-succeeded"),
        pytest.param(HALF_OPEN, 6.0, Succeeded(9, -1.0), ("half_open", PROBE, 0), id="probing-other-from-before"),
        pytest.param(HALF_OPEN, 6.0, Succeeded(9, 1.0), ("half_open", PROBE, 1), id="probing-other-succeeded"),
        pytest.param(HALF_OPEN_SILENT, 6.0, Succeeded(9, -1.0), ("half_open", PROBE, 1), id="probing-silent-other"),
        pytest.param(HALF_OPEN, 6.0, Failed(PROBE), ("open", None, 0), id="probing-failed"),
        pytest.param(HALF_OPEN, 6.0, Failed(9), ("half_open", PROBE, 0), id="probing-other-failed"),
        pytest.param(HALF_OPEN, 6.0, Failed(PROBE, for_s=300.0), ("open", None, 0), id="probing-money"),
        pytest.param(HALF_OPEN, 6.0, Failed(9, for_s=300.0), ("open", None, 0), id="probing-other-money"),
        pytest.param(HALF_OPEN, 6.0, Late(PROBE), ("half_open", PROBE, 0), id="probing-late"),
        pytest.param(HALF_OPEN, 6.0, Released(PROBE), ("half_open", None, 0), id="probing-released"),
        pytest.param(HALF_OPEN, 6.0, Released(9), ("half_open", PROBE, 0), id="probing-other-released"),
        pytest.param(HALF_OPEN, 6.0, Outrun(PROBE), ("half_open", None, 1), id="probing-outrun"),
        pytest.param(HALF_OPEN_SILENT, 6.0, Outrun(PROBE), ("open", None, 0), id="probing-silent-outrun"),
        pytest.param(HALF_OPEN, 6.0, Outrun(9), ("half_open", PROBE, 0), id="probing-other-outrun"),
        pytest.param(HALF_OPEN_SILENT, 6.0, Outrun(9), ("half_open", PROBE, 0), id="probing-silent-other-outrun"),
        pytest.param(HALF_OPEN, 6.0, Cooled(9.0), ("half_open", PROBE, 0), id="probing-cooled"),
        # half open, nobody probing
        pytest.param(FREE, 6.0, Admitted(9, LEASE_S), ("half_open", 9, 0), id="free-admitted"),
        pytest.param(FREE, 6.0, Failed(9), ("half_open", None, 0), id="free-failed"),
        pytest.param(FREE, 6.0, Outrun(PROBE), ("half_open", None, 0), id="free-outrun"),
        pytest.param(FREE, 6.0, Released(PROBE), ("half_open", None, 0), id="free-released-again"),
        pytest.param(HALF_WAY, 6.0, Admitted(9, LEASE_S), ("half_open", 9, 1), id="half-way-admitted"),
        pytest.param(HALF_WAY, 6.0, Succeeded(9, 0.0), ("closed", None, 0), id="half-way-succeeded"),
    ],
)
def test_every_event_in_every_phase(state: Circuit, now_s: float, event: Event, expected: Expected) -> None:
    then = transition(state, event, now_s, BREAKER)
    assert (then.phase, then.lease and then.lease.ticket, then.recovered) == expected


# --- what opens it ------------------------------------------------------------------------------------------------


def test_five_failures_in_a_row_open_it_and_four_do_not() -> None:
    four = after(*successes(20), *failures(4, 1.0, first=30))
    assert four.phase == "closed"
    assert after((1.0, Failed(40)), state=four).phase == "open"


def test_a_success_between_starts_the_row_anew() -> None:
    state = after(*successes(20), *failures(4, 1.0, first=30), (1.0, Succeeded(40, 1.0)), *failures(4, 1.0, first=50))
    assert (state.phase, state.in_a_row) == ("closed", 4)


@pytest.mark.parametrize("gap_s", [0.0, WINDOW_S + 1, HOUR_S])
def test_failures_in_a_row_count_however_far_apart_they_are(gap_s: float) -> None:
    assert after(*((n * gap_s, Failed(n)) for n in range(5))).phase == "open"


@pytest.mark.parametrize("between", [Released(9), Late(9), Outrun(9), Cooled(5.0), Admitted(9, LEASE_S)], ids=repr)
def test_what_says_nothing_of_the_target_does_not_interrupt_the_row(between: Event) -> None:
    assert after(*failures(4), (0.0, between), (0.0, Failed(20))).phase == "open"


@pytest.mark.parametrize("failures_", [1, 2, 7])
def test_how_many_in_a_row_is_a_setting(failures_: int) -> None:
    breaker = Breaker(failures=failures_)
    fine = successes(WINDOW)
    assert after(*fine, *failures(failures_ - 1, first=30), breaker=breaker).phase == "closed"
    assert after(*fine, *failures(failures_, first=30), breaker=breaker).phase == "open"


def mixed(pattern: str, step_s: float = 0.1) -> list[Step]:
    """`+` a success, `-` a failure, `~` one that is overdue."""

    def event(char: str, n: int) -> Event:
        return Failed(n) if char == "-" else Late(n) if char == "~" else Succeeded(n, n * step_s)

    return [(n * step_s, event(char, n)) for n, char in enumerate(pattern)]


@pytest.mark.parametrize(
    ("pattern", "phase"),
    [
        ("-+-+", "closed"),  # half of four: fewer than five are no share of anything
        ("--++", "closed"),
        ("-+-+-", "open"),  # three of five
        ("++--+-", "open"),  # half of six, exactly
        ("+++--+-", "closed"),  # three of seven
        ("++++++++++" + "+-" * 9 + "+", "closed"),  # nine of the last 20
        ("++++++++++" + "-+" * 9 + "-", "open"),  # ten of the last 20
        ("--" + "+" * 20 + "-+" * 8, "closed"),  # the oldest two are forgotten
        ("+" * 12 + "--+--+--+--+", "closed"),
        ("+" * 10 + "--+--+--+---", "closed"),
        ("+" * 9 + "--+--+--+----", "open"),
    ],
)
def test_half_of_the_last_twenty_open_it(pattern: str, phase: str) -> None:
    assert after(*mixed(pattern)).phase == phase


@pytest.mark.parametrize(
    ("fine_at_s", "phase"),
    [(0.0, "open"), (0.999, "open"), (1.0, "closed"), (20.0, "closed")],
)
def test_results_older_than_thirty_seconds_are_forgotten(fine_at_s: float, phase: str) -> None:
    steps = [*successes(10, fine_at_s), (28.0, Failed(20)), (29.0, Failed(21)), (29.0, Succeeded(22, 29.0))]
    steps += [(30.0, Failed(23)), (31.0, Succeeded(24, 30.0)), (31.0, Failed(25))]
    assert after(*steps).phase == phase


@pytest.mark.parametrize(
    ("pattern", "phase"),
    [
        ("~~~~", "closed"),
        ("~~~~~", "open"),
        ("+~~~~", "open"),  # four of five are 80 %
        ("+~~~+~~~~", "closed"),  # seven of nine are not, nor are there five in a row
        ("~~~+~", "open"),  # four of five are
        ("+" * 20 + "~" * 4, "closed"),
        ("+" * 20 + "~" * 5, "open"),  # five in a row
        ("+" * 20 + "~+" * 40, "closed"),  # slow, and alive
        ("+" * 20 + "-~-~", "closed"),  # what failed is overdue, too
        ("+" * 20 + "-~-~~", "open"),
        ("+" * 5 + "-" * 3 + "~", "closed"),
    ],
)
def test_lateness_counts_from_four_fifths_on(pattern: str, phase: str) -> None:
    state = after(*mixed(pattern))
    assert (state.phase, state.silent) == (phase, phase == "open")


def test_failures_alone_need_half_and_not_four_fifths() -> None:
    state = after(*mixed("+-+-+-"))
    assert (state.phase, state.silent) == ("open", False)


def test_silence_is_told_from_errors_by_what_opened_it() -> None:
    assert [after(*failures(4), (0.0, Failed(9, silent=silent))).silent for silent in (True, False)] == [True, False]


@pytest.mark.parametrize(
    ("outcome", "kinds", "in_a_row"),
    [
        (Succeeded(7, 0.0), ["ok", "ok"], 0),
        (Failed(7), ["ok", "failed"], 1),
        (Released(7), ["ok"], 0),
        (Late(7), ["ok", "late"], 0),
        (Outrun(7), ["ok", "late"], 0),  # another was quicker: that does not make it less late
    ],
)
def test_a_late_mark_is_replaced_by_its_outcome(outcome: Event, kinds: list[str], in_a_row: int) -> None:
    state = after((0.0, Succeeded(1, 0.0)), (1.0, Late(7)), (2.0, outcome))
    assert [result.kind for result in state.results] == kinds
    assert state.in_a_row == in_a_row


def test_a_late_mark_is_not_anothers() -> None:
    state = after((0.0, Late(7)), (1.0, Succeeded(8, 0.0)), (2.0, Failed(9)), (3.0, Released(10)))
    assert [(result.ticket, result.kind) for result in state.results] == [(7, "late"), (8, "ok"), (9, "failed")]


def test_callers_who_leave_take_their_late_marks_along() -> None:
    steps: list[Step] = []
    for ticket in range(200):
        steps += [(ticket * 0.125, Late(ticket)), (ticket * 0.125, Released(ticket))]
    assert after(*steps) == replace(CLOSED, seen_s=24.875)


def test_a_late_mark_nobody_takes_back_is_gone_in_thirty_seconds() -> None:
    state = after((0.0, Late(1)), (WINDOW_S, Succeeded(2, 0.0)))
    assert len(state.results) == 2
    assert [result.ticket for result in after((WINDOW_S + 0.1, Succeeded(3, 0.0)), state=state).results] == [2, 3]


def test_neutral_ends_open_nothing_however_many() -> None:
    assert after(*((0.0, Released(n)) for n in range(1000))) == CLOSED


def test_it_remembers_no_more_than_twenty() -> None:
    assert (WINDOW, WINDOW_S, LEAST) == (20, 30.0, 5)
    state = after(*mixed("++++-+++~" * 30))
    assert [result.ticket for result in state.results] == list(range(250, 270))


def test_a_stream_that_breaks_after_its_first_chunk_is_a_success_and_a_failure() -> None:
    state = after((0.0, Succeeded(7, 0.0)), (1.0, Failed(7)), (2.0, Released(7)))
    assert [result.kind for result in state.results] == ["ok", "failed"]


def test_one_more_success_of_the_same_second_says_nothing_new() -> None:
    full = after(*successes(WINDOW, 10.0))
    assert after((10.999, Succeeded(99, 10.0)), state=full) is full
    assert after((11.0, Succeeded(99, 10.0)), state=full).results[-1] == Result(11.0, "ok", 99)


@pytest.mark.parametrize("event", [Late(99), Failed(99)], ids=repr)
def test_among_other_results_every_success_counts(event: Event) -> None:
    state = after(*successes(WINDOW), (0.0, event), (0.0, Succeeded(100, 0.0)), (0.0, Succeeded(101, 0.0)))
    assert [result.ticket for result in state.results[-3:]] == [99, 100, 101]


# --- how long -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("jitter", "factor"), [(0.0, 0.75), (0.5, 1.0), (1 - 2**-53, 1.25)])
def test_it_stays_open_for_five_seconds_doubling_to_twenty_give_or_take_a_quarter(jitter: float, factor: float) -> None:
    state = after(*failures(5), jitter=jitter)
    opened: list[float] = []
    for ticket in range(20, 26):
        opened.append(state.open_s)
        due_s = state.since_s + state.open_s
        assert after((due_s - 0.001, Admitted(ticket, LEASE_S)), state=state).phase == "open"
        state = after((due_s, Admitted(ticket, LEASE_S)), (due_s + 1, Failed(ticket)), state=state, jitter=jitter)
        assert state.since_s == due_s + 1
    assert opened == pytest.approx([factor * open_s for open_s in (5, 10, 20, 20, 20, 20)])


def test_the_middle_of_the_jitter_is_the_default() -> None:
    assert transition(after(*failures(4)), Failed(9), 0.0, BREAKER).open_s == 5.0


@pytest.mark.parametrize(
    ("breaker", "opened"),
    [
        (Breaker(open_s=1, open_max_s=60), [1, 2, 4, 8, 16, 32, 60, 60]),
        (Breaker(open_s=30, open_max_s=20), [20, 20]),
    ],
)
def test_the_open_times_are_settings(breaker: Breaker, opened: list[float]) -> None:
    state = after(*failures(5), breaker=breaker)
    seen = [state.open_s]
    for ticket in range(20, 20 + len(opened) - 1):
        now_s = state.since_s + state.open_s
        state = after((now_s, Admitted(ticket, LEASE_S)), (now_s, Failed(ticket)), state=state, breaker=breaker)
        seen.append(state.open_s)
    assert seen == opened


def test_a_series_may_be_as_long_as_it_likes() -> None:
    state = replace(OPEN, trips=100_000)
    state = after((5.0, Admitted(9, LEASE_S)), (5.0, Failed(9)), state=state)
    assert (state.trips, state.open_s) == (100_001, 20.0)


def closed_again(state: Circuit, at_s: float) -> Circuit:
    steps: list[Step] = []
    for ticket in (70, 71):
        steps += [(at_s, Admitted(ticket, LEASE_S)), (at_s, Succeeded(ticket, at_s))]
    return after(*steps, state=state)


@pytest.mark.parametrize(
    ("closed_for_s", "trips", "open_s"), [(0.0, 2, 10.0), (60.0, 2, 10.0), (60.001, 1, 5.0), (HOUR_S, 1, 5.0)]
)
def test_a_circuit_that_opens_again_within_a_minute_goes_on_with_its_series(
    closed_for_s: float, trips: int, open_s: float
) -> None:
    state = after(*failures(5, 8.0 + closed_for_s, first=80), state=closed_again(OPEN, 8.0))
    assert (state.phase, state.trips, state.open_s) == ("open", trips, open_s)


def test_an_outage_of_hours_is_one_series() -> None:
    state = tripped()
    for ticket in range(20, 220):
        due_s = state.since_s + state.open_s
        state = after((due_s + 100.0, Admitted(ticket, LEASE_S)), (due_s + 101.0, Failed(ticket)), state=state)
    assert (state.trips, state.open_s) == (201, 20.0)


# --- the probe ----------------------------------------------------------------------------------------------------


def test_there_is_one_probe_whoever_else_is_admitted() -> None:
    state = after(*((5.0, Admitted(ticket, LEASE_S)) for ticket in range(9, 30)), state=OPEN)
    assert state.lease == Lease(9, 5.0 + LEASE_S)


def test_two_probes_that_succeed_close_it_with_a_clean_slate() -> None:
    state = after((5.0, Cooled(100.0)), state=closed_again(OPEN, 5.0))
    assert state == Circuit(seen_s=5.0, since_s=5.0, trips=1, cooling_until_s=105.0)
    assert after(*failures(4, 6.0, first=80), state=state).phase == "closed"


def test_a_probe_that_fails_after_one_that_succeeded_opens_it_again_and_both_must_succeed_anew() -> None:
    state = after((6.0, Admitted(9, LEASE_S)), (7.0, Failed(9)), state=HALF_WAY)
    assert (state.phase, state.recovered, state.trips, state.open_s) == ("open", 0, 2, 10.0)
    state = after((17.0, Admitted(10, LEASE_S)), (17.0, Succeeded(10, 17.0)), state=state)
    assert state.phase == "half_open"


def test_anothers_success_counts_and_leaves_the_probe_its_lease() -> None:
    state = after((6.0, Succeeded(OTHER, 1.0)), (6.0, Admitted(9, LEASE_S)), state=HALF_OPEN)
    assert (state.lease, state.recovered) == (Lease(PROBE, 5.0 + LEASE_S), 1)
    state = after((7.0, Succeeded(PROBE, 5.0)), state=state)
    assert (state.phase, state.lease) == ("closed", None)


def test_the_probe_of_a_circuit_that_others_closed_moves_nothing_any_more() -> None:
    state = after((6.0, Succeeded(OTHER, 1.0)), (6.0, Succeeded(OTHER + 1, 1.0)), state=HALF_OPEN)
    assert (state.phase, state.lease) == ("closed", None)
    assert after((7.0, Released(PROBE)), state=state) == state
    assert after((7.0, Outrun(PROBE)), state=state) == state


@pytest.mark.parametrize(("now_s", "holder"), [(5.0 + LEASE_S - 0.001, PROBE), (5.0 + LEASE_S, 9)])
def test_a_lease_runs_out(now_s: float, holder: int) -> None:
    state = after((now_s, Admitted(9, LEASE_S)), state=HALF_OPEN)
    assert state.lease is not None
    assert state.lease.ticket == holder


def test_who_lost_the_lease_has_no_say() -> None:
    state = after((5.0 + LEASE_S, Admitted(9, LEASE_S)), state=HALF_OPEN)
    for event in (Failed(PROBE), Released(PROBE), Outrun(PROBE), Late(PROBE)):
        assert after((41.0, event), state=state) == state


def test_an_expired_lease_is_its_holders_until_somebody_takes_it() -> None:
    assert after((99.0, Failed(PROBE)), state=HALF_OPEN).phase == "open"


def test_a_given_back_lease_is_the_next_ones() -> None:
    state = HALF_OPEN
    for ticket in range(100, 120):
        state = after((6.0, Released(PROBE if ticket == 100 else ticket - 1)), state=state)
        state = after((6.0, Admitted(ticket, LEASE_S)), state=state)
        assert state.lease == Lease(ticket, 6.0 + LEASE_S)


def test_two_probes_outrun_close_a_circuit_that_had_failed_with_errors() -> None:
    state = after((6.0, Outrun(PROBE)), (6.0, Admitted(9, LEASE_S)), (7.0, Outrun(9)), state=HALF_OPEN)
    assert (state.phase, state.since_s) == ("closed", 7.0)


def test_a_silent_circuit_whose_probe_is_outrun_is_silent_still() -> None:
    state = after((6.5, Outrun(PROBE)), state=HALF_OPEN_SILENT)
    assert (state.phase, state.silent, state.since_s, state.trips, state.open_s) == ("open", True, 6.5, 2, 10.0)


@pytest.mark.parametrize("silent", [False, True])
def test_a_failed_probe_says_anew_whether_it_was_silence(silent: bool) -> None:
    assert after((6.0, Failed(PROBE, silent=silent)), state=HALF_OPEN_SILENT).silent is silent


def test_failures_of_others_never_keep_a_circuit_open_longer() -> None:
    state = after(*((n * 0.01, Failed(100 + n)) for n in range(499)), state=OPEN)
    assert state == OPEN
    assert after((5.0, Admitted(9, LEASE_S)), state=state).lease == Lease(9, 5.0 + LEASE_S)


def test_two_attempts_of_last_resort_that_succeed_close_it_before_its_time() -> None:
    state = after((1.0, Succeeded(OTHER, 0.5)), state=OPEN)
    assert standing([state], 1.0).state == "probe"
    assert after((1.5, Succeeded(OTHER + 1, 0.6)), state=state).phase == "closed"


@pytest.mark.parametrize(
    ("state", "phase"), [(OPEN, "open"), (HALF_OPEN, "half_open"), (SILENT, "closed"), (HALF_OPEN_SILENT, "closed")]
)
def test_successes_from_before_errors_say_nothing_and_from_before_a_silence_they_end_it(
    state: Circuit, phase: str
) -> None:
    steps: list[Step] = [(6.0, Succeeded(ticket, -10.0)) for ticket in range(100, 103)]
    assert after(*steps, state=state).phase == phase


# --- the provider's word ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("for_s", "open_s"), [(300.0, 300.0), (1.0, 5.0), (5.1, 5.1)])
def test_money_opens_it_at_once_and_for_no_less_than_any_failure_would(for_s: float, open_s: float) -> None:
    state = after(*successes(20), (1.0, Failed(9, for_s=for_s)))
    assert (state.phase, state.since_s, state.open_s, state.trips) == ("open", 1.0, open_s, 1)


@pytest.mark.parametrize(
    ("at_s", "for_s", "until_s"),
    [(1.0, 300.0, 301.0), (1.0, 4.0, 5.0), (1.0, 4.001, 5.001), (4.0, 1.5, 5.5), (4.999, 0.0, 5.0)],
)
def test_of_two_ends_the_later_counts(at_s: float, for_s: float, until_s: float) -> None:
    state = after((at_s, Failed(9, for_s=for_s)), state=OPEN)
    assert (state.phase, state.trips) == ("open", 1)
    assert state.since_s + state.open_s == pytest.approx(until_s)


@pytest.mark.parametrize("state", [OPEN, HALF_OPEN], ids=lambda state: state.phase)
def test_of_two_equal_ends_the_first_counts(state: Circuit) -> None:
    assert after((4.0 if state is OPEN else 5.0, Failed(9, for_s=1.0 if state is OPEN else 0.0)), state=state) == state


def test_money_named_by_another_ends_the_probing() -> None:
    state = after((6.0, Failed(9, for_s=300.0)), state=after((5.5, Succeeded(OTHER, 1.0)), state=HALF_OPEN))
    assert (state.phase, state.lease, state.recovered, state.since_s, state.open_s) == ("open", None, 0, 6.0, 300.0)
    assert after((7.0, Failed(PROBE)), state=state) == state


def test_money_named_by_the_probe_goes_on_with_the_series() -> None:
    state = after((6.0, Failed(PROBE, for_s=300.0)), state=HALF_OPEN_SILENT)
    assert (state.phase, state.trips, state.open_s, state.silent) == ("open", 2, 300.0, False)
    state = after((306.0, Admitted(9, LEASE_S)), (306.0, Failed(9)), state=state)
    assert (state.trips, state.open_s) == (3, 20.0)


@pytest.mark.parametrize(
    ("first_s", "second_s", "until_s"), [(300.0, 5.0, 300.0), (5.0, 300.0, 301.0), (5.0, 4.0, 5.0)]
)
def test_of_two_cooldowns_the_later_end_counts(first_s: float, second_s: float, until_s: float) -> None:
    assert after((0.0, Cooled(first_s)), (1.0, Cooled(second_s))).cooling_until_s == until_s


@pytest.mark.parametrize("state", [CLOSED, OPEN, HALF_OPEN, HALF_WAY], ids=lambda state: state.phase)
def test_a_cooldown_moves_nothing_else(state: Circuit) -> None:
    cooled = after((5.0, Cooled(60.0)), state=state)
    assert cooled == replace(state, seen_s=5.0, cooling_until_s=65.0)


def test_a_cooldown_outlives_every_change_of_phase() -> None:
    state = after((0.0, Cooled(100.0)), *failures(5, 1.0))
    steps: list[Step] = [(6.0, Admitted(9, LEASE_S)), (6.0, Failed(9)), (16.0, Admitted(10, LEASE_S))]
    steps.append((17.0, Succeeded(10, 16.0)))
    for step in steps:
        state = after(step, state=state)
        assert state.cooling_until_s == 100.0
    state = after((18.0, Failed(11, for_s=7.0)), state=state)
    assert (state.phase, state.cooling_until_s) == ("open", 100.0)
    assert closed_again(state, 40.0).cooling_until_s == 100.0


# --- a clock that runs backwards ----------------------------------------------------------------------------------


def shifted(state: Circuit, by_s: float) -> Circuit:
    return replace(
        state,
        seen_s=state.seen_s + by_s,
        since_s=state.since_s + by_s,
        results=tuple(result._replace(at_s=result.at_s + by_s) for result in state.results),
        lease=state.lease and state.lease._replace(until_s=state.lease.until_s + by_s),
        cooling_until_s=state.cooling_until_s + by_s,
    )


LATE_AND_FINE = after((1.0, Late(1)), (2.0, Succeeded(2, 0.0)), (3.0, Failed(3)), (4.0, Cooled(7.0)))
COOLING_OPEN = after((4.0, Cooled(7.0)), state=OPEN)
ANY = [LATE_AND_FINE, OPEN, COOLING_OPEN, SILENT, HALF_OPEN, FREE, HALF_WAY, closed_again(OPEN, 6.0)]


@pytest.mark.parametrize("state", ANY, ids=lambda state: f"{state.phase}-{state.seen_s}")
def test_a_clock_that_goes_back_an_hour_takes_all_times_along(state: Circuit) -> None:
    assert anchored(state, state.seen_s) is state
    assert anchored(state, state.seen_s + HOUR_S) is state
    assert anchored(state, state.seen_s - HOUR_S) == shifted(state, -HOUR_S)


@pytest.mark.parametrize("back_s", [0.125, 0.5, 4.0])
def test_so_does_one_that_goes_back_a_little(back_s: float) -> None:
    for state in ANY:
        assert anchored(state, state.seen_s - back_s) == shifted(state, -back_s)


@pytest.mark.parametrize(
    ("state", "now_s", "event"),
    [
        (CLOSED, 3.0, Succeeded(9, 1.0)),
        (CLOSED, 3.0, Failed(9)),
        (CLOSED, 3.0, Late(9)),
        (CLOSED, 3.0, Cooled(9.0)),
        (after(*failures(4)), 3.0, Failed(9)),
        (OPEN, 3.0, Succeeded(9, 1.0)),
        (OPEN, 3.0, Failed(9, for_s=9.0)),
        (OPEN, 6.0, Admitted(9, LEASE_S)),
        (HALF_OPEN, 6.0, Succeeded(PROBE, 5.0)),
        (HALF_OPEN, 6.0, Failed(PROBE)),
        (HALF_WAY, 6.0, Succeeded(9, 6.0)),
    ],
)
def test_whatever_sets_a_time_sets_the_clock_that_it_is_on(state: Circuit, now_s: float, event: Event) -> None:
    assert after((now_s, event), state=state).seen_s == now_s


@pytest.mark.parametrize("now_s", [-HOUR_S, 0.0, HOUR_S])
def test_a_circuit_that_has_seen_nothing_has_no_clock(now_s: float) -> None:
    assert anchored(CLOSED, now_s) is CLOSED


@pytest.mark.parametrize("state", ANY, ids=lambda state: f"{state.phase}-{state.seen_s}")
@pytest.mark.parametrize(
    "event",
    [Admitted(9, 35.0), Succeeded(PROBE, 1e9), Failed(PROBE), Failed(9, for_s=60.0), Late(9), Released(PROBE)]
    + [Outrun(PROBE), Cooled(60.0)],
    ids=repr,
)
def test_what_happens_after_the_clock_went_back_is_as_if_no_time_had_passed(state: Circuit, event: Event) -> None:
    back_s = state.seen_s - HOUR_S
    assert after((back_s, event), state=state) == shifted(after((state.seen_s, event), state=state), -HOUR_S)


def test_a_clock_that_went_back_prolongs_nothing_beyond_its_own_length() -> None:
    state = after((-HOUR_S + 2.0, Admitted(8, LEASE_S)), state=OPEN)
    assert state.phase == "open"
    state = after((-HOUR_S + 7.0, Admitted(9, LEASE_S)), state=state)
    assert state.lease == Lease(9, -HOUR_S + 7.0 + LEASE_S)
    state = after((-2 * HOUR_S, Admitted(10, LEASE_S)), (-2 * HOUR_S + LEASE_S, Admitted(11, LEASE_S)), state=state)
    assert state.lease == Lease(11, -2 * HOUR_S + 2 * LEASE_S)


def test_a_clock_that_goes_back_again_and_again_leaves_the_window_its_order() -> None:
    state = CLOSED
    for n in range(12):
        state = after((-n * HOUR_S, Succeeded(n, 0.0)), state=state)
    assert [result.at_s for result in state.results] == [-11 * HOUR_S] * 12


def test_failures_and_lateness_of_an_outage_do_not_open_what_has_recovered() -> None:
    state = closed_again(OPEN, 8.0)
    old: list[Step] = [(30.0, Failed(100 + number, True, None, 1.0)) for number in range(50)]
    late: list[Step] = [(30.0, Late(200 + number, 7.9)) for number in range(50)]
    assert after(*old, *late, state=state).results == ()
    new: list[Step] = [(30.0, Failed(100 + number, True, None, 8.0)) for number in range(5)]
    assert after(*new, state=state).phase == "open"


def test_a_probes_success_is_its_own_whatever_the_clock_says() -> None:
    state = after((5.5, Succeeded(PROBE, -99.0)), state=HALF_OPEN)
    assert (state.lease, state.recovered) == (None, 1)


def test_a_window_that_was_full_of_successes_is_still_a_window_after_a_pause() -> None:
    steps: list[Step] = [(number * 0.1, Succeeded(number, number * 0.1)) for number in range(600)]
    tail: list[Step] = [
        (88.0, Failed(901)),
        (88.1, Failed(902)),
        (88.2, Succeeded(903, 88.2)),
        (88.3, Failed(904)),
        (88.4, Succeeded(905, 88.3)),
        (88.5, Failed(906)),
    ]
    assert after(*steps, *tail).phase == "closed"


def test_five_late_in_a_row_open_it_whatever_went_before() -> None:
    steps: list[Step] = [(number * 1.0, Succeeded(number, number * 1.0)) for number in range(40)]
    late: list[Step] = [(42.0 + number, Late(100 + number, 40.0)) for number in range(5)]
    assert after(*steps, *late[:4]).phase == "closed"
    opened = after(*steps, *late)
    assert (opened.phase, opened.silent) == ("open", True)


def test_a_success_among_the_late_ones_keeps_it_closed() -> None:
    late: list[Step] = [(42.0 + number, Late(100 + number, 40.0)) for number in range(4)]
    steps: list[Step] = [(number * 1.0, Succeeded(number, number * 1.0)) for number in range(40)]
    again: list[Step] = [(47.0 + number, Late(200 + number, 45.0)) for number in range(4)]
    assert after(*steps, *late, (46.5, Succeeded(50, 46.0)), *again).phase == "closed"
