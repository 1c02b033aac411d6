"""What engines of ours promise besides the seam: how they write, what they hold, how idle connections end."""

from __future__ import annotations

import gc
import socket
import ssl
import struct
import sys
import weakref
from pathlib import Path
from typing import Any, get_args

import anyio
import httptools
import pytest
import trustme
from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute

from ogw_asgi import ConfigurationError
from ogw_asgi._values import UpstreamRequest
from ogw_asgi.testing import RawUpstream, http_response
from ogw_asgi.transports import _pool
from ogw_asgi.transports._httpcore import OwnHTTPXTransport
from ogw_asgi.transports.base import Transport, TransportFailure
from ogw_asgi.transports.choice import EngineName, choose
from ogw_asgi.transports.dial import Dialer
from ogw_asgi.transports.native import NativeTransport

from .engines import ENGINES, HEAD_BYTES, HEADERS, OK, fetch, outcome, request_to
from .servers import certified, mute_listener, server_of
from .test_back_pressure import traced

pytestmark = pytest.mark.anyio


def data_segments_in(connection: socket.socket) -> int:
    """How many segments with data have come: `tcpi_data_segs_in` of Linux's tcp_info."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    (segments,) = struct.unpack_from("I", info, 152)
    assert isinstance(segments, int)
    return segments


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own count of segments is read")
async def test_head_and_body_go_out_in_one_segment(transport: Transport) -> None:
    with mute_listener() as (url, listener), anyio.fail_after(5):
        listener.setblocking(False)
        async with anyio.create_task_group() as group:
            group.start_soon(outcome, transport, request_to(url, body=b"x" * 20_000))
            await anyio.wait_readable(listener)
            accepted, _ = listener.accept()
            with accepted:
                received = b""
                while not received.endswith(b"x" * 20_000):
                    await anyio.wait_readable(accepted)
                    received += accepted.recv(1 << 20)
                assert data_segments_in(accepted) == 1
                accepted.sendall(OK)


@pytest.mark.parametrize("engine_name", ["native"])
async def test_a_long_body_is_not_copied(transport: Transport) -> None:
    request_body = b"x" * (16 << 20)
    with mute_listener() as (url, _), anyio.fail_after(5):
        async with anyio.create_task_group() as group:

            async def send_until_it_is_stuck() -> None:
                group.start_soon(outcome, transport, request_to(url, body=request_body))
                for _ in range(20):
                    await anyio.wait_all_tasks_blocked()

            _, peak = await traced(send_until_it_is_stuck)
            assert peak < 1 << 20
            group.cancel_scope.cancel()


@pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"]
)
async def test_on_asyncio_an_idle_connection_closes_by_itself(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pool, "KEEPALIVE_S", 0.5)
    with anyio.fail_after(5):
        async with RawUpstream([OK]) as server:
            for _ in range(3):
                await fetch(transport, request_to(server.url))
            assert server.connections == 1
            await server.peer_closed()
            await fetch(transport, request_to(server.url))
            assert server.connections == 2


def of_ours(transport: Transport) -> NativeTransport | OwnHTTPXTransport:
    assert isinstance(transport, NativeTransport | OwnHTTPXTransport)
    return transport


def freed_of(held: object) -> anyio.Event:
    """Set when nobody holds it any more."""
    freed = anyio.Event()
    weakref.finalize(held, freed.set)
    return freed


@pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"]
)
async def test_what_has_closed_by_itself_is_not_kept(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pool, "KEEPALIVE_S", 0.3)
    with anyio.fail_after(5):
        async with RawUpstream([OK]) as server, anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(fetch, transport, request_to(server.url))
        for freed in [freed_of(connection) for connection in of_ours(transport)._connections._pool._open]:
            await freed.wait()
        assert server.connections > 1


@pytest.mark.parametrize("anyio_backend", [("trio", {})], ids=["trio"])
async def test_on_trio_idle_connections_of_any_origin_close_when_another_comes_back(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pool, "KEEPALIVE_S", 0)
    with anyio.fail_after(5):
        async with RawUpstream([OK]) as one, RawUpstream([OK]) as other:
            await fetch(transport, request_to(one.url))
            await fetch(transport, request_to(other.url))
            await one.peer_closed()


URLS = [
    "ftp://provider.test/",
    "provider.test/v1",
    "http:///v1",
    "http://user:password@127.0.0.1/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:port/",
    "http://127.0.0.1:0/",
    "http://[::1/",
    "http://127.0.0.1/a b",
    "http://127.0.0.1/a\r\nx: y",
    "http://127.0.0.1/\u00e9",
]


@pytest.mark.parametrize("url", URLS)
async def test_a_url_that_is_none_is_not_asked(transport: Transport, url: str) -> None:
    with pytest.raises(TransportFailure, match="^connect$"):
        await transport.open(UpstreamRequest(url, HEADERS, b"", 1.0))


@pytest.mark.parametrize(
    ("url", "host", "target"),
    [
        ("http://127.0.0.1:{port}", b"127.0.0.1:%d", b"/"),
        ("http://LOCALHOST:{port}/V1?a=b&c=%20", b"localhost:%d", b"/V1?a=b&c=%20"),
        ("http://127.0.0.1:{port}/a%2Fb#fragment", b"127.0.0.1:%d", b"/a%2Fb"),
    ],
)
async def test_host_and_target_are_those_of_the_url(transport: Transport, url: str, host: bytes, target: bytes) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([OK]) as server:
            await fetch(transport, UpstreamRequest(url.format(port=server.port), HEADERS, b"", 2.0))
    line, host_line, *_ = server.requests[0].head.split(b"\r\n")
    assert (line, host_line.lower()) == (b"POST %b HTTP/1.1" % target, b"host: " + host % server.port)


async def test_more_urls_than_are_remembered_are_all_asked(transport: Transport) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([OK]) as server:
            for number in range(300):
                assert await outcome(transport, request_to(f"{server.url}/{number}")) == (200, b"hello")
    assert server.connections == 1
    assert len({request.head.split()[1] for request in server.requests}) == 300


async def test_an_answer_before_the_end_of_the_upload_ends_the_upload(transport: Transport) -> None:
    """A server that answers, keeps the connection open and reads no more: nobody waits for it."""
    with mute_listener() as (url, listener), anyio.fail_after(5):
        listener.setblocking(False)
        answers: list[object] = []

        async def ask() -> None:
            answers.append(await outcome(transport, request_to(url, body=b"x" * (16 << 20))))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.wait_readable(listener)
            accepted, _ = listener.accept()
            with accepted:
                await anyio.wait_readable(accepted)
                await anyio.wait_all_tasks_blocked()
                accepted.sendall(http_response(413, b"too large"))
                while not answers:
                    await anyio.wait_all_tasks_blocked()
    assert answers == [(413, b"too large")]


@pytest.mark.parametrize("host", ["xn--99999999", "xn--", "xn--a-", "xn--ls8h", "1.2.3.4.5.6", "a" * 64])
async def test_a_host_that_is_no_name_is_a_failure(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert await outcome(transport, request_to(f"http://{host}.invalid")) in ("dns", "connect")


async def test_an_exchange_leaves_nothing_to_the_garbage_collector(transport: Transport) -> None:
    """Where bodies wait for it, the memory is that of many bodies."""
    with anyio.fail_after(5):
        async with RawUpstream([OK]) as server:

            async def ask(count: int) -> None:
                for _ in range(count):
                    await fetch(transport, request_to(server.url))

            await ask(3)
            gc.collect()
            gc.disable()
            try:
                before = len(gc.get_objects())
                await ask(20)
                left = len(gc.get_objects()) - before
            finally:
                gc.enable()
    assert left < 20 * 20, "the server's own list of requests grows by less"


async def test_headers_that_are_no_bytes_are_a_failure_like_others(transport: Transport) -> None:
    headers: Any = [("authorization", "Bearer sk-c4n4ry-secret")]
    with pytest.raises(TransportFailure, match="^protocol$"):
        await transport.open(request_to("http://127.0.0.1:1", headers=headers))


@pytest.mark.parametrize(
    ("version", "engine"), [("0.6.3", "httpx2"), ("0.5.0", "httpx2"), ("0.6.4", "native"), ("1.0.0", "native")]
)
def test_an_httptools_that_is_too_lenient_is_not_taken(
    version: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(httptools, "__version__", version)
    assert choose("auto").name == engine
    if engine != "native":
        with pytest.raises(ConfigurationError, match="0.6.4 or later"):
            choose("native")


def test_the_engines_that_are_compared_are_all_there_are() -> None:
    assert set(ENGINES) == set(get_args(EngineName)) - {"auto"}


@pytest.mark.parametrize("name", ENGINES)
async def test_no_server_may_choose_another_protocol(name: EngineName) -> None:
    authority, chosen = trustme.CA(), []
    server_context = certified(authority.issue_cert("localhost"))
    server_context.set_alpn_protocols(["h2", "http/1.1"])

    async def talk(stream: ByteStream) -> None:
        chosen.append(stream.extra(TLSAttribute.alpn_protocol))
        await stream.send(OK)

    engine = choose(name)
    context = engine.make_ssl_context()
    authority.configure_trust(context)
    transport = engine.make(context, head_bytes=HEAD_BYTES, dialer=Dialer())
    with anyio.fail_after(5):
        async with server_of(talk, server_context) as url:
            await outcome(transport, request_to(url.replace("127.0.0.1", "localhost")))
        await transport.aclose()
    assert chosen == ["http/1.1"]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_environment_gets_no_secrets_of_tls(
    engine: EngineName, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "secrets"))
    context = choose(engine).make_ssl_context()
    assert context.keylog_filename is None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
