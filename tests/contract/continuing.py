"""What the tests of `continue` are made of: a text, a provider that breaks in the middle of it, and those who go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import anyio
import httpx

from ogw_asgi.testing import (
    SSE_DONE,
    Break,
    Hang,
    RecordedRequest,
    Reply,
    Script,
    completion_chunk,
    error,
    raw,
    sse_event,
    stream,
)

SSE = {"content-type": "text/event-stream"}
ERROR = b'data: {"error":{"message":"engine died","type":"server_error","code":500}}\n\n'

# What comes after the last whole piece, and ends the stream.
BREAKS: dict[str, tuple[Any, ...]] = {
    "reset": (Break(),),
    "clean end": (),
    "silence": (Hang(),),
    "half an event": (sse_event(completion_chunk({"content": "never whole"}))[:-20], Break()),
    "half a character": (b'data: {"choices":[{"index":0,"delta":{"content":"\xf0\x9f', Break()),
    "half JSON": (b'data: {"choices":[{"index":0,\n\n', Break()),
    "no JSON": (b"data: oops\n\n",),
    "not UTF-8": (b'data: {"choices":[{"index":0,"delta":{"content":"\xff"}}]}\n\n',),
    "error event": (ERROR, SSE_DONE),
    "behind the blank line": (b"\n", Break()),
}


def pieces(text: str, *cuts: int) -> list[str]:
    """The text in pieces, cut at these places."""
    places = sorted({0, len(text), *(cut for cut in cuts if cut <= len(text))})
    return [text[start:end] for start, end in pairwise(places)]


def words(text: str) -> list[str]:
    return [word if index == 0 else " " + word for index, word in enumerate(text.split(" "))]


def broken(said: Sequence[str], how: str = "reset", *, id_: str = "chatcmpl-first", role: bool = True) -> Reply:
    """A stream that says this much, and breaks."""
    steps: list[Any] = []
    if role:
        steps.append(sse_event({**completion_chunk({"role": "assistant", "content": ""}), "id": id_}))
    steps += [sse_event({**completion_chunk({"content": piece}), "id": id_}) for piece in said]
    return raw(200, SSE, [*steps, *BREAKS[how]])


def asked(request: RecordedRequest) -> Any:
    return json.loads(request.body)


def shown(request: RecordedRequest) -> str | None:
    """The text that the provider was asked to write on."""
    last = asked(request)["messages"][-1]
    return last["content"] if last["role"] == "assistant" else None


def prefills(text: str, cut: Callable[[str], Sequence[str]] = words) -> Callable[[RecordedRequest], Script]:
    """A provider that writes on where the last assistant message stops."""

    def choose(request: RecordedRequest) -> Script:
        said = shown(request) or ""
        assert text.startswith(said), f"shown what nobody said: {said!r}"
        return stream(cut(text[len(said) :]))

    return choose


def refuses(text: str, cut: Callable[[str], Sequence[str]] = words) -> Callable[[RecordedRequest], Script]:
    """A provider that answers a question, and refuses a last assistant message."""

    def choose(request: RecordedRequest) -> Script:
        if shown(request) is not None:
            return error(400, "The last message must be the user's.", param="messages")
        return stream(cut(text))

    return choose


def begins_anew(text: str, cut: Callable[[str], Sequence[str]] = words) -> Callable[[RecordedRequest], Script]:
    """A provider that answers the question, whatever stands behind it."""
    return lambda request: stream(cut(text))


@dataclass(frozen=True)
class Got:
    """A stream as the caller has it."""

    text: str
    ids: set[str]
    roles: int
    finishes: list[str]
    dones: int
    usage: list[Any]
    error: dict[str, Any] | None
    whole: bool
    raw: str

    def assert_whole(self, text: str) -> None:
        assert self.text == text
        assert (self.whole, self.error, self.dones, len(self.finishes)) == (True, None, 1, 1), self.raw
        assert len(self.ids) == 1
        assert self.roles <= 1

    def assert_broken(self, text: str) -> dict[str, Any]:
        """It says so, at both levels, and what came before it is `text`."""
        assert self.text == text
        assert (self.whole, self.dones, self.finishes) == (False, 0, []), self.raw
        assert self.error is not None
        assert (self.error["type"], self.error["code"]) == ("upstream_error", "stream_interrupted")
        return self.error


async def read(reply: httpx.Response) -> Got:
    received = bytearray()
    whole = True
    try:
        async for part in reply.aiter_raw():
            received += part
    except httpx.RemoteProtocolError:
        whole = False
    return got(received.decode(), whole)


def got(received: str, whole: bool) -> Got:
    events = [line.removeprefix("data: ") for line in received.split("\n") if line.startswith("data: ")]
    values = [json.loads(event) for event in events if event != "[DONE]"]
    choices = [choice for value in values for choice in value.get("choices", [])]
    assert all(choice["index"] == 0 for choice in choices)
    return Got(
        text="".join(choice["delta"].get("content") or "" for choice in choices),
        ids={value["id"] for value in values if "id" in value},
        roles=sum("role" in choice["delta"] for choice in choices),
        finishes=[choice["finish_reason"] for choice in choices if choice["finish_reason"]],
        dones=events.count("[DONE]"),
        usage=[value["usage"] for value in values if value.get("usage")],
        error=next((value["error"] for value in values if "error" in value), None),
        whole=whole,
        raw=received,
    )


async def ask(world: Any, **request: Any) -> Got:
    with anyio.fail_after(5):
        async with world.stream(**request) as reply:
            assert reply.status_code == 201, await reply.aread()
            return await read(reply)
