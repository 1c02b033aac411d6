"""Error envelopes: what a provider's error says, and what ours look like.

Reading is total: whatever a server, or a proxy in front of it, calls an error becomes a `ProviderError`;
nothing raises. Writing gives OpenAI's envelope (contract, section 6) with the types that strict clients
insist on. Nothing here masks keys or decides what an error means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .._values import AttemptRecord, ProviderError
from .members import InvalidJSON, Member, read_document, read_members
from .patient import Patient
from .sse import frame

READ_BYTES = 64 << 10
"""How much of an error body is looked at: vLLM's messages can echo a caller's whole input."""
TEXT_CHARS = 500
"""A body that is no JSON is its own message, up to here."""
READ_MEMBERS = 10_000
_NAME_CHARS = 256


def read_error(body: bytes, html: bool = False) -> ProviderError:
    """What an error body says, as far as it can be read. `html`: its content type was HTML.

    JSON is believed before the content type: servers that forget to set one often get `text/html` from their
    framework. JSON that is cut, by its server or by our limit, counts as text.
    """
    text = body[:READ_BYTES].decode("utf-8", "replace").removeprefix("\ufeff").strip()
    if not text:
        return ProviderError(form="empty")
    try:
        value = read_document(text)
    except InvalidJSON:
        if html or text.startswith("<"):
            return ProviderError(form="html")
        return ProviderError(message=" ".join(text.split())[:TEXT_CHARS], form="text")
    return read_error_value(value)


def read_error_value(value: Any) -> ProviderError:
    """What a parsed error body, or error event, says: the parser rule of the wire facts, section 8."""
    value = _unwrapped(value)
    if not isinstance(value, Mapping):
        return ProviderError(message=_message(value))
    error = _unwrapped(value.get("error"))
    if isinstance(error, Mapping) and error:
        return _read_object(error, _first_message(error) or _first_message(value))
    return _read_object(value, error if error and isinstance(error, str) else _first_message(value))


def render_error(
    *,
    message: str,
    type: str,  # noqa: A002 - the envelope's own word
    param: str | None,
    code: str | None,
    attempts: Sequence[AttemptRecord] | None = None,
) -> bytes:
    """OpenAI's envelope in compact JSON, `error` its only key; no text of a provider makes it raise."""
    error: dict[str, Any] = {
        "message": _writable(message),
        "type": _writable(type),
        "param": None if param is None else _writable(param),
        "code": None if code is None else _writable(code),
    }
    if attempts:
        error["attempts"] = [
            {
                "provider": _writable(attempt.provider),
                "outcome": _writable(attempt.outcome),
                "status": attempt.status,
                "code": None if attempt.code is None else _writable(attempt.code),
                "duration_ms": attempt.duration_ms,
            }
            for attempt in attempts
        ]
    return json.dumps({"error": error}, separators=(",", ":")).encode("ascii")


def interruption(message: str, *, attempts: Sequence[AttemptRecord] | None = None) -> bytes:
    """The event that tells the caller that the stream broke (contract, section 5), framed."""
    return frame(
        render_error(message=message, type="upstream_error", param=None, code="stream_interrupted", attempts=attempts)
    )


def without_null_error(text: str, *, patiently: bool = False) -> str:
    """The object `text` without its members `"error": null` and their commas; `text` itself if it has none.

    Go's, Java's and Vercel's clients take the mere presence of the key for an error. Raises InvalidJSON, also for more
    than `READ_MEMBERS`: they are read one by one, and megabytes of them would hold up everybody else. And for an error
    beside the null: parsers take the last of two, so with the null gone the caller's would find what ours did not.
    """
    patient = Patient(text, ())
    read = (lambda _, at: patient.read_value(at, 1, kept=False)) if patiently else None
    members, _ = read_members(text, len(text) - len(text.lstrip(" \t\n\r")), most=READ_MEMBERS, read=read)
    if not any(_is_null_error(member) for member in members):
        return text
    if any(member.key == "error" and member.value is not None for member in members):
        raise InvalidJSON("it has an error and a null error")
    pieces: list[str] = []
    for index, member in enumerate(members):
        if _is_null_error(member):
            continue
        # What stands in front of a member that stays is its own separator: comma and blanks as they were.
        start = members[index - 1].end if pieces else member.key_start
        pieces.append(text[start : member.end])
    return text[: members[0].key_start] + "".join(pieces) + text[members[-1].end :]


def _is_null_error(member: Member) -> bool:
    return member.key == "error" and member.value is None


def _unwrapped(value: Any) -> Any:
    """Gemini wraps its error bodies into arrays of one."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value


def _read_object(source: Mapping[str, Any], message: str | None) -> ProviderError:
    code = _name(source.get("code"))
    return ProviderError(
        message=message,
        type=_name(source.get("type")),
        param=_name(source.get("param")),
        code=_name(source.get("statusCode")) if code is None else code,
        inner_code=_inner_code(source),
        metadata=isinstance(source.get("metadata"), Mapping),
    )


def _first_message(source: Mapping[str, Any]) -> str | None:
    for key in ("message", "detail", "msg"):
        message = _message(source.get(key))
        if message is not None:
            return message
    return None


def _message(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    if value is None:
        return None
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    except RecursionError:  # the scanner goes a little deeper than the encoder
        return None


def _name(value: Any) -> str | None:
    if isinstance(value, str):
        return value[:_NAME_CHARS] or None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)[:_NAME_CHARS]
    return None


def _inner_code(source: Mapping[str, Any]) -> str | None:
    for key, inner in (("innererror", "code"), ("inner_error", "code"), ("details", "error_code")):
        holder = source.get(key)
        if isinstance(holder, Mapping) and (code := _name(holder.get(inner))) is not None:
            return code
    return None


def _writable(text: str) -> str:
    # JSON could escape a lone surrogate, but clients in Rust and Go would refuse the whole envelope.
    return str(text).encode("utf-8", "replace").decode()
