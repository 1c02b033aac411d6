"""Of any input: what holds of the rules whose own tests are tables of examples."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._rules.budget import Bucket, Rate
from ogw_asgi._rules.charge import NEUTRAL, charge
from ogw_asgi._rules.circuit import Circuit, Lease, Result, anchored
from ogw_asgi._rules.classify import OPT_IN_REASONS, classify
from ogw_asgi._rules.conclude import Ended, conclude
from ogw_asgi._rules.continuation import MAX_CONTINUATIONS, asks_again, may_go_on, mode_of, shown, tokens_of
from ogw_asgi._rules.egress import AllowList
from ogw_asgi._rules.plan import Catalogue, ProviderFacts, make_plan
from ogw_asgi._rules.shares import Shares
from ogw_asgi._rules.standing import Standing, standing, uncooled
from ogw_asgi._rules.table import blames_the_key, blames_the_request
from ogw_asgi._rules.trail import line_of
from ogw_asgi._values import (
    CallOptions,
    Endpoint,
    Outcome,
    OutcomeKind,
    Plan,
    Principal,
    ProviderError,
    Target,
    TargetName,
    Timeouts,
)
from ogw_asgi._wire.endpoint import read_endpoint
from ogw_asgi.exceptions import RequestRejected

some = settings(max_examples=100, deadline=None)

SECRET = "sk-CANARY http://10.0.0.7"
words = st.none() | st.sampled_from(
    [SECRET, "context_length_exceeded", "tokens", "400", "x", "model_not_found", "\n", "\ud800"]
)
errors = st.builds(
    ProviderError,
    message=words,
    type=words,
    param=words,
    code=words,
    inner_code=words,
    metadata=st.booleans(),
    form=st.sampled_from(["json", "html", "text", "empty"]),
)
seconds = st.none() | st.floats()
outcomes = st.builds(
    Outcome,
    kind=st.sampled_from(get_args(OutcomeKind)),
    provider_kind=st.sampled_from(["openai", "azure", "vllm"]),
    status=st.none() | st.sampled_from([0, 200, 301, 400, 401, 402, 403, 404, 413, 422, 429, 500, 503, 508, 529, 999]),
    error=st.none() | errors,
    retry_after_s=seconds,
    detail=st.none() | st.sampled_from(["too_long", "began_anew", "other"]),
    duration_s=st.floats(0, 4000),
    caller_key=st.booleans(),
)
reasons = st.frozensets(st.sampled_from(sorted(OPT_IN_REASONS)))
targets = st.builds(Target, st.sampled_from(["a", "b"]), st.just("m"), st.sampled_from(["m", "mapped"]))


def ended(target: Target, outcome: Outcome, failover_on: frozenset[str]) -> Ended:
    return Ended(target, outcome, classify(outcome, failover_on))


# --- what an outcome costs whom ---


@some
@given(outcomes, reasons, st.floats(0.001, 4000), st.floats(0.001, 4000), st.floats(0.1, 600))
def test_a_charge_never_blames_two_and_its_times_are_within_bounds(
    outcome: Outcome, failover_on: frozenset[str], limit_s: float, own_limit_s: float, slow_after_s: float
) -> None:
    verdict = classify(outcome, failover_on)
    charged = charge(verdict, outcome, limit_s=limit_s, own_limit_s=own_limit_s, slow_after_s=slow_after_s)
    assert not (charged.origin == "failed" and charged.model == "failed")
    assert charged.opens_s is None or charged.cools_s is None
    for time_s in (charged.opens_s, charged.cools_s):
        assert time_s is None or 1 <= time_s <= 300
    if verdict.action == "stop" or verdict.counts is None and verdict.action != "deliver":
        assert charged == NEUTRAL
    if outcome.kind == "timeout" and limit_s < min(slow_after_s, 0.9 * own_limit_s):
        assert charged == NEUTRAL, "a caller's impatience"


@some
@given(errors)
def test_the_request_is_blamed_by_a_word_and_not_by_a_text(error: ProviderError) -> None:
    assert blames_the_request(error) == blames_the_request(replace(error, message=None, param=None))
    assert blames_the_request(replace(error, code="CONTEXT_LENGTH_EXCEEDED"))
    assert not blames_the_request(ProviderError(message=error.message))
    assert not blames_the_request(None)


@some
@given(errors)
def test_the_key_is_blamed_by_a_word_or_its_name_and_by_no_parameter(error: ProviderError) -> None:
    assert blames_the_key(error) == blames_the_key(replace(error, param=None, metadata=not error.metadata))
    assert blames_the_key(replace(error, message="Incorrect API key provided: sk-pr***cdef"))
    assert not blames_the_key(ProviderError(code=None, message="the prompt is too long"))


# --- the last word ---


@some
@given(st.lists(st.tuples(targets, outcomes), max_size=5), reasons, st.booleans())
def test_the_last_word_is_a_status_of_the_contract(
    trail: list[tuple[Target, Outcome]], failover_on: frozenset[str], out_of_time: bool
) -> None:
    ends = [ended(target, outcome, failover_on) for target, outcome in trail if outcome.kind != "ok"]
    refusal, provider = conclude(ends, out_of_time=out_of_time)
    assert refusal.status in (400, 401, 403, 404, 413, 429, 502, 503, 504, 508)
    assert refusal.message
    assert provider is None or provider in {one.target.provider for one in ends}
    if provider is None:
        assert SECRET not in f"{refusal.message}{refusal.type}{refusal.param}{refusal.code}"
    assert refusal.retry_after_s is None or 0 <= refusal.retry_after_s < math.inf
    assert (refusal.retry_after_s is not None) == (refusal.status in (429, 503))


@some
@given(targets, outcomes, reasons)
def test_a_line_of_the_trail_shows_no_sentence(target: Target, outcome: Outcome, failover_on: frozenset[str]) -> None:
    line = line_of(ended(target, outcome, failover_on))
    assert line.code is None or re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", line.code)
    assert line.duration_ms >= 0
    assert re.fullmatch(r"[a-z_]+|[0-9]{1,3}", line.label)


# --- going on ---


@some
@given(st.text("ab \n\u00a0", max_size=12), st.booleans(), st.booleans())
def test_only_what_is_shown_is_prefilled(delivered: str, prefills: bool, refused: bool) -> None:
    text = shown(delivered)
    assert delivered.startswith(text)
    assert not delivered[len(text) :].strip()
    assert shown(text) == text
    mode = mode_of(delivered, prefills=prefills, refused=refused)
    assert (mode == "prefill") == (prefills and not refused and bool(text))


@some
@given(st.text(max_size=40), st.integers(0, 50), st.none() | st.integers(0, 100), st.integers(0, 50))
def test_tokens_are_never_fewer_than_none_nor_more_than_reported(
    delivered: str, pieces: int, reported: int | None, last_blanks: int
) -> None:
    tokens = tokens_of(delivered, pieces, reported, last_blanks)
    assert 0 <= tokens <= (max(pieces, len(delivered)) if reported is None else reported)
    assert tokens_of(delivered, pieces, reported, last_blanks + 1) <= tokens


@some
@given(st.none() | errors, st.booleans(), st.integers(0, 4), st.sampled_from(["reset", "idle", "too_long"]))
def test_nobody_goes_on_with_more_than_text_nor_for_ever(
    error: ProviderError | None, text_only: bool, continuations: int, cause: str
) -> None:
    if may_go_on(cause, error, text_only=text_only, continuations=continuations):
        assert text_only
        assert continuations < MAX_CONTINUATIONS
        assert cause != "too_long"
        assert not blames_the_request(error)
        assert may_go_on(cause, error, text_only=True, continuations=0)


@some
@given(outcomes, reasons)
def test_only_whoever_was_shown_the_text_is_asked_again(outcome: Outcome, failover_on: frozenset[str]) -> None:
    verdict = classify(outcome, failover_on)
    assert not asks_again("replay", outcome, verdict)
    if asks_again("prefill", outcome, verdict):
        assert outcome.kind in ("diverged", "status")
        assert outcome.kind == "diverged" or 400 <= (outcome.status or 0) <= 499


# --- time ---

instants = st.sampled_from([0.0, 1.0, 7.0, 100.0])
circuits = st.builds(
    Circuit,
    phase=st.sampled_from(["closed", "open", "half_open"]),
    seen_s=st.sampled_from([7.0, 100.0]),
    since_s=instants,
    results=st.lists(
        st.builds(Result, instants, st.sampled_from(["ok", "failed", "late"]), st.integers(0, 3)), max_size=3
    ).map(tuple),
    open_s=st.sampled_from([5.0, 20.0]),
    lease=st.none() | st.builds(Lease, st.integers(0, 3), instants),
    cooling_until_s=instants,
    sound_until_s=instants,
)


@some
@given(circuits, st.floats(-1000, 1000))
def test_a_clock_that_goes_back_makes_nothing_longer(circuit: Circuit, now_s: float) -> None:
    moved = anchored(circuit, now_s)
    if now_s >= circuit.seen_s:
        assert moved is circuit
        return
    assert moved.seen_s == now_s
    for before, after in [
        (circuit.since_s, moved.since_s),
        (circuit.cooling_until_s, moved.cooling_until_s),
        *((one.at_s, other.at_s) for one, other in zip(circuit.results, moved.results, strict=True)),
    ]:
        assert math.isclose(after - now_s, before - circuit.seen_s, abs_tol=1e-9)
    assert (moved.phase, moved.open_s, moved.trips) == (circuit.phase, circuit.open_s, circuit.trips)


@some
@given(circuits, st.sampled_from([0.0, 7.0, 50.0, 200.0]))
def test_without_its_cooldown_a_target_waits_for_nothing(circuit: Circuit, now_s: float) -> None:
    seen = standing([circuit], now_s)
    left = uncooled(seen)
    assert isinstance(left, Standing)
    assert left.state == ("probe" if seen.half_open else "ready")
    assert left.cooling_until_s == -math.inf


@some
@given(
    st.integers(0, 6),
    st.floats(0, 100),
    st.floats(0, 20),
    st.none() | st.floats(0.001, 100),
    st.none() | st.floats(0.01, 100),
    st.none() | st.floats(0.01, 100),
    st.booleans(),
)
def test_a_share_is_some_time_within_the_total_and_leaves_some_to_others(
    others: int,
    passed_s: float,
    wait_s: float,
    first_chunk_s: float | None,
    total_s: float | None,
    own_total_s: float | None,
    stream: bool,
) -> None:
    plan = Plan((), stream, first_chunk_s, total_s, own_total_s)
    shares = Shares(plan, Timeouts(), 50.0)
    now_s = 50.0 + passed_s
    assert shares.is_over(now_s) == (total_s is not None and total_s - passed_s < 0.001)
    if shares.is_over(now_s):
        return  # then nobody is asked
    share = shares.of(now_s, others, wait_s)
    if share is None:
        assert total_s is not None
        return
    assert 0 < share.limit_s <= (600.0 if first_chunk_s is None else first_chunk_s)
    if total_s is not None:
        assert share.until_s is not None
        assert share.until_s <= shares.ends_s + 1e-6
        assert now_s + wait_s + share.limit_s <= share.until_s + 1e-6
        left_s = shares.ends_s - now_s
        assert shares.ends_s - share.until_s >= others * min(30.0, left_s / (others + 1)) - 1e-6
    with_fewer = shares.of(now_s, max(0, others - 1), wait_s)
    assert with_fewer is not None
    if others > 1 or not stream:
        assert with_fewer.limit_s >= share.limit_s - 1e-6


@some
@given(st.floats(0, 50), st.floats(-100, 100), st.integers(0, 20))
def test_a_bucket_holds_no_more_than_it_may_though_its_clock_goes_back(
    tokens: float, passed_s: float, requests: int
) -> None:
    rate = Rate(share=0.1, per_s=3.0, most=30.0)
    before = Bucket(min(tokens, 30.0), 0.0)
    after = before.filled(rate, passed_s, requests=requests)
    assert before.tokens <= after.tokens <= 30.0
    if passed_s <= 0:
        assert after.tokens <= before.tokens + 0.1 * requests + 1e-9
    assert after.empty == (after.tokens < 1.0)
    assert after.without_one().tokens == after.tokens - 1.0


# --- who is asked ---

PROVIDERS = {
    "openai": ProviderFacts("openai", "openai", {"gpt": "served"}),
    "azure": ProviderFacts("azure", "azure"),
    "vllm": ProviderFacts("vllm", "vllm", has_endpoint=False, takes_endpoint=True),
}
ENDPOINT = Endpoint("http", "10.0.0.7", 8000)
items = st.builds(
    TargetName, st.sampled_from(["openai", "azure", "vllm", "nobody", SECRET]), st.sampled_from([None, "gpt", "x"])
)
principals = st.none() | st.builds(
    Principal,
    st.just("p"),
    st.none() | st.frozensets(st.sampled_from(["openai", "vllm"])),
    st.none() | st.frozensets(st.sampled_from(["gpt", "x"])),
    st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(
    st.none() | st.lists(items, min_size=1, max_size=4).map(tuple),
    principals,
    st.sampled_from([None, ENDPOINT, Endpoint("http", "10.0.0.8", 80)]),
    st.sampled_from(["gpt", "x", "y"]),
    st.none() | st.floats(1, 100),
    st.none() | st.floats(1, 100),
)
def test_a_plan_asks_whom_it_may_as_it_was_told_or_is_refused(
    sequence: tuple[TargetName, ...] | None,
    principal: Principal | None,
    endpoint: Endpoint | None,
    model: str,
    total_s: float | None,
    caller_s: float | None,
) -> None:
    options = CallOptions("r", sequence, vllm_endpoint=endpoint, caller_limit_s=caller_s)
    catalogue = Catalogue(PROVIDERS)
    refusal = None
    try:
        plan = make_plan(
            model,
            True,
            options,
            catalogue,
            principal=principal,
            guard_for=AllowList.parse([ENDPOINT.origin], read_endpoint).guard,
            total_s=total_s,
        )
    except RequestRejected as error:
        refusal = error
    if refusal is not None:
        assert refusal.status in (400, 403, 503)
        assert SECRET not in f"{refusal.message}{refusal.param}"
        return
    assert plan.targets
    assert endpoint in (None, ENDPOINT)
    assert endpoint is None or principal is None or principal.endpoints
    if sequence is not None:
        assert [(one.provider, one.asked) for one in plan.targets] == [
            (one.provider, one.model or model) for one in sequence
        ]
    for target in plan.targets:
        assert target.model == PROVIDERS[target.provider].served(target.asked)
        assert target.endpoint == (endpoint if target.provider == "vllm" else None)
        assert target.provider != "vllm" or endpoint is not None
        if principal is not None:
            assert principal.providers is None or target.provider in principal.providers
            assert principal.models is None or target.asked in principal.models
    limits = [limit_s for limit_s in (total_s, caller_s) if limit_s is not None]
    assert plan.total_s == min(limits, default=None)
    assert len(catalogue.remembered) == (principal is None and endpoint is None)


# --- where it may go ---

origins = st.builds(
    Endpoint,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["a", "a.b", "10.0.0.7", "fd00::1"]),
    st.sampled_from([80, 443, 8000]),
)


@some
@given(st.lists(origins, max_size=4), origins)
def test_a_list_of_origins_allows_those_and_no_others(listed: list[Endpoint], other: Endpoint) -> None:
    allowed = AllowList.parse([f" {one.origin} " for one in listed], read_endpoint)
    assert all(allowed.guard(one, None, keyed=False) for one in listed)
    assert (allowed.guard(other, None, keyed=False) is not None) == (other in listed)
    assert AllowList(read_endpoint).guard(other, None, keyed=False) is None
