"""Requests that may not go everywhere: addresses that are forbidden, and URLs that lead elsewhere than they should."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import pytest

from ogw_asgi.testing import RawUpstream
from ogw_asgi.transports.base import TransportFailure
from ogw_asgi.transports.dial import Dialer

from .engines import OK, Engine, outcome, request_to

pytestmark = pytest.mark.anyio


def resolving_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    system = socket.getaddrinfo

    def look_up(host: Any, *more: Any, **options: Any) -> Any:
        if host != "gpu.test":
            return system(host, *more, **options)
        return [answer for address in addresses for answer in system(address, *more, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.mark.contract("7.guard.every", "7.guard.pinned")
async def test_a_forbidden_address_is_not_connected_to(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving_to(monkeypatch, "127.0.0.1", "127.0.0.2")
    asked: list[str] = []

    def permits(ip: str) -> bool:
        asked.append(ip)
        return ip != "127.0.0.2"

    transport = engine.make(keepalive=False)
    try:
        async with RawUpstream([OK]) as server:
            request = replace(request_to(f"http://gpu.test:{server.port}"), permits=permits)
            with pytest.raises(TransportFailure) as caught:
                await transport.open(request)
            assert (caught.value.kind, caught.value.address) == ("denied", "127.0.0.2")
            assert (asked, server.connections) == (["127.0.0.1", "127.0.0.2"], 0)
            assert await outcome(transport, replace(request, permits=lambda ip: True)) == (200, b"hello")
    finally:
        await transport.aclose()


@pytest.mark.contract("7.own-pool")
async def test_a_guarded_request_has_a_connection_of_its_own_and_leaves_none(engine: Engine) -> None:
    transport = engine.make(keepalive=False)
    try:
        async with RawUpstream([OK]) as server:
            for _ in range(3):
                request = replace(request_to(server.url), permits=lambda ip: True)
                assert await outcome(transport, request) == (200, b"hello")
            await server.peer_closed(3)
            assert (server.connections, server.reused) == (3, 0)
    finally:
        await transport.aclose()


@pytest.mark.contract("7.own-pool")
async def test_an_engine_that_keeps_connections_lends_none_to_a_guarded_request(engine: Engine) -> None:
    transport = engine.make(keepalive=True)
    try:
        async with RawUpstream([OK]) as server:
            assert await outcome(transport, request_to(server.url)) == (200, b"hello")
            guarded = replace(request_to(server.url), permits=lambda ip: True)
            assert await outcome(transport, guarded) == (200, b"hello")
            assert server.reused == 0
            assert await outcome(transport, request_to(server.url)) == (200, b"hello")
            assert (server.connections, server.reused) == (2, 1)
            assert await outcome(transport, replace(request_to(server.url), permits=lambda ip: False)) == "denied"
    finally:
        await transport.aclose()


@pytest.mark.contract("7.key-bound")
@pytest.mark.parametrize(
    "lead", [lambda port: f"http://127.0.0.1:{port + 1}", lambda port: f"https://127.0.0.1:{port}", lambda port: "x"]
)
async def test_a_url_that_leads_elsewhere_than_the_key_belongs_is_not_followed(
    engine: Engine, lead: Callable[[int], str]
) -> None:
    transport = engine.make()
    try:
        async with RawUpstream([OK]) as server:
            request = request_to(server.url)
            assert await outcome(transport, replace(request, origin=lead(server.port))) == "misdirected"
            assert server.connections == 0
            assert await outcome(transport, replace(request, origin=server.url)) == (200, b"hello")
    finally:
        await transport.aclose()


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://GPU.test", "http://gpu.test"),
        ("http://gpu.test:80", "http://gpu.test"),
        ("https://gpu.test:443", "https://gpu.test"),
        ("http://[::1]:9", "http://[::1]:9"),
        ("http://gpu_1.test:9", "http://gpu_1.test:9"),
    ],
)
async def test_every_engine_reads_an_origin_as_providers_write_it(
    engine: Engine, url: str, origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "nobody")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    transport = engine.make()
    try:
        found = await outcome(transport, replace(request_to(url), origin=origin))
        assert found in ("dns", "connect")
    finally:
        await transport.aclose()


async def test_a_peer_that_is_another_than_was_dialled_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a socket wrapper or a proxy of the machine's own could bring about."""

    class Elsewhere(socket.socket):
        def getpeername(self) -> Any:
            return ("169.254.169.254", 80)

    async with RawUpstream([OK]) as server:
        with monkeypatch.context() as patched, anyio.fail_after(5):
            patched.setattr(socket, "socket", Elsewhere)
            with pytest.raises(TransportFailure) as caught:
                await Dialer().dial("127.0.0.1", server.port, lambda ip: True)
        assert (caught.value.kind, caught.value.address) == ("denied", "169.254.169.254")
        await server.peer_closed(1)


async def test_a_peer_that_has_gone_before_it_is_looked_at_is_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(socket.socket):
        def getpeername(self) -> Any:
            raise OSError

    async with RawUpstream([OK]) as server:
        with monkeypatch.context() as patched, anyio.fail_after(5):
            patched.setattr(socket, "socket", Gone)
            with pytest.raises(TransportFailure) as caught:
                await Dialer().dial("127.0.0.1", server.port, lambda ip: True)
        assert caught.value.kind == "connect"
        await server.peer_closed(1)
