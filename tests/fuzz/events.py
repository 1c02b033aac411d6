"""What a provider streams: events in any pieces, their judgement, the books of a stream, and how parts are joined."""

from __future__ import annotations

from typing import Any, NamedTuple

from ogw_asgi._rules.continuation import RECOGNISED_CHARS, Dropped, Mode, Stitch, shown
from ogw_asgi._wire.chunks import Chunk, glance, read_chunk, unflagged
from ogw_asgi._wire.sse import Comment, Event, EventTooLarge, SSEDecoder, frame, frame_comment
from ogw_asgi._wire.transcript import Transcript, text_of, with_text

from . import whatwg
from .mutate import cuts, dice
from .requests import is_json, strict
from .target import Target

LIMIT = 1 << 20
MOST_EVENTS = 2000
"""Of one stream in one go: each costs microseconds, and in between others have their turn."""
Frames = list[Event | Comment]


# --- framing ---


class Decoded(NamedTuple):
    """The frames, and whether an event was too large."""

    frames: Frames
    too_large: bool


def decode(pieces: list[bytes], limit: int = LIMIT) -> Decoded:
    """All that comes out of these pieces."""
    decoder = SSEDecoder(limit)
    frames: Frames = []
    try:
        for piece in pieces:
            frames += decoder.feed(piece)
        frames += decoder.close()
    except EventTooLarge:
        return Decoded(frames, True)
    return Decoded(frames, False)


def _by_the_standard(stream: bytes) -> Frames:
    """The standard's events, less the four differences that the decoder's docstring names."""
    frames: Frames = []
    for name, data in whatwg.interpret(stream + b"\n\n\n"):  # the end of the stream ends the last event, too
        if name == "":
            frames.append(Comment(data.encode("latin-1")))
        elif name == "error" or data.strip(" \t\n"):
            frames.append(Event(data.replace("\n", " ").encode("latin-1"), name == "error"))
    return frames


def _judge_stream(data: bytes, whole: Decoded) -> bool:
    rng = dice(data)
    pieces = cuts(data, rng)
    limit = rng.choice((8, 64, 200))
    assert decode(pieces) == whole
    if b"\r" in data and len(data) < 1000:
        assert decode([data[at : at + 1] for at in range(len(data))]) == whole
    small = decode([data], limit)
    assert decode(pieces, limit) == small, "the limit falls at the same event"
    if not whole.too_large:
        assert whole.frames == _by_the_standard(data)
    assert whole.frames[: len(small.frames)] == small.frames
    for one in whole.frames:
        if isinstance(one, Comment):
            framed = frame_comment(one.text)
            assert decode([framed]).frames == [Comment(one.text.decode("utf-8", "replace").encode())]
        elif not one.error:
            assert decode([frame(one.data)]).frames == [Event(one.data)], "our framing keeps it"
    return bool(whole.frames)


