"""The table of names and words: complete over what the rules can say, closed over what servers and callers can."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from ogw_asgi._rules.table import Reason
from ogw_asgi._values import AttemptRecord
from ogw_asgi.telemetry import AttemptEnded, _genai

REASONS = get_args(Reason)
WORDS = {
    "timeout",
    "connect_error",
    "connection_reset",
    "protocol_error",
    "stream_truncated",
    "cancelled",
    "_OTHER",
}


def ended(
    outcome: str = "ok", status: int | None = None, *, end: Any = "failed", cause: str | None = None
) -> AttemptEnded:
    return AttemptEnded("r", 1, 1, AttemptRecord("p", outcome, status, "code", 5, "m"), end, False, cause)


def test_every_outcome_has_an_error_type_and_no_other_word_has() -> None:
    assert _genai.ERROR_TYPES.keys() == set(REASONS)


@pytest.mark.parametrize("reason", REASONS)
def test_an_attempt_that_failed_is_told_by_its_status_or_by_a_word_of_the_table(reason: str) -> None:
    assert _genai.error_type(ended(reason, 503)) == "503"
    word = _genai.error_type(ended(reason))
    assert word == _genai.error_type(ended(reason, 200))  # it was no answer, whatever it said
    assert word in WORDS | set(REASONS)
    assert _genai.outcome(ended(reason)) == reason
    assert _genai.failover_reason(reason) == reason


@pytest.mark.parametrize("status", [0, 99, 600, 999, 10**9])
def test_a_status_that_is_none_is_no_label(status: int) -> None:
    assert _genai.error_type(ended("invalid_answer", status)) == "invalid_answer"


def test_words_that_nobody_knows_are_one() -> None:
    assert _genai.error_type(ended("made up")) == "_OTHER"
    assert _genai.outcome(ended("made up")) == "other"
    assert _genai.failover_reason("made up") == "other"


@pytest.mark.parametrize("reason", ["overdue", "circuit_open", "cooling_down"])
def test_whoever_was_passed_over_is_told_by_why(reason: str) -> None:
    assert _genai.failover_reason(reason) == reason


@pytest.mark.parametrize(
    ("end", "cause", "error", "outcome"),
    [
        ("complete", None, None, "ok"),
        ("broken", "idle", "timeout", "broken"),
        ("broken", "not_json", "protocol_error", "broken"),
        ("broken", "incomplete", "stream_truncated", "broken"),
        ("broken", "whatever a server may do", "stream_truncated", "broken"),
        ("left", None, "cancelled", "left"),
        ("cancelled", None, "cancelled", "cancelled"),
    ],
)
def test_what_did_not_fail_before_its_first_chunk_is_told_by_its_end(
    end: str, cause: str | None, error: str | None, outcome: str
) -> None:
    event = ended(status=200, end=end, cause=cause)
    assert (_genai.error_type(event), _genai.outcome(event)) == (error, outcome)


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("openai", "backup", "openai"),
        ("azure", "azure-eu", "azure.ai.openai"),
        ("vllm", "vllm", "vllm"),
        ("compatible", "groq", "groq"),
        ("compatible", "mistral", "mistral_ai"),
        ("compatible", "xai", "x_ai"),
        ("compatible", "our-own", "our-own"),
        ("mine", "gemini", "gcp.gemini"),
    ],
)
def test_providers_go_by_the_conventions_names_for_them(kind: str, name: str, told: str) -> None:
    assert _genai.provider_name(kind, name) == told


@pytest.mark.parametrize(
    ("name", "shown"), [("a\nb\x1b[31m", "a?b?[31m"), ("\ud800", "?"), ("\n" * 300, "?" * 128), ("gpt-4o", "gpt-4o")]
)
def test_what_could_confuse_a_terminal_or_an_exporter_is_not_shown(name: str, shown: str) -> None:
    assert _genai.shown(name) == shown
