"""What an attempt that has ended counts as. Pure."""

from __future__ import annotations

from typing import Final, Literal, get_args

from ..telemetry import _genai
from ..telemetry.events import AttemptEnded

Kind = Literal["ok", "rate_limited", "server_error", "timeout", "refused", "other", "unfinished"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""The fields of Counts."""

FAILED: Final[frozenset[Kind]] = frozenset({"rate_limited", "server_error", "timeout", "other"})

_FAULTS_OF_REQUESTS: Final = frozenset(
    {
        "bad_request",
        "content_filter",
        "context_length",
        "denied",
        "diverged",
        "loop_detected",
        "request_too_large",
        "unservable",
        "unsupported_parameter",
    }
)


def kind_of(event: AttemptEnded, *, known: bool) -> Kind:
    """`known`: a setting names its model, so that a provider that has never heard of it is at fault."""
    if event.end == "complete":
        return "ok"
    if event.end in ("left", "cancelled") or event.impatient:  # nobody makes a target look ill by a limit of 1 ms
        return "unfinished"
    if event.end == "broken":
        return "timeout" if _genai.broken_type(event.cause) == "timeout" else "other"
    outcome, status = event.attempt.outcome, event.attempt.status
    if outcome in _FAULTS_OF_REQUESTS or (outcome == "model_not_found" and not known):
        return "refused"
    if outcome == "timeout":
        return "timeout"
    if status == 429:
        return "rate_limited"
    return "server_error" if status is not None and status >= 500 else "other"
