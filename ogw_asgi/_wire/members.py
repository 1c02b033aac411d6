"""Strict JSON with spans: where in the text does each member of an object stand?

A gateway that rewrites one field must leave every other byte alone, so it needs positions, not only values. The values
themselves come from the standard library's C scanner, one call per member; nothing here parses JSON by hand.

Stricter than `json.loads`: NaN, Infinity, numbers that overflow to infinity, integers of thousands of digits and
nesting beyond the interpreter's stack are all one error, `InvalidJSON`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]  # public in fact, not in typeshed
from typing import Any, Never

_skip = re.compile(r"[ \t\n\r]*").match


class InvalidJSON(ValueError):
    """The text is not strict JSON. The message says what is wrong, never what the text holds."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object: `text[key_start:end]` is key, colon and value; `text[start:end]` the value alone."""

    key: str
    key_start: int
    start: int
    end: int
    value: Any


def _constant(name: str) -> Never:
    raise InvalidJSON(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise InvalidJSON("a number is too large")
    return value


_decoder = json.JSONDecoder(parse_constant=_constant, parse_float=_finite)
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]  # not in typeshed


def read_value(text: str, start: int = 0) -> tuple[Any, int]:
    """The value that begins at `start` (no blanks before it), and where it ends. Raises InvalidJSON."""
    try:
        return _scan(text, start)
    except StopIteration as end:
        raise InvalidJSON(f"Expecting value at character {end.value}") from None
    except InvalidJSON:
        raise
    except RecursionError:
        raise InvalidJSON("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise InvalidJSON(f"{error.msg} at character {error.pos}") from None
    except ValueError:  # the interpreter's limit on the digits of an integer
        raise InvalidJSON("a number has too many digits") from None


def read_document(text: str) -> Any:
    """The one value that `text` holds, blanks around it allowed. Raises InvalidJSON."""
    value, end = read_value(text, 0 if text[:1] == "{" else _blanks(text, 0))
    if end != len(text) and _blanks(text, end) != len(text):
        raise InvalidJSON(f"something follows it at character {end}")
    return value


def read_members(
    text: str,
    start: int = 0,
    *,
    most: int | None = None,
    before: Callable[[str, int], None] | None = None,
    read: Callable[[str, int], tuple[Any, int]] | None = None,
) -> tuple[list[Member], int]:
    """The members of the object whose `{` stands at `start`, in order, duplicates included, and the object's end.

    `before` is called with each name and the place where its value begins, before that is read: to refuse it unread.
    `read` is called with the same, and reads it instead.
    Raises InvalidJSON, also when no object begins there, or one of more than `most` members.
    """
    if text[start : start + 1] != "{":
        raise InvalidJSON("it is not an object")
    members: list[Member] = []
    at = _blanks(text, start + 1)
    if text[at : at + 1] == "}":
        return members, at + 1
    while True:
        key_start = at
        if text[at : at + 1] != '"':
            raise InvalidJSON(f"expected a name in double quotes at character {at}")
        try:
            key, at = scanstring(text, at + 1, True)
        except json.JSONDecodeError as error:
            raise InvalidJSON(f"{error.msg} at character {error.pos}") from None
        at = _blanks(text, at)
        if text[at : at + 1] != ":":
            raise InvalidJSON(f"expected a colon at character {at}")
        value_start = _blanks(text, at + 1)
        if before is not None:
            before(key, value_start)
        value, value_end = read_value(text, value_start) if read is None else read(key, value_start)
        members.append(Member(key, key_start, value_start, value_end, value))
        if most is not None and len(members) > most:
            raise InvalidJSON("it has too many members")
        at = _blanks(text, value_end)
        if text[at : at + 1] == "}":
            return members, at + 1
        if text[at : at + 1] != ",":
            raise InvalidJSON(f"expected a comma at character {at}")
        at = _blanks(text, at + 1)


def _blanks(text: str, start: int) -> int:
    return _skip(text, start).end()  # type: ignore[union-attr]
