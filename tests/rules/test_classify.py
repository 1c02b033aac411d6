"""The table of verdicts, row by row: the codes and texts are those that real servers send."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ogw_asgi._rules.table
from ogw_asgi._rules.classify import DEFAULT_FAILOVER_ON, OPT_IN_REASONS, classify
from ogw_asgi._rules.table import TABLE, Reason, Verdict, blames_the_key
from ogw_asgi._values import Outcome, OutcomeKind, ProviderError

KINDS = get_args(OutcomeKind)
EVERYTHING = frozenset(OPT_IN_REASONS)


def answer(status: int, kind: str = "openai", *, caller_key: bool = False, **error: Any) -> Outcome:
    return Outcome("status", kind, status, ProviderError(**error), caller_key=caller_key)


def ours(reason: Reason) -> Verdict:
    return Verdict("next", reason, alert=True, repeatable=False, counts="model")


def stop(reason: Reason, status: int = 400) -> Verdict:
    return Verdict("stop", reason, repeatable=False, status=status)


def after(reason: Reason, **more: Any) -> Verdict:
    return Verdict("next", reason, **more)


SERVER_ERROR = after("server_error", counts="model")
RATE = after("rate_limited", cools="rate", counts="model")
MONEY = after("quota", alert=True, cools="money", repeatable=False, counts="model")
TOO_LARGE = after("request_too_large", repeatable=False)
TOO_LONG = after("context_length", repeatable=False)
INVALID = after("invalid_answer", counts="model")

contract = pytest.mark.contract


def row(outcome: Outcome, verdict: Verdict, *ids: str, name: str | None = None) -> Any:
    error = outcome.error or ProviderError()
    said = name or error.code or error.inner_code or error.type or (error.message or "")[:30] or error.form
    label = f"{outcome.provider_kind}-{outcome.status or outcome.kind}-{said}"
    return pytest.param(outcome, verdict, id=label, marks=[contract(*ids)] if ids else [])


NETWORK = [
    row(Outcome("ok", "openai", 200), Verdict("deliver", "ok")),
    row(Outcome("dns", "openai"), after("dns", counts="origin"), "B.any-network"),
    row(Outcome("connect", "vllm"), after("connect", counts="origin"), "B.any-network"),
    row(Outcome("connect_timeout", "azure"), after("connect_timeout", counts="origin"), "B.any-network"),
    row(
        Outcome("tls", "openai"),
        after("tls", alert=True, repeatable=False, counts="origin"),
        "B.any-network",
    ),
    row(Outcome("reset", "openai"), after("reset", counts="origin"), "B.any-network", name="before-head"),
    row(Outcome("reset", "openai", 200), after("reset", counts="model"), "B.any-network", name="after-head"),
    row(Outcome("protocol", "openai"), after("protocol", counts="model"), "B.any-network"),
    row(Outcome("timeout", "openai"), after("timeout", counts="model"), "B.any-network"),
    row(Outcome("invalid_answer", "openai", 200, detail="html"), INVALID, "B.any-invalid-answer"),
    row(Outcome("invalid_answer", "openai", 200, ProviderError(code="content_filter")), after("invalid_answer")),
    row(Outcome("invalid_answer", "openai", 200, ProviderError(code="400")), after("invalid_answer")),
    row(
        Outcome("invalid_answer", "openai", 200, detail="too_large_to_hold"),
        after("invalid_answer", repeatable=False),
        name="beyond-ours",
    ),
    row(
        Outcome("invalid_answer", "openai", 200, detail="too_long"),
        after("invalid_answer", repeatable=False),
        name="beyond-ours-in-time",
    ),
    row(Outcome("busy", "openai"), after("busy")),
    row(Outcome("exhausted", "openai"), after("exhausted")),
    row(Outcome("cancelled", "openai"), after("cancelled")),
    row(Outcome("diverged", "openai", 200, detail="diverged"), after("diverged", repeatable=False)),
    row(Outcome("diverged", "vllm", 200, detail="began_anew"), after("diverged", repeatable=False), name="anew"),
    row(Outcome("denied", "vllm"), Verdict("stop", "denied", repeatable=False, status=403)),
    row(Outcome("misdirected", "openai"), after("misdirected", alert=True, repeatable=False)),
    row(Outcome("unservable", "azure"), after("unservable", repeatable=False)),
    row(Outcome("key_unavailable", "azure"), after("key_unavailable", alert=True, repeatable=False)),
]

STATUSES = [
    *[row(answer(s), ours("redirect"), "B.any-3xx") for s in (300, 301, 302, 304, 307, 308, 399)],
    *[row(answer(s), SERVER_ERROR, "B.any-server") for s in (408, 409, 425, 500, 502, 504, 598, 599)],
    *[row(answer(s, form="html"), SERVER_ERROR, "B.any-server") for s in (520, 521, 522, 523, 524)],
    *[row(answer(s), after("overloaded", cools="rate", counts="model"), "B.any-overload") for s in (503, 529)],
    row(
        answer(503, type="service_unavailable_error", code="server_is_overloaded"),
        after("overloaded", cools="rate", counts="model"),
        "B.any-overload",
    ),
    *[row(answer(s), SERVER_ERROR, "B.any-424") for s in (424, 499)],
    row(answer(498, "compatible"), after("overloaded", counts="model"), "B.any-424"),
    row(answer(501, "vllm", type="NotImplementedError", code="501"), ours("misconfigured"), "B.any-501"),
    row(answer(402, "compatible"), MONEY, "B.any-402"),
    *[row(answer(s), ours("misconfigured"), "B.any-405") for s in (405, 406, 407, 410, 415, 426, 431)],
    *[row(answer(s), SERVER_ERROR, "B.any-5xx") for s in (505, 508, 511, 530, 597)],
    *[row(answer(s), stop("bad_request"), "B.any-4xx") for s in (403 + 15, 421, 444, 451, 497)],
    row(answer(413, form="html"), stop("bad_request", 413), "B.any-400"),
    *[
        row(answer(s, type="invalid_request_error", param="temperature"), stop("bad_request"), "B.any-400")
        for s in (400, 414, 422)
    ],
    *[row(answer(400, form=f), INVALID, "B.any-400-proxy") for f in ("empty", "html")],
    row(Outcome("status", "openai", 400), INVALID, "B.any-400-proxy", name="nothing read"),
    *[row(answer(s), INVALID, name="no HTTP status") for s in (0, 99, 100, 101, 200, 204, 600, 999)],
    row(Outcome("status", "openai"), INVALID, name="no status at all"),
]

KEYS_AND_NAMES = [
    row(answer(401, code="invalid_api_key"), ours("auth"), "B.any-401"),
    row(answer(401, "azure", code="PermissionDenied"), ours("auth"), "B.any-401"),
    row(answer(403, code="unsupported_country_region_territory"), ours("auth"), "B.any-401"),
    row(
        answer(403, "azure", message="Access denied due to Virtual Network/Firewall rules"),
        ours("auth"),
        "B.any-401",
    ),
    row(answer(404, message="Invalid URL (POST /v1/chat)"), ours("not_found"), "B.any-401"),
    row(answer(404, "azure", code="404", message="Resource not found"), ours("not_found"), "B.any-401"),
    *[
        row(answer(s, "vllm", caller_key=True, message="Unauthorized"), stop("auth", 401), "B.vllm-caller-key")
        for s in (401, 403)
    ],
    *[
        row(
            answer(s, code="model_not_found", type="invalid_request_error"),
            ours("model_not_found"),
            "B.openai-model-not-found",
        )
        for s in (403, 404)
    ],
    row(
        answer(404, "azure", code="DeploymentNotFound"),
        ours("model_not_found"),
        "B.azure-deployment-not-found",
    ),
    row(
        answer(404, "vllm", type="NotFoundError", param="model", code="404"),
        ours("model_not_found"),
        "B.vllm-model-not-found",
    ),
    row(
        answer(404, "vllm", type="NotFoundError", code="404", message="The model `x` does not exist."),
        ours("model_not_found"),
        "B.vllm-model-not-found",
        name="flat, without param",
    ),
    row(answer(404, "vllm", type="NotFoundError", code="404"), ours("not_found"), name="no word of a model"),
    row(answer(508, code="loop_detected"), stop("loop_detected", 508)),
]

LIMITS = [
    *[
        row(answer(429, type=t, code=c), RATE, "B.openai-429-rate")
        for t, c in [("requests", "rate_limit_exceeded"), ("rate_limit_error", "slow_down"), (None, None)]
    ],
    row(
        answer(
            429,
            type="tokens",
            code="rate_limit_exceeded",
            message="Request too large for gpt-4o in organization org-x on tokens per min (TPM): "
            "Limit 30000, Requested 30601.",
        ),
        TOO_LARGE,
        "B.openai-429-too-large",
        name="too large",
    ),
    row(answer(429, type="insufficient_quota"), MONEY, "B.openai-429-quota"),
    *[
        row(answer(429, code=code), MONEY, "B.openai-429-quota")
        for code in (
            "credit_balance_exhausted",
            "organization_spend_limit_exceeded",
            "project_spend_limit_exceeded",
            "organization_usage_limit_exceeded",
            "insufficient_quota",
            "billing_not_active",
        )
    ],
    row(answer(429, "compatible", inner_code="enforced_spend_limit_reached"), MONEY, "B.openai-429-quota"),
    *[
        row(answer(429, "azure", code=code), RATE, "B.azure-429")
        for code in ("429", "RateLimitReached", "too_many_requests", "NoCapacity", "insufficient_quota")
    ],
    row(answer(413, "compatible", code="rate_limit_exceeded"), TOO_LARGE, "B.groq-413"),
    row(answer(413, "compatible", type="tokens"), TOO_LARGE, "B.groq-413"),
]

LENGTH_TEXTS = [
    "This model's maximum context length is 8192 tokens. However, your prompt contains 9000 tokens.",
    "Input length (9000) exceeds model's maximum context length (8192).",
    "Context length exceeded.",
    "the request exceeds the available context size. try increasing the context size",
    "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
    "Input exceeds the maximum number of tokens allowed",
    "Input tokens exceed the configured limit of 272000 tokens.",
    "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
    "Maximum input length is 4096",
    "prompt is too long: 210000 tokens > 200000 maximum",
    "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens",
    "`max_tokens=9000` cannot be greater than `max_model_len=8192`",
    "max_tokens=9000 cannot be greater than max_model_len=8192",
]

REFUSALS = [
    *[
        row(answer(s, code="context_length_exceeded", param="messages"), TOO_LONG, "B.length-code")
        for s in (400, 413, 422)
    ],
    row(answer(400, "vllm", code="400", type="exceed_context_size_error"), TOO_LONG, "B.length-code"),
    *[row(answer(400, "vllm", message=m, code="400"), TOO_LONG, "B.length-text", name=m) for m in LENGTH_TEXTS],
    *[row(answer(s, message=LENGTH_TEXTS[0]), TOO_LONG, "B.length-text") for s in (413, 422)],
    row(answer(403, "compatible", message=LENGTH_TEXTS[0]), TOO_LONG, "B.together-403-length"),
    row(answer(403, "compatible", code="context_length_exceeded"), TOO_LONG, "B.together-403-length"),
    row(
        answer(
            400,
            code="string_above_max_length",
            message="a field exceeds the maximum number of tokens allowed",
        ),
        stop("bad_request"),
        "B.length-not-string",
    ),
    row(answer(401, message=LENGTH_TEXTS[0]), ours("auth"), "B.text-last"),
    row(answer(500, message=LENGTH_TEXTS[0]), SERVER_ERROR, "B.text-last"),
    row(answer(500, message="Unknown parameter"), SERVER_ERROR, "B.text-last"),
    *[
        row(answer(400, code=code), stop("content_filter"), "B.openai-400-policy")
        for code in ("invalid_prompt", "content_policy_violation", "cyber_policy")
    ],
    row(
        answer(400, message="Your request was rejected as a result of our safety system."),
        stop("content_filter"),
        "B.openai-400-policy",
    ),
    row(
        answer(400, code="content_policy_violation", message="your prompt is too long and too rude"),
        stop("content_filter"),
        "B.text-last",
        name="a code beats a text",
    ),
    row(
        answer(400, "azure", code="content_filter", param="prompt"),
        stop("content_filter"),
        "B.azure-400-policy",
    ),
    row(
        answer(400, "azure", inner_code="ResponsibleAIPolicyViolation"),
        stop("content_filter"),
        "B.azure-400-policy",
    ),
    row(
        answer(403, "compatible", code="403", metadata=True, message="Your input was flagged"),
        stop("content_filter"),
        "B.openrouter-403",
    ),
    row(
        answer(400, param="service_tier", message="Service tier flex is not allowed for this project."),
        ours("misconfigured"),
        "B.any-400-service-tier",
    ),
    *[
        row(answer(status, kind, message=message), after("auth", alert=True, repeatable=False), "B.any-400-key")
        for status, kind, message in [
            (
                400,
                "compatible",
                "Incorrect API key provided: xa***ey. You can obtain an API key from https://console.x.ai.",
            ),
            (400, "compatible", "API key not valid. Please pass a valid API key."),
            (422, "openai", "Invalid API Key"),
        ]
    ],
    # In the middle of a text it may be the caller's own words, quoted.
    row(answer(400, "vllm", message="Input should be a string: 'API key not valid'"), stop("bad_request")),
    row(answer(400, "vllm", message="Invalid API key", caller_key=True), stop("bad_request")),
    row(
        answer(400, param="service_tier", code="invalid_value", message="Invalid value: 'x'."),
        stop("bad_request"),
        "B.any-400",
        name="a tier that nobody has",
    ),
    *[
        row(answer(400, "azure", code=code), ours("misconfigured"), "B.azure-400-config")
        for code in ("InvalidContentFilterPolicy", "OperationNotSupported")
    ],
    *[
        row(
            answer(status, code=code, param="logprobs"),
            stop("unsupported_parameter"),
            "B.any-400-unsupported",
        )
        for status in (400, 422)
        for code in (
            "unsupported_parameter",
            "unsupported_value",
            "unknown_parameter",
            "unrecognized_request_argument",
        )
    ],
    *[
        row(answer(status, "azure", message=message), stop("unsupported_parameter"), "B.any-400-unsupported")
        for status, message in [
            (400, "Unrecognized request argument supplied: store"),
            (400, "Validation error at #/store: Extra inputs are not permitted"),
            (422, "Extra inputs are not permitted"),
            (400, "Unknown parameter: 'foo'."),
            (400, "Unsupported parameter: 'max_tokens' is not supported with this model."),
            (400, "Unsupported value: 'temperature' does not support 0.2 with this model."),
        ]
    ],
]

CASES = [*NETWORK, *STATUSES, *KEYS_AND_NAMES, *LIMITS, *REFUSALS]


@pytest.mark.parametrize(("outcome", "verdict"), CASES)
def test_outcome_gets_the_verdict_of_its_row(outcome: Outcome, verdict: Verdict) -> None:
    assert classify(outcome) == verdict


def test_every_row_of_the_table_decides_at_least_one_case() -> None:
    decided = {next(place for place, row in enumerate(TABLE) if row.matches(case.values[0])) for case in CASES}
    assert decided == set(range(len(TABLE)))


@pytest.mark.contract("4.opt-in", "4.length.opt-out")
@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (answer(400, code="context_length_exceeded"), "context_length"),
        (answer(403, message="prompt is too long"), "context_length"),
        (answer(400, code="content_filter"), "content_filter"),
        (answer(403, metadata=True), "content_filter"),
        (answer(422, code="unknown_parameter"), "unsupported_parameter"),
        (answer(400, message="Extra inputs are not permitted"), "unsupported_parameter"),
    ],
)
def test_failover_on_decides_whether_a_refusal_moves_on(outcome: Outcome, reason: Reason) -> None:
    assert classify(outcome, EVERYTHING) == after(reason, repeatable=False)
    assert classify(outcome, frozenset({reason})) == after(reason, repeatable=False)
    assert classify(outcome, EVERYTHING - {reason}) == stop(reason)
    assert classify(outcome, frozenset()) == stop(reason)


def test_out_of_the_box_only_context_length_moves_on() -> None:
    assert {"context_length"} == DEFAULT_FAILOVER_ON
    assert {"context_length", "content_filter", "unsupported_parameter"} == OPT_IN_REASONS


words = st.none() | st.sampled_from(
    [
        *LENGTH_TEXTS,
        "model_not_found",
        "insufficient_quota",
        "context_length_exceeded",
        "content_filter",
        "unknown parameter",
        "request too large for",
        "loop_detected",
        "NotFoundError",
        "",
    ]
)
errors = st.builds(
    ProviderError,
    message=words | st.text(max_size=40),
    type=words,
    param=words,
    code=words | st.text(max_size=8),
    inner_code=words,
    metadata=st.booleans(),
    form=st.sampled_from(["json", "html", "text", "empty"]),
)
outcomes = st.builds(
    Outcome,
    kind=st.sampled_from(KINDS),
    provider_kind=st.sampled_from(["openai", "azure", "vllm", "compatible"]),
    status=st.none() | st.integers(0, 999),
    error=st.none() | errors,
    caller_key=st.booleans(),
)


@given(outcomes, st.frozensets(st.sampled_from(sorted(OPT_IN_REASONS))))
def test_every_outcome_has_a_verdict_that_makes_sense(outcome: Outcome, failover_on: frozenset[str]) -> None:
    verdict = classify(outcome, failover_on)
    assert verdict.reason in get_args(Reason)
    assert (verdict.action == "stop") == (verdict.status is not None)
    assert (verdict.action == "deliver") == (outcome.kind == "ok")
    if verdict.action == "stop":
        # A caller who is refused is no sign of a sick provider, and asking again would not help.
        assert verdict.counts is None
        assert not verdict.repeatable
        assert verdict.status in (400, 401, 403, 413, 508)
    if verdict.alert:
        assert not verdict.repeatable


@pytest.mark.contract("B.text-last")
@given(st.integers(500, 599), errors)
def test_no_text_makes_a_server_error_the_callers_fault(status: int, error: ProviderError) -> None:
    verdict = classify(Outcome("status", "openai", status, error))
    assert verdict.action == "next" or verdict.reason == "loop_detected"
    assert verdict == classify(Outcome("status", "openai", status, replace(error, message=None)))


@pytest.mark.parametrize("path", sorted(Path(ogw_asgi._rules.table.__file__).parent.glob("*.py")), ids=lambda p: p.name)
def test_rules_read_no_clock_and_do_no_io(path: Path) -> None:
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    assert imported.isdisjoint({"time", "random", "logging", "anyio", "asyncio", "socket", "httpx", "starlette"})


@pytest.mark.parametrize(
    ("error", "about_the_key"),
    [
        (ProviderError(code="invalid_api_key"), True),
        (ProviderError(code="401"), True),
        (ProviderError(type="AuthenticationError"), True),
        (ProviderError(inner_code="PermissionDenied"), True),
        (ProviderError(message="Your API key: ****cdef is invalid"), True),
        (ProviderError(message="check the api-key header"), True),
        (ProviderError(message="api_key expired"), True),
        (ProviderError(code="server_error", message="engine died"), False),
        (ProviderError(), False),
    ],
    ids=str,
)
def test_an_error_inside_an_answer_tells_whether_it_is_about_the_key(error: ProviderError, about_the_key: bool) -> None:
    assert blames_the_key(error) is about_the_key
