"""Is a plain 2xx body the completion that was asked for, and what do a response's headers say of its body?

A body that is none is a failed attempt (contract, section 4). One that is goes to the caller byte for byte,
but for `"error": null`. Parses once, keeps nothing, never raises for any bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from .._values import Header, ProviderError
from .chunks import is_error, object_choices
from .envelope import read_error_value, without_null_error
from .members import InvalidJSON, read_document
from .structure import has_more_structure

NoAnswer = Literal["empty", "not_json", "too_complex", "not_an_object", "error_body", "no_choices"]
Media = Literal["json", "sse", "html", "other", "none"]

MOST_STRUCTURE = 1_000_000
"""Brackets, braces and commas: 32 MiB of them would hold everybody up for seconds, and take a gigabyte."""

# Text whose escaped surrogates all stand in pairs. One possessive pass in C: a body full of escapes must not
# cost more than its parsing did.
_surrogates_paired = re.compile(r"(?:[^\\]++|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\(?!u[dD][89a-fA-F]).)*+").fullmatch


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is what to relay, unless `no_answer` says why it is no completion; `error` is what it says."""

    body: bytes
    no_answer: NoAnswer | None = None
    error: ProviderError | None = None


def read_answer(body: bytes) -> Answer:
    """The judgement of a plain 2xx body; blank lines in front, DeepSeek's keep-alives, are tolerated."""
    if not body or body.isspace():
        return Answer(body, "empty")
    if has_more_structure(body, MOST_STRUCTURE):
        return Answer(body, "too_complex")
    try:
        text = body.decode()
        value = read_document(text)
    except (UnicodeDecodeError, InvalidJSON):
        return Answer(body, "not_json")
    if ("\\ud" in text or "\\uD" in text) and not _surrogates_paired(text):
        return Answer(body, "not_json")
    if not isinstance(value, dict):
        return Answer(body, "not_an_object", read_error_value(value))
    choices = object_choices(value)
    if is_error(value, choices):
        return Answer(body, "error_body", read_error_value(value))
    if not choices:
        return Answer(body, "no_choices", read_error_value(value))
    try:
        relayed = without_null_error(text) if "error" in value else text
    except InvalidJSON:
        return Answer(body, "not_json")
    return Answer(body if relayed is text else relayed.encode())


def media(headers: Iterable[Header]) -> Media:
    """What the content type says the body is. Parameters do not matter; the first of several counts."""
    for name, value in headers:
        if name.lower() == b"content-type":
            essence = value.partition(b";")[0].strip().lower()
            break
    else:
        return "none"
    if essence in (b"application/json", b"text/json") or essence.endswith(b"+json"):
        return "json"
    if essence == b"text/event-stream":
        return "sse"
    if essence in (b"text/html", b"application/xhtml+xml"):
        return "html"
    return "other" if essence else "none"


def encoded(headers: Iterable[Header]) -> bool:
    """Is the body compressed although identity was asked for? Such a body is neither decoded nor relayed."""
    for name, value in headers:
        if name.lower() == b"content-encoding":
            for coding in value.split(b","):
                if coding.strip().lower() not in (b"", b"identity"):
                    return True
    return False
