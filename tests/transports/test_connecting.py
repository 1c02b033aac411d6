"""What happens before the first byte of a request: names, ports, certificates, and the limit over all of them."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio
import pytest
import trustme

from ogw_asgi.testing import Fin, Hang, OnAccept, RawScript, RawUpstream, Reset, SharedEvent, Wait, dead_port, http_head
from ogw_asgi.transports.base import Transport

from .engines import OK, Engine, fetch, outcome, request_to
from .servers import black_hole, certified, tls_server, trusting

pytestmark = pytest.mark.anyio

AUTHORITY = trustme.CA()
SHORT_S = 0.1
"""The connect limit of what never connects."""


async def test_a_closed_port(transport: Transport) -> None:
    with dead_port() as port, anyio.fail_after(5):
        assert await outcome(transport, request_to(f"http://127.0.0.1:{port}")) == "connect"


@pytest.mark.parametrize("name", ["nonexistent.invalid", "a" * 64 + ".invalid", "x..invalid"])
async def test_a_name_that_is_none(transport: Transport, name: str) -> None:
    # RFC 6761: `.invalid` never resolves, with or without a network; the others are no names at all (RFC 1035, 2.3.4).
    with anyio.fail_after(5):
        assert await outcome(transport, request_to(f"http://{name}", connect_s=4)) == "dns"


@pytest.mark.contract("8.connect")
async def test_a_black_hole_ends_at_the_connect_limit(transport: Transport) -> None:
    with black_hole() as nowhere:
        with anyio.fail_after(2):  # the kernel itself would try for two minutes
            started_s = anyio.current_time()
            assert await outcome(transport, request_to(nowhere, connect_s=SHORT_S)) == "connect_timeout"
            assert anyio.current_time() - started_s >= SHORT_S - 0.001  # a tick of uvloop's clock


@pytest.mark.contract("8.connect")
async def test_a_tls_handshake_that_stalls_ends_at_the_connect_limit_and_its_connection_with_it(
    transport: Transport,
) -> None:
    with anyio.fail_after(2):
        async with RawUpstream([OnAccept(), Hang()], [OK]) as server:
            url = server.url.replace("http:", "https:")
            assert await outcome(transport, request_to(url, connect_s=SHORT_S)) == "connect_timeout"
            await server.peer_closed()
            assert await outcome(transport, request_to(server.url)) == (200, b"hello")


@pytest.mark.contract("8.connect")
async def test_a_slow_head_and_a_slow_body_are_not_cut_by_the_connect_limit(transport: Transport) -> None:
    passed, passed_twice = SharedEvent(), SharedEvent()
    script: RawScript = [Wait(passed), http_head(200, {"content-length": "5"}), Wait(passed_twice), b"hello"]
    answers = []
    with anyio.fail_after(5):
        async with RawUpstream(script) as server, anyio.create_task_group() as group:

            async def ask() -> None:
                answers.append(await outcome(transport, request_to(server.url, connect_s=SHORT_S)))

            async def let_the_limit_pass() -> None:
                with anyio.CancelScope(deadline=anyio.current_time() + 1.5 * SHORT_S):
                    await anyio.sleep_forever()

            group.start_soon(ask)
            await server.wait_for_requests()
            await let_the_limit_pass()
            passed.set()
            await let_the_limit_pass()
            passed_twice.set()
    assert answers == [(200, b"hello")]


async def test_a_certificate_of_a_trusted_authority(engine: Engine) -> None:
    transport = engine.make(verify=trusting(AUTHORITY))
    with anyio.fail_after(5):
        async with tls_server(certified(AUTHORITY.issue_cert("localhost", "127.0.0.1"))) as server:
            for host in ("127.0.0.1", "localhost"):
                for _ in range(2):
                    assert (await fetch(transport, request_to(server.url(host)))).body == b"hello"
            assert server.requests == 4
            await transport.aclose()


UNTRUSTED = {
    "of an unknown authority": trustme.CA().issue_cert("127.0.0.1"),
    "for another name": AUTHORITY.issue_cert("other.test"),
    "expired": AUTHORITY.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC)),
}


@pytest.mark.parametrize("certificate", UNTRUSTED.values(), ids=UNTRUSTED)
async def test_a_certificate_that_cannot_be_trusted(engine: Engine, certificate: trustme.LeafCert) -> None:
    transport = engine.make(verify=trusting(AUTHORITY))
    with anyio.fail_after(5):
        async with tls_server(certified(certificate)) as server:
            assert await outcome(transport, request_to(server.url("127.0.0.1"))) == "tls"
            assert server.requests == 0, "nothing of the request may be sent"
            await transport.aclose()


@pytest.mark.parametrize("answer", [Fin(), Reset(), b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["FIN", "RST", "HTTP"])
async def test_a_tls_handshake_that_breaks(transport: Transport, answer: Fin | Reset | bytes) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([OnAccept(), answer]) as server:
            assert await outcome(transport, request_to(server.url.replace("http:", "https:"))) == "tls"
