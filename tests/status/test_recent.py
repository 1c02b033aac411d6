"""What is remembered has bounds, whatever is told and in whatever order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ogw_asgi._status import recent as subject
from ogw_asgi._status.kinds import KINDS
from ogw_asgi._status.recent import ENDS, OWN, REASONS, UPSTREAM, Recent, TargetKey
from ogw_asgi._status.snapshot import Counts, Requests
from ogw_asgi._status.windows import bucket_of, slot_of
from ogw_asgi._usage import Usage
from ogw_asgi._values import AttemptRecord
from ogw_asgi.telemetry import _genai
from ogw_asgi.telemetry.events import (
    AttemptEnded,
    AttemptStarted,
    FailedOver,
    FirstChunk,
    GatewayOpened,
    RequestEnded,
    RequestStarted,
)

RECORD = AttemptRecord("a", "ok", 200, None, 5, "m")


def opened(engine: str = "httpx") -> GatewayOpened:
    return GatewayOpened("1.0", engine, "asyncio", {"a": "vllm"}, frozenset({"m"}))


@pytest.fixture
def recent() -> Recent:
    ticks: Iterator[float] = iter(range(1000, 1_000_000))
    return Recent(lambda: float(next(ticks)), lambda: 0.0)


def started(serial: int) -> RequestStarted:
    return RequestStarted("id", serial, "m", True, None, ("a",), {})


def attempt(
    serial: int, number: int = 1, *, model: str = "m", host: str | None = "::1", named: bool = False
) -> AttemptStarted:
    return AttemptStarted("id", serial, number, "a", "vllm", model, "first", host, 8000, True, named)


def attempt_ended(serial: int, number: int = 1) -> AttemptEnded:
    return AttemptEnded("id", serial, number, RECORD, "complete", False, duration_s=0.1, sent=True)


def ended(serial: int) -> RequestEnded:
    return RequestEnded("id", serial, "m", "ok", 201, "a", (RECORD,), 5, True, None)


def test_the_names_of_what_is_counted_are_those_of_what_is_shown() -> None:
    assert tuple(Counts.__dataclass_fields__) == KINDS
    assert set(ENDS) - set(Requests.__dataclass_fields__) == {"failed", "came_in"}


def test_every_reason_for_a_failover_has_its_own_count() -> None:
    words = {*_genai.ERROR_TYPES, "overdue", "circuit_open", "cooling_down", "nobody's word"}
    assert {_genai.failover_reason(word) for word in words} <= set(REASONS)
    assert {_genai.broken_type(cause) for cause in ("idle", "protocol", "not_json", "eof", None)} <= set(REASONS)
    assert len(REASONS) == len(set(REASONS))


def test_of_more_requests_than_can_be_kept_the_oldest_are_let_go_and_their_attempts_with_them(
    recent: Recent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "MOST_RUNNING", 2)
    for serial in (1, 2, 3):
        if serial == 3:  # what has ended is under way no more
            recent.on_event(attempt(1, 2))
            recent.on_event(attempt_ended(1, 2))
        recent.on_event(started(serial))
        recent.on_event(attempt(serial))
    (target,) = recent.targets.values()
    assert (list(recent.running), target.in_flight) == ([2, 3], 2)
    for event in (FirstChunk("id", 1, 1, "a", 0.1), attempt_ended(1), ended(1), attempt_ended(2), ended(2)):
        recent.on_event(event)
    assert (list(recent.running), target.in_flight, len(recent.ended)) == ([3], 1, 1)


def test_a_target_answers_again_with_a_first_chunk_however_long_the_stream_runs(recent: Recent) -> None:
    failed = AttemptRecord("a", "overloaded", 503, None, 5, "m")
    for event in (started(1), attempt(1), AttemptEnded("id", 1, 1, failed, "failed", False, duration_s=0.1, sent=True)):
        recent.on_event(event)
    (target,) = recent.targets.values()
    recent.on_event(started(2))
    recent.on_event(attempt(2))
    assert target.failed_last
    recent.on_event(FirstChunk("id", 2, 1, "a", 0.1))
    assert (target.failed_last, target.in_flight, target.streaming) == (False, 1, 1)
    recent.on_event(attempt_ended(2))
    assert (target.in_flight, target.streaming) == (0, 0)


def test_of_a_request_that_nobody_has_heard_of_nothing_is_noted(recent: Recent) -> None:
    recent.on_event(attempt(7))
    recent.on_event(FailedOver("id", 7, "a", "b", "timeout"))
    recent.on_event(ended(7))
    assert (len(recent.targets), len(recent.ended), recent.edges["a", "b"].total) == (0, 0, 1)


def test_attempts_and_edges_have_their_bounds_too(recent: Recent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MOST_SEGMENTS", 2)
    monkeypatch.setattr(subject, "MOST_EDGES", 1)
    recent.on_event(started(1))
    for number in (1, 2, 3):
        recent.on_event(attempt(1, number))
    assert list(recent.running[1].attempts) == [1, 2]
    for after in ("b", "c", "b"):
        recent.on_event(FailedOver("id", 1, "a", after, "timeout"))
    assert {pair: edge.total for pair, edge in recent.edges.items()} == {("a", "b"): 2}


def test_a_name_that_settings_hold_stays_though_callers_think_of_others_and_it_has_never_answered(
    recent: Recent,
) -> None:
    recent.on_event(GatewayOpened("0", "httpx", "asyncio", {"a": "vllm"}, frozenset({"m"})))
    recent.on_event(started(1))
    recent.on_event(attempt(1))
    for serial in range(2, subject.MOST_TARGETS + 9):
        recent.on_event(started(serial))
        recent.on_event(attempt(serial, model=f"thought of {serial}"))
        recent.on_event(attempt_ended(serial))
        recent.on_event(ended(serial))
    assert len(recent.targets) == subject.MOST_TARGETS
    assert "m" in {key.model for key in recent.targets}


def test_what_requests_under_way_have_asked_for_and_was_let_go_of_keeps_no_window(recent: Recent) -> None:
    for serial in range(2 * subject.MOST_TARGETS):
        recent.on_event(started(serial))
        recent.on_event(attempt(serial, model=f"thought of {serial}"))
    held = {id(one.attempts[1].target.window) for one in recent.running.values()}
    assert len(held) == subject.MOST_TARGETS + 1
    recent.on_event(attempt_ended(0))
    assert recent.running[0].attempts[1].end == "complete"


def test_a_target_that_is_being_asked_is_not_forgotten_for_others(
    recent: Recent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "MOST_TARGETS", 2)
    recent.on_event(started(1))
    recent.on_event(attempt(1, model="slow"))
    for serial in (2, 3, 4):
        for event in (started(serial), attempt(serial, model=f"quick {serial}"), attempt_ended(serial), ended(serial)):
            recent.on_event(event)
    assert [(key.model, one.in_flight) for key, one in recent.targets.items()] == [("slow", 1), ("quick 4", 0)]


def test_where_a_target_is_is_written_as_in_a_url(recent: Recent) -> None:
    recent.on_event(started(1))
    recent.on_event(attempt(1))
    recent.on_event(attempt(1, 2, model="n", host=None))
    assert [target.where for target in recent.targets.values()] == ["[::1]:8000", None]


def test_it_counts_from_when_the_gateway_was_opened_first_and_knows_how_it_was_last() -> None:
    at_s = 10.0
    recent = Recent(lambda: at_s, lambda: 0.0)
    at_s = 15.0
    recent.on_event(opened())
    at_s = 20.0
    recent.on_event(opened("native"))
    assert recent.began_s == 15.0
    assert recent.opened == opened("native")


def test_all_the_endpoints_that_callers_name_are_one_target_that_is_nowhere(recent: Recent) -> None:
    recent.on_event(started(1))
    for number, model in ((1, "m"), (2, "n")):
        recent.on_event(attempt(1, number, model=model, named=True))
    ((key, target),) = recent.targets.items()
    assert (key, target.where, target.in_flight) == (TargetKey("a", None, True), None, 2)


def test_of_targets_that_have_never_answered_the_one_that_was_not_asked_for_longest_goes(
    recent: Recent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "MOST_TARGETS", 2)
    recent.on_event(started(1))
    for number, model in enumerate(("m", "n", "m", "o"), 1):
        recent.on_event(attempt(1, number, model=model))
    assert [key.model for key in recent.targets] == ["m", "o"]


def test_a_reason_is_counted_by_its_word_and_one_that_nobody_knows_as_other(recent: Recent) -> None:
    for reason in ("dns", "tls", "a word of a later day"):
        recent.on_event(FailedOver("id", 1, "a", "b", reason))
    counts = dict(zip(REASONS, recent.edges["a", "b"].window.sums(0), strict=True))
    assert {reason: count for reason, count in counts.items() if count} == {"dns": 1, "tls": 1, "other": 1}


def test_what_was_the_gateways_own_and_what_was_spent_on_providers_are_told_apart(recent: Recent) -> None:
    recent.on_event(started(1))
    recent.on_event(RequestEnded("id", 1, "m", "ok", 201, "a", (RECORD,), 1000, True, None, 0.25))
    sums = recent.requests.sums(slot_of(recent.now_s()))
    for times, duration_s in ((OWN, 0.25), (UPSTREAM, 0.75)):
        (bucket,) = [place for place, count in enumerate(sums[slice(*times)]) if count]
        assert bucket == bucket_of(duration_s)


def test_tokens_are_those_of_all_attempts_and_unknown_where_nobody_told_any(recent: Recent) -> None:
    used = [RECORD, RECORD.using(Usage(input_tokens=3)), RECORD.using(Usage(input_tokens=4, output_tokens=5))]
    for serial, attempts in ((1, used[:1]), (2, used[:2]), (3, used)):
        recent.on_event(started(serial))
        recent.on_event(RequestEnded("id", serial, "m", "ok", 201, "a", attempts, 5, True, None))
    assert [(line.input_tokens, line.output_tokens) for line in recent.ended] == [(None, None), (3, None), (7, 5)]


def test_an_attempt_is_placed_from_its_requests_beginning() -> None:
    at_s = 100.0
    recent = Recent(lambda: at_s, lambda: 0.0)
    recent.on_event(started(1))
    at_s = 102.0
    recent.on_event(attempt(1))
    recent.on_event(FirstChunk("id", 1, 1, "a", 0.5))
    at_s = 105.0
    recent.on_event(attempt_ended(1))
    (segment,) = recent.running[1].line(now_s=200.0).segments
    assert (segment.start_ms, segment.duration_ms, segment.first_chunk_ms) == (2000, 3000, 500)
