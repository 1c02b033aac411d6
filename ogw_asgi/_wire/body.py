"""A request body, checked, and ready to go to any provider (contract, section 3).

The bytes are relayed, not made anew: only the spans of string-holding-JSON fields, and later the model's
name, are replaced; every other byte of the caller's body survives, number spellings, key order and escapes
included. What each field may hold is said in `fields.py`, how big the whole may be in `structure.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from .._values import NO_NUMBERS, ChatCall, Limits
from ..exceptions import RequestRejected, bad_body
from .fields import HOLDS_JSON, KNOWN, calls_are_text, check_fields, missing, wrong_value
from .members import InvalidJSON, Member, read_document, read_members, read_value
from .onepass import cut_at_quotes, read_at_once
from .patient import Patient
from .structure import MEMBERS, refuse_structure, refuse_width, too_many_members

REWRITTEN_MEMBERS = 50_000
"""Of all messages in which something is replaced. They are read in Python; five to each of the most that are read."""

TOLD = (
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "n",
    "seed",
    "frequency_penalty",
    "presence_penalty",
)
"""Numbers of a body that observers are told."""

_BLANKS = " \t\n\r"
_gap = re.compile(r"[ \t\n\r,]*").match

_BARE_FORMATS = {"json_object": '{"type": "json_object"}', "text": '{"type": "text"}'}


@dataclass(frozen=True, slots=True)
class _Splice:
    """A string literal at `text[start:end]` that is to be replaced by the JSON which it holds.

    `holder[name]` is where its value belongs among the parsed values.
    """

    start: int
    end: int
    held: str
    path: str
    holder: dict[str, Any]
    name: str


def read_body(raw: bytes, limits: Limits, *, patiently: bool = False, told: bool = False) -> ChatCall:
    """The call that `raw` asks for. Raises the 400 that names the field, or what is wrong with the whole.

    `patiently`: in a thread, for a body that `takes_long`, so that others have their turn meanwhile. `told`: somebody
    listens, so that its numbers are kept.
    """
    if not raw:
        raise bad_body("The body is empty: expected a JSON object.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        refuse_structure(raw, limits)
        raise bad_body("The body is not valid UTF-8.") from None
    cut = None if patiently else cut_at_quotes(raw, text)
    bare = raw if cut is None else cut.bare  # each look at all of a long body costs as much as much of the rest
    commas = bare.count(b",")
    structure = refuse_structure(bare, limits, commas)
    if commas >= MEMBERS:
        refuse_width(raw, limits, structure)
    found = read_at_once(raw, text, cut.strings) if cut is not None and commas < limits.messages else None
    del cut, bare  # as much as the body once more
    if found is not None:
        values, model_span = found
        check_fields(values)
        return _call(raw, values, model_span, told)
    members = _read_object(text, limits, commas, patiently)
    values = _read_known(members)
    splices = list(_top_splices(members, values))
    splices += _message_splices(text, members, values, limits)
    if splices:
        splices.sort(key=lambda splice: splice.start)
        body = _spliced(text, splices, limits)
    else:
        body = raw
    check_fields(values)
    model = next(member for member in members if member.key == "model")
    return _call(body, values, _model_span(text, model, splices), told)


def _call(body: bytes, values: dict[str, Any], model_span: tuple[int, int], told: bool) -> ChatCall:
    parameters = {name: values[name] for name in TOLD if values.get(name) is not None} if told else NO_NUMBERS
    return ChatCall(
        body, values["model"], model_span, values.get("stream") is True, int(values.get("n") or 1), parameters
    )


def body_for(call: ChatCall, model: str) -> bytes:
    """The body that asks for `model`: the caller's own bytes but for the name."""
    if model == call.model:
        return call.body
    start, end = call.model_span
    return call.body[:start] + json.dumps(model).encode("ascii") + call.body[end:]


