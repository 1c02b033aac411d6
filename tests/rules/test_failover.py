"""The failover machine: whom to ask next, when to give up, and what the trail tells."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw_asgi._rules.failover import GiveUp, Try
from ogw_asgi._values import AttemptRecord, Outcome, ProviderError, Target

from .driver import BUSY, OK, RESET, SILENT, TOO_LONG, A, B, C, drive, status, targets


@pytest.mark.contract("2.sequence.order")
def test_targets_are_asked_in_order_and_the_next_one_at_once() -> None:
    driver = drive("abc")
    asked = [driver.ask_and_record(status(500)) for _ in range(3)]
    assert [step.target for step in asked] == [A, B, C]
    assert [(step.wait_s, step.repeat) for step in asked] == [(0.0, False)] * 3
    end = driver.end()
    assert (end.refusal.status, end.provider) == (502, None)


def test_a_target_that_comes_back_later_is_no_repeat() -> None:
    driver = drive("aba")
    driver.ask_and_record(status(429, 3600))
    driver.ask_and_record(status(500))
    assert driver.ask() == Try(A, 0.0, 600.0, repeat=False)


@pytest.mark.contract("2.sequence.max-attempts", "8.attempts")
def test_at_most_five_attempts_are_made_whatever_the_list_says() -> None:
    driver = drive("a" * 16)
    for _ in range(5):
        driver.ask_and_record(status(500))
    assert driver.end().refusal.status == 502
    assert driver.machine.made == 5


@pytest.mark.parametrize("kind", ["busy", "unservable", "key_unavailable"])
def test_what_was_never_sent_is_in_the_trail_but_no_attempt(kind: Any) -> None:
    driver = drive("abc", attempts=2)
    driver.ask_and_record(Outcome(kind, "openai"))
    assert driver.machine.made == 0
    driver.ask_and_record(status(500))
    driver.ask_and_record(status(500))
    assert driver.machine.made == 2
    assert [line.outcome for line in driver.machine.attempts] == [kind, "server_error", "server_error"]
    assert driver.end().refusal.status == 502


def test_the_trail_tells_provider_reason_status_code_and_time() -> None:
    driver = drive("ab")
    driver.ask_and_record(Outcome("status", "openai", 503, ProviderError(code="busy_now"), duration_s=0.4204))
    driver.ask_and_record(Outcome("timeout", "azure", duration_s=5.001))
    assert driver.machine.attempts == [
        AttemptRecord("a", "overloaded", 503, "busy_now", 420, "m"),
        AttemptRecord("b", "timeout", None, None, 5001, "m"),
    ]


@pytest.mark.contract("6.envelope.no-secrets")
@pytest.mark.parametrize("code", ["http://10.0.0.7/v1", "see our page", "", "x" * 65, "é"])
def test_a_code_that_is_no_code_stays_out_of_the_trail(code: str) -> None:
    driver = drive("a")
    driver.ask_and_record(status(500, code=code))
    assert driver.machine.attempts[0].code is None


@pytest.mark.parametrize(
    ("outcome", "status_", "provider"),
    [
        (status(400, message="no"), 400, "a"),
        (status(413, message="no"), 413, "a"),
        (status(400, code="content_filter"), 400, "a"),
        (status(422, code="unknown_parameter"), 400, "a"),
        (status(508, code="loop_detected"), 508, "a"),
        (Outcome("status", "vllm", 401, ProviderError(), caller_key=True), 401, "a"),
    ],
)
@pytest.mark.contract("4.stop.blamed", "4.stop.parameter", "4.stop.policy", "4.stop.caller-key", "4.stop.loop")
def test_a_stop_ends_it_at_once(outcome: Outcome, status_: int, provider: str) -> None:
    driver = drive("aab")
    driver.ask_and_record(outcome)
    for _ in range(2):  # and stays the answer
        end = driver.end()
        assert (end.refusal.status, end.provider) == (status_, provider)
    assert driver.machine.made == 1


@pytest.mark.contract("4.opt-in")
def test_opted_in_a_policy_refusal_moves_on() -> None:
    driver = drive("aab", failover_on=frozenset({"content_filter"}))
    driver.ask_and_record(status(400, code="content_filter"))
    assert driver.ask().target == B


def test_who_is_under_way_is_not_asked_again_and_the_next_one_can_start_beside() -> None:
    driver = drive("aab")
    first, second = driver.ask(), driver.ask()
    assert (first.target, second.target) == (A, B)
    assert driver.machine.next_step(driver.now_s, 0.0) is None, "both are under way, and they decide"
    driver.machine.record(second, status(500), driver.now_s)
    assert driver.machine.next_step(driver.now_s, 0.0) is None
    driver.machine.record(first, status(500), driver.now_s)
    assert driver.ask() == Try(A, 0.25, 600.0, repeat=True), "the last to fail was the one before it"


def test_a_hedge_goes_to_a_target_not_asked_before_while_a_failure_may_repeat_in_place() -> None:
    driver = drive("abbc")
    driver.ask()
    hedge = driver.machine.next_step(driver.now_s, 0.0, hedge=True)
    assert isinstance(hedge, Try)
    assert hedge.target == B
    driver.machine.record(hedge, status(500), driver.now_s)
    beside = driver.machine.next_step(driver.now_s, 0.0, hedge=True)
    assert isinstance(beside, Try)
    assert (beside.target, beside.repeat) == (C, False)
    repeat = driver.ask()
    assert (repeat.target, repeat.repeat) == (B, True)


def test_recording_what_was_not_asked_is_an_error() -> None:
    driver = drive("ab")
    step = driver.ask()
    driver.machine.record(step, status(500), 100.0)
    with pytest.raises(RuntimeError, match="not under way"):
        driver.machine.record(step, OK, 100.0)
    with pytest.raises(RuntimeError, match="not under way"):
        driver.machine.withdraw(step)


def test_asking_after_an_answer_is_an_error() -> None:
    driver = drive("ab")
    assert driver.machine.record(driver.ask(), OK, 100.0).action == "deliver"
    assert driver.machine.attempts == [AttemptRecord("a", "ok", 200, None, 0, "m")]
    with pytest.raises(RuntimeError, match="answered"):
        driver.ask()


outcomes = st.sampled_from(
    [
        *[status(code) for code in (200, 307, 400, 401, 402, 404, 429, 500, 503)],
        *[status(429, wait_s) for wait_s in (0.0, 0.3, 4.0, 60.0, float("nan"))],
        status(404, code="model_not_found"),
        status(400, code="content_filter"),
        Outcome("dns", "openai"),
        Outcome("unservable", "openai"),
        SILENT,
        RESET,
        BUSY,
        TOO_LONG,
    ]
)


@given(
    letters=st.text("abc", max_size=16),
    answers=st.lists(outcomes, min_size=16, max_size=16),
    took_s=st.lists(st.floats(0, 5), min_size=16, max_size=16),
    attempts=st.integers(1, 6),
    total_s=st.none() | st.floats(0.01, 60),
    first_chunk_s=st.none() | st.floats(0.001, 100),
    stream=st.booleans(),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_the_machine_always_ends_and_skips_nobody_without_a_reason(
    letters: str,
    answers: list[Outcome],
    took_s: list[float],
    attempts: int,
    total_s: float | None,
    first_chunk_s: float | None,
    stream: bool,
    jitter: float,
) -> None:
    driver = drive(
        letters,
        stream=stream,
        attempts=attempts,
        first_chunk_s=first_chunk_s,
        total_s=total_s,
        jitter=jitter,
    )
    machine = driver.machine
    asked: list[Target] = []
    stopped = False
    for answer, duration_s in zip(answers, took_s, strict=True):
        step = machine.next_step(driver.now_s, jitter)
        if isinstance(step, GiveUp):
            break
        assert step is not None
        assert step.wait_s >= 0
        assert 0 < step.first_chunk_s <= (600.0 if first_chunk_s is None else first_chunk_s)
        if total_s is not None:
            assert driver.now_s + step.wait_s + step.first_chunk_s <= 100.0 + total_s + 1e-6
        if step.repeat:
            assert asked[-1] == step.target
        asked.append(step.target)
        driver.now_s += step.wait_s + min(duration_s, step.first_chunk_s)
        stopped = machine.record(step, answer, driver.now_s).action == "stop"
    end = machine.next_step(driver.now_s, jitter)
    assert isinstance(end, GiveUp)
    assert machine.made <= attempts
    assert machine.made <= len(machine.attempts) == len(asked) <= len(letters)
    out_of_time = total_s is not None and driver.now_s - 100.0 > total_s - 0.01
    if not (stopped or out_of_time or machine.made == attempts):
        assert set(asked) == set(targets(letters))
    # The order is the plan's: what was asked is a subsequence of it.
    rest = iter(targets(letters))
    assert all(target in rest for target in asked)
    assert end.refusal.status in {400, 404, 429, 502, 503, 504}
