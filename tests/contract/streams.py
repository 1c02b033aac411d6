"""Streams for sections 4 and 5: what a provider sends, what the caller got of it, and what a visible break is."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import pytest
from trio.testing import MockClock

from ogw_asgi.testing import SharedEvent, completion_chunk, http_head, sse_event

from .harness import World

MOCK_CLOCK = ("trio", {"clock": MockClock(autojump_threshold=0)})
"""For `anyio_backend`: time jumps to the next deadline whenever every task waits."""

SSE = {"content-type": "text/event-stream"}
CHUNKED = {**SSE, "transfer-encoding": "chunked"}
CHUNKED_HEAD = http_head(200, CHUNKED)


def delta(text: str, index: int = 0) -> bytes:
    """An event with content."""
    return sse_event(completion_chunk({"content": text}, index=index))


def finish(index: int = 0, reason: str = "stop") -> bytes:
    return sse_event(completion_chunk({}, finish_reason=reason, index=index))


PRIOR = delta("Hel") + delta("lo, wörld")
"""Events that reach the caller as they are, and commit the stream."""


class Pause:
    """A `Waitable` that takes its time; only for tests on the mock clock."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def wait(self) -> None:
        await anyio.sleep(self._seconds)


@dataclass
class Got:
    """A streamed answer as the caller saw it. `ended`: the HTTP body had its end."""

    status: int
    headers: httpx.Headers
    body: bytes
    ended: bool

    @property
    def events(self) -> list[bytes]:
        """Every block, without its blank line."""
        return self.body.split(b"\n\n")[:-1]


async def read_stream(world: World, *, gate: SharedEvent | None = None, after: bytes = PRIOR, **request: Any) -> Got:
    """The whole streamed answer; `gate` is set as soon as the caller has as much as `after`."""
    body = bytearray()
    ended = True
    async with world.stream(**request) as response:
        try:
            async for chunk in response.aiter_raw():
                body += chunk
                if gate is not None and len(body) >= len(after):
                    gate.set()
        except httpx.RemoteProtocolError:
            ended = False
        return Got(response.status_code, response.headers, bytes(body), ended)


def assert_break_event(rest: bytes) -> str:
    """`rest` is one event, the nested envelope of an interruption, and nothing else; returns its message."""
    assert rest.startswith(b"data: ")
    assert rest.endswith(b"\n\n")
    assert rest.count(b"\n") == 2
    envelope = json.loads(rest.removeprefix(b"data: "))
    assert list(envelope) == ["error"]
    error = envelope["error"]
    assert error == {
        "message": error["message"],
        "type": "upstream_error",
        "param": None,
        "code": "stream_interrupted",
    }
    assert isinstance(error["message"], str)
    assert error["message"]
    return str(error["message"])


def assert_broken(got: Got, prior: bytes = PRIOR) -> str:
    """The prior events byte for byte, the error event, no `[DONE]`, no end of the body; returns the message."""
    assert got.status == 201
    assert got.body[: len(prior)] == prior
    message = assert_break_event(got.body[len(prior) :])
    assert b"[DONE]" not in got.body
    assert not got.ended
    return message


def assert_one_warning(caplog: pytest.LogCaptureFixture, cause: str) -> None:
    """One WARNING of the gateway, with the cause; nothing worse, and no traceback of anybody."""
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING and ours(record)]
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("stream_broken ")
    assert f" cause={cause} " in record.getMessage()
    assert not [record for record in caplog.records if record.exc_info]


def ours(record: logging.LogRecord) -> bool:
    return record.name.startswith("ogw_asgi")
