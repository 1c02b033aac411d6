"""The parser of the native engine: what llhttp refuses, what it does not check and we do, and any bytes at all."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._values import Header
from ogw_asgi.testing import chunked, http_head, http_response
from ogw_asgi.transports._http1 import OVERHEAD_BYTES, ResponseParser

from .answers import RECORDED, Recorded, cuts, mutants

HEAD_BYTES = 4096
CHUNKED = {"transfer-encoding": "chunked"}
OK = http_response(200, b"hello")


@dataclass(frozen=True, slots=True)
class Result:
    status: int
    headers: list[Header]
    body: bytes
    failure: str | None
    complete: bool
    reusable: bool


def parse(pieces: Iterable[bytes], *, end: bool | None = None, head_bytes: int = HEAD_BYTES) -> Result:
    """As an engine does it: everything is taken as it comes. `end`: a FIN (True) or a reset (False) follows."""
    parser = ResponseParser(head_bytes)
    body = b""
    for piece in pieces:
        parser.feed(piece)
        if parser.has_body:
            body += parser.take()
    if end is not None:
        parser.end(clean=end)
    return Result(parser.status, parser.headers, body, parser.failure, parser.complete, parser.reusable)


# --- whole answers ---


@pytest.mark.parametrize("recorded", RECORDED.values(), ids=RECORDED)
def test_a_whole_answer_is_read(recorded: Recorded) -> None:
    result = parse([recorded.wire], end=True if recorded.ends else None)
    assert (result.status, result.body, result.failure) == (recorded.status, recorded.body, None)
    assert (result.complete, result.reusable) == (True, recorded.reusable)


@pytest.mark.parametrize("recorded", RECORDED.values(), ids=RECORDED)
@given(data=st.data())
def test_an_answer_is_the_same_however_it_is_cut(recorded: Recorded, data: st.DataObject) -> None:
    end = True if recorded.ends else None
    pieces = data.draw(cuts(recorded.wire))
    assert parse(pieces, end=end) == parse([recorded.wire], end=end)


@pytest.mark.parametrize("recorded", RECORDED.values(), ids=RECORDED)
def test_an_answer_is_the_same_byte_by_byte_and_from_a_view(recorded: Recorded) -> None:
    end = True if recorded.ends else None
    assert parse([bytes([byte]) for byte in recorded.wire], end=end) == parse([recorded.wire], end=end)
    view: Any = memoryview(bytearray(recorded.wire))
    assert parse([view], end=end) == parse([recorded.wire], end=end)


def test_names_are_lower_case_and_values_without_blanks_around_them() -> None:
    wire = b"HTTP/1.1 200 OK\r\nX-A:   one two\t \r\nx-b:\r\nX-A: \xe9\r\ncontent-length: 0\r\n\r\n"
    expected = [(b"x-a", b"one two"), (b"x-b", b""), (b"x-a", b"\xe9"), (b"content-length", b"0")]
    assert parse([wire]).headers == expected


# --- an end of input, which llhttp does not notice ---


@pytest.mark.parametrize("recorded", RECORDED.values(), ids=RECORDED)
@pytest.mark.parametrize("clean", [True, False], ids=["FIN", "RST"])
def test_an_answer_that_ends_too_early_is_a_reset(recorded: Recorded, clean: bool) -> None:
    head_end = recorded.wire.index(b"\r\n\r\n", recorded.wire.rindex(b"HTTP/")) + 4
    for length in range(len(recorded.wire)):
        result = parse([recorded.wire[:length]], end=clean)
        if recorded.ends and clean and length >= head_end:
            assert (result.complete, result.failure) == (True, None), "nobody can tell"
        else:
            assert (result.complete, result.failure) == (False, "reset"), recorded.wire[:length]
        assert not result.reusable


def test_an_end_after_a_whole_answer_takes_nothing_away_but_the_connection() -> None:
    for clean in (True, False):
        result = parse([OK], end=clean)
        assert (result.complete, result.failure, result.reusable) == (True, None, False)


def test_a_reset_does_not_complete_a_body_that_only_an_end_completes() -> None:
    assert parse([http_head(200), b"hello"], end=False).failure == "reset"


# --- what llhttp takes ---

TAKEN_BY_LLHTTP = {
    "status 099": OK.replace(b"200", b"099"),
    "status 600": OK.replace(b"200", b"600"),
    "status 999": OK.replace(b"200", b"999"),
    "HTTP/2.0": OK.replace(b"1.1", b"2.0"),
    "HTTP/0.9": OK.replace(b"1.1", b"0.9"),
    "RTSP": OK.replace(b"HTTP", b"RTSP"),
    "ICE": OK.replace(b"HTTP", b"ICE"),
    "xchunked": http_head(200, {"transfer-encoding": "xchunked"}) + chunked(b"hello", last=True),
    "chunked and more": http_head(200, {"transfer-encoding": "chunked, gzip"}) + chunked(b"hello", last=True),
    "more than chunked": http_head(200, {"transfer-encoding": "gzip, chunked"}) + chunked(b"hello", last=True),
    "chunked twice": http_head(200, [("transfer-encoding", "chunked")] * 2) + chunked(b"hello", last=True),
    "a switch of protocols": http_head(101, {"upgrade": "h2c", "connection": "upgrade"}) + OK,
    "a bare 101": http_head(101) + OK,
    "empty lines first": b"\r\n\r\n" + OK,
}


@pytest.mark.parametrize("wire", TAKEN_BY_LLHTTP.values(), ids=TAKEN_BY_LLHTTP)
def test_what_llhttp_takes_is_refused_by_us(wire: bytes) -> None:
    result = parse([wire])
    assert (result.status, result.failure, result.body, result.reusable) == (0, "protocol", b"", False)


REFUSED_BY_LLHTTP = {
    "a length beside chunks": OK.replace(b"content-length", b"transfer-encoding: chunked\r\ncontent-length"),
    "chunks beside a length": OK.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n"),
    "the same length twice": OK.replace(b"content-length", b"content-length: 5\r\ncontent-length"),
    "two lengths": OK.replace(b"content-length", b"content-length: 6\r\ncontent-length"),
    "a list of lengths": OK.replace(b": 5", b": 5, 5"),
    "a signed length": OK.replace(b": 5", b": +5"),
    "a negative length": OK.replace(b": 5", b": -5"),
    "an empty length": OK.replace(b": 5", b":"),
    "a length of 23 digits": OK.replace(b": 5", b": 12345678901234567890123"),
    "bare LF": OK.replace(b"\r\n", b"\n"),
    "LF after the status line": OK.replace(b"OK\r\n", b"OK\n"),
    "a bare CR in a value": OK.replace(b"OK\r\n", b"OK\r\nx: a\rb\r\n"),
    "NUL in a value": OK.replace(b"OK\r\n", b"OK\r\nx: a\0b\r\n"),
    "a control in a value": OK.replace(b"OK\r\n", b"OK\r\nx: a\x01b\r\n"),
    "a folded header": OK.replace(b"OK\r\n", b"OK\r\nx: a\r\n b\r\n"),
    "a blank before the colon": OK.replace(b"content-length:", b"content-length :"),
    "an empty name": OK.replace(b"OK\r\n", b"OK\r\n: a\r\n"),
    "no colon": OK.replace(b"OK\r\n", b"OK\r\nx\r\n"),
    "HTTP/1.2": OK.replace(b"1.1", b"1.2"),
    "a status of four digits": OK.replace(b"200", b"2000"),
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "HTML": b"<html><body>Bad Gateway</body></html>",
}


@pytest.mark.parametrize("wire", REFUSED_BY_LLHTTP.values(), ids=REFUSED_BY_LLHTTP)
def test_llhttp_refuses_it_and_so_it_must_stay(wire: bytes) -> None:
    result = parse([wire])
    assert (result.status, result.failure, result.body, result.reusable) == (0, "protocol", b"", False)


REFUSED_IN_CHUNKS = {
    "no number": b"zz\r\nhello\r\n0\r\n\r\n",
    "hexadecimal with a prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "a blank behind it": b"5 \r\nhello\r\n0\r\n\r\n",
    "an underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "too many digits": b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "LF for its end": b"5\nhello\n0\n\n",
    "LF behind an extension": b"5;a\nhello\r\n0\r\n\r\n",
    "no end of the chunk": b"5\r\nhello0\r\n\r\n",
    "a chunk longer than it said": b"2\r\nhello\r\n0\r\n\r\n",
    "NUL in a trailer": b"5\r\nhello\r\n0\r\nx: \0\r\n\r\n",
}


@pytest.mark.parametrize("wire", REFUSED_IN_CHUNKS.values(), ids=REFUSED_IN_CHUNKS)
def test_a_chunk_that_is_none_breaks_the_body(wire: bytes) -> None:
    result = parse([http_head(200, CHUNKED), wire])
    assert (result.status, result.failure, result.complete, result.reusable) == (200, "reset", False, False)
    assert b"hello".startswith(result.body)


INTERIM = {
    "a length": b"HTTP/1.1 143 X\r\ncontent-length: 9\r\n\r\ntoo large",
    "a length, of Early Hints": b"HTTP/1.1 103 X\r\ncontent-length: 9\r\n\r\ntoo large",
    "a length, and no body": b"HTTP/1.1 103 X\r\ncontent-length: 9\r\n\r\n",
    "chunks": b"HTTP/1.1 143 X\r\ntransfer-encoding: chunked\r\n\r\n3\r\nbad\r\n0\r\n\r\n",
    "chunks, of 100": b"HTTP/1.1 100 X\r\ntransfer-encoding: chunked\r\n\r\n3\r\nbad\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("interim", INTERIM.values(), ids=INTERIM)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_a_body_of_an_interim_response_is_never_put_in_front_of_the_answers(interim: bytes, size: int) -> None:
    wire = interim + OK
    result = parse([wire[at : at + size] for at in range(0, len(wire), size)])
    assert (result.status, result.body, result.failure, result.reusable) == (0, b"", "protocol", False)


def test_an_interim_response_may_say_that_it_has_no_body() -> None:
    assert parse([http_head(100, {"content-length": "0"}) + OK]).body == b"hello"


# --- bytes beyond the end ---

BEYOND = {
    "a whole second response": http_response(200, b"somebody else's"),
    "its first byte": b"H",
    "its head": http_head(200, {"content-length": "9"}),
    "no HTTP": b"extra",
    "an interim response": http_head(103),
}


@pytest.mark.parametrize("beyond", BEYOND.values(), ids=BEYOND)
@pytest.mark.parametrize("apart", [True, False], ids=["in another segment", "in the same"])
@pytest.mark.parametrize(
    "whole",
    [OK, http_head(200, CHUNKED) + chunked(b"hello", last=True), http_response(200, b"hello", {"connection": "close"})],
    ids=["length", "chunks", "close"],
)
def test_what_comes_after_an_answer_is_not_in_it_and_costs_the_connection(
    whole: bytes, beyond: bytes, apart: bool
) -> None:
    result = parse([whole, beyond] if apart else [whole + beyond])
    assert (result.status, result.body, result.failure, result.complete) == (200, b"hello", None, True)
    assert not result.reusable
    assert result.headers == parse([whole]).headers


@pytest.mark.parametrize("blank", [b"\r\n", b"\n", b"\r\n\r\n"])
def test_blank_lines_after_an_answer_are_in_nobodys(blank: bytes) -> None:
    """llhttp swallows them, as RFC 9112 has servers do; they say nothing, so they cost the connection only if seen."""
    assert parse([OK + blank]) == parse([OK])
    assert not parse([OK, blank]).reusable
    assert parse([OK]).reusable


def test_trailers_are_no_headers() -> None:
    wire = RECORDED["chunk extensions and trailers"].wire
    assert [name for name, _ in parse([wire]).headers] == [b"content-type", b"transfer-encoding"]


# --- no end in sight ---

ENDLESS_HEADS = {
    "a header line": b"HTTP/1.1 200 OK\r\nx: " + b"a" * 5000,
    "a header's name": b"HTTP/1.1 200 OK\r\n" + b"a" * 5000,
    "a reason phrase": b"HTTP/1.1 200 " + b"a" * 5000,
    "a list of headers": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000,
    "a whole head over the limit": http_response(200, b"", {"x": "a" * 5000}),
    "interim responses": http_head(103, {"link": "</x>"}) * 1000,
}


@pytest.mark.parametrize("wire", ENDLESS_HEADS.values(), ids=ENDLESS_HEADS)
@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
def test_a_head_without_end_ends_at_the_limit(wire: bytes, size: int) -> None:
    result = parse([wire[at : at + size] for at in range(0, len(wire), size)])
    assert (result.status, result.failure) == (0, "protocol")


def test_a_head_as_long_as_the_limit_is_read() -> None:
    wire = http_response(200, b"x" * 10_000, {"x": "a" * (HEAD_BYTES - 100)})
    assert parse([wire]).body == b"x" * 10_000


ENDLESS_FRAMING = {
    "a chunk extension": (b"5;", b"a" * 1024),
    "zeros before a chunk's size": (b"0", b"0" * 1024),
    "trailers": (b"0\r\n", b"x: yyyy\r\n" * 100),
    "one trailer": (b"0\r\nx: ", b"y" * 1024),
}


@pytest.mark.parametrize(("begin", "again"), ENDLESS_FRAMING.values(), ids=ENDLESS_FRAMING)
def test_framing_without_end_breaks_the_body(begin: bytes, again: bytes) -> None:
    parser = ResponseParser(HEAD_BYTES)
    parser.feed(http_head(200, CHUNKED) + begin)
    fed = 0
    while not parser.failure:
        parser.feed(again)
        fed += len(again)
        assert fed <= OVERHEAD_BYTES + len(again)
        assert not parser.has_body
    assert parser.failure == "reset"
    assert len(parser.headers) == 1


def test_extensions_between_tiny_chunks_break_the_body_too() -> None:
    parser = ResponseParser(HEAD_BYTES)
    parser.feed(http_head(200, CHUNKED))
    chunk = b"1;" + b"a" * 1000 + b"\r\nx\r\n"
    fed = 0
    while not parser.failure:
        parser.feed(chunk)
        fed += len(chunk)
        if parser.has_body:
            parser.take()
        assert fed <= OVERHEAD_BYTES * 2
    assert parser.failure == "reset"


def test_tiny_chunks_earn_no_credit_for_a_long_trailer() -> None:
    parser = ResponseParser(HEAD_BYTES)
    parser.feed(http_head(200, CHUNKED))
    for _ in range(500):
        parser.feed(chunked(*[b"x"] * 1000))
        parser.take()
    parser.feed(b"0\r\nx: ")
    fed = 0
    while not parser.failure:
        parser.feed(b"y" * 1024)
        fed += 1024
        assert fed <= OVERHEAD_BYTES + 1024


def test_extensions_no_longer_than_the_chunks_are_a_body_like_any_other() -> None:
    parser = ResponseParser(HEAD_BYTES)
    parser.feed(http_head(200, CHUNKED))
    chunk = b"c8;signature=" + b"a" * 85 + b"\r\n" + b"x" * 200 + b"\r\n"
    for _ in range(10_000):
        parser.feed(chunk)
        assert len(parser.take()) == 200
    assert parser.failure is None


@pytest.mark.parametrize("size", [1, 2, 100])
def test_what_waits_of_many_tiny_chunks_takes_no_more_than_its_bytes(size: int) -> None:
    parser = ResponseParser(HEAD_BYTES)
    parser.feed(http_head(200, CHUNKED))
    wire = chunked(b"x" * size)
    tracemalloc.start()
    try:
        fed = 0
        while fed < 128 << 10:  # what an engine lets wait
            parser.feed(wire * 100)
            fed += len(wire) * 100
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 256 << 10
    assert len(parser.take()) == fed // len(wire) * size


def test_tiny_chunks_without_end_are_a_body_like_any_other() -> None:
    parser = ResponseParser(HEAD_BYTES)
    parser.feed(http_head(200, CHUNKED))
    received = 0
    for _ in range(2000):
        parser.feed(chunked(*[b"x"] * 1000))
        received += len(parser.take())
    assert (received, parser.failure) == (2_000_000, None)


# --- what is left of it ---


@pytest.mark.parametrize("wire", [OK, http_head(200) + b"left half-way", b"garbage"], ids=["whole", "cut", "garbage"])
def test_nothing_waits_for_the_garbage_collector(wire: bytes) -> None:
    gc.disable()
    try:
        parser = ResponseParser(HEAD_BYTES)
        gone = weakref.ref(parser)
        parser.feed(wire)
        parser.end(clean=False)
        del parser
        assert gone() is None
    finally:
        gc.enable()


# --- any bytes at all ---


@settings(max_examples=300)
@given(wire=mutants(), data=st.data(), end=st.booleans())
def test_a_mutated_answer_is_read_or_fails_and_never_raises(wire: bytes, data: st.DataObject, end: bool) -> None:
    result = parse(data.draw(cuts(wire)), end=end)
    assert result.complete != (result.failure is not None), "one of the two, after the end of the connection"
    assert result.failure in (None, "protocol", "reset")
    assert result.status == 0 or 200 <= result.status <= 599
    assert not result.reusable, "the connection has ended"
    if result.status == 0:
        assert (result.body, result.headers) == (b"", [])


@settings(max_examples=200)
@given(wire=st.binary(max_size=200), data=st.data())
def test_any_bytes_are_read_or_fail_and_never_raise(wire: bytes, data: st.DataObject) -> None:
    result = parse(data.draw(cuts(b"HTTP/1.1 200 OK\r\n" + wire)), end=True)
    assert result.complete != (result.failure is not None)
