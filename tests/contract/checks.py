"""What the tests of sections 2, 3 and 8 ask of answers and of upstreams again and again; builds nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
from trio.testing import MockClock

from ogw_asgi.testing import RecordedRequest, Script, ScriptedUpstream, Wait

from .harness import World

SEQUENCE = "x-opengateway-failover-sequence"
TIMEOUT = "x-opengateway-timeout"
MESSAGES = [{"role": "user", "content": "Hi"}]


def sequence(*targets: str) -> dict[str, str]:
    return {SEQUENCE: json.dumps(targets)}


def refusal(reply: httpx.Response, status: int = 400) -> dict[str, Any]:
    """The error of a refusal of this status, in OpenAI's envelope."""
    assert reply.status_code == status, reply.text
    error: dict[str, Any] = reply.json()["error"]
    assert {"message", "type", "param", "code"} <= error.keys()
    return error


def asked(world: World) -> list[str]:
    """The names of the upstreams in the order in which they were asked."""
    calls = [(request.started_s, name) for name, upstream in world.upstreams.items() for request in upstream.requests]
    return [name for _, name in sorted(calls)]


def outcomes(reply: httpx.Response) -> list[str]:
    """What came of each attempt, from an error's trail."""
    return [attempt["outcome"] for attempt in reply.json()["error"]["attempts"]]


def events(text: str) -> list[str]:
    """The payloads of the data events of a stream."""
    return [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]


def said(text: str) -> str:
    """The content of the first choice of a stream."""
    chunks = [json.loads(event) for event in events(text) if event != "[DONE]"]
    choices = [chunk["choices"][0] for chunk in chunks if chunk.get("choices")]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


async def read_stream(world: World, **request: Any) -> tuple[str, bool]:
    """The text of a successful stream, and whether its body came to its proper end."""
    received = bytearray()
    async with world.stream(**request) as reply:
        assert reply.status_code == 201
        try:
            async for part in reply.aiter_raw():
                received += part
        except httpx.RemoteProtocolError:
            return received.decode(), False
    return received.decode(), True


def mock_clock() -> tuple[str, dict[str, Any]]:
    """The backend whose clock jumps over every wait: for an `anyio_backend` fixture, a new one per test."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@dataclass
class Sleep:
    """A step's event that comes after some seconds of the loop's own clock."""

    seconds: float

    async def wait(self) -> None:
        await anyio.sleep(self.seconds)


def pause(seconds: float) -> Wait:
    return Wait(Sleep(seconds))


@dataclass
class Diary:
    """When whom was asked, by the loop's clock, counted from the diary's first line."""

    _lines: list[tuple[str, float]] = field(default_factory=list)

    def upstream(self, name: str, *replies: Script) -> ScriptedUpstream:
        """Plays the replies, noting each request."""
        return ScriptedUpstream(*(self._noting(name, reply) for reply in replies))

    def _noting(self, name: str, reply: Script) -> Callable[[RecordedRequest], Script]:
        def choose(request: RecordedRequest) -> Script:
            self._lines.append((name, anyio.current_time()))
            return reply

        return choose

    @property
    def lines(self) -> list[tuple[str, float]]:
        start = self._lines[0][1]
        return [(name, round(at - start, 6)) for name, at in self._lines]

    def passed_s(self) -> float:
        """Since the first line."""
        return round(anyio.current_time() - self._lines[0][1], 6)
