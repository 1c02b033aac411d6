"""The table of verdicts: contract section 4 as data, row by row, first match wins.

Everything that decides whether a failure moves on lives in this file, but for the words that are looked for
(`words.py`); `classify.py` only walks it. A row
holds when all the predicates it names hold. Rows that look at codes stand before rows that look at texts, and
no text row covers a 401 or a 5xx: servers reword messages, so words never overrule what a status says.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Literal

from .._values import Outcome, OutcomeKind, ProviderError
from .words import (
    BLAMES_THE_REQUEST,
    KEY,
    KEY_BEGINNINGS,
    LENGTH,
    LENGTH_TEXTS,
    MONEY,
    POLICY,
    UNSUPPORTED,
    UNSUPPORTED_TEXTS,
)

Reason = Literal[
    "ok",
    "dns",
    "connect",
    "connect_timeout",
    "tls",
    "denied",
    "misdirected",
    "reset",
    "protocol",
    "timeout",
    "invalid_answer",
    "busy",
    "exhausted",
    "unservable",
    "key_unavailable",
    "redirect",
    "rate_limited",
    "request_too_large",
    "quota",
    "auth",
    "not_found",
    "model_not_found",
    "context_length",
    "content_filter",
    "unsupported_parameter",
    "bad_request",
    "misconfigured",
    "overloaded",
    "server_error",
    "loop_detected",
    "cancelled",
    "diverged",
]
"""What trails, logs and metrics show: a closed set, so that it can be a metric's label."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an outcome means for the request, and for those who keep count.

    `action`: the caller gets this answer, the next target is asked, or nobody else is.
    `alert`: the operator's configuration is at fault. `cools`: how the target cools down for others.
    `repeatable`: the same target may answer differently within seconds.
    `counts`: whose breaker is charged, the provider's origin or the model there; None is neutral.
    `status`: of a stop, the status that the caller gets.
    """

    action: Literal["deliver", "next", "stop"]
    reason: Reason
    alert: bool = False
    cools: Literal["rate", "money"] | None = None
    repeatable: bool = True
    counts: Literal["origin", "model"] | None = None
    status: int | None = None


_NO_ERROR = ProviderError(form="empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. Words are compared in lower case; a predicate that is None is not asked."""

    verdict: Verdict
    kinds: Container[OutcomeKind] | None = ("status",)
    answered: bool | None = None
    """A head had come before the outcome."""
    details: Container[str] | None = None
    statuses: Container[int] | None = None
    provider_kinds: Container[str] | None = None
    caller_key: bool | None = None
    marks: Container[str] | None = None
    """Any of code, type and inner code is one of these: servers disagree on which one carries it."""
    params: Container[str] | None = None
    metadata: bool | None = None
    forms: Container[str] | None = None
    texts: tuple[str, ...] | None = None
    begins: tuple[str, ...] | None = None
    """The message begins with one of these. Where words may be the caller's own, quoted, containing is not enough."""
    not_codes: Container[str] = ()
    opt_in: bool = False
    """A stop unless `failover_on` holds the verdict's reason (contract, section 4)."""

    def matches(self, outcome: Outcome) -> bool:
        error = outcome.error or _NO_ERROR
        code = (error.code or "").lower()
        if self.marks is not None:
            words = (code, (error.type or "").lower(), (error.inner_code or "").lower())
            if not any(word in self.marks for word in words):
                return False
        if self.texts is not None:
            # vLLM quotes names in backticks in some releases and not in others.
            message = (error.message or "").lower().replace("`", "")
            if not any(text in message for text in self.texts):
                return False
        if self.begins is not None and not (error.message or "").lower().startswith(self.begins):
            return False
        return (
            (self.kinds is None or outcome.kind in self.kinds)
            and (self.answered is None or self.answered == (outcome.status is not None))
            and (self.details is None or outcome.detail in self.details)
            and (self.statuses is None or outcome.status in self.statuses)
            and (self.provider_kinds is None or outcome.provider_kind in self.provider_kinds)
            and (self.caller_key is None or self.caller_key == outcome.caller_key)
            and (self.params is None or (error.param or "").lower() in self.params)
            and (self.metadata is None or self.metadata == error.metadata)
            and (self.forms is None or error.form in self.forms)
            and code not in self.not_codes
        )


_CLIENT_ERRORS = range(400, 500)


