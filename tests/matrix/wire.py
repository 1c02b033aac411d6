"""What providers put on the wire in the rows: good answers in either mode, and beginnings of bad ones. Values only."""

from __future__ import annotations

from typing import Any

from ogw_asgi.testing import (
    LAST_CHUNK,
    SSE_DONE,
    RawScript,
    chunked,
    completion_chunk,
    http_head,
    http_response,
    sse_event,
)
from ogw_asgi.testing.encoding import json_bytes

from .selection import Mode

JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}
CHUNKED = {"transfer-encoding": "chunked"}
SSE_HEAD = http_head(200, {**SSE, **CHUNKED})
JSON_HEAD = http_head(200, {**JSON, **CHUNKED})
STOP = sse_event(completion_chunk({}, finish_reason="stop"))
ROLE = sse_event(completion_chunk({"role": "assistant", "content": ""}))
PING = b": ping\n\n"


def delta(text: str, index: int = 0) -> bytes:
    """An event with content."""
    return sse_event(completion_chunk({"content": text}, index=index))


PRIOR = delta("Hel") + delta("lo, wörld")
"""Events that reach the caller as they are, and commit the stream."""


def completion(text: str, **more: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json_bytes({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **more})


def payload(mode: Mode, text: str) -> bytes:
    """The body of a good answer, byte for byte what the caller must get."""
    return completion(text) if mode == "json" else ROLE + delta(text) + STOP + SSE_DONE


def good(mode: Mode, text: str = "Hello") -> bytes:
    """A whole good answer; its connection may be used again."""
    if mode == "json":
        return http_response(200, completion(text), JSON)
    return SSE_HEAD + chunked(ROLE, delta(text), STOP, SSE_DONE) + LAST_CHUNK


def head(mode: Mode) -> bytes:
    """The head of a good answer, whose body comes in chunks."""
    return JSON_HEAD if mode == "json" else SSE_HEAD


def refusal(status: int, error: Any = None, headers: Any = ()) -> bytes:
    """An error in OpenAI's envelope, or of whatever shape `error` has."""
    if error is None:
        error = {"message": "No.", "type": "some_error", "param": None, "code": None}
    return http_response(status, json_bytes({"error": error}), [("content-type", "application/json"), *headers])


def scripts(*answers: bytes) -> list[RawScript]:
    """One script for each answer, sent whole."""
    return [[answer] for answer in answers]
