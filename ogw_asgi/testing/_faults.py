"""The models of the crash-test provider: which fault each of them is, streamed and plain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeAlias

from ._playing import RawStep
from ._sixty import Asked, Replies, rest_after
from .encoding import chunked, http_response
from .steps import Fin, Reset

Played: TypeAlias = tuple[str, list[RawStep]]
"""What the log says was played, and its steps."""
Fault: TypeAlias = Callable[[Asked, Replies], Played]


@dataclass(frozen=True, slots=True)
class CrashTestModel:
    """One model of the crash-test provider.

    name: what a request asks for; with a suffix, as in `reset-once@run-7`, it is another model of the same kind.
    streamed, plain: what a caller meets who asks for a stream, and one who does not.
    scenarios: those of FailoverBench v0.1 that this model plays.
    """

    name: str
    streamed: str
    plain: str
    scenarios: tuple[str, ...] = ()
    fault: Fault = field(kw_only=True, repr=False)


def _healthy(asked: Asked, replies: Replies) -> Played:
    return "answer", replies.whole()


def _once(fault: Fault) -> Fault:
    return lambda asked, replies: (fault if asked.number == 1 else _healthy)(asked, replies)


# --- refused ------------------------------------------------------------------------------------------------------


def _rate_limited(asked: Asked, replies: Replies, headers: Mapping[str, str] | None = None) -> Played:
    message = "Rate limit reached for requests."
    return "429", replies.refusal(429, message, headers or {}, type="requests", code="rate_limit_exceeded")


def _rate_limited_for_two_seconds(asked: Asked, replies: Replies) -> Played:
    return _rate_limited(asked, replies, replies.retry_after(2))


def _failed(asked: Asked, replies: Replies) -> Played:
    return "500", replies.refusal(500, "The server had an error while processing your request.")


def _overloaded(asked: Asked, replies: Replies) -> Played:
    message = "The engine is currently overloaded."
    return "503", replies.refusal(503, message, type="service_unavailable_error", code="server_is_overloaded")


def _down_for_a_minute(asked: Asked, replies: Replies) -> Played:
    return (_overloaded if asked.since_first_s < DOWN_S else _healthy)(asked, replies)


def _too_long(asked: Asked, replies: Replies) -> Played:
    message = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens."
    return "400 length", replies.refusal(400, message, code="context_length_exceeded", param="messages")


def _against_policy(asked: Asked, replies: Replies) -> Played:
    message = "Your request was rejected as a result of our safety system."
    return "400 policy", replies.refusal(400, message, code="content_policy_violation")


def _unknown(asked: Asked, replies: Replies) -> Played:
    message = f"The model `{asked.model}` does not exist: GET /v1/models lists those of this crash-test provider."
    return "404", replies.refusal(404, message, code="model_not_found", param="model")


# --- silent, late, cut --------------------------------------------------------------------------------------------

DOWN_S = 60.0
MUTE_S = 120.0
LATE_S = 20.0
STALL_S = 30.0


def _reset(asked: Asked, replies: Replies) -> Played:
    return "reset", [Reset()]


def _mute(asked: Asked, replies: Replies) -> Played:
    return "silence", [replies.after(MUTE_S), Fin()]


def _late(asked: Asked, replies: Replies) -> Played:
    head, *rest = replies.whole()
    return "late answer", [head, replies.after(LATE_S), *rest]


def _cut(asked: Asked, replies: Replies) -> Played:
    if asked.streamed:
        return "cut", [replies.head(), *replies.stream(0, 40), Fin()]
    body = replies.body()
    return "cut", [replies.head(), body[: len(body) * 2 // 3], Fin()]


def _stalled(asked: Asked, replies: Replies) -> Played:
    words = replies.stream(0, 20) if asked.streamed else []
    return "stall", [replies.head(), *words, replies.after(STALL_S), Fin()]


# --- odd ----------------------------------------------------------------------------------------------------------


def _malformed(asked: Asked, replies: Replies) -> Played:
    if asked.streamed:
        count = len(replies.words)
        event = chunked(b'data: {"id": "chatcmpl-broken", "choices": [{"delta": {"content": "\n\n')
        steps = [replies.head(), *replies.stream(0, 10), event, *replies.stream(10, count), *replies.end()]
        return "malformed", steps
    # Its length is right, so that nothing but the JSON can tell.
    return "malformed", [http_response(200, replies.body()[:-2], {"content-type": "application/json"})]


def _without_done(asked: Asked, replies: Replies) -> Played:
    return "answer", replies.whole(done=False)


# --- fallbacks ----------------------------------------------------------------------------------------------------


def _continues(asked: Asked, replies: Replies) -> Played:
    if not asked.prefill:
        return _healthy(asked, replies)
    return "rest", replace(replies, text=rest_after(asked.prefill)).whole()


def _refuses_prefill(asked: Asked, replies: Replies) -> Played:
    if not asked.prefill:
        return _healthy(asked, replies)
    message = "This model does not support assistant message prefill. The conversation must end with a user message."
    return "400 prefill", replies.refusal(400, message, param="messages")


_SAME = "the same"
_MODELS = (
    CrashTestModel("healthy", "the sixty words", "the same, as one JSON body", fault=_healthy),
    CrashTestModel(
        "rate-limited-once",
        "first call: 429 with Retry-After: 2; then healthy",
        _SAME,
        ("S01",),
        fault=_once(_rate_limited_for_two_seconds),
    ),
    CrashTestModel("always-rate-limited", "429 without a Retry-After", _SAME, ("S02",), fault=_rate_limited),
    CrashTestModel("error-500-once", "first call: 500; then healthy", _SAME, ("S03",), fault=_once(_failed)),
    CrashTestModel("always-503", "503", _SAME, ("S04", "S16"), fault=_overloaded),
    CrashTestModel(
        "reset-once", "first call: TCP reset before any byte; then healthy", _SAME, ("S05",), fault=_once(_reset)
    ),
    CrashTestModel("mute", "not a byte for 120 s, then closed", _SAME, ("S06",), fault=_mute),
    CrashTestModel(
        "late-first-word",
        "the head at once, the first word after 20 s",
        "the head at once, the JSON after 20 s",
        ("S07",),
        fault=_late,
    ),
    CrashTestModel(
        "cut-mid-stream",
        "closed after 40 words, without the end of the body",
        "closed after two thirds of its Content-Length",
        ("S08", "S14"),
        fault=_cut,
    ),
    CrashTestModel(
        "stall-mid-stream",
        "20 words, 30 s of silence, then closed",
        "the head, 30 s of silence, then closed",
        ("S09",),
        fault=_stalled,
    ),
    CrashTestModel(
        "malformed-event",
        "an extra event of malformed JSON after ten words, the rest as it should be",
        "malformed JSON",
        ("S10",),
        fault=_malformed,
    ),
    CrashTestModel(
        "no-done", "complete and terminated, without [DONE]", "the sixty words", ("S11",), fault=_without_done
    ),
    CrashTestModel("context-length-exceeded", "400 context_length_exceeded", _SAME, ("S12",), fault=_too_long),
    CrashTestModel("content-policy-violation", "400 content_policy_violation", _SAME, ("S13",), fault=_against_policy),
    CrashTestModel(
        "down-for-60s", "503 for 60 s from its first call, then healthy", _SAME, ("S15",), fault=_down_for_a_minute
    ),
    CrashTestModel(
        "fallback-continues", "goes on where a last assistant message ends; else healthy", _SAME, fault=_continues
    ),
    CrashTestModel(
        "fallback-begins-anew", "ignores a last assistant message: the sixty words anew", _SAME, fault=_healthy
    ),
    CrashTestModel(
        "fallback-refuses-prefill", "400 for a last assistant message; else healthy", _SAME, fault=_refuses_prefill
    ),
)

CRASH_TEST_MODELS: Mapping[str, CrashTestModel] = MappingProxyType({model.name: model for model in _MODELS})
"""The models of `CrashTestProvider` by their names, in the order in which it lists them."""


def choose(asked: Asked, replies: Replies) -> Played:
    """What the model asked for plays; what stands behind an `@` in its name does not matter here."""
    model = CRASH_TEST_MODELS.get(asked.model.partition("@")[0])
    return (_unknown if model is None else model.fault)(asked, replies)
