"""Whom to ask next when breakers and cooldowns have a word in it: back of the queue, never away."""

from __future__ import annotations

import pytest

from ogw_asgi._rules.failover import GiveUp, Try
from ogw_asgi._rules.standing import READY, Standing
from ogw_asgi._values import Target, Timeouts

from .driver import SILENT, TARGETS, A, B, Driver, drive, status

PROBE = Standing("probe", open=True)
NOW_S = 100.0


def opened(until_s: float) -> Standing:
    return Standing("wait", until_s, open=True)


def cooling(until_s: float) -> Standing:
    return Standing("wait", until_s, until_s)


class Standings(dict[Target, Standing]):
    """Of targets named by their letters; who is not named is ready."""

    def __init__(self, **letters: Standing) -> None:
        super().__init__({TARGETS[letter]: standing for letter, standing in letters.items()})


def asked(driver: Driver, standings: Standings) -> Try:
    step = driver.machine.next_step(driver.now_s, driver.jitter, standings)
    assert isinstance(step, Try)
    return step


def order(driver: Driver, standings: Standings) -> str:
    """The letters of all whom it asks, each of whom fails at once."""
    letters = ""
    while isinstance(step := driver.machine.next_step(driver.now_s, 0.0, standings), Try):
        letters += step.target.provider
        driver.machine.record(step, status(500), driver.now_s)
    return letters


@pytest.mark.contract("4.breaker.opens")
@pytest.mark.parametrize(
    ("standings", "letters"),
    [
        pytest.param(Standings(), "abc", id="all ready: the caller's order"),
        pytest.param(Standings(a=opened(105)), "bca", id="an open one is last"),
        pytest.param(Standings(a=opened(105), b=opened(103)), "cba", id="of two open ones the sooner first"),
        pytest.param(Standings(a=opened(103), b=opened(105)), "cab", id="and so in the other order"),
        pytest.param(Standings(a=opened(105), b=opened(105)), "cab", id="equally late: the caller's order"),
        pytest.param(Standings(a=opened(103), b=opened(101), c=opened(102)), "bca", id="all open: all are asked"),
        pytest.param(Standings(a=cooling(103), b=opened(102)), "cba", id="a cooldown is an end as any other"),
        pytest.param(Standings(a=opened(103), b=PROBE), "bca", id="one to be probed stays in its place"),
        pytest.param(Standings(b=PROBE, c=PROBE), "abc", id="and before whoever comes after it"),
    ],
)
def test_who_should_not_be_asked_now_goes_to_the_back_of_the_queue(standings: Standings, letters: str) -> None:
    assert order(drive("abc"), standings) == letters


def opened_and_cooling(until_s: float) -> Standing:
    return Standing("wait", until_s, until_s, open=True)


@pytest.mark.contract("4.breaker.one-free")
@pytest.mark.parametrize(
    ("standing", "extra"),
    [(READY, False), (PROBE, False), (opened(105), False), (cooling(105), True), (opened_and_cooling(105), True)],
)
def test_when_those_in_good_standing_have_failed_one_attempt_at_an_open_one_is_free(
    standing: Standing, extra: bool
) -> None:
    assert not asked(drive("ab"), Standings(a=standing, b=standing)).extra, "the first costs nothing"
    driver = drive("ab")
    driver.ask_and_record(status(500))
    assert asked(driver, Standings(b=standing)).extra is extra
    driver = drive("ab")
    driver.ask()
    assert asked(driver, Standings(b=standing)).extra is extra, "nor beside one under way"


@pytest.mark.contract("4.breaker.budget")
@pytest.mark.parametrize(
    ("standing", "extra"), [(READY, False), (PROBE, True), (opened(105), True), (cooling(105), True)]
)
def test_any_other_at_one_in_trouble_is_extra(standing: Standing, extra: bool) -> None:
    for first in (PROBE, opened(103), cooling(103)):
        driver = drive("ab")
        driver.machine.record(asked(driver, Standings(a=first, b=opened(900))), status(500), driver.now_s)
        assert asked(driver, Standings(b=standing)).extra is extra, "the first was at one in trouble itself"
        driver = drive("ab")
        asked(driver, Standings(a=first, b=opened(900)))
        assert asked(driver, Standings(b=standing)).extra is extra, "or still is"


def test_an_attempt_that_was_not_made_for_want_of_a_retry_has_not_used_the_free_one_up() -> None:
    driver = drive("abc")
    driver.ask_and_record(status(500))
    standings = Standings(b=cooling(101), c=opened(105))
    step = asked(driver, standings)
    assert (step.target, step.extra) == (B, True)
    driver.machine.withdraw(step)
    assert not asked(driver, standings).extra


