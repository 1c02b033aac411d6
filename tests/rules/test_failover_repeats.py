"""Retry in place: when the same target is asked again, and after what wait."""

from __future__ import annotations

import pytest

from ogw_asgi._rules.failover import Try
from ogw_asgi._values import Outcome, Timeouts

from .driver import NO_ROUTE, RESET, SILENT, TOO_LONG, A, B, drive, status


@pytest.mark.contract("2.retry.in-place")
@pytest.mark.parametrize("first", [status(500), status(503), status(429), RESET, status(400, form="html")])
def test_a_repeat_is_asked_once_more_and_then_the_next(first: Outcome) -> None:
    driver = drive("aab")
    driver.ask_and_record(first)
    repeat = driver.ask_and_record(first)
    assert (repeat.target, repeat.repeat) == (A, True)
    assert 0.25 <= repeat.wait_s <= 0.5
    assert driver.ask() == Try(B, 0.0, 600.0, repeat=False)


@pytest.mark.contract("2.retry.named-wait")
@pytest.mark.parametrize(
    ("named_s", "wait_s"),
    [(2.0, 2.0), (5.0, 5.0), (0.5, 0.5), (0.1, 0.25), (0.0, 0.25)],
)
@pytest.mark.parametrize("code", [429, 503, 500])
def test_a_repeat_waits_what_the_provider_named(code: int, named_s: float, wait_s: float) -> None:
    driver = drive("aab", jitter=0.9)
    driver.ask_and_record(status(code, named_s))
    assert driver.ask().wait_s == pytest.approx(wait_s)


@pytest.mark.contract("2.retry.skip-long-wait", "8.retry")
@pytest.mark.parametrize("named_s", [5.001, 20.0, 86400.0])
def test_a_repeat_with_a_long_named_wait_is_skipped(named_s: float) -> None:
    driver = drive("aaab")
    driver.ask_and_record(status(429, named_s))
    assert driver.ask() == Try(B, 0.0, 600.0, repeat=False)


def test_how_long_a_named_wait_may_be_is_a_setting() -> None:
    driver = drive("aab", timeouts=Timeouts(retry_wait_max_s=1))
    driver.ask_and_record(status(429, 2.0))
    assert driver.ask().target == B


@pytest.mark.contract("2.retry.backoff", "8.retry")
@pytest.mark.parametrize(
    ("jitter", "waits"),
    [(0.0, [0.25, 0.5, 1.0]), (0.5, [0.375, 0.75, 1.5]), (0.999, [0.49975, 0.9995, 1.999])],
)
def test_unnamed_waits_are_jittered_and_double_per_repeat(jitter: float, waits: list[float]) -> None:
    driver = drive("aaaa", jitter=jitter)
    driver.ask_and_record(status(500))
    assert [driver.ask_and_record(status(500)).wait_s for _ in range(3)] == pytest.approx(waits)


@pytest.mark.contract("2.retry.backoff")
@pytest.mark.parametrize("named_s", [float("nan"), float("inf"), -1.0])
def test_a_named_wait_that_is_none_counts_as_unnamed(named_s: float) -> None:
    driver = drive("aa")
    driver.ask_and_record(status(429, named_s))
    assert driver.ask().wait_s == pytest.approx(0.25)


@pytest.mark.contract("2.retry.backoff")
def test_doubling_begins_anew_with_each_run_of_repeats() -> None:
    driver = drive("aabb")
    steps = [driver.ask_and_record(RESET) for _ in range(4)]
    assert [step.wait_s for step in steps] == pytest.approx([0.0, 0.25, 0.0, 0.25])


def test_the_wait_counts_from_the_failure() -> None:
    driver = drive("aa")
    driver.ask_and_record(status(429, 2.0))
    driver.now_s += 1.5
    assert driver.ask().wait_s == pytest.approx(0.5)


def test_a_wait_that_has_passed_already_is_none() -> None:
    driver = drive("aa")
    driver.ask_and_record(status(429, 2.0))
    driver.now_s += 3
    assert driver.ask().wait_s == 0.0


@pytest.mark.contract("2.retry.skip-timeout")
@pytest.mark.parametrize("outcome", [SILENT, NO_ROUTE])
def test_a_silent_target_is_not_asked_again_while_another_is_left(outcome: Outcome) -> None:
    driver = drive("aabb")
    driver.ask_and_record(outcome)
    assert driver.ask_and_record(outcome).target == B
    repeat = driver.ask_and_record(outcome)  # nobody else is left now
    assert (repeat.target, repeat.repeat) == (B, True)
    assert driver.end().refusal.status == 504


@pytest.mark.contract("2.retry.skip-timeout")
def test_the_last_attempt_goes_to_the_untried_target_not_to_the_silent_one() -> None:
    driver = drive("aab", attempts=2)
    driver.ask_and_record(SILENT)
    assert driver.ask().target == B


@pytest.mark.contract("2.retry.skip-final")
@pytest.mark.parametrize(
    "outcome",
    [
        status(401),
        status(403),
        status(404),
        status(404, code="model_not_found"),
        status(402),
        status(429, type="insufficient_quota"),
        status(429, message="Request too large for gpt-4o"),
        status(302),
        status(405),
        status(501),
        TOO_LONG,
        Outcome("unservable", "azure"),
        Outcome("key_unavailable", "azure"),
    ],
)
def test_a_refusal_that_cannot_change_is_not_repeated(outcome: Outcome) -> None:
    driver = drive("aaab")
    driver.ask_and_record(outcome)
    assert driver.ask() == Try(B, 0.0, 600.0, repeat=False)


@pytest.mark.contract("2.retry.skip-final")
def test_with_nobody_else_left_a_final_refusal_is_still_not_repeated() -> None:
    driver = drive("aaa")
    driver.ask_and_record(status(401))
    assert driver.end().refusal.status == 502
    assert driver.machine.made == 1


@pytest.mark.contract("4.length.next")
def test_a_target_that_found_the_prompt_too_long_is_never_asked_again() -> None:
    driver = drive("abaab")
    driver.ask_and_record(TOO_LONG)
    driver.ask_and_record(status(500))
    step = driver.ask_and_record(TOO_LONG)
    assert (step.target, step.repeat) == (B, False)
    end = driver.end()
    assert (end.refusal.status, end.refusal.message, end.provider) == (400, "too long for me", "a")
