"""What a provider answers at once: HTTP, a completion, an error, headers, and how long to wait."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from ogw_asgi._values import Header, ProviderError
from ogw_asgi._wire.answer import Answer, encoded, media, read_answer
from ogw_asgi._wire.envelope import TEXT_CHARS, interruption, read_error, render_error
from ogw_asgi._wire.forwarding import downstream_headers
from ogw_asgi._wire.masking import Mask
from ogw_asgi._wire.retry_after import DAY_S, read_retry_after
from ogw_asgi._wire.sse import Event
from ogw_asgi.transports._http1 import ResponseParser

from ..transports.answers import RECORDED
from .events import decode
from .mutate import cuts, dice
from .requests import header_lines, is_json, strict
from .target import CANARY, Target

MASK = Mask([CANARY], ["https://acme.example/v1"])


# --- a completion ---

_answer = (
    '{"id":"c1","object":"chat.completion","choices":[{"index":0,"message":{"content":"%s"},"finish_reason":%s}]%s}'
)
_ANSWERS = [
    _answer % ("hi", '"stop"', ""),
    "\n\n " + _answer % ("Grüße \\ud83d\\ude00 😀", '"stop"', ',"usage":{"total_tokens":1}'),
    _answer % ("\\ud83d", "null", ',"error":null'),
    ' {"error" : null , "choices" : [{}] , "error":null }',
    '{"error":{"message":"no"},"choices":[{}]}',
    '{"error":{"message":"no"}}',
    '{"choices":[]}',
    '[{"choices":[{}]}]',
    "{}",
    "<html></html>",
    '{"object":"error","message":"m","choices":[{"finish_reason":"error"}]}',
]
_ANSWER_TOKENS = [
    b'"error":null',
    b',"error":null,',
    b'"choices":[{}]',
    b"\\ud83d",
    b"\\ude00",
    b"\\\\ud83d",
    b'"\\u0065rror":null,',
]


def _judge_answer(data: bytes, result: Answer) -> bool:
    if result.no_answer is not None:
        assert result.body is data
        assert (result.error is not None) == (result.no_answer in ("not_an_object", "error_body", "no_choices"))
        if result.no_answer == "not_json":
            assert not is_json(data) or b"\\u" in data or data.count(b'"error"') > 1, "sound JSON was called broken"
        return False
    assert result.error is None
    before, after = strict(data.decode()), strict(result.body.decode())
    assert before["choices"]
    assert after == {name: value for name, value in before.items() if name != "error"}, (
        "nothing but the null error goes"
    )
    json.dumps(after, ensure_ascii=False).encode(), "no lone surrogate"
    if result.body is not data:
        assert len(result.body) < len(data)
    return True


# --- an error ---

_ERRORS = [
    f'{{"error":{{"message":"Incorrect API key provided: {CANARY}","type":"auth_error","param":null,"code":"x"}}}}',
    '{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{"a":1}]}}',
    '[{"error":{"message":"gemini"}}]',
    '{"detail":[{"loc":["body"],"msg":"field required"}]}',
    '{"object":"error","message":"vllm","type":"BadRequestError","param":null,"code":400}',
    '{"error":"plain","statusCode":1e3}',
    '{"error":{"message":{"deep":[1]},"innererror":{"code":"ResponsibleAIPolicyViolation"},"metadata":{}}}',
    f"upstream said\n  {CANARY} at https://acme.example/v1/chat",
    "<html><body>Bad Gateway</body></html>",
    "",
    "\ufeff{}",
]
_ERROR_TOKENS = [
    b'"error":',
    b'"message":',
    b'"code":',
    b'"type":',
    b'"param":',
    b'"detail":',
    b"[[",
    CANARY.encode(),
    b'"innererror":{"code":1}',
]


def _read_error(data: bytes) -> tuple[ProviderError, str]:
    error = read_error(data, html=dice(data).random() < 0.2)
    return error, MASK.text(error.message or "none")


def _judge_error(data: bytes, result: tuple[ProviderError, str]) -> bool:
    error, message = result
    names = (error.type, error.param, error.code, error.inner_code)
    assert all(name is None or 0 < len(name) <= 256 for name in names)
    assert error.message != ""
    assert error.form == "json" or len(error.message or "") <= TEXT_CHARS
    assert CANARY not in message
    assert "acme.example" not in message.lower()
    written = render_error(message=message, type=error.type or "t", param=error.param, code=error.code)
    told = json.loads(written.decode("ascii"))["error"]
    assert set(told) == {"message", "type", "param", "code"}
    assert told["message"] == message.encode("utf-8", "replace").decode()
    assert b"\n" not in written
    (event,) = decode([interruption(message)]).frames
    assert isinstance(event, Event)
    assert json.loads(event.data)["error"]["code"] == "stream_interrupted"
    return error.form == "json"


# --- headers ---

_LIMITED = [
    b"retry-after: 2",
    b"retry-after-ms: 1500\nretry-after: 2",
    b"retry-after: Wed, 21 Oct 2015 07:28:00 GMT\ndate: Wed, 21 Oct 2015 07:27:00 GMT",
    b"Retry-After: Wednesday, 21-Oct-15 07:28:00 GMT",
    b"retry-after: Wed Oct 21 07:28:00 2015",
    b"x-ratelimit-reset-requests: 6m0s\nx-ratelimit-remaining-requests: 0\nx-ratelimit-reset-tokens: 17ms",
    b"x-ratelimit-reset-tokens: 86400\nx-ratelimit-remaining-tokens: -1",
    b"x-ms-retry-after-ms: 20\ncontent-type: application/json",
    f"retry-after: {CANARY}\nset-cookie: a=b\nx-request-id: x\nopenai-model: {CANARY}".encode(),
    b"content-type: text/event-stream; charset=utf-8\ncontent-encoding: gzip, identity\nopenai-version: 2020",
]
_LIMITED_TOKENS = [
    b"\nretry-after: ",
    b"retry-after-ms: ",
    b"\nx-ratelimit-reset-tokens: ",
    b"1h2m3.5s",
    b"\xc2\xb5s",
    b"GMT",
    b"+9999",
    b"Feb",
    b"31 ",
    b"10000 ",
]
_LIMITED_TOKENS += [
    b"\ndate: ",
    b"\nopenai-model: ",
    CANARY.encode(),
    b"ms",
    b"24h",
    b"9" * 15,
    b" -0000",
    b"00:00:00",
    b"65:61:61",
]
_EPOCH_S = 1_445_412_400.0


class _Headers(NamedTuple):
    wait_s: float | None
    limited_s: float | None
    told: list[Header]


def _read_headers(data: bytes) -> _Headers:
    headers = header_lines(data)
    media(headers)
    encoded(headers)
    return _Headers(
        read_retry_after(headers, _EPOCH_S),
        read_retry_after(headers, _EPOCH_S, limited=True),
        downstream_headers(headers, MASK),
    )


_may_go_down = re.compile(
    rb"(x-ratelimit-|anthropic-ratelimit-|ratelimit|retry-after|x-ms-|openai-|apim-|x-generation-id)"
).match


def _judge_headers(data: bytes, result: _Headers) -> bool:
    for wait_s in (result.wait_s, result.limited_s):
        assert wait_s is None or 0 <= wait_s <= DAY_S
    assert result.wait_s is None or result.limited_s == result.wait_s
    for name, value in result.told:
        assert _may_go_down(name)
        assert name == name.lower()
        assert not set(value) & {0, 10, 13}
        assert value == value.strip(b" \t")
        assert CANARY.encode() not in value
    return result.limited_s is not None


# --- HTTP ---


class Parsed(NamedTuple):
    """What an engine sees of a parser in the end."""

    status: int
    headers: list[Header]
    body: bytes
    failure: str | None
    complete: bool
    reusable: bool


def parse(pieces: list[bytes], head_bytes: int, *, end: bool | None = None) -> Parsed:
    """As an engine does it: what has come of the body is taken at once. `end`: a FIN (True) or a reset (False)."""
    parser = ResponseParser(head_bytes)
    body = b""
    for piece in pieces:
        parser.feed(piece)
        if parser.has_body:
            body += parser.take()
    if end is not None:
        parser.end(clean=end)
    return Parsed(parser.status, parser.headers, body, parser.failure, parser.complete, parser.reusable)


_Responses = tuple[Parsed, Parsed, Parsed]


def _read_response(data: bytes) -> _Responses:
    rng = dice(data)
    pieces = cuts(data, rng)
    end = rng.choice((None, True, False))
    # Where a limit falls depends on how much is read at once: the small one is for what must never happen.
    return parse([data], 1 << 20, end=end), parse(pieces, 1 << 20, end=end), parse(pieces, 300, end=True)


def _judge_response(data: bytes, result: _Responses) -> bool:
    whole, cut, small = result
    assert cut[:-1] == whole[:-1]
    assert cut.reusable <= whole.reusable, "pieces show what is too much, at best"
    if cut.reusable != whole.reusable:
        assert data.endswith((b"\r", b"\n")), "llhttp swallows blank lines, and nothing else"
    for one in result:
        assert one.failure in (None, "protocol", "reset")
        assert one.status == 0 or 200 <= one.status <= 599
        assert not (one.complete and one.failure)
        assert one.complete or not one.reusable
        assert len(one.body) <= len(data)
        if one.status == 0:
            assert (one.headers, one.body) == ([], b"")
        for name, value in one.headers:
            assert re.fullmatch(rb"[!-9;-~]+", name)
            assert not set(value) & {0, 10, 13}
        lengths = [value for name, value in one.headers if name == b"content-length"]
        codings = [value for name, value in one.headers if name == b"transfer-encoding"]
        assert len(lengths) + len(codings) <= 1, "no two words on where the body ends"
        if one.complete and lengths and one.status not in (204, 304):
            assert len(one.body) == int(lengths[0])
    assert small.complete or small.failure
    return whole.complete


_HTTP_TOKENS = [
    b"\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"transfer-encoding: chunked\r\n",
    b"content-length: 3\r\n",
    b"0\r\n\r\n",
    b"5;a=b\r\n",
    b"connection: close\r\n",
]
_HTTP_TOKENS += [
    b"upgrade: h2c\r\nconnection: upgrade\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n",
    b"HTTP/1.1 101 X\r\n\r\n",
    b"HTTP/1.0 ",
    b" chunked",
    b"\r\n x",
    b"gzip, ",
]

TARGETS = [
    Target("answer", [text.encode() for text in _ANSWERS], read_answer, _judge_answer, (), _ANSWER_TOKENS),
    Target("error", [text.encode() for text in _ERRORS], _read_error, _judge_error, (), _ERROR_TOKENS),
    Target("retry_after", _LIMITED, _read_headers, _judge_headers, (), _LIMITED_TOKENS),
    Target("http1", [one.wire for one in RECORDED.values()], _read_response, _judge_response, (), _HTTP_TOKENS),
]