_chunk = (
    '{"id":"c1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":%s,"finish_reason":%s}]%s}'
)
CHUNKS = [
    _chunk % ('{"role":"assistant","content":""}', "null", ""),
    _chunk % ('{"content":"Grüße "}', "null", ',"usage":null'),
    _chunk % ('{"content":"\\ud83d\\ude00 \\ud800"}', "null", ',"error":null'),
    _chunk % ("{}", '"stop"', ""),
    '{"id":"","choices":[],"usage":{"completion_tokens":3,"total_tokens":9,"details":{"a":1,"b":[1.5]}}}',
    '{"error":{"message":"overloaded","type":"server_error","code":503}}',
    '{"object":"error","message":"bad"}',
    '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]}},{"index":1,"delta":{"content":"b"}}]}',
    '{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":""}],"\\u0065rror":null}',
    "[DONE]",
    "[1,2]",
    '{"choices":[{"delta":{"reasoning_content":"hm"}}]}',
]
_CHUNK_SEEDS = [text.encode() for text in CHUNKS]
_CHUNK_TOKENS = [
    b'"error"',
    b'"error":null,',
    b'"finish_reason":"stop"',
    b'"finish_reason" : null',
    b'"index":1',
    b'"delta":{}',
]
_CHUNK_TOKENS += [
    b'"content":"a"',
    b'"role":"assistant",',
    b'"usage":{"completion_tokens":1}',
    b"[DONE]",
    b'"choices":[]',
    b',"id":"c2"',
]
STREAMS = [
    b"".join(frame(one) for one in _CHUNK_SEEDS[:5]) + frame(b"[DONE]"),
    b": ping\n\n" + b"".join(b"data:" + one + b"\r\n\r\n" for one in _CHUNK_SEEDS[:4]),
    b"\xef\xbb\xbfevent: error\rdata: {}\r\rid: 1\rretry: 5\rdata\r\r",
    b"data: 1\ndata: 2\n: between\ndata: 3\n\n\n\nevent:x\n\ndata:\xff\n",
    b"event: error\n\ndata:  \n\ndata: [DONE]\n\n",
    *(frame(one) for one in _CHUNK_SEEDS),
]
_STREAM_TOKENS = [
    b"data: ",
    b"data:",
    b"data: {}\n\n",
    b"event: error\n",
    b"event:",
    b": c\n\n",
    b"\n\n",
    b"\r\n\r\n",
    b"\r\r",
    b"id: 1\n",
    b"data\n",
]
_STREAM_TOKENS += [b"\xef\xbb\xbf", *_CHUNK_TOKENS]


# --- judgement ---


def _read_chunk(data: bytes) -> tuple[Chunk, Chunk]:
    error_event = dice(data).random() < 0.1
    return read_chunk(data, error_event=error_event), glance(data, error_event=error_event)


def _judge_chunk(data: bytes, result: tuple[Chunk, Chunk]) -> bool:
    full, quick = result
    if full.kind in ("done", "error") or full.finished:
        # A name written with escapes is what a glance may miss (contract, section 5).
        assert quick == full or b"\\" in data
    elif quick.kind != "data":
        assert quick == full
    if quick.kind == "data":
        quick.payload.decode()
        assert quick.payload.startswith(b"{") or full.kind == "data"
    if full.kind != "data":
        assert full.payload is data
        assert (full.error is None) == (full.kind != "error")
        assert not full.finished
        if full.kind == "broken" and data.startswith(b"{") and b'"error"' not in data and b"\\u" not in data:
            assert not is_json(data), "sound JSON was called broken"
        return full.kind == "done"
    value = strict(full.payload.decode())
    assert "error" not in value or value["error"] is not None or full.payload is data
    before = strict(data.decode())
    assert {**before, "error": 0} == {**value, "error": 0}, "only the null error goes"
    assert full.value == before
    assert all(type(index) is int for index in full.finished)
    return True


def _read_unflagged(data: bytes) -> int:
    return unflagged(data)


def _judge_unflagged(data: bytes, size: int) -> bool:
    assert 0 <= size <= len(data)
    passed = data[:size]
    frames, too_large = decode([passed], LIMIT)
    assert not too_large
    chunks = [glance(one.data, error_event=one.error) for one in frames if isinstance(one, Event)]
    assert all(chunk == Chunk("data", chunk.payload, True) for chunk in chunks), "a glance would have stopped it"
    assert b"".join(frame(chunk.payload) for chunk in chunks) == passed
    return size > 0


# --- the books of a stream ---


class Told(NamedTuple):
    """A chunk, what the caller got of it, and by how many parts it had been told then."""

    chunk: Chunk
    given: bytes
    parts: int


def _read_transcript(data: bytes) -> tuple[Transcript, list[Told]]:
    rng = dice(data)
    transcript = Transcript()
    told: list[Told] = []
    for one in decode([data]).frames[:MOST_EVENTS]:
        if isinstance(one, Event):
            chunk = read_chunk(one.data, error_event=one.error)
            if chunk.kind == "data":
                told.append(Told(chunk, transcript.told(chunk), transcript.parts))
        if rng.random() < 0.3:
            transcript.change_hands()
    return transcript, told