def test_who_was_outdone_in_a_probe_is_asked_after_the_others_and_for_no_other_probe() -> None:
    driver = drive("abc")
    standings = Standings(a=PROBE)
    step = asked(driver, standings)
    assert (step.target, step.standing.state) == (A, "probe")
    driver.machine.put_back(step)
    assert order(driver, standings) == "bca", "whatever its circuit says by now"


def test_who_was_outdone_in_a_probe_that_was_paid_for_does_not_pay_again() -> None:
    driver = drive("ab")
    driver.machine.record(asked(driver, Standings(a=PROBE, b=opened(900))), status(500), driver.now_s)
    step = asked(driver, Standings(b=PROBE))
    assert step.extra
    driver.machine.put_back(step)
    again = asked(driver, Standings(b=opened(900)))
    assert (again.target, again.extra) == (B, False)


def test_who_was_outdone_in_a_probe_still_makes_the_first_attempt_where_there_is_nobody_else() -> None:
    driver = drive("a")
    driver.machine.put_back(asked(driver, Standings(a=PROBE)))
    step = asked(driver, Standings(a=PROBE))
    assert (step.target, step.standing.state, step.extra) == (A, "wait", False)


@pytest.mark.parametrize(
    ("first_chunk_s", "total_s", "letters"),
    [
        pytest.param(1.0, None, "abc", id="a second is enough for a probe"),
        pytest.param(0.9, None, "bca", id="less is not"),
        pytest.param(None, 3.0, "abc", id="a second for each of three"),
        pytest.param(None, 2.9, "bac", id="less until one of them has failed"),
    ],
)
def test_a_caller_in_a_hurry_probes_nobody_while_it_would_cost_the_others(
    first_chunk_s: float | None, total_s: float | None, letters: str
) -> None:
    assert order(drive("abc", first_chunk_s=first_chunk_s, total_s=total_s), Standings(a=PROBE)) == letters


def test_a_request_that_may_ask_only_once_needs_a_second_for_that_one() -> None:
    assert order(drive("abc", attempts=1, total_s=1.5), Standings(a=PROBE)) == "a"


@pytest.mark.contract("2.retry.named-wait")
def test_a_cooldown_that_this_requests_own_answer_has_set_does_not_push_its_repeat_back() -> None:
    driver = drive("aab")
    driver.ask_and_record(status(429, 2.0))
    repeat = asked(driver, Standings(a=cooling(NOW_S + 2.0)))
    assert (repeat.target, repeat.repeat, repeat.wait_s) == (A, True, 2.0)


@pytest.mark.contract("4.breaker.budget")
def test_a_repeat_at_a_target_that_is_to_be_probed_behind_that_cooldown_is_a_probe_and_extra() -> None:
    driver = drive("aab")
    step = asked(driver, Standings(a=opened(101), b=opened(900)))
    driver.machine.record(step, status(503, 2.0), driver.now_s)
    due = Standing("wait", NOW_S + 2.0, NOW_S + 2.0, half_open=True)
    repeat = asked(driver, Standings(a=due, b=opened(900)))
    assert (repeat.target, repeat.repeat, repeat.standing, repeat.extra) == (A, True, PROBE, True)


@pytest.mark.parametrize(
    "standing",
    [
        pytest.param(cooling(NOW_S + 3.0), id="one that another request has set since"),
        pytest.param(Standing("wait", NOW_S + 2.0, NOW_S + 2.0, open=True), id="one of an open target"),
    ],
)
def test_any_other_does(standing: Standing) -> None:
    driver = drive("aab")
    driver.ask_and_record(status(429, 2.0))
    assert asked(driver, Standings(a=standing)).target == B


@pytest.mark.parametrize("standing", [PROBE, opened(105), cooling(105)])
def test_a_hedge_goes_to_a_target_in_good_standing_or_to_nobody(standing: Standing) -> None:
    driver = drive("abc")
    driver.ask()
    hedge = driver.machine.next_step(NOW_S, 0.0, Standings(b=standing), hedge=True)
    assert isinstance(hedge, Try)
    assert hedge.target == TARGETS["c"]
    driver = drive("ab")
    driver.ask()
    assert driver.machine.next_step(NOW_S, 0.0, Standings(b=standing), hedge=True) is None
    assert asked(driver, Standings(b=standing)).target == B, "it was not lost by the question"


def test_a_target_that_is_open_is_asked_when_it_is_the_last_and_then_it_ends() -> None:
    driver = drive("a", timeouts=Timeouts())
    step = asked(driver, Standings(a=opened(10_000.0)))
    driver.machine.record(step, SILENT, driver.now_s)
    assert isinstance(driver.machine.next_step(driver.now_s, 0.0, Standings(a=opened(10_000.0))), GiveUp)
