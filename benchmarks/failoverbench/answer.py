"""What a caller makes of what it got: the whole answer, a clean error, or something that is neither. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from ogw_asgi.testing import SIXTY_WORDS

Kind = Literal["whole", "error", "wrong"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One response as it came.

    status: 0 when no head came. ended: the HTTP body had its end. in_time: the caller did not have to give up.
    longest_pause_s: between two pieces of the body.
    """

    status: int
    body: bytes
    ended: bool
    in_time: bool = True
    start_s: float
    end_s: float
    longest_pause_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`note` says why it is not whole. The rest is what checks look at; `error` is the envelope's inside."""

    kind: Kind
    note: str = ""
    status: int = 0
    model: str | None = None
    usage: dict[str, Any] | None = None
    error: dict[str, Any] = field(default_factory=dict)
    start_s: float = 0.0
    end_s: float = 0.0
    longest_pause_s: float = 0.0

    @property
    def took_s(self) -> float:
        return self.end_s - self.start_s


def read(received: Received, *, streamed: bool) -> Answer:
    """Strict: an SDK, or a reader of the text, would trip over everything that is called wrong here."""
    found = _read(received, streamed=streamed)
    return Answer(
        status=received.status,
        start_s=received.start_s,
        end_s=received.end_s,
        longest_pause_s=received.longest_pause_s,
        **found,
    )


def _read(received: Received, *, streamed: bool) -> dict[str, Any]:
    if not received.in_time:
        return _wrong("not over when the caller gave up")
    if received.status == 0:
        return _wrong("no answer at all")
    if received.status >= 400:
        return _refusal(received)
    if received.status not in (200, 201):
        return _wrong(f"status {received.status}")
    return _stream(received) if streamed else _plain(received)


def _wrong(note: str) -> dict[str, Any]:
    return {"kind": "wrong", "note": note}


def _refusal(received: Received) -> dict[str, Any]:
    body = _parsed(received.body)
    error = body.get("error") if isinstance(body, dict) else None
    clean = isinstance(error, dict) and all(error.get(name) for name in ("message", "type"))
    if not clean or not received.ended:
        return _wrong(f"status {received.status} without OpenAI's envelope")
    assert isinstance(error, dict)
    return {"kind": "error", "note": f"{received.status} {error.get('code')}", "error": error}


def _plain(received: Received) -> dict[str, Any]:
    body = _parsed(received.body)
    if not received.ended:
        return {"kind": "error", "note": "the body has no end"}
    try:
        text = body["choices"][0]["message"]["content"]
        model, usage = body["model"], body.get("usage")
    except (KeyError, IndexError, TypeError):
        return _wrong("200 that is no completion")
    if text != SIXTY_WORDS:
        return _wrong(f"shown as a success: {_differs(text)}")
    return {"kind": "whole", "model": model, "usage": usage}


# --- streams ------------------------------------------------------------------------------------------------------


def _stream(received: Received) -> dict[str, Any]:
    seen = _Seen()
    for data in _events(received.body):
        seen.take(data)
    # What came before an error was shown, so it has to be the beginning of the answer.
    shown_wrongly = not SIXTY_WORDS.startswith(seen.text)
    if seen.error is not None or not received.ended:
        note = f"broke after {len(seen.text.split())} words" + ("" if received.ended else ", without an end")
        if shown_wrongly:
            return _wrong(f"{note}, and what was shown is not the answer: {_differs(seen.text)}")
        if seen.done:
            return _wrong(f"{note}, and [DONE] says that it is complete")
        return {"kind": "error", "note": note, "error": seen.error or {}}
    if fault := seen.fault():
        return _wrong(f"shown as a success: {fault}")
    return {"kind": "whole", "model": seen.models[-1], "usage": seen.usage}


def _events(body: bytes) -> Iterator[bytes]:
    for block in body.split(b"\n\n"):
        lines = [line for line in block.split(b"\n") if line and not line.startswith(b":")]
        if lines:
            yield b"\n".join(line.removeprefix(b"data: ") for line in lines)


class _Seen:
    """What the events of one stream add up to."""

    def __init__(self) -> None:
        self.text = ""
        self.ids: list[str] = []
        self.models: list[str] = []
        self.usage: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self.done = False
        self._roles: list[int] = []
        self._finished: list[str] = []
        self._strange: list[str] = []
        self._chunks = 0

    def take(self, data: bytes) -> None:
        if self.done:
            self._strange.append("events after [DONE]")
        elif data == b"[DONE]":
            self.done = True
        elif not isinstance(chunk := _parsed(data), dict):
            self._strange.append("an event that is no JSON object")
        elif chunk.get("error"):
            self.error = chunk["error"] if isinstance(chunk["error"], dict) else {"message": chunk["error"]}
        else:
            self._take_chunk(chunk)

    def _take_chunk(self, chunk: dict[str, Any]) -> None:
        self._chunks += 1
        if self.error is not None:
            self._strange.append("words after an error")
        self._remember(self.ids, chunk.get("id"))
        self._remember(self.models, chunk.get("model"))
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk.get("choices", ()):
            delta = choice.get("delta") or {}
            if delta.get("role"):
                self._roles.append(self._chunks)
            if (content := delta.get("content")) and self._finished:
                self._strange.append("words after the finish_reason")
            self.text += content or ""
            if reason := choice.get("finish_reason"):
                self._finished.append(reason)

    def _remember(self, values: list[str], value: Any) -> None:
        if not isinstance(value, str) or not value:
            self._strange.append("a chunk without id or model")
        elif value not in values:
            values.append(value)

    def fault(self) -> str:
        """Why this is not the whole answer, although its body ended; empty when it is."""
        if self.text != SIXTY_WORDS:
            return _differs(self.text)
        if self._strange:
            return self._strange[0]
        if self._finished != ["stop"]:
            return f"finish_reason {self._finished or 'missing'}"
        if not self.done:
            return "no [DONE]"
        if self._roles != [1]:
            return f"the role stands in chunks {self._roles}"
        if len(self.ids) != 1:
            return f"{len(self.ids)} different ids"
        return ""


def _differs(text: object) -> str:
    if not isinstance(text, str):
        return "no text"
    if SIXTY_WORDS.startswith(text):
        return f"truncated, {len(text.split())} of 60 words"
    common = next((i for i, (a, b) in enumerate(zip(text, SIXTY_WORDS, strict=False)) if a != b), len(SIXTY_WORDS))
    return f"other words from the {len(text[:common].split())}th on, {len(text.split())} in all"


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None
