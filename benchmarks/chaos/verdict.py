"""What a caller makes of the bytes that it got: whole, visibly broken, refused, lost, or corrupted. Pure.

Strict on purpose: a stream that is short has to say so three times (an error event at its end, no `[DONE]`, an HTTP
body that does not end), or it counts as corrupted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .proof import Stamp, defect, read_stamp

Kind = Literal["whole", "broken", "refused", "lost", "corrupted", "left"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    request: str
    words: int
    stream: bool
    sequence: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """`ended`: the HTTP body came to its end. `status` is 0 when no head came."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    ended: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """`why` is a word or two where it is not whole; `stamp` is whose words were in it, `words` how many."""

    kind: Kind
    why: str = ""
    stamp: Stamp | None = None
    words: int = 0


class _Wrong(Exception):
    pass


def judge(asked: Asked, received: Received) -> Verdict:
    if received.status == 0:
        return Verdict("lost", "no head")
    try:
        if received.status >= 400:
            return _refusal(received)
        if received.status not in (200, 201):
            raise _Wrong(f"status {received.status}")
        verdict = _stream(asked, received) if asked.stream else _plain(asked, received)
        if verdict.stamp is not None:
            _check_provider(asked, received, verdict.stamp)
        return verdict
    except _Wrong as wrong:
        return Verdict("corrupted", str(wrong))


def _refusal(received: Received) -> Verdict:
    error = _object(received.body, "refusal").get("error")
    if not received.ended or not isinstance(error, dict) or not isinstance(error.get("message"), str):
        raise _Wrong("a refusal without its envelope")
    return Verdict("refused", f"{received.status} {error.get('code')}")


def _plain(asked: Asked, received: Received) -> Verdict:
    if not received.ended:
        raise _Wrong("short: a plain answer without its end")
    answer = _object(received.body, "plain answer")
    try:
        words = answer["choices"][0]["message"]["content"].split()
        stamp = read_stamp(answer["id"])
    except (KeyError, IndexError, TypeError, AttributeError):
        raise _Wrong("no completion") from None
    _check_words(asked, stamp, words, all_of_them=True)
    return Verdict("whole", stamp=stamp, words=len(words))


def _stream(asked: Asked, received: Received) -> Verdict:
    if not received.headers.get("content-type", "").startswith("text/event-stream"):
        raise _Wrong("no event stream")
    *frames, rest = received.body.split(b"\n\n")
    if rest:
        raise _Wrong("half an event at the end")
    stamp: Stamp | None = None
    words: list[str] = []
    finished = done = False
    marked: str | None = None
    for frame in frames:
        if frame.startswith(b":"):
            continue
        if done or marked is not None:
            raise _Wrong("an event behind the end")
        if not frame.startswith(b"data: ") or b"\n" in frame:
            raise _Wrong("an event that is not one data line")
        payload = frame[len(b"data: ") :]
        if payload == b"[DONE]":
            done = True
            continue
        event = _object(payload, "event")
        if "error" in event:
            marked = _mark(event["error"])
            continue
        own = read_stamp(str(event.get("id")))
        if stamp is not None and own != stamp:
            raise _Wrong("mixed: the id changed")
        stamp = own
        try:
            choice = event["choices"][0]
            words += (choice["delta"].get("content") or "").split()
            finished = finished or choice["finish_reason"] is not None
        except (KeyError, IndexError, TypeError, AttributeError):
            raise _Wrong("an event that is no chunk") from None
    _check_words(asked, stamp, words, all_of_them=marked is None)
    if marked is None:
        if not (done and finished and received.ended):
            raise _Wrong("short: no end, and no mark of it")
        return Verdict("whole", stamp=stamp, words=len(words))
    if received.ended:
        raise _Wrong("broken, yet its body was ended")
    return Verdict("broken", marked, stamp, len(words))


def _mark(error: Any) -> str:
    if not isinstance(error, dict) or (error.get("type"), error.get("code")) != (
        "upstream_error",
        "stream_interrupted",
    ):
        raise _Wrong("an error event of another kind")
    return "stream_interrupted"


def _check_words(asked: Asked, stamp: Stamp | None, words: Sequence[str], *, all_of_them: bool) -> None:
    if stamp is None:
        raise _Wrong("nobody's answer")
    if stamp.request != asked.request:
        raise _Wrong("foreign: another request's answer")
    if wrong := defect(stamp, words):
        raise _Wrong(wrong)
    if len(words) > asked.words or (all_of_them and len(words) < asked.words):
        raise _Wrong("short: words are missing" if len(words) < asked.words else "long")


def _check_provider(asked: Asked, received: Received, stamp: Stamp) -> None:
    if stamp.provider not in [item.partition("/")[0] for item in asked.sequence]:
        raise _Wrong("a provider that was not asked for")
    if received.headers.get("x-opengateway-provider") != stamp.provider:
        raise _Wrong("told the wrong provider")
    if received.headers.get("x-request-id") != asked.request:
        raise _Wrong("told another request's id")


def _object(body: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise _Wrong(f"not JSON: {what}")
    return value
