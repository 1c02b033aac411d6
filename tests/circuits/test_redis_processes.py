"""Two real processes and a real Redis."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE

import anyio
import anyio.abc
import pytest
from anyio.streams.text import TextReceiveStream

from ogw_asgi.testing import Hang, RawScript, RawUpstream, http_response

from ..matrix.wire import good
from .redis_server import RedisServer

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Of the test; the workers have loops of their own."""
    return "asyncio"


ROOT = Path(__file__).parents[2]
DEAD = http_response(500, b"{}")
"""What a plays when it is down."""


class Process:
    def __init__(self, process: anyio.abc.Process) -> None:
        self.process = process
        assert process.stdout is not None
        self._said = TextReceiveStream(process.stdout)
        self._unread = ""

    async def line(self) -> str:
        while "\n" not in self._unread:
            self._unread += await self._said.receive()
        line, self._unread = self._unread.split("\n", 1)
        return line

    async def begin(self) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send(b"\n")

    async def ask(self) -> str:
        """Who answers."""
        await self.begin()
        return await self.line()


@asynccontextmanager
async def both(server: RedisServer, *a: RawScript, open_s: str) -> AsyncIterator[tuple[RawUpstream, Process, Process]]:
    """Two workers, and the provider a of both; b is well."""
    async with RawUpstream(*a) as bad, RawUpstream([good("json")]) as well:
        arguments = (server.url, bad.url, well.url, open_s)
        with anyio.fail_after(20):
            async with process(*arguments) as one, process(*arguments) as two:
                yield bad, one, two


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[Process]:
    command = [sys.executable, "-m", "tests.circuits.worker_process", *arguments]
    async with await anyio.open_process(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=None) as started:
        try:
            worker = Process(started)
            assert await worker.line() == "opened"
            yield worker
        finally:
            with anyio.CancelScope(shield=True):
                if started.returncode is None:
                    started.kill()
                await started.wait()


async def test_two_processes_learn_of_a_dead_provider_from_each_other(server: RedisServer) -> None:
    async with both(server, [DEAD], open_s="5") as (a, one, two):
        assert [await one.ask(), await two.ask()] == ["b", "b"]
        assert len(a.requests) == 1


@pytest.mark.contract("4.shared.lease")
@pytest.mark.fault("P03")
async def test_when_a_worker_is_killed_that_holds_the_probe_another_one_probes_after_a_while(
    server: RedisServer,
) -> None:
    async with both(server, [DEAD], [Hang()], [good("json")], open_s="0.001") as (a, one, two):
        assert await one.ask() == "b"
        await one.begin()
        await a.wait_for_requests(2)
        one.process.kill()
        answers = [await two.ask()]
        while len(a.requests) == 2:
            answers.append(await two.ask())
        assert answers[0] == "b", "somebody may be probing"
        assert {*answers[:-1]} == {"b"}
        assert answers[-1] == "a"
