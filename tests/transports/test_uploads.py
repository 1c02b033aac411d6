"""Bodies that take long to send: servers that answer before the end, with the last word or with less, and leave."""

from __future__ import annotations

import logging
import ssl

import anyio
import anyio.abc
import pytest
import trustme

from ogw_asgi.testing import http_head, http_response
from ogw_asgi.transports.base import Transport

from .engines import OK, Engine, outcome, request_to
from .servers import certified, read_until, server_of, trusting

pytestmark = pytest.mark.anyio

BODY = b"x" * (8 << 20) + b"END"
AUTHORITY = trustme.CA()
TOO_LARGE = http_response(413, b"too large", {"connection": "close"})


def context(tls: bool) -> ssl.SSLContext | None:
    return certified(AUTHORITY.issue_cert("127.0.0.1")) if tls else None


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("interim", [http_head(100), http_head(103, {"link": "</x>"})], ids=["100", "103"])
async def test_an_interim_response_does_not_end_the_upload(engine: Engine, interim: bytes, tls: bool) -> None:
    async def talk(stream: anyio.abc.ByteStream) -> None:
        await read_until(stream, b"\r\n\r\n")
        await stream.send(interim)
        last = b""
        while not last.endswith(b"END"):
            last = last[-3:] + await stream.receive()
        await stream.send(OK)

    transport = engine.make(verify=trusting(AUTHORITY))
    with anyio.fail_after(5):
        async with server_of(talk, context(tls)) as url:
            assert await outcome(transport, request_to(url, body=BODY)) == (200, b"hello")
            await transport.aclose()


async def test_a_server_that_answers_and_leaves_is_heard(transport: Transport) -> None:
    async def talk(stream: anyio.abc.ByteStream) -> None:
        await read_until(stream, b"\r\n\r\n")
        await stream.send(TOO_LARGE)

    with anyio.fail_after(5):
        async with server_of(talk) as url:
            # What was not read is answered with a reset, which may destroy what was sent before it (RFC 9112, 9.6).
            assert await outcome(transport, request_to(url, body=BODY)) in ((413, b"too large"), "reset")


async def test_uploads_that_break_leave_nothing_in_the_log_of_the_loop(
    transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(stream: anyio.abc.ByteStream) -> None:
        await read_until(stream, b"\r\n\r\n")

    caplog.set_level(logging.DEBUG, "asyncio")
    with anyio.fail_after(5):
        async with server_of(talk) as url:
            for _ in range(10):
                assert await outcome(transport, request_to(url, body=BODY)) == "reset"
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_closing_the_engine_ends_an_upload(engine: Engine, tls: bool) -> None:
    transport = engine.make(verify=trusting(AUTHORITY))
    stuck = anyio.Event()
    outcomes: list[object] = []

    async def talk(stream: anyio.abc.ByteStream) -> None:
        await read_until(stream, b"\r\n\r\n")
        await anyio.wait_all_tasks_blocked()
        stuck.set()
        await anyio.sleep_forever()

    async def ask(url: str) -> None:
        outcomes.append(await outcome(transport, request_to(url, body=BODY)))

    with anyio.fail_after(5):
        async with server_of(talk, context(tls)) as url, anyio.create_task_group() as group:
            group.start_soon(ask, url)
            await stuck.wait()
            await transport.aclose()
            while not outcomes:
                await anyio.wait_all_tasks_blocked()
    assert outcomes == ["reset"]
