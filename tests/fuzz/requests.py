"""What a caller sends: the body, the headers, the URL of a server; and the body made longer for a continuation."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

from ogw_asgi._values import CallOptions, ChatCall, Endpoint, Header, Limits
from ogw_asgi._wire.body import body_for, read_body
from ogw_asgi._wire.endpoint import read_endpoint
from ogw_asgi._wire.fields import HOLDS_JSON, KNOWN, calls_are_text
from ogw_asgi._wire.forwarding import upstream_headers
from ogw_asgi._wire.headers import (
    announced_length,
    header_values,
    read_options,
    read_request_id,
    refuse_media,
    refuse_repeats,
    refuse_two_lengths,
    refuse_two_tokens,
)
from ogw_asgi._wire.members import InvalidJSON, read_document
from ogw_asgi._wire.onepass import cut_at_quotes, read_at_once
from ogw_asgi._wire.patient import Patient
from ogw_asgi._wire.prefill import LIMITS as TOKEN_LIMITS
from ogw_asgi._wire.prefill import can_be_continued, prefilled
from ogw_asgi._wire.structure import refuse_structure, refuse_width
from ogw_asgi.exceptions import RequestRejected

from .mutate import dice
from .target import CANARY, Target

LIMITS = Limits()
WHOLE = {"invalid_body", "body_too_complex"}
CODES = {*WHOLE, "missing_required_parameter", "invalid_type", "invalid_value"}

_call = '{"model":"m","messages":[{"role":"user","content":"%s"}]%s}'
BODIES = [
    _call % ("hi", ""),
    _call % (CANARY, f',"user":"{CANARY}","stream":true,"n":2'),
    _call
    % ("Grüße 😀 \\ud83d\\ude00 \\n", ',"temperature":1.0,"top_p":0.5,"stop":["a","b"],"seed":7,"x":{"y":[1e2,-0]}'),
    _call % ("q", f',"logit_bias":{{"50256":-100,"{CANARY}":1}},"response_format":{{"type":"json_object"}}'),
    _call % ("q", ',"logit_bias":"{\\"50256\\":-100}","response_format":"json_object","tool_choice":"{\\"type\\":1}"'),
    _call % ("q", ',"stream_options":" {\\"include_usage\\":true}","tool_choice":"auto","max_tokens":10'),
    ' {"messages" : [ {"role":"system","content":[{"type":"text","text":"a"}]} , {"role":"assistant","content":null,'
    '"tool_calls":"[{\\"id\\":\\"ü\\"}]"},{"role":"tool","tool_call_id":"1","content":"2"} ]'
    ' ,\t"mod\\u0065l" : "ü\\u00fc" }\n',
    '{"tools":[{"type":"function","function":{"name":"f","parameters":{},"strict":true}}],"model":"a/b",'
    '"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b "}],"max_completion_tokens":99}',
    '{"model":"m","messages":[{"role":"assistant","content":[{"type":"text","text":"so "}]}],"max_tokens":9,"n":1}',
    '{"model":"m","model":"n","messages":[{"role":"user"}]}',
    '{"n":1,"model":"m","messages":[{"role":"user"}],"stream":true,"n":2}',
    _call % ("q", "," + ",".join(f'"k{at}":[{at}]' for at in range(40))),
    _call % ("q", ',"x":' + "[" * 140 + "]" * 140),
    _call % ("q", ',"x":' + "[" * 128 + "]" * 128),
    _call % ("q", ',"x":' + "[" * 127 + "]" * 127),
]
_BODY_SEEDS = [text.encode() for text in BODIES]
_BODY_TOKENS = [
    *(b'"%b"' % name.encode() for name in sorted(KNOWN)),
    *(
        b',"model":"n"',
        b',"\\u006dodel":"n"',
        b'"tool_calls":"[]"',
        b'"role":"user"',
        b'"content":',
        b'{"role":"user"},',
    ),
    *(b'"{\\"a\\":1}"', b'"[{}]"', b'"null"', CANARY.encode(), b'"function"', b',"n":1', b'"max_tokens":5,'),
]


# --- an oracle: the standard library's parser, made strict ---


class _NoJSON(ValueError):
    pass


def _no(_: str) -> Any:
    raise _NoJSON


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise _NoJSON
    return value


def strict(text: str, *, pairs: Any = None) -> Any:
    """Raises ValueError or RecursionError for what is no JSON that everybody reads alike."""
    if text.startswith("\ufeff"):
        raise _NoJSON
    return json.loads(text, parse_constant=_no, parse_float=_finite, object_pairs_hook=pairs)


def is_json(raw: bytes) -> bool:
    """Would a strict parser read it?"""
    try:
        strict(raw.decode())
    except (ValueError, RecursionError):
        return False
    return True


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        value = strict(raw.decode())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _repeats(raw: bytes) -> bool:
    """Does a name that the contract knows stand there twice, at the top?"""
    names: list[list[str]] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names.append([name for name, _ in pairs])
        return dict(pairs)

    strict(raw.decode(), pairs=note)
    known = [name for name in names[-1] if name in KNOWN]
    return len(known) > len(set(known))


def sound(refusal: RequestRejected, statuses: Iterable[int]) -> None:
    """A refusal as callers may get it: it says what is wrong and holds nothing of what was sent."""
    assert refusal.status in statuses
    assert refusal.type == "invalid_request_error"
    assert 0 < len(refusal.message) < 600
    assert CANARY not in f"{refusal} {refusal!r} {refusal.param} {refusal.code}"
    refusal.message.encode("utf-8")
    (refusal.param or "").encode("utf-8")


# --- the body ---


def _held(values: dict[str, Any]) -> dict[str, Any]:
    """What goes out for these values: of strings that hold JSON, what they hold."""
    values = dict(values)
    for name in HOLDS_JSON & values.keys():
        value = values[name]
        if isinstance(value, str) and not (name == "tool_choice" and not value.strip(" \t\n\r").startswith("{")):
            bare = value.strip(" \t\n\r") in ("json_object", "text") and name == "response_format"
            values[name] = {"type": value.strip(" \t\n\r")} if bare else strict(value)
    values["messages"] = [
        {**message, "tool_calls": strict(message["tool_calls"])} if calls_are_text(message) else message
        for message in values["messages"]
    ]
    return values


def same_call(call: ChatCall) -> None:
    """What is said of the body is in the body, and its model can be replaced, and nothing else is."""
    values = strict(call.body.decode())
    start, end = call.model_span
    assert json.loads(call.body[start:end]) == values["model"] == call.model
    assert call.stream is (values.get("stream") is True)
    assert call.choices == (values.get("n") or 1)
    assert body_for(call, call.model) is call.body
    assert strict(body_for(call, 'ü"\\x').decode()) == {**values, "model": 'ü"\\x'}
    assert read_body(call.body, LIMITS) == call, "what went out reads as what came in"


def _judge_body(raw: bytes, result: ChatCall | RequestRejected) -> bool:
    values = _object(raw)
    if isinstance(result, RequestRejected):
        sound(result, [400])
        assert result.code in CODES
        if result.code == "invalid_body":
            assert values is None or _repeats(raw), "a sound body was called broken"
        return False
    assert values is not None, "a parser would refuse what we took"
    assert not _repeats(raw)
    assert strict(result.body.decode()) == _held(values)
    same_call(result)
    return True


def _structure(raw: bytes) -> None:
    refuse_structure(raw, LIMITS)
    refuse_width(raw, LIMITS)


def _judge_structure(raw: bytes, result: RequestRejected | None) -> bool:
    try:
        deep = _depth(strict(raw.decode()))
    except (ValueError, RecursionError):
        deep = None
    if result is not None:
        sound(result, [400])
        assert result.code == "body_too_complex"
        assert deep is None or deep > LIMITS.json_depth or raw.count(b",") >= 1000
        return False
    assert deep is None or deep <= LIMITS.json_depth
    return True


def _depth(value: Any) -> int:
    deep, level = 0, [value]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        deep += 1
        level = [one for item in level for one in (item.values() if isinstance(item, dict) else item)]
    return deep


def _read_at_once(raw: bytes) -> tuple[dict[str, Any], tuple[int, int]] | None:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None  # read_body has refused it before
    cut = cut_at_quotes(raw, text)
    return None if cut is None else read_at_once(raw, text, cut.strings)


def _judge_at_once(raw: bytes, result: tuple[dict[str, Any], tuple[int, int]] | None) -> bool:
    if result is None:
        return False
    values, (start, end) = result
    assert values == _object(raw)
    assert not _repeats(raw)
    assert _held(values) == values, "nothing is left to be spliced"
    assert strict((raw[:start] + b'"\xc3\xbc"' + raw[end:]).decode()) == {**values, "model": "ü"}
    return True


# --- the same in small windows ---


class _All:
    def __contains__(self, name: object) -> bool:
        return True


def _read_patiently(raw: bytes) -> Any:
    return Patient(raw.decode("utf-8", "replace"), _All(), window=24).read_document()


def _judge_patiently(raw: bytes, result: Any) -> bool:
    try:
        at_once = read_document(raw.decode("utf-8", "replace"))
    except InvalidJSON:
        assert isinstance(result, InvalidJSON)
        return False
    if isinstance(result, InvalidJSON):  # made to fool windows, or too deep for them
        assert str(result) in ("it is too complex", "it is nested too deeply")
        return False
    assert result == at_once
    return True


# --- the body with what has been said so far ---

_TEXT = 'so far "ü😀"\n \\'
_FIELDS = {"continue_final_message": True, "add_generation_prompt": False}


def _read_prefilled(raw: bytes) -> tuple[ChatCall, bool, ChatCall | None]:
    call = read_body(raw, LIMITS)
    return call, can_be_continued(call), prefilled(call, _TEXT, _FIELDS, 3)


def _judge_prefilled(raw: bytes, result: tuple[ChatCall, bool, ChatCall | None] | RequestRejected) -> bool:
    if isinstance(result, RequestRejected):
        return False
    call, _, longer = result
    before = strict(call.body.decode())
    limits = {name: int(before[name]) - 3 for name in TOKEN_LIMITS if before.get(name) is not None}
    last = before["messages"][-1]
    if longer is None:
        assert any(left < 1 for left in limits.values()) or not isinstance(last.get("content"), (str, list))
        return False
    after = strict(longer.body.decode())
    said = after["messages"][-1]
    assert said["role"] == "assistant"
    content = said["content"]
    assert (content if isinstance(content, str) else content[-1]["text"]).endswith(_TEXT)
    if last["role"] == "assistant":
        assert {**said, "content": None} == {**last, "content": None}
        assert after["messages"][:-1] == before["messages"][:-1]
    else:
        assert after["messages"][:-1] == before["messages"]
    assert {**after, "messages": None} == {**before, "messages": None, **limits, **_FIELDS}
    same_call(longer)
    return True


# --- the headers ---

_HEADERS = {
    "content-type": "application/json; charset=utf-8",
    "content-length": "12",
    "authorization": f"Bearer {CANARY}",
    "x-opengateway-failover-sequence": '["openai","azure/gpt-4o","vllm"]',
    "x-opengateway-vllm-endpoint": "http://10.0.0.7:8000/v1",
    "x-opengateway-vllm-api-key": CANARY,
    "x-opengateway-timeout": "30000",
    "x-opengateway-on-stream-break": "continue",
    "x-opengateway-success-status": "200",
    "x-opengateway-hedge-after": "0",
    "x-stainless-read-timeout": "60.0",
    "idempotency-key": "7e1f",
    "x-request-id": "req-1",
    "via": "1.1 proxy, 1.1 ogw-abc123",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}


def _written(*names: str) -> bytes:
    return b"\n".join(f"{name}: {_HEADERS[name]}".encode() for name in names)


_HEADER_SEEDS = [
    _written(*_HEADERS),
    b"content-type: application/json",
    *(_written("content-type", name) for name in _HEADERS if name != "content-type"),
    _written("content-type", "x-opengateway-vllm-endpoint", "x-opengateway-vllm-api-key"),
    b"content-type: text/plain",
    b"content-type: application/json\ncontent-encoding: gzip",
    f"content-type: application/json\nx-opengateway-vllm-api-key: {CANARY}".encode(),
    f"content-type: application/json\nx-opengateway-vllm-endpoint: http://u:{CANARY}@h".encode(),
    f'content-type: application/json\nx-opengateway-failover-sequence: ["{CANARY}"]'.encode(),
    b"x-opengateway-timeout: 1\nx-opengateway-timeout: 2",
]
_HEADER_TOKENS = [b"\n" + _written(name) for name in _HEADERS] + [f"\n{name}: ".encode() for name in _HEADERS]
_HEADER_TOKENS += [CANARY.encode(), b'"openai"', b",", b'["openai"]', b"ogw-", b"gzip", b"identity", b"1e3", b"http://"]


def header_lines(data: bytes) -> list[Header]:
    """A header a line, as a server hands them on: names in lower case. Values are as odd as the bytes are."""
    lines = (line.partition(b":") for line in data.split(b"\n"))
    return [(name.lower(), value.removeprefix(b" ")) for name, _, value in lines if name]


_HeadersRead = tuple[CallOptions, int | None]


def _read_headers(data: bytes) -> _HeadersRead:
    values = header_values(header_lines(data))
    refuse_two_lengths(values)
    refuse_two_tokens(values)
    refuse_repeats(values)
    request_id = read_request_id(values)
    options = read_options(values, request_id=request_id or "new", limits=LIMITS, header_max_s=3600.0)
    refuse_media(values)
    return options, announced_length(values)


_visible = re.compile(rb"[!-~]+").fullmatch
_ours = re.compile(rb"1\.1 ogw-[0-9a-z]{1,64}").fullmatch


def _judge_headers(data: bytes, result: _HeadersRead | RequestRejected) -> bool:
    if isinstance(result, RequestRejected):
        sound(result, [400, 415])
        assert result.param
        return False
    options, length = result
    assert length is None or 0 <= length < 10**20
    assert options.sequence is None or 1 <= len(options.sequence) <= LIMITS.sequence_items
    assert options.first_chunk_s is None or 0.001 <= options.first_chunk_s <= 3600
    assert options.hedge_after_s is None or 0 <= options.hedge_after_s <= 3600
    assert options.success_status in (None, 200, 201)
    assert options.on_stream_break in (None, "error", "continue", "hold")
    assert options.caller_limit_s is None or 0 < options.caller_limit_s < math.inf
    assert options.vllm_api_key is None or options.vllm_endpoint is not None
    assert CANARY not in repr(options.vllm_api_key)
    if options.vllm_endpoint is not None:
        assert read_endpoint(options.vllm_endpoint.origin) == options.vllm_endpoint
    sent = upstream_headers(options, gateway_id="me", version="1", stream=True, traceparent=None)
    names = [name for name, _ in sent]
    assert len(names) == len(set(names))
    assert set(names) <= {
        *(b"content-type", b"accept", b"accept-encoding", b"user-agent", b"via", b"x-request-id", b"idempotency-key")
    }
    for name, value in sent:
        if name == b"via":
            assert all(map(_ours, value.split(b", ")))
        elif name in (b"x-request-id", b"idempotency-key"):
            assert _visible(value)
            assert len(value) <= 256
    return True


# --- the URL of a server ---

_URLS = [
    *("http://h", "https://gpu-7.internal:8000/v1", "http://10.0.0.7:8000", "http://[fd00::7]:8000/v1/", "HTTP://A.b/"),
    *(f"http://u:{CANARY}@h", "http://0x7f.1", "http://2130706433", "http://127.1", "http://good\\@evil", "http://h:0"),
    *(
        "http://h:65536",
        "http://h/v2",
        "http://h?x",
        "http://h#x",
        "http://[::ffff:1.2.3.4]",
        "http://xn--bcher-kva.de",
    ),
    *("http://①②⑦.0.0.1", "http://h.", "http://h%2e", "http://[fe80::1%25eth0]", "http://a_b.c", "https://h:443"),
]
_URL_TOKENS = [b"http://", b"https://", b"//", b"[::1]", b"[::]", b"0x7f", b"127.0.0.1", b"@", b":80", b"/v1", b"0177"]
_URL_TOKENS += [b"::ffff:", b"%25", b"xn--", b"..", b":8000", b"localhost"]


def _judge_endpoint(data: bytes, result: Endpoint | ValueError) -> bool:
    if isinstance(result, ValueError):
        assert type(result) is ValueError
        assert str(result).startswith(("a ", "an ", "at most "))
        assert CANARY not in str(result)
        return False
    assert read_endpoint(result.origin) == result
    assert re.fullmatch(r"[a-z0-9_.:-]+", result.host)
    assert 1 <= result.port <= 65535
    assert len(data) <= 2048
    return True


def _read_endpoint(data: bytes) -> Endpoint:
    return read_endpoint(data.decode("utf-8", "surrogateescape" if dice(data).getrandbits(1) else "replace"))


TARGETS = [
    Target("body", _BODY_SEEDS, lambda raw: read_body(raw, LIMITS), _judge_body, (RequestRejected,), _BODY_TOKENS),
    Target("structure", _BODY_SEEDS, _structure, _judge_structure, (RequestRejected,), _BODY_TOKENS),
    Target("at_once", _BODY_SEEDS, _read_at_once, _judge_at_once, (), _BODY_TOKENS),
    Target("patient", _BODY_SEEDS, _read_patiently, _judge_patiently, (InvalidJSON,), _BODY_TOKENS),
    Target("prefill", _BODY_SEEDS, _read_prefilled, _judge_prefilled, (RequestRejected,), _BODY_TOKENS),
    Target("headers", _HEADER_SEEDS, _read_headers, _judge_headers, (RequestRejected,), _HEADER_TOKENS),
    Target("endpoint", [url.encode() for url in _URLS], _read_endpoint, _judge_endpoint, (ValueError,), _URL_TOKENS),
]
