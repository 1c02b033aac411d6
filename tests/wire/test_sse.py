"""The decoder of event streams: the HTML standard's rules, where ours differ, and a second decoder as the oracle."""

from __future__ import annotations

import pytest
from httpx2._sse import _SSEParser
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._wire.sse import (
    MAX_LINES,
    Comment,
    Event,
    EventTooLarge,
    SSEDecoder,
    frame,
    frame_comment,
    is_done,
)

BOM = b"\xef\xbb\xbf"
LIMIT = 1 << 20

Frames = list[Event | Comment]


def decode(*chunks: bytes, limit: int = LIMIT) -> Frames:
    decoder = SSEDecoder(limit)
    frames = [one for chunk in chunks for one in decoder.feed(chunk)]
    return frames + decoder.close()


def cut(stream: bytes, points: list[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(point % (len(stream) + 1) for point in points)})
    return [stream[start:end] for start, end in zip(edges, edges[1:], strict=False)]


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        pytest.param(
            b"data: YHOO\ndata: +2\ndata: 10\n\n", [b"YHOO +2 10"], id="the stock ticker, its lines joined by blanks"
        ),
        pytest.param(
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            [b"first event", b"second event", b" third event"],
            id="four blocks: a comment, an id, no id, and one blank that stays",
        ),
        pytest.param(
            b"data\n\ndata\ndata\n\ndata:", [], id="empty data, two empty lines of data, and an unfinished block"
        ),
        pytest.param(b"data:test\n\ndata: test\n\n", [b"test", b"test"], id="two identical events"),
        pytest.param(b"event: add\ndata: 73857293\n\n", [b"73857293"], id="a name is no part of the data"),
    ],
)
def test_the_examples_of_the_html_standard_give_its_events(stream: bytes, data: list[bytes]) -> None:
    assert [one.data for one in decode(stream) if isinstance(one, Event)] == data


@pytest.mark.parametrize(
    ("stream", "frames"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"\n\n\n\n", [], id="blank lines"),
        pytest.param(
            b"data: {}\n\n\n\n\ndata: []\n\n", [Event(b"{}"), Event(b"[]")], id="more blank lines than needed"
        ),
        pytest.param(b"\ndata: {}\n\n", [Event(b"{}")], id="a blank line in front"),
        pytest.param(b"data: {}\r\n\r\n", [Event(b"{}")], id="CRLF"),
        pytest.param(b"data: {}\r\r", [Event(b"{}")], id="CR"),
        pytest.param(b"data: 1\r\ndata: 2\n\rdata: 3\r\n\n", [Event(b"1 2"), Event(b"3")], id="all line ends mixed"),
        pytest.param(BOM + b"data: {}\n\n", [Event(b"{}")], id="a byte order mark"),
        pytest.param(BOM + BOM + b"data: {}\n\n", [], id="only one byte order mark is skipped"),
        pytest.param(b"data: 1\n\n" + BOM + b"data: 2\n\n", [Event(b"1")], id="one later is part of a name"),
        pytest.param(BOM, [], id="a byte order mark alone"),
        pytest.param(BOM[:2], [], id="half a byte order mark"),
        pytest.param(b"data: {}", [Event(b"{}")], id="the stream ends within the last line"),
        pytest.param(b"data: {}\n", [Event(b"{}")], id="the stream ends before the last blank line"),
        pytest.param(b"data: {}\r", [Event(b"{}")], id="the stream ends with a CR"),
        pytest.param(b"id: 1\nretry: 3\nevent: x\ndata: {}\nfoo: bar\nfoo\n\n", [Event(b"{}")], id="other fields"),
        pytest.param(b"event: x\n\nretry: 1\n\nid: 7\n\n", [], id="events without data"),
        pytest.param(b"data:\n\ndata: \n\ndata:   \t\n\n", [], id="empty and blank data"),
        pytest.param(b"data: \t{} \n\n", [Event(b"\t{} ")], id="blanks around a payload stay"),
        pytest.param(b"Data: 1\n\n data: 2\n\ndata : 3\n\n", [], id="names are exact"),
        pytest.param(b"data: a:b: c\n\n", [Event(b"a:b: c")], id="colons in the data"),
        pytest.param(b"event: error\ndata: {}\n\ndata: 1\n\n", [Event(b"{}", True), Event(b"1")], id="an error event"),
        pytest.param(b"event:error\n\n", [Event(b"", True)], id="an error event without data"),
        pytest.param(b"event: error\nevent: x\ndata: 1\n\n", [Event(b"1")], id="the last name counts"),
        pytest.param(b"event: error \ndata: 1\n\n", [Event(b"1")], id="a name with a blank behind is another"),
        pytest.param(b": ping\n\n:\n\n:x", [Comment(b" ping"), Comment(b""), Comment(b"x")], id="comments"),
        pytest.param(
            b"data: 1\n: between\ndata: 2\n\n", [Comment(b" between"), Event(b"1 2")], id="a comment within an event"
        ),
        pytest.param(b"data: \xff\x00\n\n", [Event(b"\xff\x00")], id="bytes that are no text"),
    ],
)
@pytest.mark.contract("5.frame.normalised", "5.frame.no-other-fields")
@pytest.mark.parametrize("size", [1, 2, 3, 1 << 20])
def test_a_stream_gives_the_same_frames_in_segments_of_any_size(stream: bytes, frames: Frames, size: int) -> None:
    assert decode(*(stream[at : at + size] for at in range(0, len(stream), size))) == frames


