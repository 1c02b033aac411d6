"""Answers as servers send them, whole and well; and the ways in which the tests cut and mutate them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hypothesis import strategies as st

from ogw_asgi.testing import SSE_DONE, chunked, completion_chunk, http_head, http_response, sse_event


@dataclass(frozen=True, slots=True)
class Recorded:
    """What stood on the wire, and what it says. `ends`: only the connection's end ends the body."""

    wire: bytes
    status: int
    body: bytes
    reusable: bool = True
    ends: bool = False


_CHUNKED = {"content-type": "text/event-stream; charset=utf-8", "transfer-encoding": "chunked"}
_EVENTS = [sse_event(completion_chunk({"content": text})) for text in ("Grüße", ", ", "世界", "\n")] + [SSE_DONE]

RECORDED: Mapping[str, Recorded] = {
    "a length": Recorded(http_response(200, b'{"id":"x"}'), 200, b'{"id":"x"}'),
    "a length of zero": Recorded(http_response(200, b""), 200, b""),
    "chunks": Recorded(http_head(200, _CHUNKED) + chunked(*_EVENTS, last=True), 200, b"".join(_EVENTS)),
    "chunk extensions and trailers": Recorded(
        http_head(200, _CHUNKED) + b'5;a=b;c="d e"\r\nhello\r\n0;last\r\nx-trailer: 1\r\nserver-timing: a\r\n\r\n',
        200,
        b"hello",
    ),
    "chunk sizes with leading zeros": Recorded(
        http_head(200, _CHUNKED) + b"0000005\r\nhello\r\n000\r\n\r\n", 200, b"hello"
    ),
    "no length": Recorded(http_head(200) + b"hello", 200, b"hello", reusable=False, ends=True),
    "no content": Recorded(http_head(204), 204, b""),
    "no content, with a length all the same": Recorded(http_head(204, {"content-length": "5"}), 204, b""),
    "not modified, with a length": Recorded(http_head(304, {"content-length": "5"}), 304, b""),
    "interim responses": Recorded(
        http_head(100) + http_head(103, {"link": "</x>; rel=preload"}) + http_response(503, b"busy"), 503, b"busy"
    ),
    "connection: close": Recorded(
        http_response(413, b"too large", {"connection": "close"}), 413, b"too large", reusable=False
    ),
    "HTTP/1.0": Recorded(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", reusable=False),
    "HTTP/1.0 kept": Recorded(
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", reusable=True
    ),
    "HTTP/1.0 in chunks, kept": Recorded(
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        200,
        b"ok",
        reusable=False,
    ),
    "an offer to upgrade": Recorded(
        http_response(200, b"ok", {"upgrade": "h2,h2c", "connection": "Upgrade, Keep-Alive"}), 200, b"ok"
    ),
    "no reason phrase": Recorded(b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    "a reason in latin-1": Recorded(b"HTTP/1.1 200 d'accord \xe9\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
}


@st.composite
def cuts(draw: st.DrawFn, wire: bytes) -> list[bytes]:
    """The same bytes, cut anywhere."""
    at = sorted(draw(st.lists(st.integers(0, len(wire)), max_size=12)))
    return [wire[a:b] for a, b in zip([0, *at], [*at, len(wire)], strict=True) if a < b]


_TOKENS = [b"\r\n", b"\n", b"\r", b"\0", b":", b" ", b"0", b"ffffffffffffffff", b"HTTP/1.1 200 OK\r\n", b"\xff", b"-1"]
_NASTY = [
    b"transfer-encoding: chunked\r\n",
    b"content-length: 3\r\n",
    b"content-length: 99999999999999999999\r\n",
    b"connection: close\r\n",
    b"upgrade: h2c\r\n",
    b"0\r\n\r\n",
    http_head(103),
    http_head(101, {"upgrade": "h2c", "connection": "upgrade"}),
    http_response(200, b"stray"),
]


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A recorded answer with up to four things wrong with it."""
    wire = bytearray(draw(st.sampled_from([recorded.wire for recorded in RECORDED.values()])))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(wire)))
        match draw(st.sampled_from(["cut", "drop", "flip", "insert", "repeat"])):
            case "cut":
                del wire[at:]
            case "drop":
                del wire[at : at + draw(st.integers(1, 8))]
            case "flip":
                if at < len(wire):
                    wire[at] = draw(st.integers(0, 255))
            case "insert":
                wire[at:at] = draw(st.sampled_from(_TOKENS + _NASTY) | st.binary(max_size=8))
            case "repeat":
                wire[at:at] = wire[at : at + draw(st.integers(1, 64))]
    return bytes(wire)
