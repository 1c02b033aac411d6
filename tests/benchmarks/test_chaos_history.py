"""What the chaos bench finds only when it holds callers' records against providers' logs, and what it owes to whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.chaos.exchange import Exchange
from benchmarks.chaos.history import History, checked, tally, uncounted, worst_attempts
from benchmarks.chaos.proof import Stamp
from benchmarks.chaos.schedule import Unhealthy
from benchmarks.chaos.traffic import Record, Try
from benchmarks.chaos.verdict import Asked, Kind, Verdict

STAMP = Stamp("a", "r1", "x0")


def record(kind: Kind = "whole", *, request: str = "r1", stamp: Stamp | None = STAMP, attempts: int = 1) -> Record:
    asked = Asked(request=request, words=5, stream=True, sequence=("a", "b"))
    verdict = Verdict(kind, stamp=stamp if kind in ("whole", "broken") else None, words=5 if kind == "whole" else 2)
    return Record(
        asked=asked,
        arm="all",
        start_s=10.0,
        first_s=10.1,
        end_s=10.2,
        verdict=verdict,
        attempts=attempts,
        trail=[Try("a", "200")],
    )


def exchange(ended: str = "complete", *, sent_words: int = 5, request: str = "r1") -> Exchange:
    return Exchange("a", request, "x0", 10.05, "healthy", reused=False, sent_words=sent_words, ended=ended)


def only_verdict(one: Record, *exchanges: Exchange) -> Verdict:
    return checked(History(start_s=0, records=[one], exchanges=exchanges)).records[0].verdict


def test_what_a_provider_sent_and_a_caller_got_is_left_as_it_is() -> None:
    assert only_verdict(record(), exchange()).kind == "whole"
    assert only_verdict(record("broken"), exchange("cut", sent_words=3)).kind == "broken"


@pytest.mark.parametrize(
    ("one", "exchanges", "why"),
    [
        pytest.param(record(), [], "no provider sent this", id="made-up"),
        pytest.param(record(), [exchange("cut", sent_words=4)], "no provider sent this", id="more-than-was-sent"),
        pytest.param(record(), [exchange("cut")], "had not ended it", id="whole-of-a-broken-one"),
        pytest.param(record("broken"), [exchange()], "sent it whole", id="broken-of-a-whole-one"),
    ],
)
def test_an_answer_that_no_log_bears_out_is_corrupted(one: Record, exchanges: list[Exchange], why: str) -> None:
    verdict = only_verdict(one, *exchanges)
    assert verdict.kind == "corrupted"
    assert why in verdict.why


def test_one_answer_given_to_two_callers_is_corrupted_for_the_second() -> None:
    history = checked(History(start_s=0, records=[record(), record()], exchanges=[exchange()]))
    assert [one.verdict.kind for one in history.records] == ["whole", "corrupted"]
    assert len(tally(history).corrupted) == 1


def test_an_answer_whose_connection_was_reset_right_behind_it_may_be_whole_or_broken() -> None:
    assert only_verdict(record(), exchange("lost")).kind == "whole"
    assert only_verdict(record("broken"), exchange("lost")).kind == "broken"


def test_a_request_without_any_answer_is_counted_whoever_was_healthy() -> None:
    down = [fault("a", 0, 20), fault("b", 0, 20)]
    assert len(tally(History(start_s=0, records=[record("lost")], unhealthy=down)).lost) == 1


def fault(provider: str, from_s: float, to_s: float) -> Unhealthy:
    return Unhealthy(provider, from_s, to_s, "mute")


@pytest.mark.parametrize(
    ("unhealthy", "owed"),
    [
        pytest.param([], 1, id="all-healthy"),
        pytest.param([fault("a", 0, 20)], 1, id="one-healthy"),
        pytest.param([fault("a", 0, 20), fault("b", 0, 9.9)], 1, id="one-healthy-again-just-before"),
        pytest.param([fault("a", 0, 20), fault("b", 10.19, 20)], 0, id="the-other-failing-just-before-the-end"),
        pytest.param([fault("a", 10.0, 10.05), fault("b", 10.1, 10.15)], 0, id="each-healthy-but-not-all-along"),
        pytest.param([fault("c", 0, 20)], 1, id="one-that-was-not-asked-for"),
    ],
)
def test_an_answer_is_owed_when_one_provider_of_the_sequence_was_healthy_all_along(
    unhealthy: list[Unhealthy], owed: int
) -> None:
    sums = tally(History(start_s=0, records=[record("refused")], unhealthy=unhealthy))
    assert (sums.owed, len(sums.failed), sums.unowed) == (owed, owed, 1 - owed)


def test_a_recovery_that_may_go_unnoticed_for_a_while_owes_nothing_in_it() -> None:
    down = [fault("a", 0, 20), fault("b", 0, 9.0)]
    history = History(start_s=0, records=[record("refused")], unhealthy=down)  # from 10.0 on
    assert [tally(history, noticed_s).owed for noticed_s in (0.0, 0.9, 1.1)] == [1, 1, 0]


def test_a_provider_beyond_the_attempts_that_a_request_may_cost_owes_nothing() -> None:
    late = record("refused")
    late = replace(late, asked=replace(late.asked, sequence=("a",) * 5 + ("b",)))
    assert tally(History(start_s=0, records=[late], unhealthy=[fault("a", 0, 20)])).owed == 0


def test_a_provider_whose_process_was_not_run_counts_as_unhealthy_for_that_time() -> None:
    history = History(start_s=0, records=[record("refused")], stalls={"providers": [(10.0, 10.5)]})
    assert tally(checked(history)).owed == 0


def test_attempts_that_the_caller_was_not_told_of_are_found() -> None:
    twice = [exchange(), replace(exchange(), provider="b")]
    assert uncounted(History(start_s=0, records=[record()], exchanges=twice)) == ["r1"]
    assert uncounted(History(start_s=0, records=[record(attempts=2)], exchanges=twice)) == []


def test_a_silent_re_send_over_a_stale_connection_is_no_attempt() -> None:
    stale = replace(exchange("cut", sent_words=0), reused=True, silent=True)
    assert uncounted(History(start_s=0, records=[record()], exchanges=[stale, exchange()])) == []
    fresh = replace(stale, reused=False)
    assert uncounted(History(start_s=0, records=[record()], exchanges=[fresh, exchange()])) == ["r1"]


def test_the_most_attempts_are_those_of_the_log_where_the_header_says_less() -> None:
    history = History(start_s=0, records=[record(attempts=2)], exchanges=[exchange()] * 6)
    assert worst_attempts(history) == 6
