"""What a caller has been given of one stream that may change hands, and how a later part of it is written.

Under `continue` every chunk is parsed and noted. The first part goes out byte for byte; later ones are made to look
like it: the same `id`, no second role, and usage that is the sum of all parts, or none when one of them reported none.
Pure, and no judge: whether a text can be gone on with, and where, is `_rules/continuation.py`'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .chunks import Chunk, object_choices
from .sse import frame

MAX_COUNT = 1 << 53
"""No server counts further. Sums beyond may have no JSON: an integer of thousands of digits, a float without end."""

USAGE_DEPTH = 4
"""Objects inside each other: `usage` itself, its details, and room for more. Deeper ones are not summed."""

MAX_CHARS = 4 << 20
"""More than any model says in one answer. A text beyond it is not kept, and so not gone on with."""


class Transcript:
    """The books of one stream.

    Attributes:
        parts: by how many providers it has been given.
        pieces: chunks with text, of all parts.
        text_only: nothing but the text of one choice has been given: no tool call, reasoning, refusal or audio.
    """

    def __init__(self) -> None:
        self.parts = 1
        self.pieces = 0
        self.text_only = True
        self._texts: list[str] = []
        self._chars = 0
        self._id: Any = None
        self._role = False
        self._usage: Mapping[str, Any] | None = None
        """Of the part that is going on, as far as it has been reported."""
        self._usage_before: Mapping[str, Any] = {}
        """Of the parts that are over."""
        self._usage_known = True
        """Every part that is over has reported it."""
        self._counted = self._counted_before = True
        """No text came behind the last usage of this part; and of those that are over."""

    @property
    def text(self) -> str:
        """All that has been said."""
        return "".join(self._texts)

    @property
    def last_blanks(self) -> int:
        """How many of the last pieces are blanks, or end with them."""
        count = 0
        for text in reversed(self._texts):
            count += text[-1:].isspace()
            if not text.isspace():
                break
        return count

    @property
    def reported_tokens(self) -> int | None:
        """How many tokens the text had, where every part of it has reported that of all it said."""
        if not self._usage_known or self._usage is None or not (self._counted and self._counted_before):
            return None
        count = _sum(self._usage_before, self._usage).get("completion_tokens")
        return count if type(count) is int else None

    def change_hands(self) -> None:
        """What comes next is another provider's."""
        self.parts += 1
        self._usage_known = self._usage_known and self._usage is not None
        self._counted_before = self._counted_before and self._counted
        self._counted = True
        self._usage_before = _sum(self._usage_before, self._usage or {})
        self._usage = None

    def told(self, chunk: Chunk) -> bytes:
        """The framed event with which the caller gets this chunk; empty when it gets nothing of it."""
        value = chunk.value or {}
        given = frame(chunk.payload) if self.parts == 1 else self._rewritten(value)
        self._note(value)
        return given

    def _note(self, value: Mapping[str, Any]) -> None:
        if self._id is None:
            self._id = value.get("id") or None  # Azure's first chunk has an empty one
        usage = value.get("usage")
        if isinstance(usage, Mapping):
            self._usage = usage
        for choice in object_choices(value):
            if is_other(choice) or choice.get("logprobs"):
                self.text_only = False
            delta = delta_of(choice)
            self._role = self._role or bool(delta.get("role"))
            if has_more_than_text(delta):
                self.text_only = False
            text = delta.get("content")
            if isinstance(text, str) and text:
                self._counted = False
                self._keep(text)
        if isinstance(usage, Mapping):
            self._counted = True

    def _keep(self, text: str) -> None:
        self.pieces += 1
        self._chars += len(text)
        if self._chars > MAX_CHARS:
            self.text_only = False
            self._texts.clear()
        else:
            self._texts.append(text)

    def _rewritten(self, value: Mapping[str, Any]) -> bytes:
        told = dict(value)
        if self._id is not None:
            told["id"] = self._id
        if told.get("error", ...) is None:
            del told["error"]
        usage = value.get("usage")
        if isinstance(usage, Mapping):
            if self._usage_known:
                told["usage"] = _sum(self._usage_before, usage)
            else:
                del told["usage"]
        choices = [self._choice(choice) for choice in object_choices(value)]
        if choices:
            told["choices"] = choices
        if not isinstance(told.get("usage"), Mapping) and not any(_says_something(choice) for choice in choices):
            return b""
        return frame(_written(told))

    def _choice(self, choice: Mapping[str, Any]) -> dict[str, Any]:
        delta = {name: value for name, value in delta_of(choice).items() if name != "role" or not self._role}
        return {**choice, "delta": delta}


def _written(told: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(told, separators=(",", ":")).encode("ascii")
    except RecursionError:  # the scanner goes a little deeper than the encoder: so deep is nothing that is needed
        plain = {name: value for name, value in told.items() if not isinstance(value, Mapping | list)}
        ends = [
            choice["finish_reason"] for choice in object_choices(told) if isinstance(choice.get("finish_reason"), str)
        ]
        choice = {"index": 0, "delta": {"content": text_of(told)}, "finish_reason": ends[0] if ends else None}
        return json.dumps({**plain, "choices": [choice]}, separators=(",", ":")).encode("ascii")


def delta_of(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    delta = choice.get("delta")
    return delta if isinstance(delta, Mapping) else {}


def has_more_than_text(delta: Mapping[str, Any]) -> bool:
    """Also content in parts is no text here: what is in them need not be text, and is not told apart."""
    return any(
        value and (name != "content" or not isinstance(value, str)) for name, value in delta.items() if name != "role"
    )


def is_other(choice: Mapping[str, Any]) -> bool:
    """It is not the one choice that was asked for."""
    return bool(choice.get("index", 0) != 0)


def text_of(value: Mapping[str, Any]) -> str:
    """The text that a chunk adds."""
    texts = [delta_of(choice).get("content") for choice in object_choices(value)]
    return "".join(text for text in texts if isinstance(text, str))


def with_text(value: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The same chunk, only that this is what it adds."""
    choices = object_choices(value)
    if not choices:
        if not text:
            return dict(value)
        choices = [{"index": 0, "finish_reason": None}]  # to the chunk with the usage, say
    first, *others = ({**choice, "delta": {**delta_of(choice), "content": ""}} for choice in choices)
    first["delta"]["content"] = text
    return {**value, "choices": [first, *others]}


def _says_something(choice: Mapping[str, Any]) -> bool:
    return bool(choice.get("finish_reason")) or any(choice["delta"].values())


def _sum(one: Mapping[str, Any], other: Mapping[str, Any], depth: int = USAGE_DEPTH) -> dict[str, Any]:
    """Number by number, through the objects inside; what only one of them has stays as it is."""
    total = {**one}
    for name, value in other.items():
        had = total.get(name)
        if isinstance(had, Mapping) and isinstance(value, Mapping) and depth > 1:
            total[name] = _sum(had, value, depth - 1)
        elif _is_number(had) and _is_number(value):
            total[name] = had + value
        elif value is not None or name not in total:
            total[name] = value
    return total


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_COUNT
