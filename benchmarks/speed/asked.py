"""What is asked, and what makes an answer the right one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from .load import Answer, Check, WrongAnswer
from .upstream import COMPLETION

GOOD = (200, 201)

BURST, DRIP, PAUSE_MS = 50, 50, 10
"""Chunks in a stream of each kind, and what is between two of a drip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`strict`: for who relays what it gets; `loose`: for who writes it anew."""

    body: bytes
    strict: Check
    loose: Check


def plain(*, prompt_bytes: int = 1000, model: str = "plain") -> Asked:
    words = "Say it once more. "
    prompt = (words * (prompt_bytes // len(words) + 1))[:prompt_bytes]
    return Asked(body=_body(model, prompt, stream=False), strict=_whole, loose=_similar)


def stream(model: str, pieces: int) -> Asked:
    """`pieces`: chunks with content; one more has the finish_reason, and `[DONE]` follows."""

    def strict(answer: Answer) -> None:
        text = dechunked(answer.body)
        _expect(answer, text.count(b"data: {") == pieces + 1 and text.endswith(b"data: [DONE]\n\n"), len(text))

    def loose(answer: Answer) -> None:
        text = dechunked(answer.body)
        _expect(answer, text.count(b"data: {") >= pieces and b"data: [DONE]" in text, len(text))

    return Asked(body=_body(model, "Say it once more.", stream=True), strict=strict, loose=loose)


def numbered(stream_id: int, pieces: int, pause_ms: int) -> Asked:
    """Every chunk names its stream and its number: each must come once, in order, to whom it is for."""
    expected = [f"<{stream_id}:{number}>" for number in range(pieces)]

    def check(answer: Answer) -> None:
        found = list(_contents(dechunked(answer.body)))
        _expect(answer, found == expected, len(found))

    body = _body(f"numbered-{pieces}-{pause_ms}-{stream_id}", "Count.", stream=True)
    return Asked(body=body, strict=check, loose=check)


def dechunked(body: bytes) -> bytes:
    parts: list[bytes] = []
    at = 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end], 16)
        if not size:
            return b"".join(parts)
        parts.append(body[end + 2 : end + 2 + size])
        at = end + 4 + size


def _body(model: str, prompt: str, *, stream: bool) -> bytes:
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": prompt}], "temperature": 0.7}
    return json.dumps(body).encode()


def _contents(text: bytes) -> Sequence[str]:
    events = [event[len(b"data: ") :] for event in text.split(b"\n\n") if event.startswith(b"data: {")]
    deltas = [choice["delta"] for event in events for choice in json.loads(event)["choices"]]
    return [delta["content"] for delta in deltas if delta.get("content")]


def _whole(answer: Answer) -> None:
    _expect(answer, answer.body == COMPLETION, len(answer.body))


def _similar(answer: Answer) -> None:
    _expect(answer, b"The quick brown fox" in answer.body, len(answer.body))


def _expect(answer: Answer, right: bool, size: int) -> None:
    if answer.status not in GOOD or not right:
        raise WrongAnswer(f"status {answer.status}, {size} long: {answer.body[:200]!r}")