def _read_object(text: str, limits: Limits, commas: int, patiently: bool) -> list[Member]:
    patient = Patient(text, KNOWN)

    def read_member(key: str, at: int) -> tuple[Any, int]:
        refuse_many(key, at)
        return patient.read_value(at, 1, kept=key in KNOWN)

    def refuse_many(key: str, at: int) -> None:
        # Element by element, for no more than the limit: to read a hundred thousand messages only to refuse them would
        # hold everybody up for as long as answering them.
        if key != "messages" or text[at : at + 1] != "[":
            return
        if next(islice(elements(text, at), limits.messages, None), None):
            raise bad_body(
                f"The body has too many messages; at most {limits.messages} are read.",
                code="body_too_complex",
                param="messages",
            )

    start = len(text) - len(text.lstrip(_BLANKS))
    try:
        if patiently:
            members, end = read_members(text, start, read=read_member)
        else:
            # There are fewer messages than commas, so nearly every body is read once.
            members, end = read_members(text, start, before=refuse_many if commas >= limits.messages else None)
    except InvalidJSON as error:
        raise bad_body(f"The body is not a JSON object: {error}.") from None
    if text[end:].strip(_BLANKS):
        raise bad_body("The body is not one JSON object: something follows it.")
    return members


def _read_known(members: list[Member]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for member in members:
        if member.key in KNOWN:
            if member.key in values:
                # Parsers differ in which of the two counts, and so would gateway and provider.
                raise bad_body(f"The body has {member.key} twice.", param=member.key)
            values[member.key] = member.value
    for name in ("model", "messages"):
        if name not in values:
            raise missing(name)
    return values


# --- strings that hold JSON ---------------------------------------------------------------------------------


def _top_splices(members: list[Member], values: dict[str, Any]) -> Iterator[_Splice]:
    for member in members:
        if member.key not in HOLDS_JSON or not isinstance(member.value, str):
            continue
        held = member.value.strip(_BLANKS)
        if member.key == "tool_choice" and not held.startswith("{"):
            continue  # `auto`, `required`: a string that means itself
        if member.key == "response_format":
            held = _BARE_FORMATS.get(held, held)
        yield _Splice(member.start, member.end, held, member.key, values, member.key)


def _message_splices(text: str, members: list[Member], values: dict[str, Any], limits: Limits) -> Iterator[_Splice]:
    messages = values["messages"]
    if not isinstance(messages, list) or not any(map(calls_are_text, messages)):
        return
    array = next(member for member in members if member.key == "messages")
    read = 0
    for index, (start, end) in enumerate(elements(text, array.start)):
        message = messages[index]
        if calls_are_text(message):
            refuse_width(text[start:end].encode("utf-8"), limits)
            found, _ = read_members(text, start)
            read += len(found)
            if read > REWRITTEN_MEMBERS:
                raise too_many_members("The messages whose tool_calls are strings have together", REWRITTEN_MEMBERS)
            for member in found:
                if member.key == "tool_calls" and isinstance(member.value, str):
                    held = member.value.strip(_BLANKS)
                    path = f"messages[{index}].tool_calls"
                    yield _Splice(member.start, member.end, held, path, message, "tool_calls")


def elements(text: str, start: int) -> Iterator[tuple[int, int]]:
    """The spans of the elements of the array at `start`. What stands between them is for a parser to judge."""
    at = _gap(text, start + 1).end()  # type: ignore[union-attr]  # matches everywhere
    while text[at : at + 1] not in ("]", ""):
        _, end = read_value(text, at)
        yield at, end
        at = _gap(text, end).end()  # type: ignore[union-attr]


def _spliced(text: str, splices: list[_Splice], limits: Limits) -> bytes:
    """The body with every splice made, and `holder[name]` set to what the strings held."""
    parts: list[str] = []
    at = 0
    for splice in splices:
        parts += text[at : splice.start], splice.held
        at = splice.end
    parts.append(text[at:])
    try:
        body = "".join(parts).encode("utf-8")
    except UnicodeEncodeError:
        broken = next(splice for splice in splices if not _encodable(splice.held))
        raise _not_json(broken.path) from None
    # Quotes hid the structure of what the strings hold: the whole is measured again before a parser sees it.
    refuse_structure(body, limits)
    for splice in splices:
        try:
            splice.holder[splice.name] = read_document(splice.held)
        except InvalidJSON:
            raise _not_json(splice.path) from None
    return body


def _encodable(held: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in held)


def _not_json(path: str) -> RequestRejected:
    return wrong_value(path, "the value itself, or a string that holds it as JSON")


def _model_span(text: str, model: Member, splices: list[_Splice]) -> tuple[int, int]:
    before: list[str] = []
    at = 0
    for splice in splices:
        if splice.start < model.start:
            before += text[at : splice.start], splice.held
            at = splice.end
    before.append(text[at : model.start])
    start = sum(map(_bytes, before))
    return start, start + _bytes(text[model.start : model.end])


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8"))
