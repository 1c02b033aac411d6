"""A request's headers, read into `CallOptions` (contract, section 2).

What decides who is asked, with which key and for how long is read strictly: a typo is a 400 that names the
header and never repeats its value. What only helps (request id, trace, the SDK's own time limit) is dropped
when it is malformed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import isfinite
from typing import Any, cast

from .._values import CallOptions, Endpoint, Header, Limits, Secret, StreamBreak, TargetName
from ..exceptions import RequestRejected, bad_header
from .endpoint import read_endpoint
from .fields import is_model
from .members import InvalidJSON, read_document

SEQUENCE = "x-opengateway-failover-sequence"
VLLM_ENDPOINT = "x-opengateway-vllm-endpoint"
VLLM_API_KEY = "x-opengateway-vllm-api-key"
TIMEOUT = "x-opengateway-timeout"
ON_STREAM_BREAK = "x-opengateway-on-stream-break"
SUCCESS_STATUS = "x-opengateway-success-status"
HEDGE_AFTER = "x-opengateway-hedge-after"

_PREFIX = "x-opengateway-"
_KNOWN = (SEQUENCE, VLLM_ENDPOINT, VLLM_API_KEY, TIMEOUT, ON_STREAM_BREAK, SUCCESS_STATUS, HEDGE_AFTER)
_ONCE = ("authorization", "content-type")
_ONLY_ONCE = "it once, not twice"
_NOTHING = (b"",)
_USUAL_NAME = 64
"""Names of up to so many bytes are remembered; callers choose them."""
_JSON = b"application/json"

_printable = re.compile(rb"[!-~](?:[\t -~]*[!-~])?").fullmatch
_visible = re.compile(rb"[!-~]+").fullmatch
_milliseconds = re.compile(r"[0-9]{1,15}").fullmatch
_length = re.compile(rb"[0-9]{1,20}").fullmatch
_seconds = re.compile(rb"[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?").fullmatch
_gateway_id = re.compile(rb"ogw-([0-9a-z]{1,64})").fullmatch
_traceparent = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})").fullmatch
_token = re.compile(r"[!-~]{1,64}").fullmatch


Values = Mapping[str, Sequence[bytes]]
"""A request's headers by lower-case name."""


def header_values(headers: Iterable[Header]) -> Values:
    """The raw headers, sorted by name once for all who look at them."""
    values: dict[str, list[bytes]] = {}
    for raw_name, value in headers:
        name = _known_name(raw_name) if len(raw_name) <= _USUAL_NAME else raw_name.decode("latin-1").lower()
        found = values.get(name)
        if found is None:
            values[name] = [value]
        else:
            found.append(value)
    return values


@lru_cache(maxsize=256)
def _known_name(raw: bytes) -> str:
    return raw.decode("latin-1").lower()


def refuse_repeats(values: Values) -> None:
    """Raises the 400 for a header that must not come twice and did: which one counts is anyone's guess."""
    if sum(map(len, values.values())) == len(values):
        return
    for name, found in values.items():
        if len(found) > 1 and (name in _ONCE or name.startswith(_PREFIX)):
            raise bad_header(_shown(name), _ONLY_ONCE)


def refuse_two_tokens(values: Values) -> None:
    """Raises the 400 for two Authorization headers: which of them to check? Anything else waits for the answer."""
    if len(values.get("authorization", _NOTHING)) > 1:
        raise bad_header("authorization", _ONLY_ONCE)


def refuse_two_lengths(values: Values) -> None:
    """Raises the 400 for a body whose end is told in two ways, and ends the connection.

    A proxy in front may go by the one and the server by the other: what is the rest of the body to the first is a
    request to the second (RFC 9112, 6.1). h11, and so uvicorn and hypercorn, let it through.
    """
    if "transfer-encoding" in values and "content-length" in values:
        refusal = bad_header("content-length", "none beside transfer-encoding")
        refusal.close = True
        raise refusal


