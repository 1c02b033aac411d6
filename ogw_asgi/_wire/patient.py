"""Strict JSON of many megabytes, read without ever holding the interpreter for long.

The C scanner keeps the interpreter's lock for the whole of a value: seconds, for 32 MB of `[],`, in which no other
thread runs, and so no event loop. Here it reads a window at a time, for whoever reads in a thread of its own; between
two windows others have their turn. What comes out is what `members.read_value` says of the same text, but that what
nobody asked for is only checked, and left empty where it is large: to build it would make the garbage collector stop
everybody as well.
"""

from __future__ import annotations

import re
from collections.abc import Container
from json.decoder import scanstring  # type: ignore[attr-defined]  # public in fact, not in typeshed
from typing import Any

from .members import InvalidJSON, read_value

WINDOW = 16 << 10
"""Characters that are given to the scanner at once: less than a millisecond of whatever they are."""

MOST_DEEP = 128
"""Levels of containers that are larger than a window."""

_TRIES = 2
WASTE = 4
"""So many times its length a text may cost in windows that end in the wrong place."""

_skip = re.compile(r"[ \t\n\r]*+").match


class Patient:
    """Reads values of one text.

    Args:
        wanted: the members of the outermost object that somebody looks at. Others are emptied if they are large.
        kept_depth: so are containers below so many levels.
        most_kept: an array that is kept and has more elements than this is refused.
        window, waste: see WINDOW and WASTE.
    """

    def __init__(
        self,
        text: str,
        wanted: Container[str],
        *,
        kept_depth: int = MOST_DEEP,
        most_kept: float = float("inf"),
        window: int = WINDOW,
        waste: int = WASTE,
    ) -> None:
        self._text = text
        self._wanted = wanted
        self._kept_depth = kept_depth
        self._most_kept = most_kept
        self._window = window
        self._left = waste * len(text) + window

    def read_document(self) -> Any:
        """The one value that the text holds, blanks around it allowed. Raises InvalidJSON."""
        value, end = self.read_value(self._blanks(0))
        if self._blanks(end) != len(self._text):
            raise InvalidJSON(f"something follows it at character {end}")
        return value

    def read_value(self, start: int, depth: int = 0, *, kept: bool = True) -> tuple[Any, int]:
        """The value that begins at `start` (no blanks before it), and where it ends. Raises InvalidJSON.

        `depth`: of containers around it. `kept`: somebody looks at it.
        """
        text = self._text
        window = text[start : start + self._window]
        whole = start + len(window) == len(text)
        try:
            value, end = read_value(window)
        except InvalidJSON:
            if whole:
                raise
        else:
            # A number at the window's end may go on behind it, also with the exponent that is cut off: `1e+`.
            if whole or end < len(window) - 2 or not isinstance(value, int | float):
                return value, start + end
        self._waste(len(window))
        opening = text[start]
        if opening not in "[{":
            return read_value(text, start)  # a long string, a number, or nothing that JSON knows
        if depth >= MOST_DEEP:
            raise InvalidJSON("it is nested too deeply")
        read = self._array if opening == "[" else self._object
        return read(start, depth, kept and depth < self._kept_depth)

    def _array(self, start: int, depth: int, kept: bool) -> tuple[list[Any], int]:
        found: list[Any] = []
        at = self._blanks(start + 1)
        while True:
            batch = self._batch(at, "[", "]")
            if batch is not None:
                items, at = batch
                if kept:
                    found += items
                    self._refuse_many(found)
                continue
            until = at + self._window
            while at < until:
                value, at = self.read_value(at, depth + 1, kept=kept)
                if kept:
                    found.append(value)
                    self._refuse_many(found)
                at, ended = self._next(at, "]")
                if ended:
                    return found, at

    def _object(self, start: int, depth: int, kept: bool) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        at = self._blanks(start + 1)
        while True:
            batch = self._batch(at, "{", "}")
            if batch is not None:
                members, at = batch
                if kept:
                    found.update(members)
                continue
            until = at + self._window
            while at < until:
                key, at = self._name(at)
                value, at = self.read_value(at, depth + 1, kept=kept and (depth > 0 or key in self._wanted))
                if kept:
                    found[key] = value
                at, ended = self._next(at, "}")
                if ended:
                    return found, at

    def _refuse_many(self, found: list[Any]) -> None:
        if len(found) > self._most_kept:
            raise InvalidJSON("it has too many elements")

    def _batch(self, at: int, opening: str, closing: str) -> tuple[Any, int] | None:
        """All that stands in this window up to one of its last commas, and the place behind that; None: that was inside
        an element. If the scanner takes it for a whole container it is one: strings and brackets would be left open.
        """
        window = self._text[at : at + self._window]
        stop = len(window)
        for _ in range(_TRIES):
            stop = window.rfind(",", 0, stop)
            if stop <= 0:
                return None
            try:
                value, end = read_value(f"{opening}{window[:stop]}{closing}")
            except InvalidJSON:
                value = None
            if value and end == stop + 2:  # nothing in front of the comma is no element
                return value, self._blanks(at + stop + 1)
            self._waste(stop)
        return None

    def _name(self, at: int) -> tuple[str, int]:
        if self._text[at : at + 1] != '"':
            raise InvalidJSON(f"expected a name in double quotes at character {at}")
        try:
            key, at = scanstring(self._text, at + 1, True)
        except ValueError:
            raise InvalidJSON(f"a name is not JSON at character {at}") from None
        at = self._blanks(at)
        if self._text[at : at + 1] != ":":
            raise InvalidJSON(f"expected a colon at character {at}")
        return key, self._blanks(at + 1)

    def _next(self, at: int, closing: str) -> tuple[int, bool]:
        """Behind the comma, or behind the end."""
        at = self._blanks(at)
        after = self._text[at : at + 1]
        if after == closing:
            return at + 1, True
        if after != ",":
            raise InvalidJSON(f"expected a comma at character {at}")
        return self._blanks(at + 1), False

    def _blanks(self, at: int) -> int:
        return _skip(self._text, at).end()  # type: ignore[union-attr]  # matches everywhere

    def _waste(self, characters: int) -> None:
        self._left -= characters
        if self._left < 0:
            raise InvalidJSON("it is too complex")
