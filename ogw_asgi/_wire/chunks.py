"""What is one data event of a chat stream: an answer's chunk, its end, an error, or no chunk at all?

`read_chunk` parses and tells all; it judges every event up to the first chunk. `glance` is for the events
after it: parsing each costs more than the rest of the relay together, so it parses only what a look at the
bytes flags (contract, section 5). Payloads stay as they are, but for `"error": null`, which is cut out. Holds
no state and decides no policy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from .._frozen import dataclass
from .._values import ProviderError
from .envelope import read_error, read_error_value, without_null_error
from .members import InvalidJSON, read_document
from .sse import is_done
from .structure import has_more_structure

MOST_STRUCTURE = 100_000
"""Brackets, braces and commas of one event; a mebibyte of them would hold everybody up."""

# Possessive, or giving back a blank would let ` null` pass as something else than null. An empty reason is
# none: servers that write "" into every chunk would otherwise be cut off five seconds after their first.
_reason_given = re.compile(rb'"finish_reason"[ \t\r\n]*+:[ \t\r\n]*+(?!null|"")').search


@dataclass(frozen=True, slots=True)
class Chunk:
    """One judged event. `payload` is what to relay of a `data` chunk; of the other kinds it is what came.

    substance: it commits the stream to its provider (contract, section 2, "First chunk").
    finished: the indices of the choices that got their finish_reason.
    error: what the error says, for the kind `error` alone.
    usage: it reports token counts; a glance does not tell.
    value: what a parser made of a `data` chunk; None after a glance.
    """

    kind: Literal["data", "done", "error", "broken"]
    payload: bytes
    substance: bool = False
    finished: frozenset[int] = frozenset()
    error: ProviderError | None = None
    usage: bool = False
    value: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)


def glance(payload: bytes, *, error_event: bool = False) -> Chunk:
    """The judgement of an event after the first chunk; parses only what its bytes make suspicious."""
    if (
        not error_event
        and payload.startswith(b"{")
        and payload.endswith(b"}")
        and b'"error"' not in payload
        and not _reason_given(payload)
        and (payload.isascii() or _is_utf8(payload))
    ):
        return Chunk("data", payload, True)
    return read_chunk(payload, error_event=error_event)


_as_we_frame_it = re.compile(rb"(?:data: \{.*\}\n\n)*+").match


def unflagged(data: bytes) -> int:
    """How much of `data`, which begins with an event, is whole events that a glance at each would let pass, and whose
    framing is ours. They can be relayed as they are, all at once.
    """
    try:
        if _is_well(data.decode()):
            return len(data)
    except UnicodeDecodeError:
        pass  # the events before it may be well
    if data.find(b"\r") >= 0:
        return 0
    size = _as_we_frame_it(data).end()  # type: ignore[union-attr]  # matches everywhere
    if size != len(data):
        data = data[:size]
    flagged = data.find(b'"error"')
    if (reason := _reason_given(data)) is not None and (flagged < 0 or reason.start() < flagged):
        flagged = reason.start()
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            if flagged < 0 or error.start < flagged:
                flagged = error.start
    if flagged < 0:
        return size
    before = data.rfind(b"\n\n", 0, flagged)
    return before + 2 if before >= 0 else 0


def _is_well(text: str) -> bool:
    """Whether all of `text` is such events; of one whose reason is none, but not spelled `:null`, it says no.

    Looks at a string: to ask bytes whether they hold others costs CPython an exception, and a call for each look.
    """
    if text[:7] != "data: {" or text[-3:] != "}\n\n" or "\r" in text or '"error"' in text:
        return False
    before_its_end = text[:-2]
    if "\n" in before_its_end and "\n" in before_its_end.replace("}\n\ndata: {", ""):
        return False
    reasons = text.split('"finish_reason"', 2)
    if len(reasons) <= 2:
        return reasons[-1][:5] == ":null" or len(reasons) == 1
    return text.count('"finish_reason":null') == text.count('"finish_reason"')


def read_chunk(payload: bytes, *, error_event: bool = False) -> Chunk:
    """The full judgement of one event. `error_event`: the event's name was `error`."""
    if error_event:
        return Chunk("error", payload, error=read_error(payload))
    if is_done(payload):
        return Chunk("done", payload)
    if has_more_structure(payload, MOST_STRUCTURE):
        return Chunk("broken", payload)
    try:
        text = payload.decode()
        value = read_document(text)
    except (UnicodeDecodeError, InvalidJSON):
        return Chunk("broken", payload)
    if not isinstance(value, dict):
        return Chunk("broken", payload)
    choices = object_choices(value)
    if is_error(value, choices):
        return Chunk("error", payload, error=read_error_value(value))
    if "error" in value:
        # Also where the key is written with escapes, or twice: what counts is what a parser makes of it.
        try:
            relayed = without_null_error(text)
        except InvalidJSON:
            return Chunk("broken", payload)
        payload = payload if relayed is text else relayed.encode()
    finished = frozenset(_index(choice) for choice in choices if choice.get("finish_reason"))
    return Chunk(
        "data",
        payload,
        substance=bool(finished) or any(_has_substance(choice.get("delta")) for choice in choices),
        finished=finished,
        usage=value.get("usage") is not None,
        value=value,
    )


def object_choices(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The choices of a chunk or an answer, those that are objects."""
    choices = value.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def is_error(value: Mapping[str, Any], choices: list[dict[str, Any]]) -> bool:
    """The error test of the wire facts, section 4, for a chunk as for a plain answer."""
    if value.get("error") or value.get("object") == "error":
        return True
    for choice in choices:  # noqa: SIM110 - a generator costs more than the loop, of one as of two
        if choice.get("finish_reason") == "error":
            return True
    return False


def _has_substance(delta: Any) -> bool:
    return isinstance(delta, dict) and any(value for key, value in delta.items() if key != "role")


def _index(choice: Mapping[str, Any]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) and not isinstance(index, bool) else 0


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
