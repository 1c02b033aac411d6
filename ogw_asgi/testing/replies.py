"""The replies of a scripted provider, in the shapes of the OpenAI chat completions API; values only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from ._signals import Waitable
from .encoding import SSE_DONE, HeaderPairs, header_pairs, json_bytes, sse_event
from .recording import RecordedRequest
from .steps import Break, Hang, Wait

BodyStep: TypeAlias = bytes | Wait | Hang | Break
Piece: TypeAlias = str | bytes | Mapping[str, Any] | Wait | Hang | Break

MODEL = "scripted-model"
_ID = "chatcmpl-scripted"
_CREATED = 1_700_000_000


@dataclass(frozen=True, slots=True)
class Reply:
    """A response: what happens before its head, the head, and its body step by step.

    Each `bytes` of the body is sent as one ASGI message. The body ends properly after the last step, unless
    that is a `Break`, or a `Hang`, which ends only with the caller.
    """

    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: tuple[BodyStep, ...] = ()
    before_head: tuple[Wait | Hang | Break, ...] = ()


Script: TypeAlias = Reply | Callable[[RecordedRequest], "Script"]
"""A reply, or a function that chooses one by looking at the request."""


def raw(status: int, headers: HeaderPairs, chunks: Sequence[BodyStep]) -> Reply:
    """Exactly these headers and exactly these chunks of the body, with no others added."""
    return Reply(status, _lower(header_pairs(headers)), tuple(chunks))


def answer(
    text: str | None = "Hello",
    *,
    model: str = MODEL,
    usage: Mapping[str, Any] | None = None,
    tool_calls: Sequence[Mapping[str, Any]] | None = None,
    finish_reason: str | None = None,
    completion_id: str = _ID,
    status: int = 200,
    headers: HeaderPairs = (),
) -> Reply:
    """A whole `chat.completion` as JSON, even if the request asked for a stream."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if tool_calls is not None:
        message["tool_calls"] = list(tool_calls)
    reason = finish_reason or ("tool_calls" if tool_calls else "stop")
    completion = {
        "id": completion_id,
        "object": "chat.completion",
        "created": _CREATED,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": dict(usage) if usage is not None else tokens(prompt=9, completion=3),
    }
    return _json(status, completion, headers)


def stream(
    pieces: Sequence[Piece] = ("Hel", "lo"),
    *,
    model: str = MODEL,
    usage: Mapping[str, Any] | None = None,
    finish_reason: str | None = "stop",
    done: bool = True,
    role_first: bool = True,
    gate: Waitable | None = None,
    status: int = 200,
    headers: HeaderPairs = (),
) -> Reply:
    """A stream of `chat.completion.chunk` events, even if the request asked for none.

    A `str` is the content of one chunk, a mapping one event as it is, `bytes` are sent as they are, and
    steps (`Wait`, `Hang`, `Break`) happen where they stand. `gate` is a `Wait` behind the first piece.
    `finish_reason=None` and `done=False` leave out the last events; `usage` adds the event with the token
    counts.
    """
    steps: list[BodyStep] = []
    delta: dict[str, Any] = {"role": "assistant"}
    if role_first:
        steps.append(sse_event(completion_chunk({**delta, "content": ""}, model=model)))
        delta = {}
    for index, piece in enumerate(pieces):
        if isinstance(piece, str):
            steps.append(sse_event(completion_chunk({**delta, "content": piece}, model=model)))
            delta = {}
        else:
            steps.append(sse_event(piece) if isinstance(piece, Mapping) else piece)
        if index == 0 and gate is not None:
            steps.append(Wait(gate))
    if finish_reason is not None:
        steps.append(sse_event(completion_chunk({}, model=model, finish_reason=finish_reason)))
    if usage is not None:
        steps.append(sse_event({**completion_chunk({}, model=model), "choices": [], "usage": dict(usage)}))
    if done:
        steps.append(SSE_DONE)
    return Reply(status, _headers(headers, content_type=b"text/event-stream"), tuple(steps))


def chat(text: str = "Hello", *, model: str = MODEL, usage: Mapping[str, Any] | None = None) -> Script:
    """What a healthy provider gives: a stream, word by word, or one JSON body, as the request asked for."""
    whole = answer(text, model=model, usage=usage)
    words = [word if index == 0 else " " + word for index, word in enumerate(text.split(" "))]

    def choose(request: RecordedRequest) -> Reply:
        if not request.wants_stream:
            return whole
        counts = usage if usage is not None else tokens(prompt=9, completion=len(words))
        return stream(words, model=model, usage=counts if request.wants_stream_usage else None)

    return choose


def error(
    status: int,
    message: str = "scripted error",
    *,
    type: str | None = None,  # noqa: A002 - the field's own name on the wire
    code: str | int | None = None,
    param: str | None = None,
    headers: HeaderPairs = (),
) -> Reply:
    """An error in OpenAI's envelope. `type` follows from the status unless it is given."""
    kind = type or ("server_error" if status >= 500 else "invalid_request_error")
    return _json(status, {"error": {"message": message, "type": kind, "param": param, "code": code}}, headers)


def hang(before: Literal["head", "body"] = "head") -> Reply:
    """Answers nothing, or nothing but the head of a stream, until the caller leaves.

    To hang later, put a `Hang()` among the pieces: `stream(["Hel", Hang()])`.
    """
    if before == "head":
        return Reply(before_head=(Hang(),))
    return Reply(200, _headers((), content_type=b"text/event-stream"), (Hang(),))


def hold(reply: Script, *, until: Waitable) -> Script:
    """The reply, head included, only after the event: a slow provider without a clock."""
    if isinstance(reply, Reply):
        return replace(reply, before_head=(Wait(until), *reply.before_head))
    return lambda request: hold(reply(request), until=until)


def completion_chunk(
    delta: Mapping[str, Any],
    *,
    model: str = MODEL,
    finish_reason: str | None = None,
    index: int = 0,
    completion_id: str = _ID,
) -> dict[str, Any]:
    """One `chat.completion.chunk`, for events that `stream` does not make by itself."""
    choice = {"index": index, "delta": dict(delta), "logprobs": None, "finish_reason": finish_reason}
    return {
        "id": completion_id,
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": model,
        "choices": [choice],
    }


def tokens(prompt: int, completion: int) -> dict[str, int]:
    """A `usage` object."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _json(status: int, value: object, headers: HeaderPairs) -> Reply:
    body = json_bytes(value)
    return Reply(status, _headers(headers, content_type=b"application/json", length=len(body)), (body,))


def _lower(pairs: tuple[tuple[bytes, bytes], ...]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.lower(), value) for name, value in pairs)


def _headers(given: HeaderPairs, *, content_type: bytes, length: int | None = None) -> tuple[tuple[bytes, bytes], ...]:
    pairs = _lower(header_pairs(given))
    names = {name for name, _ in pairs}
    defaults = [(b"content-type", content_type)]
    if length is not None:
        defaults.append((b"content-length", str(length).encode()))
    return (*(pair for pair in defaults if pair[0] not in names), *pairs)
