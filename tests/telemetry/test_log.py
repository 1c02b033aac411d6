"""What the log says of a request that has ended, by its trail."""

from __future__ import annotations

import logging

import pytest

from ogw_asgi._values import AttemptRecord
from ogw_asgi.telemetry import RequestEnded
from ogw_asgi.telemetry.events import RequestOutcome
from ogw_asgi.telemetry.log import LogSink


def ended(outcome: RequestOutcome, *outcomes: str) -> RequestEnded:
    attempts = [AttemptRecord(f"p{index}", one, None, None, 1, "m") for index, one in enumerate(outcomes)]
    return RequestEnded("r-1", 1, "m", outcome, 201, "p0", attempts, 1, True, None)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        pytest.param(ended("ok", "ok"), False, id="the first who was asked"),
        pytest.param(ended("ok", "reset", "ok"), True, id="the second"),
        pytest.param(ended("ok", "cancelled", "ok"), False, id="a hedge, or who lost against one"),
        pytest.param(ended("broken", "reset", "ok"), True, id="the second, who broke later"),
        pytest.param(ended("broken", "reset"), False, id="a stream that broke, and nobody went on with it"),
        pytest.param(ended("broken", "reset", "diverged", "timeout"), False, id="nor could those who were asked"),
        pytest.param(ended("ok", "reset", "diverged", "ok"), True, id="somebody did"),
    ],
)
def test_a_failover_is_logged_where_somebody_else_answered(
    event: RequestEnded, said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ogw_asgi")
    LogSink().on_event(event)
    assert [record.getMessage().partition(" ")[0] for record in caplog.records] == ["failed_over"] * said
