"""Which connection a request goes over, when one is given up, and when a request is sent again."""

from __future__ import annotations

import socket
import threading
import time
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from ogw_asgi.testing import (
    Fin,
    Hang,
    RawScript,
    RawUpstream,
    Reset,
    SharedEvent,
    Wait,
    chunked,
    http_head,
    http_response,
)
from ogw_asgi.transports import _pool
from ogw_asgi.transports.base import FailureKind, Transport, TransportFailure

from .engines import OK, Engine, fetch, outcome, request_to

pytestmark = pytest.mark.anyio

OWN = http_response(200, b"own answer")


async def test_a_connection_is_used_again_after_its_body_was_read_to_the_end(transport: Transport) -> None:
    bodies: list[RawScript] = [
        [OK],
        [http_head(200, {"transfer-encoding": "chunked"}), chunked(b"hello", last=True)],
        [http_head(204)],
        [OK],
    ]
    with anyio.fail_after(5):
        async with RawUpstream(*bodies) as server:
            for _ in bodies:
                await fetch(transport, request_to(server.url))
    assert (server.connections, server.reused) == (1, 3)


async def test_requests_at_the_same_time_do_not_wait_for_each_other(transport: Transport) -> None:
    script: RawScript = [http_head(200), b"a", Hang()]
    with anyio.fail_after(5):
        async with RawUpstream(script) as server:
            responses = [await transport.open(request_to(server.url)) for _ in range(20)]
            assert server.connections == 20
            for response in responses:
                await response.aclose()
            await server.peer_closed(20)


async def test_an_engine_without_keepalive_closes_after_every_answer(engine: Engine) -> None:
    transport = engine.make(keepalive=False)
    with anyio.fail_after(5):
        async with RawUpstream([OK]) as server:
            for number in (1, 2, 3):
                await fetch(transport, request_to(server.url))
                await server.peer_closed(number)
        await transport.aclose()
    assert server.reused == 0


ABANDONED: dict[str, RawScript] = {
    "half-way in a length": [http_head(200, {"content-length": "9"}), b"a", Hang()],
    "half-way in chunks": [http_head(200, {"transfer-encoding": "chunked"}), chunked(b"a"), Hang()],
    "half-way without a length": [http_head(200), b"a", Hang()],
    "half-way with more to come": [http_head(200), b"a" * (1 << 20), Hang()],
}


@pytest.mark.parametrize("read", [0, 1])
@pytest.mark.parametrize("script", ABANDONED.values(), ids=ABANDONED)
async def test_a_connection_is_closed_when_its_body_was_not_read_to_the_end(
    transport: Transport, script: RawScript, read: int
) -> None:
    with anyio.fail_after(3):  # less than the four seconds after which it would be closed anyway
        async with RawUpstream(script, [OK]) as server:
            response = await transport.open(request_to(server.url))
            if read:
                async for _ in response.chunks():
                    break
            await response.aclose()
            await server.peer_closed()
            await response.aclose()  # harmless
            assert await outcome(transport, request_to(server.url)) == (200, b"hello")
            assert server.connections == 2


async def test_a_connection_is_closed_when_its_body_was_not_read_at_all(transport: Transport) -> None:
    with anyio.fail_after(3):  # less than the four seconds after which it would be closed anyway
        async with RawUpstream([OK], [OK]) as server:
            response = await transport.open(request_to(server.url))
            await response.aclose()
            await server.peer_closed()
            assert await outcome(transport, request_to(server.url)) == (200, b"hello")
            assert server.connections == 2


async def test_closing_the_engine_closes_its_idle_and_its_busy_connections(transport: Transport) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([OK], [OK], [http_head(200), b"a", Hang()]) as server:
            idle = await transport.open(request_to(server.url))
            await fetch(transport, request_to(server.url))
            async for _ in idle.chunks():
                pass
            await idle.aclose()
            busy = await transport.open(request_to(server.url))
            await transport.aclose()
            await server.peer_closed(2)
            with pytest.raises(TransportFailure, match="^reset$"):
                async for _ in busy.chunks():
                    pass
            await busy.aclose()
            await transport.aclose()  # harmless


async def test_a_closed_engine_fails_as_every_failure_does(transport: Transport) -> None:
    await transport.aclose()
    with anyio.fail_after(5):
        async with RawUpstream([OK]) as server:
            assert await outcome(transport, request_to(server.url)) == "connect"
    assert server.connections == 0


