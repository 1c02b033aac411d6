"""P06: a process that has no file descriptor left."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE

import anyio
import pytest

from ogw_asgi.testing import RawUpstream
from ogw_asgi.testing.encoding import json_bytes

from .caller import Exchange, Reply, call, request
from .selection import Case
from .watching import question
from .wire import good, payload

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


class KeptConnection:
    """A caller who was there before, and asks one thing after the other on the same connection."""

    def __init__(self, port: int, *, stream: bool) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setblocking(False)
        self._stream = stream

    async def post(self, *sequence: str, path: str = "/chat/completions", stream: bool | None = None) -> Reply:
        exchange = Exchange(self._socket)
        named = [("x-opengateway-failover-sequence", json_bytes(sequence).decode())] if sequence else []
        body = question(stream=self._stream if stream is None else stream)
        await exchange.send(request(body, named, path=path))
        return await exchange.rest()

    def close(self) -> None:
        self._socket.close()


@asynccontextmanager
async def starved(case: Case) -> AsyncIterator[tuple[KeptConnection, int, RawUpstream, RawUpstream]]:
    """A caller of a gateway that is connected to `two` and has no descriptor left; and the two providers."""
    with anyio.fail_after(15):
        one = RawUpstream([good(case.mode, "from one")])
        two = RawUpstream([good("json")], [good(case.mode, "from two")])
        async with one, two, process(case, one.url, two.url) as port:
            caller = KeptConnection(port, stream=case.stream)
            try:
                assert (await caller.post("two", stream=False)).status == 201
                assert (await caller.post(path="/take")).status == 200
                yield caller, port, one, two
            finally:
                caller.close()


@asynccontextmanager
async def process(case: Case, one: str, two: str) -> AsyncIterator[int]:
    """Its port. Its end is a good one, whatever it has been through."""
    command = [sys.executable, "-m", "tests.matrix.descriptors", case.engine, case.loop, one, two]
    async with await anyio.open_process(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=DEVNULL) as child:
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            yield int(await child.stdout.receive())
            await child.stdin.aclose()
            assert await child.wait() == 0
        finally:
            if child.returncode is None:
                child.kill()


@pytest.mark.fault("P06")
async def test_without_a_descriptor_whoever_is_still_connected_answers_and_else_it_is_a_503(case: Case) -> None:
    async with starved(case) as (caller, _, one, two):
        refused = await caller.post("one")
        reply = await caller.post("one", "two")
        assert (one.connections, two.connections) == (0, 1)
        assert (reply.status, reply.header("x-opengateway-provider")) == (201, "two")
        assert [timed.provider for timed in reply.timings] == ["one", "two"]
        assert refused.status == 503, refused.body
        assert refused.header("retry-after") is not None


@pytest.mark.fault("P06")
async def test_without_a_descriptor_the_process_lives_and_recovers_when_there_are_some_again(case: Case) -> None:
    async with starved(case) as (caller, port, one, _):
        for _ in range(7):
            assert (await caller.post("one")).status in (502, 503)
        assert one.connections == 0
        async with call(port, request(question(stream=case.stream))) as newcomer:
            assert (await caller.post(path="/give")).status == 200
            given_s = anyio.current_time()
            served = [await caller.post() for _ in range(3)]
            assert anyio.current_time() - given_s <= 1
            if case.loop == "uvloop":
                # libuv keeps one descriptor back to accept whoever comes meanwhile, and to close the connection.
                assert not await newcomer.read_some()
                served.append(await caller.post())
            else:
                served.append(await newcomer.rest())  # servers look for a descriptor again after a second at most
            assert anyio.current_time() - given_s <= 2.5
        for reply in served:
            assert (reply.status, reply.body) == (201, payload(case.mode, "from one"))
        assert [reply.header("x-opengateway-provider") for reply in served] == ["one"] * 4, "it was not its fault"