def _judge_transcript(data: bytes, result: tuple[Transcript, list[Told]]) -> bool:
    transcript, told = result
    first_id: Any = None
    said = ""
    for chunk, given, parts in told:
        value = chunk.value or {}
        said += text_of(value)
        if parts == 1:
            assert given == frame(chunk.payload)
        elif given:
            (event,) = decode([given]).frames
            assert isinstance(event, Event)
            rewritten = strict(event.data.decode("ascii"))
            assert text_of(rewritten) == text_of(value), "not a character is lost"
            assert first_id is None or rewritten["id"] == first_id
            assert rewritten.get("error", ...) is not None
        else:
            assert not text_of(value)
        first_id = first_id or value.get("id") or None
        assert text_of(with_text(value, "neu")) == "neu"
        assert text_of(with_text(value, "")) == ""
    assert transcript.text == said
    assert 0 <= transcript.last_blanks <= transcript.pieces
    assert transcript.reported_tokens is None or type(transcript.reported_tokens) is int
    return bool(told)


# --- where another text begins ---


class Joined(NamedTuple):
    """What came out of a `Stitch`."""

    text: str
    joined: bool
    dropped: Dropped | None


def _join(delivered: str, mode: Mode, pieces: list[str], cut: bool) -> Joined:
    stitch = Stitch(delivered, mode)
    text = "".join(stitch.feed(piece) for piece in pieces)
    text += stitch.end(cut=cut)
    return Joined(text, stitch.joined, stitch.dropped)


_Texts = tuple[str, str, Mode, Joined, Joined]


def _read_stitch(data: bytes) -> _Texts:
    rng = dice(data)
    before, _, after = data.decode("utf-8", "replace").partition("|")
    mode: Mode = "prefill" if rng.getrandbits(1) else "replay"
    cut = rng.random() < 0.2
    at = sorted(rng.randrange(len(after) + 1) for _ in range(4))
    pieces = [after[start:end] for start, end in zip([0, *at], [*at, len(after)], strict=True)]
    return before, after, mode, _join(before, mode, pieces, cut), _join(before, mode, [after], cut)


def _judge_stitch(data: bytes, result: _Texts) -> bool:
    before, after, mode, cut, whole = result
    assert cut == whole, "how the new text is cut makes no difference"
    assert whole.joined != (whole.dropped is not None)
    if whole.dropped:
        assert whole.text == ""
        if mode == "prefill":
            assert whole.dropped == "began_anew"
        else:
            assert not after.startswith(before)
        return False
    if mode == "replay":
        assert before + whole.text == after
    else:
        blanks = before[len(shown(before)) :]
        assert after.endswith(whole.text)
        assert blanks.startswith(after[: len(after) - len(whole.text)]), "nothing but the blanks that were not shown"
        assert len(before) < RECOGNISED_CHARS or not after.startswith(before)
    return True


_TEXTS = [
    "The quick brown fox jumps over the lazy dog |and runs.",
    "The quick brown fox jumps over the lazy dog|The quick brown fox jumps over the lazy dog and runs.",
    "The quick brown fox jumps over|The quick red fox",
    "  Once upon a time, there was a\n\n |\n\n once more",
    " |   ",
    "  Once upon a time|" + "\n" * 1030 + "there was",
    "|new",
    "old|",
    "Grüße 😀 \u00a0|\u00a0 und",
]

TARGETS = [
    Target("sse", STREAMS, lambda data: decode([data]), _judge_stream, (), _STREAM_TOKENS),
    Target("chunk", _CHUNK_SEEDS, _read_chunk, _judge_chunk, (), _CHUNK_TOKENS),
    Target("unflagged", STREAMS, _read_unflagged, _judge_unflagged, (), _STREAM_TOKENS),
    Target("transcript", STREAMS, _read_transcript, _judge_transcript, (), _STREAM_TOKENS),
    Target(
        "stitch",
        [text.encode() for text in _TEXTS],
        _read_stitch,
        _judge_stitch,
        (),
        [b"|", b"The quick ", b" ", b"\n", b"\n" * 1030],
    ),
]
