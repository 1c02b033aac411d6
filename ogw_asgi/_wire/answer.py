"""Is a plain 2xx body the completion that was asked for, and what do a response's headers say of its body?

A body that is none is a failed attempt (contract, section 4). One that is goes to the caller byte for byte,
but for `"error": null`. Parses once, keeps nothing, never raises for any bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from functools import lru_cache
from typing import Any, Literal

from .._frozen import dataclass
from .._values import Header, ProviderError
from .chunks import is_error, object_choices
from .envelope import read_error_value, without_null_error
from .members import InvalidJSON, read_document
from .patient import Patient
from .structure import has_more_structure

NoAnswer = Literal["empty", "not_json", "too_complex", "not_an_object", "error_body", "no_choices"]
Media = Literal["json", "sse", "html", "other", "none"]

MOST_STRUCTURE = 4_000_000
"""Brackets, braces and commas: more than 32 MiB of log probabilities have. They bound what reading may cost."""

# Text whose escaped surrogates all stand in pairs. One possessive pass in C: a body full of escapes must not
# cost more than its parsing did.
_paired = re.compile(r"(?:[^\\]++|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\(?!u[dD][89a-fA-F]).)*+").match

_SLICE = 64 << 10
_ESCAPE = 6
_PAIR = 2 * _ESCAPE


_LOOKED_AT = frozenset({"choices", "error", "message", "type", "code", "object"})
_DEPTH = 3
"""Of a large answer only its choices are looked at, and only what kind of values they are and hold."""

_USUAL = 128
"""Content types of up to so many bytes are remembered; servers that callers name choose them."""

_MOST_CHOICES = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is what to relay, unless `no_answer` says why it is no completion; `error` is what it says.

    value: what a parser made of a completion; of a large one only its outline.
    """

    body: bytes
    no_answer: NoAnswer | None = None
    error: ProviderError | None = None
    value: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)


def read_answer(body: bytes, *, patiently: bool = False) -> Answer:
    """The judgement of a plain 2xx body; blank lines in front, DeepSeek's keep-alives, are tolerated.

    `patiently`: in a thread, for a body that `structure.takes_long`, so that others have their turn meanwhile.
    """
    if not body or body.isspace():
        return Answer(body, "empty")
    if has_more_structure(body, MOST_STRUCTURE):
        return Answer(body, "too_complex")
    try:
        text = body.decode()
        value = _read_patiently(text) if patiently else read_document(text)
    except (UnicodeDecodeError, InvalidJSON):
        return Answer(body, "not_json")
    if "\\" in text and ("\\ud" in text or "\\uD" in text) and not surrogates_paired(text):
        return Answer(body, "not_json")
    if not isinstance(value, dict):
        return Answer(body, "not_an_object", read_error_value(value))
    choices = object_choices(value)
    if is_error(value, choices):
        return Answer(body, "error_body", read_error_value(value))
    if not choices:
        return Answer(body, "no_choices", read_error_value(value))
    try:
        relayed = without_null_error(text, patiently=patiently) if "error" in value else text
    except InvalidJSON:
        return Answer(body, "not_json")
    return Answer(body if relayed is text else relayed.encode(), value=value)


def surrogates_paired(text: str, slice_chars: int = _SLICE) -> bool:
    """Do all escaped surrogates of this JSON stand in pairs?

    In slices: whoever reads in a thread gives its turn away between them.
    """
    at = 0
    while at < len(text):
        until = at + slice_chars
        if until < len(text):
            # Not in the midst of an escape, whose beginning looks like another one.
            cut = text.rfind("\\", until - _ESCAPE, until)
            until = cut if cut >= 0 else until
        else:
            until = len(text)
        found = _paired(text, at, until)
        end = found.end() if found is not None else at
        if end < until and (until == len(text) or end <= until - _PAIR):
            return False
        at = end
    return True


def _read_patiently(text: str) -> Any:
    return Patient(text, _LOOKED_AT, kept_depth=_DEPTH, most_kept=_MOST_CHOICES).read_document()


def media(headers: Iterable[Header]) -> Media:
    """What the content type says the body is, names being in lower case. Parameters do not matter; the first of
    several counts."""
    for name, value in headers:
        if name == b"content-type":
            return _media_of(value) if len(value) <= _USUAL else _media_of.__wrapped__(value)
    return "none"


@lru_cache(maxsize=64)
def _media_of(content_type: bytes) -> Media:
    essence = content_type.partition(b";")[0].strip().lower()
    if essence in (b"application/json", b"text/json") or essence.endswith(b"+json"):
        return "json"
    if essence == b"text/event-stream":
        return "sse"
    if essence in (b"text/html", b"application/xhtml+xml"):
        return "html"
    return "other" if essence else "none"


def encoded(headers: Iterable[Header]) -> bool:
    """Is the body compressed although identity was asked for? Such a body is neither decoded nor relayed. Names are in
    lower case."""
    for name, value in headers:
        if name == b"content-encoding":
            for coding in value.split(b","):
                if coding.strip().lower() not in (b"", b"identity"):
                    return True
    return False
