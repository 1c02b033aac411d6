"""The last word: what the caller is told when no attempt delivered (contract, sections 1, 4 and 6).

Either one provider's refusal is passed on, in its own words and under its name, or the failures are summed up
in ours. Sums name providers and reasons only: what a failing server wrote may hold URLs, keys or another
caller's text.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._frozen import dataclass
from .._values import Outcome, ProviderError, Target
from ..exceptions import EndpointDenied, RequestRejected
from .table import Verdict

NOTHING_SENT = frozenset({"busy", "denied", "exhausted", "key_unavailable", "misdirected", "unservable"})
"""Reasons of outcomes that never reached a provider: lines of the trail, but no attempts."""

OVERLOADED = frozenset({"busy", "exhausted"})
OUT_OF_TIME = frozenset({"timeout", "connect_timeout"})
RATE_LIMITED = frozenset({"rate_limited", "request_too_large"})

DEFAULT_RETRY_AFTER_S = 5.0
RETRY_WORTHWHILE_S = 60.0
"""Beyond this, SDKs drop a `retry-after` and come back at once: better to tell them to stay away."""

BUSY_RETRY_AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that is over."""

    target: Target
    outcome: Outcome
    verdict: Verdict

    @property
    def reason(self) -> str:
        return self.verdict.reason

    @property
    def sent(self) -> bool:
        return self.reason not in NOTHING_SENT

    @property
    def named_s(self) -> float | None:
        """The wait that the provider named, if it is one at all (NaN is not)."""
        named = self.outcome.retry_after_s
        return named if named is not None and 0 <= named < float("inf") else None


def conclude(ended: Sequence[Ended], *, out_of_time: bool = False) -> tuple[RequestRejected, str | None]:
    """The refusal, and the provider whose words it holds. `out_of_time`: the total limit ran out."""
    last = ended[-1] if ended else None
    if last is not None and last.reason == "denied":
        return EndpointDenied("address", last.outcome.detail), None
    if last is not None and last.verdict.status is not None:
        return _passed_on(last, last.verdict.status)
    if last is not None and last.reason == "context_length" and not out_of_time:
        return _passed_on(next(item for item in ended if item.reason == "context_length"), 400)
    return _sum(ended, out_of_time), None


def _sum(ended: Sequence[Ended], out_of_time: bool) -> RequestRejected:
    sent = [item for item in ended if item.sent]
    reasons = {item.reason for item in sent}
    if out_of_time or (reasons and reasons <= OUT_OF_TIME):
        subject = "The whole request" if out_of_time else "Every attempt"
        message = f"{subject} ran out of time.{_trail(ended)}"
        return RequestRejected(504, message, type="upstream_error", code="timeout")
    if not ended:
        return RequestRejected(
            503,
            "There is no provider to ask.",
            type="service_unavailable_error",
            code="no_provider",
            retry_after_s=60,
            should_retry=False,
        )
    # A mapped name is the operator's: that nobody knows it is not the caller's mistake.
    if all(item.reason == "model_not_found" and not item.target.mapped for item in ended):
        return RequestRejected(
            404,
            f"No provider that was asked knows this model.{_trail(ended)}",
            param="model",
            code="model_not_found",
            should_retry=False,
        )
    if reasons and reasons <= RATE_LIMITED:
        return _rate_limited(sent, ended)
    if all(item.reason in OVERLOADED for item in ended):
        return RequestRejected(
            503,
            f"The gateway is busy: it had no free slot, or no socket, for any provider.{_trail(ended)}",
            type="service_unavailable_error",
            code="gateway_overloaded",
            retry_after_s=BUSY_RETRY_AFTER_S,
        )
    attempts = "The only attempt" if len(ended) == 1 else f"All {len(ended)} attempts"
    return RequestRejected(
        502,
        f"{attempts} failed:{_trail(ended)}",
        type="upstream_error",
        code="all_attempts_failed",
        should_retry=_should_retry(ended),
    )


def _rate_limited(sent: list[Ended], ended: Sequence[Ended]) -> RequestRejected:
    # A wait that came with "request too large" cures nothing, so it counts only when there is no other.
    limits = [item for item in sent if item.reason == "rate_limited"]
    named_s = [item.named_s for item in limits or sent if item.named_s is not None]
    soonest_s = min(named_s, default=DEFAULT_RETRY_AFTER_S)
    return RequestRejected(
        429,
        f"Every attempt was rate limited.{_trail(ended)}",
        type="rate_limit_error",
        code="rate_limit_exceeded",
        retry_after_s=soonest_s,
        should_retry=False if soonest_s > RETRY_WORTHWHILE_S else _should_retry(ended),
    )


def _should_retry(ended: Sequence[Ended]) -> bool | None:
    """False when none of the causes passes within seconds; else SDKs may decide for themselves."""
    return None if any(item.verdict.repeatable for item in ended) else False


def _passed_on(item: Ended, status: int) -> tuple[RequestRejected, str]:
    provider = item.target.provider
    error = item.outcome.error or ProviderError()
    # A page made for browsers says nothing to a program.
    message = None if error.form == "html" else error.message
    refusal = RequestRejected(
        status,
        message or f"{provider} refused the request with status {item.outcome.status}.",
        type=error.type or "invalid_request_error",
        param=error.param,
        code="loop_detected" if item.reason == "loop_detected" else error.code,
        # SDKs leave a 4xx alone, but retry every 5xx.
        should_retry=False if status >= 500 else None,
    )
    return refusal, provider


def _trail(ended: Sequence[Ended]) -> str:
    """` openai (timeout), azure (503).`: reasons, or the number where a server answered with one."""
    if not ended:
        return ""
    labels = [
        f"{item.target.provider} ({item.outcome.status if item.outcome.kind == 'status' else item.reason})"
        for item in ended
    ]
    return f" {', '.join(labels)}."
