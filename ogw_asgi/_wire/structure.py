"""How deep and how wide is this JSON? Asked of the bytes, before anything parses them.

A parser holds the interpreter lock for seconds on a few megabytes of `[],` and builds many times the body's
size, so bytes alone are no limit (contract, section 8). Structural characters are those that make a parser
build something: `[`, `{` and `,` outside strings. Everything runs at the speed of C. What is not JSON is let
through as long as its valid beginning is within the limits: refusing it is the parser's business, and the
parser stops where the beginning does.
"""

from __future__ import annotations

from itertools import accumulate, compress

from .._values import Limits
from ..exceptions import RequestRejected, bad_body

MEMBERS = 1_000
"""Members of one object that is read member by member, in Python: the body, and messages that are rewritten."""

_BLOCK = 64 << 10
_PASSES = 3
"""Over all the brackets; then it is quicker to count."""

_NEVER_LONG = 128 << 10
_MANY_COMMAS = 25_000
_MANY_ESCAPES = 500_000
_MANY_DIGITS = 1 << 20
_LONG_NUMBER = b"0" * 300
_DIGITS = bytes(48 if chr(byte) in "0123456789" else 32 for byte in range(256))

_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{},"'))
_DEPTH_CHANGE = bytes.maketrans(b"[{]},", b"\x01\x01\xff\xff\x00")
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_IS_COMMA = bytes.maketrans(b"[{]},", b"\x00\x00\x00\x00\x01")


def refuse_structure(body: bytes, limits: Limits, commas: int | None = None) -> bytes | None:
    """Raises the 400 `body_too_complex` for JSON nested too deeply or with too many structural characters.

    `commas`: how many there are, strings included, for whoever has counted them. Returns the structural characters for
    `refuse_width`, if they had to be looked at.
    """
    opens = body.count(b"[") + body.count(b"{")
    if opens <= limits.json_depth and opens + (body.count(b",") if commas is None else commas) <= limits.json_structure:
        return None  # upper bounds, strings included: nearly every body ends here
    structure = _outside_strings(body, limits)
    opens = structure.count(b"[") + structure.count(b"{")
    if opens + structure.count(b",") > limits.json_structure:
        raise _too_complex(limits)
    if opens > limits.json_depth and _is_deep(structure, limits):
        raise bad_body(
            f"The body is nested too deeply; at most {limits.json_depth} levels are read.",
            code="body_too_complex",
        )
    return structure


def takes_long(body: bytes) -> bool:
    """May reading this JSON keep the interpreter for more than some 20 ms? Then it is for a thread (`patient.py`).

    Commas stand for values, and backslashes for escapes; numbers of thousands of digits cost their square.
    """
    if len(body) < _NEVER_LONG:
        return False
    if body.count(b",") > _MANY_COMMAS or (body.find(b"\\") >= 0 and body.count(b"\\") > _MANY_ESCAPES):
        return True
    return len(body) >= _MANY_DIGITS and _LONG_NUMBER in body.translate(_DIGITS)


def has_more_structure(value: bytes, most: int) -> bool:
    """Has this JSON, a provider's, more than `most` structural characters?"""
    if len(value) <= most or value.count(b"[") + value.count(b"{") + value.count(b",") <= most:
        return False
    limits = Limits(json_structure=most, json_depth=len(value))
    try:
        refuse_structure(value[: 4 * most], limits)  # of what is nothing else, the beginning says enough
        refuse_structure(value, limits)
    except RequestRejected:
        return True
    return False


def refuse_width(value: bytes, limits: Limits, structure: bytes | None = None) -> None:
    """Raises the 400 `body_too_complex` for an object with more than `MEMBERS` members of its own.

    `value` begins with the object and has passed `refuse_structure`, which may have found its `structure`.
    """
    if value.count(b",") < MEMBERS:
        return
    if structure is None:
        structure = _outside_strings(value, limits)
    commas = list(compress(_depths(structure, limits), structure.translate(_IS_COMMA)))
    if commas.count(1) >= MEMBERS:
        raise too_many_members("An object has", MEMBERS)


def too_many_members(whose: str, most: int) -> RequestRejected:
    return bad_body(f"{whose} more than {most} members.", code="body_too_complex")


def _outside_strings(body: bytes, limits: Limits) -> bytes:
    if b"\\" in body:
        # Before anything else is dropped: in `"a\n"` the backslash must not come to stand before the quote.
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    kept = body.translate(None, _NOT_STRUCTURE)
    kept = kept.replace(b'""', b"")  # nothing between them, and the quotes that follow keep their parity
    # Each structural character stands for at most two strings, a name and a value, of two quotes each.
    if kept.count(b'"') > 4 * limits.json_structure + 2:
        raise _too_complex(limits)
    outside: list[bytes] = []
    inside = False
    for start in range(0, len(kept), _BLOCK):  # in blocks: a million small pieces would cost thrice the time
        pieces = kept[start : start + _BLOCK].split(b'"')
        outside.append(b"".join(pieces[inside::2]))
        inside ^= len(pieces) % 2 == 0
    return b"".join(outside)


def _is_deep(structure: bytes, limits: Limits) -> bool:
    # Each pass takes the innermost level away, so what is gone in time was not too deep; a few passes in C instead of
    # a count, character by character. Only a few: levels that hold nothing but the next one go one by one.
    brackets = structure.translate(_ONE_KIND, b",")
    to_look_at = _PASSES * len(brackets)
    for _ in range(limits.json_depth):
        outer = brackets.replace(b"[]", b"")
        to_look_at -= len(brackets)
        if len(outer) == len(brackets) or to_look_at < 0:
            break
        brackets = outer
    return bool(brackets) and max(_depths(structure, limits)) > limits.json_depth


def _depths(structure: bytes, limits: Limits) -> accumulate[int]:
    # JSON closes at most what it opened, so of JSON within the limits nothing lies beyond this cut.
    changes = structure[: 2 * limits.json_structure + 1].translate(_DEPTH_CHANGE)
    return accumulate(memoryview(changes).cast("b"))


def _too_complex(limits: Limits) -> RequestRejected:
    return bad_body(
        f"The body has too many elements: more than {limits.json_structure} brackets, braces and commas.",
        code="body_too_complex",
    )
