"""What comes on a kept connection and was asked for by nobody is nobody's answer, whenever it comes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import anyio
import anyio.abc
import pytest

from ogw_asgi.testing import http_head, http_response
from ogw_asgi.transports.base import Transport, TransportFailure

from .engines import OK, outcome, request_to
from .servers import mute_listener, read_until, server_of, until_still

pytestmark = pytest.mark.anyio

END_OF_REQUEST = b'"m"}'
STRAY = http_response(200, b"STRAY")


async def test_what_comes_while_the_reader_is_busy_ends_the_connection(transport: Transport) -> None:
    """The head of a stray answer behind a whole one; its body would be the next request's."""
    sent, connections = anyio.Event(), 0

    async def talk(stream: anyio.abc.ByteStream) -> None:
        nonlocal connections
        connections += 1
        await read_until(stream, END_OF_REQUEST)
        await stream.send(OK)
        if connections == 1:
            await anyio.wait_all_tasks_blocked()
            await stream.send(http_head(200, {"content-length": str(len(STRAY))}))
            sent.set()
            await read_until(stream, END_OF_REQUEST)
            await stream.send(STRAY)

    with anyio.fail_after(5):
        async with server_of(talk) as url:
            response = await transport.open(request_to(url))
            async for _ in response.chunks():
                await sent.wait()
                await anyio.wait_all_tasks_blocked()
            await response.aclose()
            assert await outcome(transport, request_to(url)) == (200, b"hello")
    assert connections == 2


@pytest.mark.parametrize("cut", [1, 5, 9, 25])
async def test_a_stray_head_in_two_parts_is_no_answer(transport: Transport, cut: int) -> None:
    """Its first part in one segment with the answer before, its second with the next one's."""

    async def talk(stream: anyio.abc.ByteStream) -> None:
        await read_until(stream, END_OF_REQUEST)
        await stream.send(OK + STRAY[:cut])
        await read_until(stream, END_OF_REQUEST)
        await stream.send(STRAY[cut:] + http_response(200, b"own answer"))

    with anyio.fail_after(5):
        async with server_of(talk) as url:
            assert await outcome(transport, request_to(url)) == (200, b"hello")
            # Where httpcore holds the first part the request has gone out before that shows.
            assert await outcome(transport, request_to(url)) in ((200, b"hello"), "protocol")


async def test_a_stray_is_no_answer_though_the_server_speaks_while_the_request_is_sent(transport: Transport) -> None:
    """Behind an answer in one segment with it; then a long body, which is answered before it is taken."""

    async def talk(stream: anyio.abc.ByteStream) -> None:
        await read_until(stream, END_OF_REQUEST)
        await stream.send(OK + STRAY)
        await read_until(stream, b"\r\n\r\n")
        await stream.send(http_response(413, b"own answer"))
        await anyio.sleep_forever()

    with anyio.fail_after(5):
        async with server_of(talk) as url:
            assert await outcome(transport, request_to(url)) == (200, b"hello")
            second = await outcome(transport, request_to(url, body=b'{"m"}' + b"x" * (32 << 20)))
            assert second in ((200, b"hello"), "protocol")


async def test_what_came_before_the_request_went_out_is_not_its_answer(transport: Transport) -> None:
    """A server that gives an idle connection up says 408, in the turn of the loop in which a request begins."""
    outcomes: list[object] = []
    early: list[bool] = []

    async def accepted(listener: socket.socket) -> AsyncIterator[socket.socket]:
        while True:
            await anyio.wait_readable(listener)
            connection, _ = listener.accept()
            connection.setblocking(False)
            yield connection

    with mute_listener() as (url, listener), anyio.fail_after(5):
        listener.setblocking(False)
        connections = accepted(listener)

        async def ask() -> None:
            outcomes.append(await outcome(transport, request_to(url)))

        async def give_up(connection: socket.socket) -> None:
            try:
                early.append(not connection.recv(1, socket.MSG_PEEK))
            except BlockingIOError:
                early.append(True)
            connection.sendall(http_response(408, b"STRAY", {"connection": "close"}))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            with await anext(connections) as first:
                await anyio.wait_readable(first)
                first.recv(1 << 16)
                first.sendall(OK)
                while not outcomes:
                    await anyio.wait_all_tasks_blocked()
                group.start_soon(ask)
                group.start_soon(give_up, first)
                await until_still(lambda: len(outcomes))
                if early[0]:
                    with await anext(connections) as second:
                        await anyio.wait_readable(second)
                        second.recv(1 << 16)
                        second.sendall(http_response(200, b"own answer"))
                        while len(outcomes) < 2:
                            await anyio.wait_all_tasks_blocked()
        await connections.aclose()  # type: ignore[attr-defined]
    assert outcomes == [(200, b"hello"), (200, b"own answer") if early[0] else (408, b"STRAY")]


async def test_a_flood_while_nobody_takes_the_request_does_not_fill_the_memory(transport: Transport) -> None:
    sent = 0

    async def talk(stream: anyio.abc.ByteStream) -> None:
        nonlocal sent
        await stream.send(http_head(100))
        await stream.send(http_head(200, {"content-length": "999999999"}))
        while True:
            await stream.send(b"x" * 65536)
            sent += 65536

    async def ask(url: str) -> None:
        with suppress(TransportFailure):
            response = await transport.open(request_to(url, body=b"x" * (32 << 20)))
            try:
                await anyio.sleep_forever()
            finally:
                await response.aclose()

    with anyio.fail_after(10):
        async with server_of(talk) as url, anyio.create_task_group() as group:
            group.start_soon(ask, url)
            await until_still(lambda: sent)
            assert sent < 20 << 20, "more than the kernel's buffers hold"
            group.cancel_scope.cancel()


async def test_an_answer_that_ends_with_its_connection_is_whole_however_late_it_is_read(transport: Transport) -> None:
    async def talk(stream: anyio.abc.ByteStream) -> None:
        await read_until(stream, END_OF_REQUEST)
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\nhello")

    with anyio.fail_after(5):
        async with server_of(talk) as url:
            response = await transport.open(request_to(url))
            await anyio.wait_all_tasks_blocked()
            body = b""
            async for chunk in response.chunks():
                body += chunk
                for _ in range(5):
                    await anyio.wait_all_tasks_blocked()
            await response.aclose()
            assert body == b"hello"
