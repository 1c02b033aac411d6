"""A caller, a real proxy, a server, the gateway, a provider: what has to come through, in both directions.

By hand (`pytest -m long tests/proxies`), where nginx and haproxy are installed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest

from ogw_asgi.testing import (
    SSE_DONE,
    Hang,
    RawScript,
    RawUpstream,
    Reset,
    Wait,
    chunked,
    completion_chunk,
    http_head,
    http_response,
    sse_event,
)
from tests.shutdown.callers import QUESTION, Caller, calling
from tests.shutdown.processes import running
from tests.shutdown.servers import SERVERS, Server

from .proxies import NGINX_AS_IT_COMES, PROXIES, Proxy, in_front_of

pytestmark = [pytest.mark.anyio, pytest.mark.long]

HEAD = http_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
COMPLETION = b'{"id": "1", "object": "chat.completion", "choices": [{"index": 0, "message": {"content": "Hi"}}]}'
FIRST = sse_event(completion_chunk({"role": "assistant", "content": "Hello"}))
MORE = sse_event(completion_chunk({"content": " there"}))
LAST = sse_event(completion_chunk({}, finish_reason="stop"))
LONG = "x" * (2 << 20)
"""More than the mebibyte that nginx lets through out of the box."""

LIMIT_S = 15.0
NOTICED_S = 1.0
"""Within this a provider's connection is closed behind a caller who has left."""


def where_installed(proxy: Proxy) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not proxy.installed, reason=f"no {proxy.program} here")


each_proxy = pytest.mark.parametrize(
    "proxy", [pytest.param(proxy, id=name, marks=where_installed(proxy)) for name, proxy in PROXIES.items()]
)
UVICORN = SERVERS["uvicorn"]
UVICORN_ON_H11 = replace(UVICORN, command=(*UVICORN.command, "--http", "h11"))
each_server = pytest.mark.parametrize(
    "server",
    [
        pytest.param(UVICORN, id="uvicorn"),
        pytest.param(UVICORN_ON_H11, id="uvicorn-h11"),
        pytest.param(SERVERS["hypercorn-trio"], id="hypercorn"),
        pytest.param(SERVERS["granian"], id="granian"),
    ],
)


@dataclass
class World:
    upstream: RawUpstream
    caller: Caller


@asynccontextmanager
async def world_of(proxy: Proxy, folder: Path, script: RawScript, server: Server = UVICORN) -> AsyncIterator[World]:
    command = server.arguments(grace_s=1)
    with anyio.fail_after(LIMIT_S):
        async with RawUpstream(script) as upstream, running(command, upstream=upstream.url) as process:
            async with in_front_of(process.port, proxy, folder) as port, calling(port) as caller:
                yield World(upstream, caller)


@each_proxy
async def test_each_event_is_there_before_the_next_one_is_sent(proxy: Proxy, tmp_path: Path) -> None:
    first, second = anyio.Event(), anyio.Event()
    script: RawScript = [
        *(HEAD, chunked(FIRST), Wait(first)),
        *(chunked(MORE), Wait(second)),
        chunked(LAST, SSE_DONE, last=True),
    ]
    async with world_of(proxy, tmp_path, script) as world:
        await world.caller.ask_for_a_stream()
        await world.caller.read_until(b"Hello")
        first.set()
        await world.caller.read_until(b" there")
        second.set()
        await world.caller.read_whole()
        assert world.caller.is_whole


@each_server
@each_proxy
async def test_a_stream_that_breaks_is_told_from_a_whole_one(proxy: Proxy, server: Server, tmp_path: Path) -> None:
    gate = anyio.Event()
    async with world_of(proxy, tmp_path, [HEAD, chunked(FIRST), Wait(gate), Reset()], server) as world:
        await world.caller.ask_for_a_stream()
        await world.caller.read_until(b"Hello")
        gate.set()
        await world.caller.read_to_end()
        assert b"was interrupted" in world.caller.received
        assert world.caller.is_visibly_broken


@where_installed(NGINX_AS_IT_COMES)
async def test_nginx_as_it_comes_leaves_only_the_error_event_of_a_break(tmp_path: Path) -> None:
    # It asks in HTTP/1.0, where h11, hypercorn and granian end a body by closing. So docs/proxies/nginx.conf says 1.1.
    gate = anyio.Event()
    script: RawScript = [HEAD, chunked(FIRST), Wait(gate), Reset()]
    async with world_of(NGINX_AS_IT_COMES, tmp_path, script, UVICORN_ON_H11) as world:
        await world.caller.ask_for_a_stream()
        await world.caller.read_until(b"Hello")
        gate.set()
        await world.caller.read_whole()
        assert b"was interrupted" in world.caller.received
        assert b"[DONE]" not in world.caller.received


@each_proxy
async def test_a_caller_who_leaves_a_stream_is_noticed(proxy: Proxy, tmp_path: Path) -> None:
    async with world_of(proxy, tmp_path, [HEAD, chunked(FIRST), Hang()]) as world:
        await world.caller.ask_for_a_stream()
        await world.caller.read_until(b"Hello")
        await world.caller.leave()
        with anyio.fail_after(NOTICED_S):
            await world.upstream.peer_closed()


@each_proxy
async def test_a_caller_who_leaves_while_a_provider_is_silent_is_noticed(proxy: Proxy, tmp_path: Path) -> None:
    async with world_of(proxy, tmp_path, [Hang()]) as world:
        await world.caller.ask_for_a_stream()
        await world.upstream.wait_for_requests()
        await world.caller.leave()
        with anyio.fail_after(NOTICED_S):
            await world.upstream.peer_closed()


@each_proxy
async def test_a_long_prompt_and_the_headers_of_the_contract_come_through(proxy: Proxy, tmp_path: Path) -> None:
    answer = http_response(200, COMPLETION, {"content-type": "application/json"})
    async with world_of(proxy, tmp_path, [answer]) as world:
        sequence = b'x-opengateway-failover-sequence: ["openai/another"]\r\n'
        await world.caller.ask({**QUESTION, "user": LONG}, sequence)
        await world.caller.read_until(b'"Hi"')
        head = world.caller.received.partition(b"\r\n\r\n")[0].lower()
        assert b" 201 " in head
        assert b"x-opengateway-provider: openai" in head
        assert b"x-opengateway-attempts: 1" in head
        assert b"server-timing: openai;dur=" in head
        (asked,) = await world.upstream.wait_for_requests()
        sent = json.loads(asked.body)
        assert (sent["model"], sent["user"]) == ("another", LONG)
        assert b"x-opengateway" not in asked.head.lower()
        assert b"x-forwarded" not in asked.head.lower()
