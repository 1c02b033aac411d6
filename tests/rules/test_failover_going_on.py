"""The failover machine after its answer broke: who may go on with it, and what the trail says."""

from __future__ import annotations

import pytest

from ogw_asgi._rules.failover import GiveUp

from .driver import OK, RESET, SILENT, A, B, C, Driver, drive, status

REFUSED = status(400, message="no")


def answered_by(driver: Driver) -> Driver:
    driver.step = driver.ask_and_record(OK)
    return driver


def broke(driver: Driver, *, stalled: bool = False) -> Driver:
    driver.machine.broke(driver.step, SILENT if stalled else RESET, driver.now_s, stalled=stalled)
    return driver


@pytest.mark.contract("5.continue.bounded")
def test_those_who_are_left_are_asked_in_their_order() -> None:
    driver = broke(answered_by(drive("abc", stream=True)))
    assert driver.ask_and_record(status(500)).target == B
    assert driver.ask_and_record(OK).target == C
    assert [line.outcome for line in driver.machine.attempts] == ["reset", "server_error", "ok"]
    assert driver.machine.made == 3


def test_those_who_had_failed_before_the_answer_are_not_asked_again() -> None:
    driver = drive("abc", stream=True)
    driver.ask_and_record(status(500))
    broke(answered_by(driver))
    assert driver.ask().target == C
    assert [line.outcome for line in driver.machine.attempts] == ["server_error", "reset"]


@pytest.mark.contract("5.continue.bounded")
def test_a_target_that_stalled_is_not_asked_to_go_on_wherever_it_stands() -> None:
    driver = broke(answered_by(drive("aaba", stream=True)), stalled=True)
    assert driver.ask_and_record(RESET).target == B
    assert isinstance(driver.machine.next_step(driver.now_s, 0.0), GiveUp)


def test_one_that_broke_without_a_pause_is_repeated_as_after_any_failure() -> None:
    driver = broke(answered_by(drive("aab", stream=True)))
    step = driver.ask()
    assert (step.target, step.repeat, step.wait_s) == (A, True, 0.25)


@pytest.mark.contract("5.continue.bounded")
def test_a_refusal_is_not_the_last_word_any_more() -> None:
    driver = broke(answered_by(drive("abc", stream=True)))
    assert driver.ask_and_record(REFUSED).target == B
    assert driver.ask_and_record(status(508, code="loop_detected")).target == C
    driver.end()


@pytest.mark.contract("5.continue.bounded")
def test_who_refused_the_way_in_which_it_was_asked_is_asked_again_at_once_and_once() -> None:
    driver = broke(answered_by(drive("abbc", stream=True)))
    step = driver.ask_and_record(REFUSED)
    driver.machine.ask_again(step)
    again = driver.ask_and_record(REFUSED)
    assert (again.target, again.wait_s, again.repeat) == (B, 0.0, False)
    # The retry in place that the plan holds is none that could help.
    assert driver.ask_and_record(OK).target == C
    assert driver.machine.made == 4


@pytest.mark.contract("5.continue.bounded")
def test_there_are_no_more_attempts_than_allowed() -> None:
    driver = broke(answered_by(drive("abc", stream=True, attempts=2)))
    driver.machine.ask_again(driver.ask_and_record(REFUSED))
    driver.end()


@pytest.mark.contract("5.continue.bounded")
def test_nobody_is_asked_when_the_total_is_over() -> None:
    driver = answered_by(drive("abc", stream=True, total_s=10.0))
    driver.now_s += 10.0
    broke(driver)
    driver.end()


def test_an_answer_may_break_twice() -> None:
    driver = broke(answered_by(drive("abc", stream=True)))
    broke(answered_by(driver))
    assert driver.ask().target == C
    assert [line.outcome for line in driver.machine.attempts] == ["reset", "reset"]


@pytest.mark.parametrize("outcome", [None, RESET])
def test_only_an_answer_that_was_taken_can_break(outcome: object) -> None:
    driver = drive("ab", stream=True)
    step = driver.ask()
    if outcome is not None:
        driver.machine.record(step, RESET, driver.now_s)
    with pytest.raises(RuntimeError, match="no answer"):
        driver.machine.broke(step, RESET, driver.now_s, stalled=False)


@pytest.mark.contract("5.continue.bounded")
def test_whoever_had_been_silent_before_the_answer_is_not_asked_to_go_on() -> None:
    driver = drive("abaac", stream=True)
    driver.ask_and_record(SILENT)
    broke(answered_by(driver))
    assert driver.ask_and_record(OK).target == C
