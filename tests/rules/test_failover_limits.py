"""How long an attempt may take, and how a total is shared among those who are left."""

from __future__ import annotations

import pytest

from ogw_asgi._values import Outcome, Timeouts

from .driver import SILENT, TOO_LONG, B, drive, status


@pytest.mark.contract("2.limits.stream", "2.limits.last", "8.first-chunk")
def test_a_stream_has_30_s_while_another_is_left_and_600_s_at_the_last() -> None:
    driver = drive("aba", stream=True)
    limits = [driver.ask_and_record(status(500)).first_chunk_s for _ in range(3)]
    assert limits == [30.0, 600.0, 600.0]


@pytest.mark.contract("2.limits.last")
def test_the_last_attempt_may_take_its_time_even_if_others_were_left() -> None:
    driver = drive("abc", stream=True, attempts=2)
    limits = [driver.ask_and_record(status(500)).first_chunk_s for _ in range(2)]
    assert limits == [30.0, 600.0]


@pytest.mark.contract("2.limits.plain", "8.answer")
def test_a_plain_answer_always_has_600_s() -> None:
    driver = drive("abc")
    assert [driver.ask_and_record(SILENT).first_chunk_s for _ in range(3)] == [600.0] * 3


@pytest.mark.contract("2.limits.configured")
def test_the_configured_first_chunk_limit_replaces_the_30_s_alone() -> None:
    driver = drive("ab", stream=True, timeouts=Timeouts(first_chunk_s=2.0))
    assert [driver.ask_and_record(SILENT).first_chunk_s for _ in range(2)] == [2.0, 600.0]


@pytest.mark.contract("2.timeout.each-attempt", "2.limits.header-holds-last")
@pytest.mark.parametrize("stream", [True, False])
def test_the_headers_limit_holds_for_every_attempt(stream: bool) -> None:
    driver = drive("abc", stream=stream, first_chunk_s=0.25)
    assert [driver.ask_and_record(SILENT, 0.25).first_chunk_s for _ in range(3)] == [0.25] * 3
    assert driver.end().refusal.status == 504


@pytest.mark.contract("2.limits.shared", "2.limits.caller")
def test_a_total_of_6_s_gives_three_silent_targets_2_s_each() -> None:
    driver = drive("abc", total_s=6.0)
    limits = []
    for _ in range(3):
        step = driver.ask()
        limits.append(step.first_chunk_s)
        driver.now_s += step.first_chunk_s
        driver.machine.record(step, SILENT, driver.now_s)
    assert limits == pytest.approx([2.0, 2.0, 2.0])
    assert driver.end().refusal.status == 504


@pytest.mark.contract("2.limits.shared")
@pytest.mark.parametrize(
    ("letters", "total_s", "attempts", "stream", "expected"),
    [
        ("ab", 100.0, 5, False, 70.0),
        ("abc", 100.0, 5, False, 40.0),
        ("abc", 100.0, 2, False, 70.0),
        ("abc", 100.0, 1, False, 100.0),
        ("ab", 100.0, 5, True, 30.0),
        ("ab", 40.0, 5, True, 20.0),
        ("a", 1000.0, 5, False, 600.0),
        ("aaaa", 8.0, 5, False, 8.0),
        ("aab", 8.0, 5, False, 4.0),
    ],
)
def test_of_a_total_30_s_or_a_fair_share_is_kept_back_for_each_target_to_come(
    letters: str, total_s: float, attempts: int, stream: bool, expected: float
) -> None:
    step = drive(letters, total_s=total_s, attempts=attempts, stream=stream).ask()
    assert step.first_chunk_s == pytest.approx(expected)


@pytest.mark.contract("2.limits.total")
def test_the_headers_limit_never_exceeds_what_is_left_of_the_total() -> None:
    driver = drive("a", first_chunk_s=10.0, total_s=6.0)
    driver.now_s += 2
    assert driver.ask().first_chunk_s == pytest.approx(4.0)


@pytest.mark.contract("2.limits.total")
def test_a_total_that_has_run_out_is_a_504_with_targets_left() -> None:
    driver = drive("abc", total_s=6.0)
    driver.ask_and_record(status(500), took_s=6.0)
    assert driver.end().refusal.status == 504


@pytest.mark.contract("2.limits.total")
def test_a_total_that_has_run_out_before_the_first_attempt_is_a_504() -> None:
    driver = drive("a", total_s=6.0)
    driver.now_s += 6
    assert driver.end().refusal.status == 504


@pytest.mark.contract("2.limits.total")
def test_a_last_attempt_that_the_total_cut_off_makes_it_a_504() -> None:
    driver = drive("ab", total_s=6.0)
    driver.ask_and_record(status(500))
    driver.ask_and_record(SILENT, took_s=6.0)
    assert driver.end().refusal.message.startswith("The whole request ran out of time.")


@pytest.mark.parametrize(
    ("last", "expected"),
    [(status(500), 502), (status(429), 429), (TOO_LONG, 400)],
)
def test_a_last_answer_that_came_just_in_time_is_still_the_last_word(last: Outcome, expected: int) -> None:
    driver = drive("aa" if expected == 400 else "a", total_s=6.0)
    driver.ask_and_record(last, took_s=6.0)
    assert driver.end().refusal.status == expected


@pytest.mark.contract("2.limits.total")
@pytest.mark.parametrize(("letters", "left_s"), [("aa", 1.5), ("aab", 3.0)])
def test_a_repeat_whose_wait_does_not_fit_is_skipped(letters: str, left_s: float) -> None:
    driver = drive(letters, total_s=10.0)
    driver.ask_and_record(status(429, 2.0), took_s=10.0 - left_s)
    if letters == "aab":
        # Waiting would use up what is kept back for b.
        step = driver.ask()
        assert (step.target, step.wait_s) == (B, 0.0)
        assert step.first_chunk_s == pytest.approx(left_s)
    else:
        assert driver.end().refusal.status == 429


def test_wait_and_limit_of_a_repeat_stay_inside_its_share() -> None:
    driver = drive("aab", total_s=10.0)
    driver.ask_and_record(status(429, 2.0))
    step = driver.ask()
    assert (step.wait_s, step.first_chunk_s) == pytest.approx((2.0, 3.0))
