"""The last word when nobody delivered: whose words, which status, and whether to come back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw_asgi._rules.classify import DEFAULT_FAILOVER_ON, classify
from ogw_asgi._rules.conclude import Ended, conclude
from ogw_asgi._values import Outcome, ProviderError, Target
from ogw_asgi.exceptions import RequestRejected


def ended(provider: str, kind: Any, *, model: str | None = None, **more: Any) -> Ended:
    error = more.pop("error", None)
    if isinstance(kind, int):
        outcome = Outcome("status", provider, kind, ProviderError(**(error or {})), **more)
    else:
        outcome = Outcome(kind, provider, **more)
    target = Target(provider, "gpt-4o", model or "gpt-4o")
    return Ended(target, outcome, classify(outcome, DEFAULT_FAILOVER_ON))


LIMITED = ended("openai", 429)
UNKNOWN_MODEL = ended("openai", 404, error={"code": "model_not_found"})
TOO_LARGE = ended("openai", 429, error={"message": "Request too large for gpt-4o"}, retry_after_s=2)
TOO_LONG = ended(
    "azure",
    400,
    error={
        "message": "This model's maximum context length is 8192 tokens.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    },
)
TIMEOUT = ended("openai", "timeout")
BUSY = ended("openai", "busy")


def said(*attempts: Ended, out_of_time: bool = False) -> RequestRejected:
    """The refusal when no provider's words are passed on."""
    refusal, provider = conclude(attempts, out_of_time=out_of_time)
    assert provider is None
    return refusal


@pytest.mark.contract("4.stop.blamed", "4.stop.passed-on", "4.stop.too-large", "6.header.provider-refusal")
@pytest.mark.parametrize(("answered", "status"), [(400, 400), (422, 400), (414, 400), (418, 400), (413, 413)])
def test_a_refusal_of_the_request_is_passed_on_in_the_providers_words(answered: int, status: int) -> None:
    error = {"message": "No.", "type": "invalid_request_error", "param": "n", "code": "invalid_value"}
    refusal, provider = conclude([TIMEOUT, ended("vllm", answered, error=error)])
    assert provider == "vllm"
    assert (refusal.status, refusal.message, refusal.type) == (status, "No.", "invalid_request_error")
    assert (refusal.param, refusal.code, refusal.should_retry) == ("n", "invalid_value", None)


@pytest.mark.contract("4.stop.policy")
def test_a_content_policy_refusal_is_the_callers_400() -> None:
    refusal, provider = conclude([ended("azure", 400, error={"code": "content_filter", "param": "prompt"})])
    assert (provider, refusal.status, refusal.code) == ("azure", 400, "content_filter")


@pytest.mark.parametrize("error", [{"form": "html", "message": "<html>"}, {"form": "empty"}, {"message": ""}])
def test_a_refusal_without_usable_words_is_told_in_ours(error: dict[str, Any]) -> None:
    refusal, provider = conclude([ended("openai", 413, error=error)])
    assert (provider, refusal.message) == ("openai", "openai refused the request with status 413.")
    assert (refusal.type, refusal.param, refusal.code) == ("invalid_request_error", None, None)


@pytest.mark.contract("4.stop.caller-key", "B.vllm-caller-key")
@pytest.mark.parametrize("status", [401, 403])
def test_the_callers_own_key_refused_is_the_callers_401(status: int) -> None:
    refusal, provider = conclude([ended("vllm", status, caller_key=True, error={"message": "Unauthorized"})])
    assert (provider, refusal.status, refusal.message) == ("vllm", 401, "Unauthorized")


@pytest.mark.contract("4.stop.loop")
@pytest.mark.parametrize("error", [{"code": "loop_detected"}, {"type": "loop_detected"}])
def test_a_loop_further_up_is_the_callers_508_and_not_retried(error: dict[str, str]) -> None:
    refusal, provider = conclude([ended("vllm", 508, error=error)])
    assert (provider, refusal.status, refusal.code) == ("vllm", 508, "loop_detected")
    assert refusal.should_retry is False


