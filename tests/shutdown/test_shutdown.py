"""SIGTERM with live streams, a worker killed in mid-stream, and the gateway's own closing, on each server."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from ogw_asgi.testing import (
    SSE_DONE,
    RawScript,
    RawUpstream,
    Wait,
    chunked,
    completion_chunk,
    http_head,
    sse_event,
)

from .callers import all_of, begin, begin_until_served, calling, open_streams, open_streams_on_two_workers
from .processes import ServerProcess, running
from .servers import SERVERS, Server

pytestmark = pytest.mark.anyio

HEAD = http_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
FIRST = sse_event(completion_chunk({"role": "assistant", "content": "Hello"}))
LAST = sse_event(completion_chunk({}, finish_reason="stop"))

LONG_S = 10
"""A grace that no stream here needs, and shorter than what a test may take: waiting for its end is a failure."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many streams, and the limits in seconds: on the whole, from the last end to the exit, and from the death of a
    worker until a new request is served, and until there is a new worker.

    The promised limits are those of the full size, which runs alone. The small one runs beside other tests on a machine
    that may be busy; a server that waits for something that never comes would take LONG_S and more.
    """

    streams: int
    total_s: float
    exit_s: float
    again_s: float
    replaced_s: float


FEW = Size(streams=20, total_s=20, exit_s=5, again_s=8, replaced_s=12)
MANY = Size(streams=200, total_s=25, exit_s=1, again_s=2, replaced_s=3)
SIZES = [pytest.param(FEW, id="20"), pytest.param(MANY, id="200", marks=pytest.mark.long)]

each_server = pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS.keys())
each_size = pytest.mark.parametrize("size", SIZES)


@dataclass
class World:
    process: ServerProcess
    upstream: RawUpstream
    gate: anyio.Event
    """Opens the second half of every stream."""
    close: AsyncExitStack


@asynccontextmanager
async def world_of(server: Server, size: Size, **arguments: Any) -> AsyncIterator[World]:
    """A server with `arguments` before an upstream whose streams stop behind the first event."""
    workers, engine = arguments.pop("workers", 1), arguments.pop("engine", "native")
    command = server.arguments(workers=workers, **arguments)
    gate = anyio.Event()
    script: RawScript = [HEAD, chunked(FIRST), Wait(gate), chunked(LAST, SSE_DONE, last=True)]
    with anyio.fail_after(size.total_s):
        async with RawUpstream(script) as upstream:
            async with running(command, upstream=upstream.url, workers=workers, engine=engine) as process:
                async with AsyncExitStack() as close:
                    yield World(process, upstream, gate, close)


async def terminate(world: World) -> None:
    """Sends SIGTERM, and returns when the server has taken notice: it closes connections that are idle."""
    async with calling(world.process.port) as idle:
        await idle.ask_for_the_models()
        world.process.terminate()
        await idle.read_to_end()


@pytest.mark.fault("P01")
@each_size
@each_server
async def test_streams_that_live_at_sigterm_are_completed_and_then_the_server_ends(server: Server, size: Size) -> None:
    async with world_of(server, size, grace_s=LONG_S) as world:
        callers = await open_streams(world.process.port, size.streams, world.close)
        await terminate(world)
        world.gate.set()
        await all_of(caller.read_whole for caller in callers)
        ended_s = time.monotonic()
        assert [caller for caller in callers if not caller.is_whole] == []
        assert await world.process.exit_code() == server.exit_code
        assert time.monotonic() - ended_s <= size.exit_s
        await all_of(caller.read_to_end for caller in callers)
        await world.upstream.peer_closed(size.streams)
        assert world.upstream.connections == size.streams
        assert [sockets for _, sockets in world.process.told("closed")] == ["0"]
        await world.process.all_gone()


@pytest.mark.fault("P01")
@pytest.mark.parametrize("engine", ["native", *(pytest.param(e, marks=pytest.mark.long) for e in ("httpx2", "httpx"))])
@each_size
@each_server
async def test_streams_that_outlast_the_grace_are_visibly_cut_and_closed_upstream(
    server: Server, size: Size, engine: str, request: pytest.FixtureRequest
) -> None:
    if not server.ends_grace:
        request.applymarker(
            pytest.mark.xfail(strict=True, raises=TimeoutError, reason="hypercorn's issue 308: the grace never ends")
        )
    async with world_of(server, size, grace_s=1, engine=engine) as world:
        callers = await open_streams(world.process.port, size.streams, world.close)
        world.process.terminate()
        await all_of(caller.read_to_end for caller in callers)
        ended_s = time.monotonic()
        assert [caller for caller in callers if not caller.is_visibly_broken] == []
        await world.upstream.peer_closed(size.streams)
        assert await world.process.exit_code() == server.exit_code
        assert time.monotonic() - ended_s <= size.exit_s
        assert [sockets for _, sockets in world.process.told("closed")] == (["0"] if server.cancels else [])
        await world.process.all_gone()


@pytest.mark.fault("P02")
@each_size
@each_server
async def test_the_streams_of_a_killed_worker_end_visibly_and_the_others_go_on(server: Server, size: Size) -> None:
    async with world_of(server, size, grace_s=LONG_S, workers=2) as world:
        process = world.process
        killed, others = await open_streams_on_two_workers(process.port, size.streams, world.close)
        os.kill(killed[0].worker, signal.SIGKILL)
        killed_s = time.monotonic()
        await all_of(caller.read_to_end for caller in killed)
        assert [caller for caller in killed if not caller.is_visibly_broken] == []
        await world.upstream.peer_closed(len(killed))
        if not server.replaces:
            await all_of(caller.read_to_end for caller in others)
            assert [caller for caller in others if not caller.is_visibly_broken] == []
            await world.upstream.peer_closed(len(killed) + len(others))
            await process.exit_code()
            await process.all_gone()
            return
        await begin_until_served(process.port)
        assert time.monotonic() - killed_s <= size.again_s
        await process.wait_until(lambda: len(process.told("opened")) == 3)
        assert time.monotonic() - killed_s <= size.replaced_s
        world.gate.set()
        await all_of(caller.read_whole for caller in others)
        assert [caller for caller in others if not caller.is_whole] == []


@each_server
async def test_at_sigterm_each_of_two_workers_ends_when_its_own_streams_have_ended(server: Server) -> None:
    async with world_of(server, FEW, grace_s=LONG_S, workers=2) as world:
        first, second = await open_streams_on_two_workers(world.process.port, FEW.streams, world.close)
        await terminate(world)
        # The streams of one worker end because their callers leave, so that the gate is still shut for the other's.
        for caller in first:
            await caller.leave()
        await world.upstream.peer_closed(len(first))
        if not server.drains_all:
            await all_of(caller.read_to_end for caller in second)
            assert [caller for caller in second if not caller.is_visibly_broken] == []
            await world.upstream.peer_closed(len(first) + len(second))
            await world.process.exit_code()
            await world.process.all_gone()
            return
        await world.process.wait_until(lambda: len(world.process.told("closed")) == 1)
        world.gate.set()
        await all_of(caller.read_whole for caller in second)
        assert [caller for caller in second if not caller.is_whole] == []
        assert await world.process.exit_code() == 0
        await world.process.all_gone()


@each_server
async def test_the_lifespan_closes_the_gateway_and_with_it_what_it_had_kept_open(server: Server) -> None:
    async with world_of(server, FEW, grace_s=LONG_S) as world:
        world.gate.set()
        async with calling(world.process.port) as caller:
            await begin(caller)
            await caller.read_whole()
        await world.upstream.wait_for_connections(1)
        assert world.upstream.peer_closes == 0, "the connection is kept for the next request"
        world.process.terminate()
        await world.upstream.peer_closed(1)
        assert await world.process.exit_code() == server.exit_code
        ((opened,),) = world.process.told("opened")
        assert world.process.told("closing") == [[opened, "1"]]
        assert world.process.told("closed") == [[opened, "0"]]
