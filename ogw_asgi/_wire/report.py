"""What an answer says of itself while it goes by: its id, its model, how it ended, what it took.

Kept only where somebody listens (`telemetry/`). An answer is never asked for any of this on the caller's behalf, and
what it does not say stays unknown. Of a stream only those events are parsed that a look at the bytes finds to hold a
`usage`; nothing else of its content is kept. Holds state, has no clock, decides nothing.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping
from typing import Any

from .._usage import Usage
from .chunks import object_choices
from .members import InvalidJSON, read_document

MOST_GAPS = 10_000
"""So many times between two arrivals are kept of one answer."""

LONGEST = 64 << 10
"""An event with usage is short. What is longer is something else, and not parsed for this."""

LOOKS = 8
"""So many times `usage` is looked at in one run of events, from its end: nearly always the first is the one."""

MOST_TOKENS = 1 << 31
"""No answer has more; and sums of what some server says stay numbers that exporters can write."""

_MOST_CHOICES = 128

_usage_given = re.compile(rb'"usage"[ \t\r\n]*+:[ \t\r\n]*+\{').match
_word = re.compile(r"[\w.:/@+-]{1,128}", re.ASCII).fullmatch
"""What stands in spans and labels: servers put anything there."""


class Report:
    """Of one attempt.

    Attributes:
        id, model: as the provider wrote them; None when it did not, or wrote something else than a word.
        usage: the last that was reported.
        gaps_s: between arrivals after the first chunk; what came together came once.
        heard_s: when something came last, on the clock of `arrived`.
        first_chunk_s: how long that took, once it has come.
    """

    __slots__ = ("_ends", "first_chunk_s", "gaps_s", "heard_s", "id", "model", "usage")

    def __init__(self) -> None:
        self.id: str | None = None
        self.model: str | None = None
        self.usage: Usage | None = None
        self.gaps_s: array[float] | tuple[()] = ()
        self.heard_s: float | None = None
        self.first_chunk_s: float | None = None
        self._ends: dict[int, str] = {}

    @property
    def finish_reasons(self) -> tuple[str, ...]:
        """Of the choices that have one, in their order."""
        return tuple(self._ends[index] for index in sorted(self._ends))

    def note(self, value: Mapping[str, Any]) -> None:
        """A chunk, or a whole answer, that was parsed anyway."""
        if self.id is None:
            self.id = _text(value.get("id"))
        if self.model is None:
            self.model = _text(value.get("model"))
        for choice in object_choices(value):
            reason, index = choice.get("finish_reason"), choice.get("index", 0)
            if reason and type(index) is int and len(self._ends) < _MOST_CHOICES:
                self._ends[index] = _text(reason) or "other"
        if isinstance(usage := value.get("usage"), dict):
            self.usage = read_usage(usage) or self.usage

    def saw(self, data: bytes) -> None:
        """Events that nobody parsed, framed as they go to the caller; or the data of one."""
        at = len(data)
        for _ in range(LOOKS):
            at = data.rfind(b'"usage"', 0, at)
            if at < 0:
                return
            if not _usage_given(data, at):
                continue
            start = data.rfind(b"\n\n", 0, at) + 2
            start = 0 if start < 2 else start
            end = data.find(b"\n\n", at)
            if self._counted(data[start : end if end >= 0 else len(data)]):
                return
            at = start

    def _counted(self, event: bytes) -> bool:
        """Whether it has usage of its own."""
        if len(event) > LONGEST:
            return False
        try:
            value = read_document(event.removeprefix(b"data:").decode())
        except (UnicodeDecodeError, InvalidJSON):
            return False
        usage = value.get("usage") if isinstance(value, dict) else None
        found = read_usage(usage) if isinstance(usage, dict) else None
        if found is None:
            return False
        self.note(value)
        return True

    def arrived(self, now_s: float) -> None:
        """Data of the stream has come, its first chunk being there."""
        if self.heard_s is not None and len(self.gaps_s) < MOST_GAPS:
            if not isinstance(self.gaps_s, array):
                self.gaps_s = array("d")  # most answers have none
            self.gaps_s.append(now_s - self.heard_s)
        self.heard_s = now_s


def read_usage(usage: dict[str, Any]) -> Usage | None:
    """None: it counts nothing."""
    inputs, outputs = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    counts = (
        _count(usage, "prompt_tokens"),
        _count(usage, "completion_tokens"),
        _count(inputs, "cached_tokens"),
        _count(inputs, "cache_write_tokens"),
        _count(outputs, "reasoning_tokens"),
    )
    return None if counts == _NOTHING else Usage(*counts)


_NOTHING = (None,) * 5


def _count(values: object, name: str) -> int | None:
    value = values.get(name) if isinstance(values, dict) else None
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and _word(value) else None