@pytest.mark.contract("4.length.last-word", "4.last.length")
def test_a_length_refusal_as_the_last_word_is_the_first_of_them_unchanged() -> None:
    later = ended("vllm", 400, error={"message": "prompt is too long", "code": "400"})
    refusal, provider = conclude([TIMEOUT, TOO_LONG, later])
    assert (provider, refusal.status) == ("azure", 400)
    assert refusal.message == "This model's maximum context length is 8192 tokens."
    assert (refusal.type, refusal.param, refusal.code) == (
        "invalid_request_error",
        "messages",
        "context_length_exceeded",
    )


@pytest.mark.contract("4.last.length")
def test_a_length_refusal_before_another_failure_is_a_502() -> None:
    refusal = said(TOO_LONG, ended("vllm", "connect"))
    assert (refusal.status, refusal.code) == (502, "all_attempts_failed")


@pytest.mark.contract("4.model-not-found", "B.openai-model-not-found")
def test_a_model_that_nobody_knows_is_the_callers_404() -> None:
    refusal = said(UNKNOWN_MODEL, ended("azure", 404, error={"code": "DeploymentNotFound"}))
    assert (refusal.status, refusal.code, refusal.param) == (404, "model_not_found", "model")
    assert refusal.should_retry is False


@pytest.mark.contract("4.model-not-found", "4.last.misconfigured")
@pytest.mark.parametrize(
    "attempts",
    [
        (UNKNOWN_MODEL, ended("azure", 404, model="prod", error={"code": "DeploymentNotFound"})),
        (UNKNOWN_MODEL, ended("azure", 404)),
        (UNKNOWN_MODEL, ended("azure", "busy")),
    ],
    ids=["a mapped name", "a wrong URL", "one was not asked"],
)
def test_a_model_that_somebody_may_know_is_a_502(attempts: tuple[Ended, ...]) -> None:
    refusal = said(*attempts)
    assert (refusal.status, refusal.code) == (502, "all_attempts_failed")


@pytest.mark.contract("1.rate-limited", "1.rate-limited.soonest")
@pytest.mark.parametrize(
    ("attempts", "retry_after_s", "should_retry"),
    [
        ([LIMITED], 5.0, None),
        ([ended("openai", 429, retry_after_s=20.0)], 20.0, None),
        ([ended("openai", 429, retry_after_s=20.0), ended("azure", 429, retry_after_s=3.0)], 3.0, None),
        ([ended("openai", 429, retry_after_s=20.0), ended("azure", 429)], 20.0, None),
        ([ended("openai", 429, retry_after_s=0.0)], 0.0, None),
        ([ended("azure", 429, retry_after_s=60.0)], 60.0, None),
        ([ended("azure", 429, retry_after_s=86400.0)], 86400.0, False),
        ([ended("azure", 429, retry_after_s=86400.0), LIMITED], 86400.0, False),
        ([ended("azure", 429, retry_after_s=float("nan"))], 5.0, None),
        ([ended("azure", 429, retry_after_s=-1.0)], 5.0, None),
        ([ended("azure", 429, retry_after_s=float("inf"))], 5.0, None),
        ([TOO_LARGE, ended("azure", 429, retry_after_s=20.0)], 20.0, None),
        ([TOO_LARGE, TOO_LARGE], 2, False),
        ([BUSY, ended("azure", 429, retry_after_s=20.0)], 20.0, None),
    ],
)
def test_rate_limited_everywhere_is_a_429_with_the_soonest_wait(
    attempts: list[Ended], retry_after_s: float, should_retry: bool | None
) -> None:
    refusal = said(*attempts)
    assert (refusal.status, refusal.type, refusal.code) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert refusal.retry_after_s == retry_after_s
    assert refusal.should_retry is should_retry