def refuse_media(values: Values) -> None:
    """Raises the 415 unless the body is announced as plain, uncompressed JSON."""
    media_type = values.get("content-type", _NOTHING)[0]
    if media_type != _JSON and media_type.partition(b";")[0].strip(b" \t").lower() != _JSON:
        raise _unsupported("content-type", "application/json")
    for coding in values.get("content-encoding", ()):
        if coding.strip(b" \t").lower() not in (b"", b"identity"):
            raise _unsupported("content-encoding", "no compression of the body")


def announced_length(values: Values) -> int | None:
    """The body's length in bytes as `content-length` has it, or None."""
    value = _only(values, "content-length")
    return int(value) if value is not None and _length(value) else None


def read_request_id(values: Values) -> str | None:
    """The caller's `x-request-id`, if it is one that can be logged and sent on."""
    return _label(values, "x-request-id", 128)


def read_options(values: Values, *, request_id: str, limits: Limits, header_max_s: float) -> CallOptions:
    """What the headers ask for. Raises the 400 that names the header; run `refuse_repeats` first."""
    texts: dict[str, str] = {}
    if _PREFIX in "\n".join(values):  # nearly always there is none of ours
        for name, found in values.items():
            if name.startswith(_PREFIX):
                if name not in _KNOWN:
                    raise bad_header(_shown(name), "one of " + ", ".join(_KNOWN))
                text = _text(name, found[0], limits)
                if text:
                    texts[name] = text
    trace_id, trace_flags = _trace(values)
    return CallOptions(
        request_id=request_id,
        **(_ours(texts, limits, header_max_s) if texts else {}),
        caller_limit_s=_caller_limit(values),
        idempotency_key=_label(values, "idempotency-key", 256),
        via=_via(values),
        trace_id=trace_id,
        trace_flags=trace_flags,
    )


# --- the gateway's own headers: strict ----------------------------------------------------------------------


def _ours(texts: dict[str, str], limits: Limits, header_max_s: float) -> dict[str, Any]:
    endpoint, api_key = _vllm(texts)
    return {
        "sequence": _sequence(texts[SEQUENCE], limits.sequence_items) if SEQUENCE in texts else None,
        "vllm_endpoint": endpoint,
        "vllm_api_key": api_key,
        "first_chunk_s": _first_chunk(texts[TIMEOUT], header_max_s) if TIMEOUT in texts else None,
        "success_status": _success_status(texts[SUCCESS_STATUS]) if SUCCESS_STATUS in texts else None,
        "hedge_after_s": _hedge_after(texts[HEDGE_AFTER], header_max_s) if HEDGE_AFTER in texts else None,
        "on_stream_break": _on_stream_break(texts[ON_STREAM_BREAK]) if ON_STREAM_BREAK in texts else None,
    }


def _text(name: str, value: bytes, limits: Limits) -> str:
    if len(value) > limits.header_bytes:
        raise bad_header(name, f"at most {limits.header_bytes} bytes")
    if not value.strip(b" \t"):
        return ""
    # Servers strip the blanks around a value (RFC 9110, 5.5): one that is still there is somebody's trick.
    if not _printable(value):
        raise bad_header(name, "printable ASCII without blanks around it")
    return value.decode("ascii")


@lru_cache(maxsize=64)
def _sequence(text: str, most: int) -> tuple[TargetName, ...]:
    # Remembered, because an application sends the same one or two all day.
    expected = f'a JSON array of 1 to {most} strings, each "provider" or "provider/model"'
    try:
        items = read_document(text)
    except InvalidJSON:
        raise bad_header(SEQUENCE, expected) from None
    if not isinstance(items, list) or not 1 <= len(items) <= most:
        raise bad_header(SEQUENCE, expected)
    targets = []
    for item in items:
        if not isinstance(item, str):
            raise bad_header(SEQUENCE, expected)
        provider, slash, model = item.partition("/")
        if not provider or (slash and not is_model(model)):
            raise bad_header(SEQUENCE, expected + ", neither of them empty")
        targets.append(TargetName(provider, model if slash else None))
    return tuple(targets)


