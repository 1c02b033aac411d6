"""A flood of wrong tokens costs little and leaves nothing: counted, not timed (flood.py is the clock, by hand)."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from starlette.requests import HTTPConnection

from ogw_asgi import Gateway, OpenAI, Principal, RequestRejected, bearer_tokens
from ogw_asgi._dispatch.pace import AT_ONCE
from ogw_asgi.testing import ScriptedUpstream, chat
from tests.asgi.hosts import QUESTION, http_scope

pytestmark = pytest.mark.anyio

TOKEN = "a-token-that-nobody-can-guess-0123456789"
TIMERS = 300
"""Objects: asyncio keeps up to a hundred timers that were cancelled, with a context each."""
BODY = json.dumps(QUESTION).encode()


class Server:
    """Asks as a server does, and knows what was read and what was sent."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.reads = 0
        self.statuses: set[int] = set()

    async def ask(self, token: str) -> None:
        headers = [(b"content-type", b"application/json"), (b"authorization", f"Bearer {token}".encode())]
        left = anyio.Event()

        async def receive() -> Any:
            self.reads += 1
            if self.reads % 2:
                return {"type": "http.request", "body": BODY, "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.statuses.add(message["status"])

        await self._gateway(http_scope(headers=headers), receive, send)
        await anyio.lowlevel.checkpoint()  # the loop's turn, as after every request


TOKENS = bearer_tokens([TOKEN, *(f"{number:040}" for number in range(50))])
REFUSED = RequestRejected(401, "Not you.")


def always_refused(connection: HTTPConnection) -> Principal | None:
    """Every raise of one exception makes its traceback longer, with the frames of all who were refused by it."""
    raise REFUSED


@asynccontextmanager
async def guarded(authenticate: Any = TOKENS) -> AsyncIterator[Server]:
    async with ScriptedUpstream(chat()).client() as client:
        async with Gateway(providers=[OpenAI(api_key="k", client=client)], authenticate=authenticate) as gateway:
            yield Server(gateway)


async def calls_of(server: Server, *tokens: str) -> int:
    """The Python functions that are entered for as many requests."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        for token in tokens:
            await server.ask(token)
    finally:
        sys.setprofile(None)
    return calls


async def test_a_refusal_is_a_fraction_of_the_work_of_an_answer_and_always_the_same() -> None:
    round_of = AT_ONCE + 1
    """One of so many waits for a turn of the loop, whatever it asks."""
    async with guarded() as server:
        for token in [TOKEN, "wrong"] * round_of:
            await server.ask(token)
        good = await calls_of(server, *[TOKEN] * round_of)
        refused = [
            await calls_of(server, *[f"{'wrong':40}{number}{one}" for one in range(round_of)]) for number in range(20)
        ]
        assert max(refused) - min(refused) <= 10, "what is more is the heap of asyncio's timers"
        assert max(refused) <= good / 3, f"{max(refused)} calls for refusals, {good} for answers"
        assert server.statuses == {201, 401}


@pytest.mark.parametrize("authenticate", [TOKENS, always_refused], ids=["tokens", "the same exception"])
async def test_of_many_wrong_tokens_nothing_is_read_and_nothing_is_kept(authenticate: Any) -> None:
    async with guarded(authenticate) as server:
        for number in range(200):
            await server.ask(f"wrong-{number}")
        gc.collect()
        before = len(gc.get_objects()), sys.getallocatedblocks()
        for number in range(2000):
            await server.ask(f"wrong-{number}-{number}")
        gc.collect()
        objects, blocks = len(gc.get_objects()) - before[0], sys.getallocatedblocks() - before[1]
        assert objects <= TIMERS
        assert blocks <= 2 * TIMERS
        assert (server.reads, server.statuses) == (0, {401})
        assert server._gateway.app.completions.in_flight == 0


async def test_the_objects_of_one_refusal_go_with_it_and_wait_for_no_collection() -> None:
    """Cycles would pile up between two collections, and make those slow for everybody."""
    async with guarded() as server:
        await server.ask("wrong")
        gc.collect()
        gc.disable()
        try:
            before = len(gc.get_objects())
            for number in range(1000):
                await server.ask(f"wrong-{number}")
            assert len(gc.get_objects()) - before <= TIMERS
        finally:
            gc.enable()