def blames_the_request(error: ProviderError | None) -> bool:
    """An error that came inside an answer says that the request was at fault, and not the provider."""
    words = () if error is None else (error.code, error.type, error.inner_code)
    return any(word is not None and word.lower() in BLAMES_THE_REQUEST for word in words)


def blames_the_key(error: ProviderError) -> bool:
    """An error that came inside an answer is about the key: its words may show the half of it (contract, section 4)."""
    marked = any(word is not None and word.lower() in KEY for word in (error.code, error.type, error.inner_code))
    said = (error.message or "").lower()
    return marked or "api key" in said or "api_key" in said or "api-key" in said


def _ours(reason: Reason) -> Verdict:
    """A fault of the operator's settings: move on, tell the operator, and do not hope for seconds."""
    return Verdict("next", reason, alert=True, repeatable=False, counts="model")


_TOO_LARGE = Verdict("next", "request_too_large", repeatable=False)
_RATE = Verdict("next", "rate_limited", cools="rate", counts="model")
_OUT_OF_MONEY = Verdict("next", "quota", alert=True, cools="money", repeatable=False, counts="model")
_TOO_LONG = Verdict("next", "context_length", repeatable=False)
_FILTERED = Verdict("next", "content_filter", repeatable=False)
_UNKNOWN_FIELD = Verdict("next", "unsupported_parameter", repeatable=False)
_UNKNOWN_MODEL = _ours("model_not_found")
_SERVER = Verdict("next", "server_error", counts="model")
_INVALID = Verdict("next", "invalid_answer", counts="model")

OK = Verdict("deliver", "ok")

