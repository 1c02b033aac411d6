"""The gateway under hypercorn, which runs on both loops: the whole way of a request on trio, sockets and all."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import hypercorn.asyncio
import hypercorn.trio
import pytest
import trio
from hypercorn.config import Config

from ogw_asgi.testing import (
    Fin,
    Hang,
    RawUpstream,
    Wait,
    chunked,
    completion_chunk,
    dead_port,
    http_head,
    http_response,
    sse_event,
    stream,
)
from ogw_asgi.testing.encoding import json_bytes
from ogw_asgi.testing.replies import answer

from .served import Fleet, make_gateway

pytestmark = pytest.mark.anyio

QUESTION: dict[str, Any] = {"model": "some-model", "messages": [{"role": "user", "content": "Hi"}]}
STREAMED = {**QUESTION, "stream": True}
HEAD = http_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
FIRST = sse_event(completion_chunk({"role": "assistant", "content": "Hello"}))
JSON_TYPE = {"content-type": "application/json"}


@asynccontextmanager
async def hypercorn_served(**arguments: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serves a gateway on the loop of the test; yields a client of it."""
    gateway, _ = make_gateway(Fleet(), arguments)
    over = anyio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = Config()
        # Hypercorn owns and closes a descriptor that it is given.
        port, config.bind = listener.getsockname()[1], [f"fd://{listener.dup().detach()}"]
        config.accesslog = config.errorlog = None
        config.graceful_timeout = 1
        serve: Any = hypercorn.trio.serve if trio.lowlevel.in_trio_task() else hypercorn.asyncio.serve
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: serve(gateway, config, shutdown_trigger=over.wait))
                try:
                    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                        yield client
                finally:
                    over.set()


async def test_a_completion_comes_from_the_next_provider() -> None:
    body = next(step for step in answer("Hi there").body if isinstance(step, bytes))
    with dead_port() as port:
        async with RawUpstream([http_response(200, body, JSON_TYPE)]) as good:
            async with hypercorn_served(openai=f"http://127.0.0.1:{port}", azure=good) as client:
                reply = await client.post("/v1/chat/completions", json=QUESTION)
    assert reply.status_code == 201
    assert reply.json()["choices"][0]["message"]["content"] == "Hi there"
    assert reply.headers["x-opengateway-provider"] == "azure"
    assert reply.headers["x-opengateway-attempts"] == "2"


async def test_a_stream_comes_from_the_next_provider_bit_by_bit() -> None:
    gate = anyio.Event()
    steps = [step for step in stream(["Hel", "lo"], role_first=False).body if isinstance(step, bytes)]
    wire: list[Any] = [HEAD, chunked(steps[0]), Wait(gate), chunked(*steps[1:], last=True)]
    overloaded = http_response(503, json_bytes({"error": {"message": "Overloaded."}}), JSON_TYPE)
    received = b""
    async with RawUpstream([overloaded]) as down, RawUpstream(wire) as good:
        async with hypercorn_served(openai=down, azure=good) as client:
            async with client.stream("POST", "/chat/completions", json=STREAMED) as reply:
                async for chunk in reply.aiter_raw():
                    received += chunk
                    if received == steps[0]:
                        gate.set()
    assert reply.status_code == 201
    assert reply.headers["x-opengateway-provider"] == "azure"
    assert received == b"".join(steps)


@pytest.mark.contract("4.caller-gone.receive")
@pytest.mark.parametrize("wire", [[Hang()], [HEAD, chunked(FIRST), Hang()]], ids=["before the head", "in the stream"])
async def test_a_caller_who_leaves_closes_the_providers_connection(wire: list[Any]) -> None:
    async with RawUpstream(wire) as provider, hypercorn_served(openai=provider) as client:

        async def call() -> None:
            async with client.stream("POST", "/chat/completions", json=STREAMED) as reply:
                async for _ in reply.aiter_raw():
                    group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await provider.wait_for_requests()
            if len(wire) == 1:
                group.cancel_scope.cancel()
        await provider.peer_closed()


@pytest.mark.contract("5.error-event", "5.unterminated")
async def test_a_broken_stream_is_visible_in_the_event_and_in_the_connection() -> None:
    received = b""
    async with RawUpstream([HEAD, chunked(FIRST), Fin()]) as provider, hypercorn_served(openai=provider) as client:
        async with client.stream("POST", "/chat/completions", json=STREAMED) as reply:
            chunks = reply.aiter_raw()
            async for chunk in chunks:
                received += chunk
                if b"stream_interrupted" in received:
                    break
            with pytest.raises(httpx.RemoteProtocolError):
                await anext(chunks)
    assert received.startswith(FIRST)
    assert b'"code":"stream_interrupted"' in received
    assert b"[DONE]" not in received
