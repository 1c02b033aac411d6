"""Leaving at any moment closes the connection, and the engine is as good as before."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from ogw_asgi.testing import Hang, OnAccept, RawScript, RawUpstream, chunked, http_head
from ogw_asgi.transports.base import Transport

from .engines import OK, fetch, outcome, request_to
from .servers import black_hole, mute_listener

pytestmark = pytest.mark.anyio

CHUNKED = {"transfer-encoding": "chunked"}


async def cancelled(call: Callable[[], Awaitable[object]], when: Callable[[], Awaitable[object]]) -> None:
    """Runs `call` until `when` returns, and requires that it was still under way."""
    finished = False

    async def run() -> None:
        nonlocal finished
        await call()
        finished = True

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await when()
        group.cancel_scope.cancel()
    assert not finished


async def test_while_a_connection_is_made(transport: Transport) -> None:
    with black_hole() as nowhere, anyio.fail_after(5):
        await cancelled(lambda: transport.open(request_to(nowhere)), anyio.wait_all_tasks_blocked)
        async with RawUpstream([OK]) as server:
            assert await outcome(transport, request_to(server.url)) == (200, b"hello")


async def test_in_the_tls_handshake(transport: Transport) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([OnAccept(), Hang()], [OK]) as server:
            url = server.url.replace("http:", "https:")
            await cancelled(lambda: transport.open(request_to(url)), server.wait_for_connections)
            await server.peer_closed()
            assert await outcome(transport, request_to(server.url)) == (200, b"hello")


async def test_while_the_request_is_sent(transport: Transport) -> None:
    with mute_listener() as (url, listener), anyio.fail_after(5):
        await cancelled(lambda: transport.open(request_to(url, body=b"x" * (32 << 20))), anyio.wait_all_tasks_blocked)
        accepted, _ = listener.accept()
        with accepted:
            accepted.setblocking(False)
            received = await read_to_the_end(accepted)
    assert 0 < received < 32 << 20


async def read_to_the_end(accepted: socket.socket) -> int:
    received = 0
    while True:
        await anyio.wait_readable(accepted)
        try:
            data = accepted.recv(1 << 20)
        except ConnectionError:
            return received
        if not data:
            return received
        received += len(data)


@pytest.mark.parametrize("reused", [False, True])
async def test_while_waiting_for_the_head(transport: Transport, reused: bool) -> None:
    before: list[RawScript] = [[OK]] if reused else []
    with anyio.fail_after(5):
        async with RawUpstream(*before, [Hang()], [OK]) as server:
            for _ in before:
                await fetch(transport, request_to(server.url))
            await cancelled(
                lambda: transport.open(request_to(server.url)), lambda: server.wait_for_requests(len(before) + 1)
            )
            await server.peer_closed()
            assert server.connections == 1
            assert await outcome(transport, request_to(server.url)) == (200, b"hello")
            assert len(server.requests) == len(before) + 2, "what was cancelled is not sent again"


@pytest.mark.parametrize(
    "script",
    [
        [http_head(200, CHUNKED), chunked(b"a"), Hang()],
        [http_head(200, {"content-length": "9"}), b"a", Hang()],
        [http_head(200), b"a", Hang()],
    ],
    ids=["chunked", "length", "close-delimited"],
)
@pytest.mark.parametrize("closed_by_its_owner", [True, False])
async def test_within_a_body(transport: Transport, script: RawScript, closed_by_its_owner: bool) -> None:
    begun = anyio.Event()
    with anyio.fail_after(5):
        async with RawUpstream(script, [OK]) as server:

            async def read() -> None:
                response = await transport.open(request_to(server.url))
                try:
                    async for _ in response.chunks():
                        begun.set()
                finally:
                    if closed_by_its_owner:
                        await response.aclose()

            await cancelled(read, begun.wait)
            await server.peer_closed()
            assert await outcome(transport, request_to(server.url)) == (200, b"hello")


@pytest.mark.parametrize("read", [0, 1])
async def test_closing_works_in_a_scope_that_was_cancelled(transport: Transport, read: int) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([http_head(200, CHUNKED), chunked(b"a"), Hang()], [OK]) as server:
            response = await transport.open(request_to(server.url))
            chunks = response.chunks()
            if read:
                assert await anext(chunks) == b"a"
            with anyio.CancelScope() as scope:
                scope.cancel()
                await response.aclose()
            await server.peer_closed()
            assert await outcome(transport, request_to(server.url)) == (200, b"hello")


@pytest.mark.parametrize("cancel", [False, True])
@pytest.mark.parametrize("count", [1, 63, 64, 65])
async def test_after_any_number_of_chunks_that_came_at_once(transport: Transport, count: int, cancel: bool) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([http_head(200, CHUNKED) + chunked(*[b"a"] * 100), Hang()], [OK]) as server:
            response = await transport.open(request_to(server.url))
            chunks = response.chunks()
            with anyio.CancelScope() as scope:
                received = 0
                while received < count:  # an engine may hand out as one what came as one
                    received += len(await anext(chunks))
                if cancel:
                    scope.cancel()
                    async for _ in chunks:
                        pass
            assert scope.cancelled_caught == cancel
            await response.aclose()
            await server.peer_closed()
            assert await outcome(transport, request_to(server.url)) == (200, b"hello")


async def test_after_a_storm_of_cancellations_nothing_is_left_and_everything_works(transport: Transport) -> None:
    """200 requests, each cancelled after another number of turns of the loop: from before the connection to the end."""
    with anyio.fail_after(10):
        async with RawUpstream([http_head(200, CHUNKED), chunked(b"a"), chunked(b"b", last=True)]) as server:

            async def ask(turns: int) -> None:
                async with anyio.create_task_group() as group:
                    group.start_soon(fetch, transport, request_to(server.url))
                    for _ in range(turns):
                        await anyio.lowlevel.checkpoint()
                    group.cancel_scope.cancel()

            for _ in range(5):
                async with anyio.create_task_group() as storm:
                    for turns in range(40):
                        storm.start_soon(ask, turns)
            assert server.connections > 0
            for _ in range(3):
                assert await outcome(transport, request_to(server.url)) == (200, b"ab")
            await transport.aclose()
            await server.peer_closed(server.connections)
