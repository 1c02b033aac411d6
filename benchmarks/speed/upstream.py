"""The provider of the bench: as little work as an answer can be, in a process of its own, on the load's core.

What it answers is chosen by the model's name, for that is what every gateway passes on:

    plain             one JSON completion of about 1 KB
    burst-N           N chunks as fast as they are taken, eight in a write
    drip-N-MS         N chunks, each written alone, MS milliseconds apart
    numbered-N-MS-ID  the same, each chunk naming the stream and its number
    idle              a chunk, and then silence
    overloaded        503

python -m benchmarks.speed.upstream FD    # of a socket that listens
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from contextlib import suppress
from typing import cast

AT_ONCE = 8
TEXT = "The quick brown fox jumps over the lazy dog. " * 14

COMPLETION = json.dumps(
    {
        "id": "chatcmpl-9f1c2d3e4b5a69788796a5b4c3d2e1f0",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": TEXT, "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 190, "completion_tokens": 140, "total_tokens": 330},
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }
).encode()

_FIELDS = (
    b"date: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: upstream\r\nx-request-id: req_0123456789abcdef0123456789abcdef\r\n"
    b"openai-processing-ms: 512\r\nopenai-version: 2020-10-01\r\n"
    b"x-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 9999\r\n"
)
_PLAIN = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n" % (_FIELDS, len(COMPLETION))
    + COMPLETION
)
_ERROR = b'{"error":{"message":"Overloaded.","type":"server_error","param":null,"code":null}}'
_OVERLOADED = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_ERROR)
    + _ERROR
)
_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n%btransfer-encoding: chunked\r\n\r\n" % _FIELDS
_END_OF_HEAD = b"\r\n\r\n"

_content_length = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE).search
_model = re.compile(rb'"model"\s*:\s*"(?:openai/)?([a-z0-9-]+)"').search


def chunk(content: str, finish_reason: str | None = None) -> bytes:
    """One event of a stream, as providers write it."""
    data = {
        "id": "chatcmpl-9f1c2d3e4b5a69788796a5b4c3d2e1f0",
        "object": "chat.completion.chunk",
        "created": 1_760_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "delta": {"content": content} if content else {}, "finish_reason": finish_reason}],
    }
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_PIECE = _framed(chunk(" dog"))
_LAST = _framed(chunk("", "stop")) + _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._unread = bytearray()
        self._expected = 0
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if not self._expected:
            end = self._unread.find(_END_OF_HEAD)
            if end < 0:
                return
            length = _content_length(self._unread, 0, end)
            self._expected = end + len(_END_OF_HEAD) + (int(length[1]) if length else 0)
        if len(self._unread) < self._expected:
            return
        found = _model(self._unread)
        model = found[1].decode() if found else ""
        self._unread.clear()
        self._expected = 0
        self._answer(*model.split("-"))

    def _answer(self, kind: str, *options: str) -> None:
        transport = self._transport
        if kind == "plain":
            transport.write(_PLAIN)
        elif kind == "overloaded":
            transport.write(_OVERLOADED)
        elif kind == "burst":
            transport.write(_STREAM)
            self._burst(int(options[0]))
        elif kind == "drip":
            transport.write(_STREAM)
            self._drip([_PIECE] * int(options[0]), int(options[1]) / 1000)
        elif kind == "numbered":
            transport.write(_STREAM)
            pieces = [_framed(chunk(f"<{options[2]}:{number}>")) for number in range(int(options[0]))]
            self._drip(pieces, int(options[1]) / 1000)
        elif kind == "idle":
            transport.write(_STREAM + _PIECE)
        else:  # not for us: whoever asks so is to fail
            transport.abort()

    def _burst(self, left: int) -> None:
        if self._lost:
            return
        if left > AT_ONCE:
            self._transport.write(_PIECE * AT_ONCE)
            self._loop.call_soon(self._burst, left - AT_ONCE)  # the other streams have their turn in between
        else:
            self._transport.write(_PIECE * left + _LAST)

    def _drip(self, pieces: list[bytes], pause_s: float) -> None:
        if self._lost:
            return
        if pieces:
            self._transport.write(pieces.pop(0))
            self._loop.call_later(pause_s, self._drip, pieces, pause_s)
        else:
            self._transport.write(_LAST)


async def _serve(listener: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, sock=listener, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    with suppress(asyncio.CancelledError, KeyboardInterrupt):
        uvloop.run(_serve(socket.socket(fileno=int(sys.argv[1]))))
