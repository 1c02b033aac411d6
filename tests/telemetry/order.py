"""What holds of any sequence of events, whatever has happened: who has begun has ended, once, in its request."""

from __future__ import annotations

from collections.abc import Sequence

from ogw_asgi.telemetry.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    FailedOver,
    FirstChunk,
    Hedged,
    RequestEnded,
    RequestStarted,
    StreamBroken,
    StreamContinued,
)

_OF_A_REQUEST = (
    RequestStarted,
    AttemptStarted,
    FirstChunk,
    AttemptEnded,
    FailedOver,
    Hedged,
    StreamBroken,
    StreamContinued,
    RequestEnded,
)


def assert_in_order(events: Sequence[Event]) -> None:
    """Of every request that has ended; others may still be under way."""
    requests: dict[int, list[Event]] = {}
    for event in events:
        if isinstance(event, _OF_A_REQUEST):
            requests.setdefault(event.serial, []).append(event)
    for one in requests.values():
        assert isinstance(one[0], RequestStarted), one
        assert sum(isinstance(event, RequestStarted) for event in one) == 1
        _assert_attempts(one)
        ends = [index for index, event in enumerate(one) if isinstance(event, RequestEnded)]
        assert ends in ([], [len(one) - 1]), one


def _assert_attempts(events: Sequence[Event]) -> None:
    under_way: dict[int, AttemptStarted] = {}
    begun: set[int] = set()
    for event in events:
        match event:
            case AttemptStarted():
                assert event.number == len(begun) + 1
                begun.add(event.number)
                under_way[event.number] = event
                assert (event.reason == "first") == (event.number == 1)
            case FirstChunk():
                assert under_way[event.number].provider == event.provider
            case AttemptEnded() if event.number:
                started = under_way.pop(event.number)
                line = event.attempt
                assert (line.provider, line.model) == (started.provider, started.model)
                assert event.duration_s >= (event.first_chunk_s or 0) >= 0
                assert (event.end == "broken") == (event.cause is not None)
                assert (event.end in ("complete", "broken")) <= (line.outcome == "ok"), event
            case RequestEnded():
                assert under_way == {}, f"an attempt is left behind: {events}"
                assert event.overhead_s is None or 0 <= event.overhead_s <= event.duration_ms / 1000 + 0.002
