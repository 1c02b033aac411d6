"""What an attempt counts as, as a table."""

from __future__ import annotations

import pytest

from ogw_asgi._status.kinds import Kind, kind_of
from ogw_asgi._values import AttemptRecord
from ogw_asgi.telemetry.events import AttemptEnded, End

FAULTS_OF_REQUESTS = (
    "bad_request",
    "content_filter",
    "context_length",
    "denied",
    "diverged",
    "loop_detected",
    "request_too_large",
    "unservable",
    "unsupported_parameter",
)


def attempt(outcome: str, status: int | None = None, end: End = "failed", cause: str | None = None) -> AttemptEnded:
    return AttemptEnded("id", 1, 1, AttemptRecord("a", outcome, status, None, 5, "m"), end, False, cause)


@pytest.mark.parametrize(
    ("ended", "kind"),
    [
        *((attempt(outcome, 400), "refused") for outcome in FAULTS_OF_REQUESTS),
        (attempt("content_filter", 500), "refused"),
        (attempt("rate_limited", 429), "rate_limited"),
        (attempt("overloaded", 429), "rate_limited"),
        (attempt("rate_limited", 200), "other"),
        (attempt("timeout"), "timeout"),
        (attempt("timeout", 504), "timeout"),
        (attempt("server_error", 500), "server_error"),
        (attempt("overloaded", 529), "server_error"),
        (attempt("auth", 401), "other"),
        (attempt("connect"), "other"),
        (attempt("model_not_found", 404), "other"),
        (attempt("ok", 200, "complete"), "ok"),
        (attempt("ok", 200, "left"), "unfinished"),
        (attempt("timeout", None, "cancelled"), "unfinished"),
        (attempt("ok", 200, "broken", "idle"), "timeout"),
        (attempt("ok", 200, "broken", "eof"), "other"),
        (attempt("ok", 200, "broken"), "other"),
    ],
)
def test_what_it_counts_as(ended: AttemptEnded, kind: Kind) -> None:
    assert kind_of(ended, known=True) == kind


def test_a_model_that_no_setting_names_is_the_requests_fault() -> None:
    assert kind_of(attempt("model_not_found", 404), known=False) == "refused"
    assert kind_of(attempt("auth", 401), known=False) == "other"
