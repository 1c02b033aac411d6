"""The server that engines are measured against, in a process of its own so that its CPU is nobody's result.

It understands as much HTTP/1.1 as it takes to find the end of a request, and always answers the same bytes; it is no
server to learn from. Streams wait behind a gate after their head: the measuring process opens it through the pipe
(`Upstream.release`) when all its streams are open, so that what a request costs is kept out of what a chunk costs.

    /plain                    one JSON completion with a content-length
    /burst?n=500              n events, one HTTP chunk each, as fast as they are taken, some in one segment
    /drip?n=30&pause_ms=20    n events, each written alone, with a pause before each one
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

EVENTS_AT_ONCE = 8
"""Events that a burst writes in one go: a model server under load writes what its last step brought."""

COMPLETION = (
    b'{"id":"chatcmpl-9f1c2d3e4b5a69788796a5b4c3d2e1f0","object":"chat.completion","created":1760000000,'
    b'"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":"'
    + b"The quick brown fox jumps over the lazy dog. "
    * 5
    + b'","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":190,"completion_tokens":50,"total_tokens":240},'
    b'"service_tier":"default","system_fingerprint":"fp_0123456789"}'
)
EVENT = (
    b'data: {"id":"chatcmpl-9f1c2d3e4b5a69788796a5b4c3d2e1f0","object":"chat.completion.chunk","created":1760000000,'
    b'"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"delta":{"content":" dog"},"finish_reason":null}]}\n\n'
)

_FIELDS = (
    b"date: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: upstream\r\nx-request-id: req_0123456789abcdef0123456789abcdef\r\n"
    b"openai-processing-ms: 512\r\nopenai-version: 2020-10-01\r\n"
    b"x-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 9999\r\n"
    b"x-ratelimit-reset-requests: 6ms\r\ncache-control: no-cache\r\n"
)
_PLAIN = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n" % (_FIELDS, len(COMPLETION))
    + COMPLETION
)
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n%btransfer-encoding: chunked\r\n\r\n" % _FIELDS
_CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
_LAST_CHUNK = b"0\r\n\r\n"
_END_OF_HEAD = b"\r\n\r\n"

_content_length = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE).search
_target = re.compile(rb"POST (/[a-z]+)(?:\?([a-z0-9_=&]*))? HTTP/1\.1\r\n").match
_seeded = random.Random(4)  # the same run gives the same order of chunks


# --- the server's process -----------------------------------------------------------------------------------------


class _Gate:
    """Streams that have sent their head and wait for the word to go on."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []

    def wait(self, go_on: Callable[[], None]) -> None:
        self._waiting.append(go_on)

    def release(self) -> None:
        waiting, self._waiting = self._waiting, []
        for go_on in waiting:
            go_on()


class _Connection(asyncio.Protocol):
    def __init__(self, gate: _Gate) -> None:
        self._loop = asyncio.get_running_loop()
        self._gate = gate
        self._transport: asyncio.Transport
        self._unread = bytearray()
        self._events_left = 0
        self._writable = True
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        unread = self._unread
        unread += data
        end_of_head = unread.find(_END_OF_HEAD)
        if end_of_head < 0:
            return
        length = _content_length(unread, 0, end_of_head)
        end = end_of_head + len(_END_OF_HEAD) + (int(length[1]) if length else 0)
        if len(unread) < end:
            return
        target = _target(unread)
        if len(unread) > end or target is None:  # pipelined, or not for us: an engine that does so is to fail
            self._transport.abort()
            return
        path, query = bytes(target[1]), bytes(target[2] or b"")
        unread.clear()
        self._answer(
            path,
            {name: int(value) for name, _, value in (item.partition(b"=") for item in query.split(b"&"))}
            if query
            else {},
        )

    def _answer(self, path: bytes, options: dict[bytes, int]) -> None:
        if path == b"/plain":
            self._transport.write(_PLAIN)
            return
        self._transport.write(_STREAM_HEAD)
        self._events_left = options[b"n"]
        if path == b"/burst":
            self._gate.wait(self._burst)
        else:
            pause_s = options[b"pause_ms"] / 1000
            self._gate.wait(lambda: self._drip_after(pause_s * _seeded.random(), pause_s))

    def _burst(self) -> None:
        if self._lost or not self._writable:
            return
        count = min(EVENTS_AT_ONCE, self._events_left)
        self._events_left -= count
        if self._events_left:
            self._transport.write(_CHUNK * count)
            self._loop.call_soon(self._burst)  # the other streams have their turn in between
        else:
            self._transport.write(_CHUNK * count + _LAST_CHUNK)

    def _drip_after(self, wait_s: float, pause_s: float) -> None:
        self._loop.call_later(wait_s, self._drip, pause_s)

    def _drip(self, pause_s: float) -> None:
        if self._lost:
            return
        if self._events_left:
            self._events_left -= 1
            self._transport.write(_CHUNK)  # asyncio has set TCP_NODELAY
            self._drip_after(pause_s, pause_s)
        else:
            self._transport.write(_LAST_CHUNK)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        if self._events_left:
            self._burst()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True


async def _serve(core: int | None) -> None:
    """Until the pipe from the parent ends, however the parent ended."""
    pin(core)
    loop = asyncio.get_running_loop()
    gate, orphaned = _Gate(), asyncio.Event()

    def read_pipe() -> None:
        if os.read(sys.stdin.fileno(), 64):
            gate.release()
        else:
            loop.remove_reader(sys.stdin.fileno())
            orphaned.set()

    server = await loop.create_server(lambda: _Connection(gate), "127.0.0.1", 0)
    loop.add_reader(sys.stdin.fileno(), read_pipe)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await orphaned.wait()
    server.close()


# --- the measuring process ----------------------------------------------------------------------------------------


def cores() -> list[int]:
    """The cores that this process may use; empty where processes cannot be pinned."""
    if sys.platform == "linux":
        return sorted(os.sched_getaffinity(0))
    return []


def pin(core: int | None) -> None:
    if sys.platform == "linux" and core is not None:
        os.sched_setaffinity(0, {core})


@dataclass(frozen=True, slots=True)
class Upstream:
    url: str
    _pipe: IO[bytes]

    def release(self) -> None:
        """Let every open stream begin."""
        self._pipe.write(b"g")
        self._pipe.flush()


@contextmanager
def running(core: int | None) -> Iterator[Upstream]:
    """The server, for as long as the block lasts."""
    command = [sys.executable, "-m", "benchmarks.upstream", *([] if core is None else [str(core)])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield Upstream(f"http://127.0.0.1:{port}", process.stdin)


if __name__ == "__main__":
    try:
        asyncio.run(_serve(int(sys.argv[1]) if len(sys.argv) > 1 else None))
    except KeyboardInterrupt:  # the terminal tells the whole group
        pass
