"""What is remembered has bounds, whatever is told and in whatever order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ogw_asgi._status import recent as subject
from ogw_asgi._status.kinds import KINDS
from ogw_asgi._status.recent import ENDS, REASONS, Recent
from ogw_asgi._status.snapshot import Counts, Requests
from ogw_asgi._values import AttemptRecord
from ogw_asgi.telemetry import _genai
from ogw_asgi.telemetry.events import (
    AttemptEnded,
    AttemptStarted,
    FailedOver,
    FirstChunk,
    RequestEnded,
    RequestStarted,
)

RECORD = AttemptRecord("a", "ok", 200, None, 5, "m")


@pytest.fixture
def recent() -> Recent:
    ticks: Iterator[float] = iter(range(1000, 1_000_000))
    return Recent(lambda: float(next(ticks)), lambda: 0.0)


def started(serial: int) -> RequestStarted:
    return RequestStarted("id", serial, "m", True, None, ("a",), {})


def attempt(serial: int, number: int = 1, *, model: str = "m", host: str | None = "::1") -> AttemptStarted:
    return AttemptStarted("id", serial, number, "a", "vllm", model, "first", host, 8000, True, False)


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
        recent.on_event(started(serial))
        recent.on_event(attempt(serial))
    (target,) = recent.targets.values()
    assert (list(recent.running), target.in_flight) == ([2, 3], 2)
    for event in (FirstChunk("id", 1, 1, "a", 0.1), attempt_ended(1), ended(1), attempt_ended(2), ended(2)):
        recent.on_event(event)
    assert (list(recent.running), target.in_flight, len(recent.ended)) == ([3], 1, 1)


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


def test_where_a_target_is_is_written_as_in_a_url(recent: Recent) -> None:
    recent.on_event(started(1))
    recent.on_event(attempt(1))
    recent.on_event(attempt(1, 2, model="n", host=None))
    assert [target.where for target in recent.targets.values()] == ["[::1]:8000", None]
