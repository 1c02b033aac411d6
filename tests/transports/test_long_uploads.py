"""Long bodies that their server does not take: what is left of them is nobody else's."""

from __future__ import annotations

import socket

import anyio
import anyio.abc
import pytest

from ogw_asgi.testing import http_head, http_response
from ogw_asgi.transports.base import Transport

from .engines import OK, Engine, outcome, request_to
from .servers import mute_listener, read_until, server_of, trusting
from .test_uploads import AUTHORITY, BODY, TOO_LARGE, context

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("before", [b"", http_head(100), http_head(103)], ids=["", "100", "103"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_the_last_word_ends_the_upload_though_the_server_stays_and_reads_no_more(
    engine: Engine, tls: bool, before: bytes
) -> None:
    opened, done = anyio.Event(), anyio.Event()

    async def talk(stream: anyio.abc.ByteStream) -> None:
        await read_until(stream, b"\r\n\r\n")
        head, blank, body = TOO_LARGE.partition(b"\r\n\r\n")
        await stream.send(before + head + blank)
        await opened.wait()
        await stream.send(body)
        await done.wait()

    transport = engine.make(verify=trusting(AUTHORITY))
    with anyio.fail_after(5):
        async with server_of(talk, context(tls)) as url:
            response = await transport.open(request_to(url, body=BODY))
            opened.set()
            assert response.status == 413
            assert b"".join([chunk async for chunk in response.chunks()]) == b"too large"
            await response.aclose()
            done.set()
            await transport.aclose()


def capacity() -> int:
    """How much the kernel takes for a peer that does not read."""
    with mute_listener() as (_, listener), socket.create_connection(listener.getsockname()) as sender:
        sender.setblocking(False)
        taken = 0
        try:
            while True:
                taken += sender.send(b"x" * (8 << 20))
        except BlockingIOError:
            return taken


@pytest.mark.parametrize("beyond", range(0, 64 << 10, 8 << 10))
async def test_what_is_on_its_way_of_a_request_never_mixes_with_the_next_one(transport: Transport, beyond: int) -> None:
    """The server answers at once, keeps the connection and reads slowly: the rest of the body is still in our hands."""
    first = b"x" * (capacity() + beyond)
    requests: list[tuple[bytes, bytes]] = []
    go_on = anyio.Event()

    async def talk(stream: anyio.abc.ByteStream) -> None:
        received = b""
        while True:
            if b"\r\n\r\n" not in received:
                received += await read_until(stream, b"\r\n\r\n")
            head, _, body = received.partition(b"\r\n\r\n")
            body = body or await stream.receive()
            if body.startswith(b"x"):
                await stream.send(http_response(429, b"slow down"))
                body += await stream.receive(16 << 10)  # room for the next request, but too little to be told of it
                await go_on.wait()
            else:
                await stream.send(OK)
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            while len(body) < length:
                body += await stream.receive(1 << 20)
            # All of it may have gone out at last, and then the next request may stand behind it.
            body, received = body[:length], body[length:]
            requests.append((head[:5], body))

    with anyio.fail_after(5):
        async with server_of(talk) as url, anyio.create_task_group() as group:
            assert await outcome(transport, request_to(url, body=first)) == (429, b"slow down")
            group.start_soon(outcome, transport, request_to(url, body=b"second"))
            for _ in range(5):
                await anyio.wait_all_tasks_blocked()
            go_on.set()
            while not any(body == b"second" for _, body in requests):
                await anyio.wait_all_tasks_blocked()
            await transport.aclose()
    assert {head for head, _ in requests} == {b"POST "}
    assert all(body in (first, b"second") for _, body in requests), "no request stands in another one's body"
