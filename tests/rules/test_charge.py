"""Verdict -> what the circuits are told: a line for every reason, and who is to blame."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from ogw_asgi._rules.charge import BROKEN, NEUTRAL, Charge, charge
from ogw_asgi._rules.classify import DEFAULT_FAILOVER_ON, classify
from ogw_asgi._rules.table import Reason
from ogw_asgi._values import Outcome, ProviderError

ALL = frozenset({"context_length", "content_filter", "unsupported_parameter"})


def kind(name: Any, status: int | None = None) -> Outcome:
    return Outcome(name, "openai", status)


def answer(status: int, *, named_s: float | None = None, key: bool = False, **error: Any) -> Outcome:
    return Outcome("status", "openai", status, ProviderError(**error), named_s, caller_key=key)


NETWORK = Charge("failed", "nothing")
SERVER = Charge("ok", "failed")

TABLE: list[tuple[Reason, Outcome, Charge]] = [
    ("ok", kind("ok", 200), Charge("ok", "ok")),
    # what the network says
    ("dns", kind("dns"), NETWORK),
    ("connect", kind("connect"), NETWORK),
    ("connect_timeout", kind("connect_timeout"), Charge("failed", "nothing", silent=True)),
    ("tls", kind("tls"), NETWORK),
    ("reset", kind("reset"), NETWORK),
    # what the server says, or leaves unsaid
    ("reset", kind("reset", 200), SERVER),
    ("protocol", kind("protocol"), Charge("nothing", "failed")),
    ("protocol", kind("protocol", 200), SERVER),
    ("timeout", kind("timeout"), Charge("nothing", "failed", silent=True)),
    ("timeout", kind("timeout", 200), Charge("ok", "failed", silent=True)),
    ("invalid_answer", kind("invalid_answer", 200), SERVER),
    ("invalid_answer", answer(400, form="html"), SERVER),
    ("redirect", answer(307), SERVER),
    ("auth", answer(401), SERVER),
    ("not_found", answer(404), SERVER),
    ("model_not_found", answer(404, code="model_not_found"), SERVER),
    ("misconfigured", answer(405), SERVER),
    ("server_error", answer(500), SERVER),
    ("overloaded", answer(498), SERVER),
    # limits
    ("overloaded", answer(503), Charge("ok", "failed", cools_s=5.0)),
    ("overloaded", answer(529, named_s=7.0), Charge("ok", "failed", cools_s=7.0)),
    ("rate_limited", answer(429), Charge("ok", "failed", cools_s=5.0)),
    ("rate_limited", answer(429, named_s=0.2), Charge("ok", "failed", cools_s=1.0)),
    ("rate_limited", answer(429, named_s=86_400.0), Charge("ok", "failed", cools_s=300.0)),
    ("quota", answer(429, code="insufficient_quota"), Charge("ok", "failed", opens_s=300.0)),
    ("quota", answer(402, named_s=60.0), Charge("ok", "failed", opens_s=60.0)),
    # the request's own fault, the caller's key, or nothing was sent
    ("request_too_large", answer(429, message="Request too large for gpt-4o"), NEUTRAL),
    ("auth", answer(401, key=True), NEUTRAL),
    ("context_length", answer(400, code="context_length_exceeded"), NEUTRAL),
    ("content_filter", answer(400, code="content_filter"), NEUTRAL),
    ("unsupported_parameter", answer(400, code="unsupported_parameter"), NEUTRAL),
    ("bad_request", answer(400, message="No."), NEUTRAL),
    ("bad_request", answer(413, message="No."), NEUTRAL),
    ("loop_detected", answer(508, code="loop_detected"), NEUTRAL),
    ("busy", kind("busy"), NEUTRAL),
    ("exhausted", kind("exhausted"), NEUTRAL),
    ("denied", kind("denied"), NEUTRAL),
    ("misdirected", kind("misdirected"), NEUTRAL),
    ("unservable", kind("unservable"), NEUTRAL),
    ("key_unavailable", kind("key_unavailable"), NEUTRAL),
    ("cancelled", kind("cancelled"), NEUTRAL),
    ("diverged", kind("diverged", 200), NEUTRAL),
]


def test_the_table_has_a_line_for_every_reason() -> None:
    assert {reason for reason, _, _ in TABLE} == set(get_args(Reason))


@pytest.mark.parametrize("failover_on", [frozenset(), DEFAULT_FAILOVER_ON, ALL], ids=["none", "default", "all"])
@pytest.mark.parametrize(("limit_s", "slow_after_s"), [(30.0, 3.0), (3.0, 3.0), (600.0, 30.0)])
@pytest.mark.parametrize(("reason", "outcome", "expected"), TABLE)
def test_whose_fault_it_is(
    reason: Reason,
    outcome: Outcome,
    expected: Charge,
    limit_s: float,
    slow_after_s: float,
    failover_on: frozenset[str],
) -> None:
    verdict = classify(outcome, failover_on)
    assert verdict.reason == reason
    assert charge(verdict, outcome, limit_s=limit_s, own_limit_s=600.0, slow_after_s=slow_after_s) == expected


@pytest.mark.parametrize(("limit_s", "slow_after_s"), [(0.001, 3.0), (2.999, 3.0), (29.0, 30.0), (3.0, float("inf"))])
@pytest.mark.parametrize(("reason", "outcome", "expected"), TABLE)
def test_a_caller_in_a_hurry_makes_nobody_slow_and_excuses_nothing_else(
    reason: Reason, outcome: Outcome, expected: Charge, limit_s: float, slow_after_s: float
) -> None:
    told = charge(classify(outcome, ALL), outcome, limit_s=limit_s, own_limit_s=600.0, slow_after_s=slow_after_s)
    assert told == (NEUTRAL if reason == "timeout" else expected)


def test_no_answer_of_the_server_is_ever_held_against_the_network() -> None:
    for status in range(100, 600):
        outcome = answer(status)
        told = charge(classify(outcome, ALL), outcome, limit_s=30.0, own_limit_s=30.0, slow_after_s=3.0)
        assert told.origin != "failed"
        assert (told.opens_s is None) or (told.cools_s is None)


def test_what_says_nothing_says_nothing_and_a_broken_stream_is_its_models() -> None:
    assert Charge("nothing", "nothing", silent=False, opens_s=None, cools_s=None) == NEUTRAL
    assert Charge("nothing", "failed", silent=False, opens_s=None, cools_s=None) == BROKEN


@pytest.mark.contract("4.breaker.neutral")
@pytest.mark.parametrize(
    ("limit_s", "own_limit_s", "word"),
    [
        (570.0, 600.0, "failed"),  # an SDK that announces 600 s, of which 30 are kept back
        (599.99, 600.0, "failed"),
        (540.0, 600.0, "failed"),
        (539.0, 600.0, "nothing"),
        (90.0, 90.0, "failed"),  # the operator's own total
        (20.0, 20.0, "failed"),
        (20.0, 90.0, "nothing"),
    ],
)
def test_a_limit_of_the_operators_own_is_nobodys_hurry(limit_s: float, own_limit_s: float, word: str) -> None:
    outcome = Outcome("timeout", "openai")
    told = charge(classify(outcome, ALL), outcome, limit_s=limit_s, own_limit_s=own_limit_s, slow_after_s=600.0)
    assert told.model == word
