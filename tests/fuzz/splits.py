"""200 streams as providers send them, cut at random: however the network cuts one, its frames are the same."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import cache

from ogw_asgi._wire.sse import SSEDecoder

from .events import LIMIT, Frames
from .target import Target

STREAMS = 200

_WORDS = [
    "Hello",
    ",",
    " world",
    "\n\n",
    " Grüße",
    "世界",
    " 😀",
    '"',
    "\\",
    " 👨‍👩‍👧",
    " ",
    "data: x",
    "[DONE]",
    "\u2028",
    " é",
]
_ENDS = [b"\n", b"\n", b"\r\n", b"\r"]


@cache
def recorded(number: int) -> bytes:
    """One stream: chunks of one server's making, in its own framing, with its own noise."""
    rng = random.Random(f"stream {number}")
    end = rng.choice(_ENDS)
    compact, ascii_only, named, blank = (rng.random() < 0.5 for _ in range(4))
    noise = rng.choice((0.0, 0.0, 0.1, 0.4))
    out = b"\xef\xbb\xbf" if rng.random() < 0.1 else b""

    def event(payload: bytes) -> bytes:
        lines = [b"event: message"] if named else []
        if rng.random() < noise:
            lines.append(rng.choice((b": ping", b"id: 7", b"retry: 3000", b":", b": OPENROUTER PROCESSING", b"data:")))
        lines.append((b"data: " if blank else b"data:") + payload)
        return end.join(lines) + end + end

    def chunk(delta: dict[str, str], reason: str | None = None) -> bytes:
        value = {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }
        return json.dumps(value, separators=(",", ":") if compact else None, ensure_ascii=ascii_only).encode()

    if rng.random() < 0.3:
        out += event(b'{"id":"","choices":[],"prompt_filter_results":[{"prompt_index":0}]}')
    out += event(chunk({"role": "assistant", "content": ""}))
    for _ in range(rng.randrange(3, 40)):
        if rng.random() < noise:
            out += rng.choice((b": keep-alive", b"event: ping" + end + b"data: {}", b"data: ", b"")) + end + end
        out += event(chunk({"content": "".join(rng.choices(_WORDS, k=rng.randrange(1, 6)))}))
    out += event(chunk({}, "stop"))
    if rng.random() < 0.5:
        out += event(b'{"choices":[],"usage":{"completion_tokens":9}}')
    if rng.random() < 0.9:
        out += event(b"[DONE]")
    return out if rng.random() < 0.8 else out.rstrip(b"\r\n")


@cache
def _frames(number: int) -> Frames:
    decoder = SSEDecoder(LIMIT)
    return decoder.feed(recorded(number)) + decoder.close()


def _inputs(seed: int) -> Iterator[bytes]:
    """Which stream, and how it is cut: a name instead of kilobytes."""
    at = 0
    while True:
        yield b"%d %d %d" % (at % STREAMS, seed, at)
        at += 1


def _read(data: bytes) -> Frames:
    number = int(data.split()[0])
    stream = recorded(number)
    rng = random.Random(data)
    decoder = SSEDecoder(LIMIT)
    frames: Frames = []
    at, most = 0, rng.choice((40, 300, 300, 300, 1500, 1500, 4000)) if rng.random() < 0.97 else 2
    while at < len(stream):
        size = 1 + int(rng.random() * most)
        frames += decoder.feed(stream[at : at + size])
        at += size
    return frames + decoder.close()


def _judge(data: bytes, result: Frames) -> bool:
    assert result == _frames(int(data.split()[0]))
    assert len(result) >= 5
    return True


TARGETS = [Target("splits", [], _read, _judge, inputs=_inputs)]
