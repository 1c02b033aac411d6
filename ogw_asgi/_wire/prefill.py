"""A body that asks a provider to write on: the delivered text as the last assistant message (contract, section 5).

As with every other rewrite, what need not change stays byte for byte: one message is added, or the caller's own last
one made longer, the limit on tokens shrinks, and the fields that some servers want are set.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from .._values import ChatCall
from .body import elements
from .members import Member, read_document, read_members

LIMITS = ("max_tokens", "max_completion_tokens")

# Structure that is enforced while it is written: the second half of a JSON object is no JSON object.
_STRUCTURED = (
    "structured_outputs",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "json_schema",
    "grammar",
    "regex",
    "ebnf",
)


class _Edit(NamedTuple):
    """`text[start:end]` becomes `new`."""

    start: int
    end: int
    new: str


def can_be_continued(call: ChatCall) -> bool:
    """Whether what was asked for is one plain text, which somebody else could go on with.

    Not: several choices, a forced tool, log probabilities, structured output.
    """
    body = read_document(call.body.decode())
    form = body.get("response_format")
    return (
        call.choices == 1
        and not body.get("logprobs")
        and not body.get("top_logprobs")
        and not _is_forced(body.get("tool_choice"))
        and body.get("function_call") in (None, "none", "auto")
        and (form is None or form.get("type") == "text")
        and not any(body.get(name) for name in _STRUCTURED)
    )


def prefilled(call: ChatCall, text: str, fields: Mapping[str, bool], spent_tokens: int) -> ChatCall | None:
    """The same call, with `text` as what the assistant has said so far, and `fields` set besides.

    The caller's limit on tokens, if any, shrinks by `spent_tokens`. None where that leaves nothing to write, or where
    the caller's own last message is an assistant's that is no text.
    """
    body = call.body.decode()
    members, end = read_members(body, len(body) - len(body.lstrip(" \t\n\r")))
    by_key = {member.key: member for member in members}
    added = _message(body, by_key["messages"], text)
    limits = {name: int(member.value) - spent_tokens for name, member in _limits(by_key)}
    if added is None or any(left < 1 for left in limits.values()):
        return None
    edits = [added, *(_Edit(by_key[name].start, by_key[name].end, str(left)) for name, left in limits.items())]
    for name, value in fields.items():
        written = json.dumps(value)
        if (member := by_key.get(name)) is not None:
            edits.append(_Edit(member.start, member.end, written))
        else:
            edits.append(_Edit(end - 1, end - 1, f',"{name}":{written}'))
    return _edited(call, body, by_key["model"], sorted(edits, key=lambda edit: edit.start))


def _is_forced(choice: Any) -> bool:
    if isinstance(choice, dict):
        allowed = choice.get("allowed_tools")
        return not (isinstance(allowed, dict) and allowed.get("mode") == "auto")
    return choice not in (None, "none", "auto")


def _message(body: str, messages: Member, text: str) -> _Edit | None:
    *_, (start, end) = elements(body, messages.start)
    last = messages.value[-1]
    if last["role"] != "assistant":
        said = json.dumps({"role": "assistant", "content": text}, separators=(",", ":"))
        return _Edit(end, end, f",{said}")
    content = last.get("content")
    if isinstance(content, str):
        longer: Any = content + text
    elif isinstance(content, list):
        # Servers put a line break between parts, and here the text goes on in the middle of a line.
        *before, part = content or [None]
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            longer = [*before, {**part, "text": part["text"] + text}]
        else:
            longer = [*content, {"type": "text", "text": text}]
    else:
        return None
    # Of a name that stands there twice the last one counts, for this parser as for nearly all.
    *_, member = (one for one in read_members(body, start)[0] if one.key == "content")
    return _Edit(member.start, member.end, json.dumps(longer, separators=(",", ":")))


def _limits(members: Mapping[str, Member]) -> Iterator[tuple[str, Member]]:
    for name in LIMITS:
        member = members.get(name)
        if member is not None and member.value is not None:
            yield name, member


def _edited(call: ChatCall, body: str, model: Member, edits: list[_Edit]) -> ChatCall:
    parts: list[str] = []
    at = shift = 0
    for edit in edits:
        parts += body[at : edit.start], edit.new
        at = edit.end
        if edit.start < model.start:
            shift += len(edit.new.encode()) - len(body[edit.start : edit.end].encode())
    parts.append(body[at:])
    start, end = call.model_span
    return replace(call, body="".join(parts).encode(), model_span=(start + shift, end + shift))