@pytest.mark.parametrize(("idle_s", "connections"), [(3.9, 1), (4.1, 2)])
async def test_a_connection_that_was_idle_for_four_seconds_is_not_used_again(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, idle_s: float, connections: int
) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([OK]) as server:
            await fetch(transport, request_to(server.url))
            later = SimpleNamespace(monotonic=lambda: time.monotonic() + idle_s)
            monkeypatch.setattr(_pool, "time", later)
            await fetch(transport, request_to(server.url))
            await server.peer_closed(connections - 1)
    assert server.connections == connections


@pytest.mark.contract("4.retry-stale")
@pytest.mark.parametrize("end", [Fin(), Reset()], ids=["FIN", "RST"])
async def test_a_connection_that_the_peer_closed_while_it_was_idle_costs_nothing(
    transport: Transport, end: Fin | Reset
) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([OK, end], [OWN]) as server:
            await outcome(transport, request_to(server.url))
            await anyio.wait_all_tasks_blocked()
            assert await outcome(transport, request_to(server.url)) == (200, b"own answer")
    assert (server.connections, len(server.requests)) == (2, 2)


@pytest.mark.contract("4.retry-stale")
@pytest.mark.parametrize("end", [Fin(), Reset()], ids=["FIN", "RST"])
async def test_a_reused_connection_that_gives_no_byte_is_replaced_and_the_request_sent_once_more(
    transport: Transport, end: Fin | Reset
) -> None:
    request_body = b'{"model": "m", "n": 1}' * 1000
    with anyio.fail_after(5):
        async with RawUpstream([OK], [end], [OWN]) as server:
            await fetch(transport, request_to(server.url))
            assert await outcome(transport, request_to(server.url, body=request_body)) == (200, b"own answer")
    first, stale, again = server.requests
    assert (first.connection, stale.connection, again.connection) == (0, 0, 1)
    assert (stale.head, stale.body) == (again.head, again.body) == (again.head, request_body)


@pytest.mark.contract("4.retry-stale")
@pytest.mark.parametrize("second", [Fin(), Reset()], ids=["FIN", "RST"])
async def test_the_second_failure_in_a_row_is_told(transport: Transport, second: Fin | Reset) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([OK], [Reset()], [second], [OK]) as server:
            await fetch(transport, request_to(server.url))
            assert await outcome(transport, request_to(server.url)) == "reset"
    assert len(server.requests) == 3


NOT_STALE: dict[str, tuple[RawScript, FailureKind]] = {
    "a part of a head, then FIN": ([b"HTTP/1.1 20", Fin()], "reset"),
    "early hints, then FIN": ([http_head(103), Fin()], "reset"),
    "garbage": ([b"garbage\r\n\r\n"], "protocol"),
    "two lengths": ([http_head(200, [("content-length", "5"), ("content-length", "6")])], "protocol"),
}


@pytest.mark.contract("4.retry-stale")
@pytest.mark.parametrize(("script", "kind"), NOT_STALE.values(), ids=NOT_STALE)
async def test_a_reused_connection_that_gave_a_byte_is_not_asked_again(
    transport: Transport, script: RawScript, kind: FailureKind
) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([OK], script, [OWN]) as server:
            await fetch(transport, request_to(server.url))
            assert await outcome(transport, request_to(server.url)) == kind
            assert len(server.requests) == 2
            assert await outcome(transport, request_to(server.url)) == (200, b"own answer")


async def test_a_stray_byte_that_comes_while_the_connection_is_idle_ends_it(transport: Transport) -> None:
    idle = anyio.Event()
    with anyio.fail_after(5):
        async with RawUpstream([OK, Wait(idle), http_response(200, b"somebody else's")], [OWN]) as server:
            await fetch(transport, request_to(server.url))
            idle.set()
            await anyio.wait_all_tasks_blocked()
            assert await outcome(transport, request_to(server.url)) == (200, b"own answer")
            assert server.connections == 2


async def test_a_connection_that_is_made_while_the_engine_is_closed_is_closed_too(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = SharedEvent(), threading.Event()
    real = socket.getaddrinfo

    def slow(host: str | bytes | None, *args: Any, **kwargs: Any) -> Any:
        numeric_only = kwargs.get("flags", args[4] if len(args) > 4 else 0) & socket.AI_NUMERICHOST  # trio asks first
        if host not in ("slow.test", b"slow.test") or numeric_only:
            return real(host, *args, **kwargs)
        asked.set()
        go_on.wait(5)
        return real("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    outcomes: list[object] = []

    async def ask(port: int) -> None:
        outcomes.append(await outcome(transport, request_to(f"http://slow.test:{port}")))

    with anyio.fail_after(5):
        async with RawUpstream([OK]) as server:
            async with anyio.create_task_group() as group:
                group.start_soon(ask, server.port)
                await asked.wait()
                await transport.aclose()
                go_on.set()
            if server.connections:
                await server.peer_closed(1)
    assert outcomes == ["connect"]
