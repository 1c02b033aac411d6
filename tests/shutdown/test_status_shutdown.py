"""A status page that somebody has open keeps no server from stopping."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import anyio
import httpx
import pytest

from ogw_asgi import Gateway, OpenAI
from ogw_asgi._asgi.status import LONGEST_UNSEEN_S
from ogw_asgi._asgi.stopping import Stopping
from ogw_asgi.testing import serve

from .callers import Caller, calling
from .processes import ServerProcess, running
from .servers import SERVERS

pytestmark = pytest.mark.anyio

APP = "tests.shutdown.status_app:app"
GRACE_S = 30
"""Longer than any test: a server that waits for a stream to end by itself fails its test."""

EXIT_S = 2.0


def long(*values: Any, name: str) -> Any:
    return pytest.param(*values, id=name, marks=pytest.mark.long)


async def ask(caller: Caller, path: bytes, mark: bytes) -> None:
    await caller._stream.send(b"GET " + path + b" HTTP/1.1\r\nhost: localhost\r\n\r\n")
    await caller.read_until(mark)


async def opened(process: ServerProcess, prefixes: Sequence[bytes], close: AsyncExitStack) -> list[Caller]:
    """Streams below each prefix, and the page in a tab that keeps its connection."""
    page, *callers = [await close.enter_async_context(calling(process.port)) for _ in (b"", *prefixes)]
    await ask(page, b"/llm/_status", b"\r\n\r\n")
    for caller, prefix in zip(callers, prefixes, strict=True):
        await ask(caller, prefix + b"/_status/events?as=html", b"event: snapshot")
    return callers


@pytest.mark.contract("6.status.stops")
@pytest.mark.parametrize(
    ("server", "workers", "exit_s"),
    [
        pytest.param("uvicorn", 1, EXIT_S, id="uvicorn"),
        pytest.param("hypercorn-trio", 1, EXIT_S, id="hypercorn-trio"),
        long("uvicorn", 2, EXIT_S, name="uvicorn, two workers"),
        long("hypercorn-asyncio", 1, EXIT_S, name="hypercorn-asyncio"),
        long("granian", 1, LONGEST_UNSEEN_S + 2, name="granian"),
    ],
)
async def test_a_server_with_open_status_pages_is_gone_soon_after_sigterm(
    server: str, workers: int, exit_s: float
) -> None:
    command = [*SERVERS[server].arguments(grace_s=GRACE_S, workers=workers)[:-1], APP]
    with anyio.fail_after(25):
        async with (
            running(command, upstream="http://127.0.0.1:1", workers=workers) as process,
            AsyncExitStack() as close,
        ):
            # On hypercorn what is within a BaseHTTPMiddleware sees nothing.
            prefixes = [b"/llm", b"/around/llm" if server == "uvicorn" else b"/llm"]
            followed, unread = await opened(process, prefixes, close)
            process.terminate()
            began_s = time.monotonic()
            await followed.read_to_end()
            assert followed.received.endswith(b"0\r\n\r\n"), "the stream ends as it should"
            assert await process.exit_code() == (0 if workers > 1 else SERVERS[server].exit_code)
            assert time.monotonic() - began_s < exit_s
            await unread.read_to_end()
            assert unread.received.endswith(b"0\r\n\r\n")
            assert len(process.told("closed")) == workers
            await process.all_gone()


@pytest.mark.contract("6.status.stops")
@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_a_uvicorn_in_a_thread_that_is_told_by_nobodys_signal_stops_as_soon(http: str) -> None:
    gateway = Gateway(providers=[OpenAI(api_key="k", base_url="http://127.0.0.1:1/v1")], status=True)
    with anyio.fail_after(GRACE_S / 2):
        async with httpx.AsyncClient() as client:
            async with serve(gateway, http=http, shutdown_timeout_s=GRACE_S) as url:
                request = client.build_request("GET", f"{url}/_status/events")
                reply = await client.send(request, stream=True)
                assert reply.status_code == 200
                began_s = time.monotonic()
            assert time.monotonic() - began_s < EXIT_S
            assert (await reply.aread()).startswith(b"retry: 1000\n\nevent: snapshot\n")


class _Counts:
    """A host's own handler of signals, which is no server of uvicorn's."""

    should_exit = True

    def handle(self, number: int, frame: Any) -> None: ...


def test_whose_handler_is_not_uvicorns_says_nothing_of_stopping() -> None:
    before = signal.signal(signal.SIGTERM, _Counts().handle)
    try:
        stopping = Stopping(print, print)
        assert not stopping.seen
        assert not stopping()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_is_looked_at_is_of_any_shape_and_never_an_error() -> None:
    class Odd:
        keep_alive = context = property(lambda self: 1)

        async def call(self, *_: Any) -> None: ...

    def around(send: Any, receive: Any) -> Any:
        return lambda message: (send, receive)

    receive = send = None

    def unbound() -> Any:
        return receive, send  # noqa: F821 - which is the point

    del receive, send
    deep = around(None, None)
    for _ in range(100):
        deep = around(deep, deep)
    for one in (None, 7, print, Odd().call, around(Odd().call, None), unbound, deep, Odd):
        stopping = Stopping(one, one)
        assert not stopping.seen
        assert not stopping()
