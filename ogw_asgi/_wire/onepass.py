"""A request body in one pass of the C scanner: for bodies of which only the model's name may have to be found again.

`members` reads an object member by member, in Python, so that each can be replaced where it stands. That costs four
times as much as reading it at once, and nearly no body needs it. Whoever is in doubt here says None, and the body is
read member by member, which gives the same answer and the better words for a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from .fields import HOLDS_JSON, KNOWN, calls_are_text
from .members import InvalidJSON, read_document

QUOTES = 1000
"""A body with more of them is a long one: there it costs next to nothing to read it member by member."""

_KNOWN = frozenset(name.encode("ascii") for name in KNOWN)
_LONGEST = max(map(len, _KNOWN))
_value_of_model = re.compile(rb'"model"[ \t\n\r]*+:[ \t\n\r]*+').search


class Cut(NamedTuple):
    """A body at its quotes.

    Attributes:
        strings: what stands between two of them, and perhaps more.
        bare: what stands outside of them, or all of it.
    """

    strings: Sequence[bytes]
    bare: bytes


def cut_at_quotes(raw: bytes, text: str) -> Cut | None:
    """None: there are too many of them."""
    pieces = raw.split(b'"', QUOTES)
    if len(pieces) > QUOTES:
        return None
    # One character is looked for thirty times as quickly as two.
    if "\\" in text and any(piece[-1:] == b"\\" for piece in pieces):
        return Cut(pieces, raw)  # a quote is escaped: which of them begin a string, only a parser knows
    return Cut(pieces[1::2], b"".join(pieces[::2]))


def read_at_once(raw: bytes, text: str, strings: Sequence[bytes]) -> tuple[dict[str, Any], tuple[int, int]] | None:
    """The body's members by name, and where in `raw` the model's name stands, quotes included. `strings`: see Cut.

    None: it has no model or no messages; a name that the contract knows may stand there twice, or in escapes; or a
    string may have to be replaced by the JSON that it holds.
    """
    # Between two quotes stands a name, a value, or what is between these. So if no known name comes twice there, and
    # none is written with escapes, none is lost in a dictionary, which keeps the last of two; others keep the first.
    if "\\" in text and "\\u00" in text:
        return None
    known = [piece for piece in strings if len(piece) <= _LONGEST and piece in _KNOWN]
    if len(known) > len(set(known)):
        return None
    try:
        values = read_document(text)
    except InvalidJSON:
        return None
    if not isinstance(values, dict) or not isinstance(values.get("messages"), list):
        return None
    if not HOLDS_JSON.isdisjoint(values) and any(isinstance(values.get(name), str) for name in HOLDS_JSON):
        return None
    if b"tool_calls" in strings and any(map(calls_are_text, values["messages"])):
        return None
    model = values.get("model")
    found = _value_of_model(raw)
    if not isinstance(model, str) or found is None:
        return None
    literal = b'"%b"' % model.encode("utf-8", "replace")
    start = found.end()
    return (values, (start, start + len(literal))) if raw.startswith(literal, start) else None