def _vllm(texts: dict[str, str]) -> tuple[Endpoint | None, Secret | None]:
    endpoint = key = None
    if VLLM_ENDPOINT in texts:
        try:
            endpoint = read_endpoint(texts[VLLM_ENDPOINT])
        except ValueError as error:
            raise bad_header(VLLM_ENDPOINT, str(error)) from None
    if VLLM_API_KEY in texts:
        try:
            key = Secret(texts[VLLM_API_KEY], (endpoint.origin,) if endpoint is not None else ())
        except ValueError:
            raise bad_header(VLLM_API_KEY, "visible ASCII without blanks") from None
        if endpoint is None:
            raise bad_header(VLLM_API_KEY, f"{VLLM_ENDPOINT} beside it, for a key belongs to one server")
    return endpoint, key


def _first_chunk(text: str, header_max_s: float) -> float:
    milliseconds = _read_milliseconds(TIMEOUT, text, 1, header_max_s)
    return milliseconds / 1000


def _read_milliseconds(name: str, text: str, least: int, header_max_s: float) -> int:
    most = int(header_max_s * 1000)
    if not _milliseconds(text) or not least <= int(text) <= most:
        raise bad_header(name, f"milliseconds as a decimal integer from {least} to {most}")
    return int(text)


def _success_status(text: str) -> int:
    if text not in ("200", "201"):
        raise bad_header(SUCCESS_STATUS, "200 or 201")
    return int(text)


def _hedge_after(text: str, header_max_s: float) -> float:
    return _read_milliseconds(HEDGE_AFTER, text, 0, header_max_s) / 1000


def _on_stream_break(text: str) -> StreamBreak:
    if text not in ("error", "continue", "hold"):
        raise bad_header(ON_STREAM_BREAK, "error, continue or hold")
    return cast(StreamBreak, text)


# --- headers that only help: dropped when malformed ---------------------------------------------------------


def _caller_limit(values: Values) -> float | None:
    if "x-stainless-read-timeout" not in values and "x-stainless-timeout" not in values:
        return None
    announced = (*values.get("x-stainless-read-timeout", ()), *values.get("x-stainless-timeout", ()))
    limits_s = [float(value) for value in announced if _seconds(value)]
    return min((limit_s for limit_s in limits_s if isfinite(limit_s) and limit_s > 0), default=None)


def _via(values: Values) -> tuple[str, ...]:
    if "via" not in values:
        return ()
    ids = []
    for value in values["via"]:
        for entry in value.split(b","):
            words = entry.split()  # protocol, received-by, perhaps a comment (RFC 9110, 7.6.3)
            found = _gateway_id(words[1]) if len(words) > 1 else None
            if found:
                ids.append(found[1].decode("ascii"))
    return tuple(ids)


def _trace(values: Values) -> tuple[str | None, str]:
    if "traceparent" not in values:
        return None, "00"
    found = _traceparent(_only(values, "traceparent") or b"")
    if found is None or not found[1].strip(b"0") or not found[2].strip(b"0"):
        return None, "00"
    return found[1].decode("ascii"), found[3].decode("ascii")


def _label(values: Values, name: str, longest: int) -> str | None:
    value = _only(values, name)
    if value is None or len(value) > longest or not _visible(value):
        return None
    return value.decode("ascii")


# --- raw headers --------------------------------------------------------------------------------------------


def _only(values: Values, name: str) -> bytes | None:
    found = values.get(name)
    return found[0] if found is not None and len(found) == 1 else None


def _shown(name: str) -> str:
    return name if _token(name) else _PREFIX + "*"


def _unsupported(name: str, expected: str) -> RequestRejected:
    return RequestRejected(415, f"Header {name}: expected {expected}.", param=name, code="unsupported_media_type")