@pytest.mark.contract("1.timed-out")
@pytest.mark.parametrize(
    "attempts",
    [[TIMEOUT], [TIMEOUT, ended("azure", "connect_timeout")], [BUSY, TIMEOUT]],
)
def test_out_of_time_everywhere_is_a_504(attempts: list[Ended]) -> None:
    refusal = said(*attempts)
    assert (refusal.status, refusal.type, refusal.code) == (504, "upstream_error", "timeout")
    assert refusal.message.startswith("Every attempt ran out of time.")


@pytest.mark.contract("2.limits.total")
@pytest.mark.parametrize("attempts", [[], [TIMEOUT], [LIMITED], [ended("openai", 500), BUSY], [TOO_LONG]])
def test_the_total_running_out_is_a_504_whatever_came_before(attempts: list[Ended]) -> None:
    refusal = said(*attempts, out_of_time=True)
    assert (refusal.status, refusal.code) == (504, "timeout")
    assert refusal.message.startswith("The whole request ran out of time.")


@pytest.mark.contract("1.unavailable.overload")
def test_no_free_slot_anywhere_is_a_503_that_invites_back() -> None:
    refusal = said(BUSY, ended("azure", "exhausted"))
    assert (refusal.status, refusal.code, refusal.retry_after_s) == (503, "gateway_overloaded", 1)
    assert refusal.should_retry is None


def test_nobody_to_ask_is_a_503() -> None:
    refusal = said()
    assert (refusal.status, refusal.code) == (503, "no_provider")


@pytest.mark.contract("1.all-failed", "4.last.one-attempt", "4.last.misconfigured", "6.envelope.should-retry")
@pytest.mark.parametrize(
    ("attempts", "should_retry", "message"),
    [
        ([ended("openai", 500)], None, "The only attempt failed: openai (500)."),
        (
            [TIMEOUT, ended("azure", 503), ended("vllm", "connect")],
            None,
            "All 3 attempts failed: openai (timeout), azure (503), vllm (connect).",
        ),
        ([TIMEOUT, LIMITED], None, "All 2 attempts failed: openai (timeout), openai (429)."),
        ([ended("openai", 401)], False, "The only attempt failed: openai (401)."),
        ([ended("openai", 402)], False, "The only attempt failed: openai (402)."),
        (
            [ended("openai", 307), ended("azure", 405)],
            False,
            "All 2 attempts failed: openai (307), azure (405).",
        ),
        (
            [ended("openai", 404), ended("azure", 500)],
            None,
            "All 2 attempts failed: openai (404), azure (500).",
        ),
        ([ended("azure", "unservable")], False, "The only attempt failed: azure (unservable)."),
        (
            [ended("azure", "key_unavailable"), ended("openai", 401)],
            False,
            "All 2 attempts failed: azure (key_unavailable), openai (401).",
        ),
        (
            [ended("azure", "unservable"), BUSY],
            None,
            "All 2 attempts failed: azure (unservable), openai (busy).",
        ),
        (
            [ended("openai", "invalid_answer", status=200)],
            None,
            "The only attempt failed: openai (invalid_answer).",
        ),
    ],
)
def test_mixed_failures_are_a_502_that_names_them(
    attempts: list[Ended], should_retry: bool | None, message: str
) -> None:
    refusal = said(*attempts)
    assert (refusal.status, refusal.type, refusal.code) == (502, "upstream_error", "all_attempts_failed")
    assert refusal.message == message
    assert refusal.should_retry is should_retry


@pytest.mark.contract("6.envelope.no-secrets")
@given(
    st.lists(
        st.sampled_from([500, 503, 429, 401, 403, 404, 301, "timeout", "connect", "busy", "invalid_answer"]),
        min_size=1,
        max_size=5,
    )
)
def test_a_sum_never_holds_a_providers_own_text(kinds: list[int | str]) -> None:
    secret = "http://10.0.0.7:8000 sk-c4n4ry-secret"
    attempts = [
        ended("openai", kind, detail=secret, error={"message": secret, "type": secret, "param": secret})
        for kind in kinds
    ]
    refusal = said(*attempts)
    assert secret not in f"{refusal.message}{refusal.type}{refusal.param}{refusal.code}"