TABLE: tuple[Row, ...] = (
    Row(kinds=("ok",), verdict=OK),
    # --- no answer ------------------------------------------------------------------------------------------
    Row(kinds=("dns",), verdict=Verdict("next", "dns", counts="origin")),
    Row(kinds=("connect",), verdict=Verdict("next", "connect", counts="origin")),
    Row(kinds=("connect_timeout",), verdict=Verdict("next", "connect_timeout", counts="origin")),
    # A certificate that does not hold is somebody's configuration, and no better in a second.
    Row(kinds=("tls",), verdict=Verdict("next", "tls", alert=True, repeatable=False, counts="origin")),
    Row(kinds=("reset",), answered=False, verdict=Verdict("next", "reset", counts="origin")),
    Row(kinds=("reset",), answered=True, verdict=Verdict("next", "reset", counts="model")),
    Row(kinds=("protocol",), verdict=Verdict("next", "protocol", counts="model")),
    Row(kinds=("timeout",), verdict=Verdict("next", "timeout", counts="model")),
    # An error event or key inside a 200 that blames the request: any caller could bring it about.
    Row(kinds=("invalid_answer",), marks=BLAMES_THE_REQUEST, verdict=Verdict("next", "invalid_answer")),
    # A stream that went on beyond our own limits, which came to light because it was read to its end.
    Row(
        kinds=("invalid_answer",),
        details=("too_long", "too_large_to_hold"),
        verdict=Verdict("next", "invalid_answer", repeatable=False),
    ),
    Row(kinds=("invalid_answer",), verdict=_INVALID),
    # --- nothing was sent: our own state, so no breaker moves -----------------------------------------------
    Row(kinds=("busy",), verdict=Verdict("next", "busy")),
    Row(kinds=("exhausted",), verdict=Verdict("next", "exhausted")),
    Row(kinds=("denied",), verdict=Verdict("stop", "denied", repeatable=False, status=403)),
    Row(kinds=("misdirected",), verdict=Verdict("next", "misdirected", alert=True, repeatable=False)),
    Row(kinds=("unservable",), verdict=Verdict("next", "unservable", repeatable=False)),
    Row(kinds=("key_unavailable",), verdict=Verdict("next", "key_unavailable", alert=True, repeatable=False)),
    Row(kinds=("cancelled",), verdict=Verdict("next", "cancelled")),
    # A good answer, only not the one that had begun elsewhere: nobody's fault.
    Row(kinds=("diverged",), verdict=Verdict("next", "diverged", repeatable=False)),
    # --- the caller's own doing, whatever else the answer says ----------------------------------------------
    Row(
        statuses=(401, 403),
        caller_key=True,
        verdict=Verdict("stop", "auth", repeatable=False, status=401),
    ),
    Row(
        statuses=(508,),
        marks=("loop_detected",),
        verdict=Verdict("stop", "loop_detected", repeatable=False, status=508),
    ),
    # --- limits ---------------------------------------------------------------------------------------------
    Row(statuses=(402,), verdict=_OUT_OF_MONEY),
    # Azure's quota is a rate, too; 429 has four causes there and one cure.
    Row(statuses=(429,), provider_kinds=("azure",), verdict=_RATE),
    Row(statuses=(429,), marks=MONEY, verdict=_OUT_OF_MONEY),
    Row(statuses=(429,), texts=("request too large for",), verdict=_TOO_LARGE),
    Row(statuses=(429,), verdict=_RATE),
    Row(statuses=(413,), marks=("rate_limit_exceeded", "tokens"), verdict=_TOO_LARGE),  # Groq
    # --- refusals known by their code -----------------------------------------------------------------------
    Row(statuses=(400,), forms=("empty", "html"), verdict=_INVALID),  # a proxy in front of the server
    Row(statuses=(400, 403, 413, 422), marks=LENGTH, opt_in=True, verdict=_TOO_LONG),
    Row(statuses=(400,), marks=POLICY, opt_in=True, verdict=_FILTERED),
    Row(statuses=(403, 404), marks=("model_not_found", "deploymentnotfound"), verdict=_UNKNOWN_MODEL),
    Row(statuses=(403,), metadata=True, opt_in=True, verdict=_FILTERED),  # OpenRouter's moderation
    Row(
        statuses=(400,),
        marks=("invalidcontentfilterpolicy", "operationnotsupported"),
        verdict=_ours("misconfigured"),
    ),
    Row(
        statuses=(400,),
        params=("service_tier",),
        texts=("not allowed for this project", "not allowed for the project"),
        verdict=_ours("misconfigured"),
    ),
    Row(statuses=(400, 422), marks=UNSUPPORTED, opt_in=True, verdict=_UNKNOWN_FIELD),
    Row(statuses=(404,), marks=("notfounderror",), params=("model",), verdict=_UNKNOWN_MODEL),  # vLLM
    # --- refusals known by their text alone -----------------------------------------------------------------
    Row(
        statuses=(400, 403, 413, 422),
        texts=LENGTH_TEXTS,
        not_codes=("string_above_max_length",),  # one field is too long, not the prompt
        opt_in=True,
        verdict=_TOO_LONG,
    ),
    Row(
        statuses=(400,),
        texts=("rejected as a result of our safety system",),
        opt_in=True,
        verdict=_FILTERED,
    ),
    Row(statuses=(400, 422), texts=UNSUPPORTED_TEXTS, opt_in=True, verdict=_UNKNOWN_FIELD),
    # xAI and Gemini say so with a 400. Neutral for the breaker, as everything is that rests on words alone.
    Row(
        statuses=(400, 422),
        caller_key=False,
        begins=KEY_BEGINNINGS,
        verdict=Verdict("next", "auth", alert=True, repeatable=False),
    ),
    # vLLM before 0.10 says so without a param.
    Row(statuses=(404,), marks=("notfounderror",), texts=("does not exist",), verdict=_UNKNOWN_MODEL),
    # --- statuses alone -------------------------------------------------------------------------------------
    Row(statuses=(401, 403), verdict=_ours("auth")),
    Row(statuses=(404,), verdict=_ours("not_found")),
    Row(statuses=(405, 406, 407, 410, 415, 426, 431), verdict=_ours("misconfigured")),
    Row(statuses=(408, 409, 424, 425, 499), verdict=_SERVER),
    Row(statuses=(498,), verdict=Verdict("next", "overloaded", counts="model")),  # Groq's flex capacity
    Row(statuses=(413,), verdict=Verdict("stop", "bad_request", repeatable=False, status=413)),
    Row(statuses=_CLIENT_ERRORS, verdict=Verdict("stop", "bad_request", repeatable=False, status=400)),
    # Following a redirect would carry credentials to wherever it points.
    Row(statuses=range(300, 400), verdict=_ours("redirect")),
    Row(statuses=(503, 529), verdict=Verdict("next", "overloaded", cools="rate", counts="model")),
    Row(statuses=(501,), verdict=_ours("misconfigured")),
    Row(statuses=range(500, 600), verdict=_SERVER),
    # 1xx, 099, 600, 999, and a 2xx that was not taken for an answer: whatever this is, it is not HTTP's.
    Row(kinds=None, verdict=_INVALID),
)