def test_an_event_is_there_as_soon_as_its_blank_line_is() -> None:
    decoder = SSEDecoder(LIMIT)
    assert decoder.feed(b"data: 1\n") == []
    assert decoder.feed(b"\ndata: 2\r\n\r") == [Event(b"1"), Event(b"2")]
    assert decoder.feed(b"\ndata: 3\n\n") == [Event(b"3")]
    assert decoder.feed(b"") == []
    assert decoder.close() == []


pieces = st.sampled_from(
    [b"\n", b"\r", b"\r\n", b"\n\n", b"data", b"data:", b"data: ", b"event: error", b"event:", b":", b" ", b"{}", b"x"]
    + [b"\xc3\xa9", b"id: 1", b"retry: 5", b"[DONE]", b"\t"]
)
streams = st.lists(pieces, max_size=40).map(b"".join)


@given(stream=streams, start=st.sampled_from([b"", BOM, BOM[:1]]), points=st.lists(st.integers(0, 300), max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_chunking_of_any_stream_gives_the_same_frames(stream: bytes, start: bytes, points: list[int]) -> None:
    whole = start + stream
    assert decode(*cut(whole, points)) == decode(whole)


@given(stream=streams, points=st.lists(st.integers(0, 300), max_size=30), limit=st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_the_limit_falls_at_the_same_event_however_the_stream_is_cut(
    stream: bytes, points: list[int], limit: int
) -> None:
    def until_too_large(chunks: list[bytes]) -> tuple[Frames, bool]:
        decoder = SSEDecoder(limit)
        frames: Frames = []
        try:
            for chunk in chunks:
                frames += decoder.feed(chunk)
            frames += decoder.close()
        except EventTooLarge:
            return frames, True
        return frames, False

    assert until_too_large(cut(stream, points)) == until_too_large([stream])


@given(stream=streams)
@settings(max_examples=200, deadline=None)
def test_httpx2_reads_the_same_events_from_any_stream(stream: bytes) -> None:
    # latin-1 gives every byte one character; a last blank line, since a browser drops what lacks it and we do not.
    # httpx2 also dispatches events that have a name, an id or a retry but no data; we only keep the name `error`.
    stream += b"\n\n\n"
    parser = _SSEParser()
    theirs = [
        (event.data.replace("\n", " ").encode("latin-1"), event.event == "error")
        for event in [*parser.decode(stream.decode("latin-1")), *parser.flush()]
        if event.data.strip(" \t\n") or event.event == "error"
    ]
    assert [(one.data, one.error) for one in decode(stream) if isinstance(one, Event)] == theirs


@pytest.mark.contract("5.frame.payload")
@given(payloads=st.lists(st.binary(min_size=1).filter(lambda p: not set(p) & set(b"\r\n") and p.strip(b" \t"))))
@settings(max_examples=100, deadline=None)
def test_what_we_frame_we_read_back(payloads: list[bytes]) -> None:
    assert decode(b"".join(map(frame, payloads))) == [Event(payload) for payload in payloads]


@given(text=st.binary(max_size=20).filter(lambda text: not set(text) & set(b"\r\n")))
@settings(max_examples=100, deadline=None)
def test_a_framed_comment_is_one_comment_in_valid_utf_8(text: bytes) -> None:
    framed = frame_comment(text)
    assert framed.decode().startswith(":")
    assert decode(framed) == [Comment(text.decode("utf-8", "replace").encode())]


@pytest.mark.parametrize(
    ("stream", "limit"),
    [
        pytest.param(b"data: " + b"x" * 100, 64, id="a line without end"),
        pytest.param(b"data: " + b"x" * 100 + b"\n\n", 64, id="a complete event"),
        pytest.param(b": " + b"x" * 100 + b"\n\n", 64, id="a comment"),
        pytest.param(b"id: 1\n" * 20, 64, id="other fields"),
        pytest.param(b"data:\n" * (MAX_LINES + 1), LIMIT, id="unfinished lines"),
        pytest.param(b"data:\n" * MAX_LINES + b"data: 1\n\n", LIMIT, id="lines of a complete event"),
        pytest.param(b":\n" * (MAX_LINES + 1), LIMIT, id="lines of comments"),
    ],
)
@pytest.mark.contract("8.upstream-event")
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_one_event_over_the_limit_of_bytes_or_lines_is_too_large(stream: bytes, limit: int, size: int) -> None:
    with pytest.raises(EventTooLarge):
        decode(*(stream[at : at + size] for at in range(0, len(stream), size)), limit=limit)


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n"])
def test_an_event_of_exactly_the_limit_of_bytes_and_lines_is_read(end: bytes) -> None:
    assert decode(b"data: 1234" + end, limit=10) == [Event(b"1234")]
    lines = b"id: 1\n" * (MAX_LINES - 1) + b"data: 1"
    assert decode(lines + end) == [Event(b"1")]


def test_the_events_before_one_that_is_too_large_are_not_lost() -> None:
    for overlong in (b"data: " + b"x" * 100, b"data: " + b"x" * 100 + b"\n\ndata: 2\n\n"):
        decoder = SSEDecoder(64)
        assert decoder.feed(b"data: 1\n\n" + overlong) == [Event(b"1")]
        with pytest.raises(EventTooLarge):
            decoder.feed(b"")
        with pytest.raises(EventTooLarge):
            decoder.close()


@pytest.mark.parametrize("data", [b"[DONE]", b" [DONE]", b"[DONE] ", b"[DONE]\t", b"\t [DONE] and more"])
def test_done_is_recognised_with_blanks_and_text_around_it(data: bytes) -> None:
    assert is_done(data)


@pytest.mark.parametrize("data", [b"", b"DONE", b"[done]", b'"[DONE]"', b"{}", b"x[DONE]"])
def test_anything_else_is_not_done(data: bytes) -> None:
    assert not is_done(data)
