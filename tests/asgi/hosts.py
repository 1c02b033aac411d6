"""Every way to bring a gateway into an app, and the requests, upstreams and observations that the tests share."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from ogw_asgi import Gateway, GatewayMiddleware, OpenAI
from ogw_asgi.fastapi import gateway_router
from ogw_asgi.testing import (
    LAST_CHUNK,
    SSE_DONE,
    RawScript,
    RawUpstream,
    ScriptedUpstream,
    asgi_client,
    chunked,
    completion_chunk,
    dead_port,
    error,
    http_head,
    http_response,
    sse_event,
)
from ogw_asgi.testing.encoding import json_bytes

App = Callable[[Any, Any, Any], Any]

QUESTION = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say hello."}]}
STREAMED = {**QUESTION, "stream": True}
KEY = "sk-c4n4ry-test-0123456789"

COMPLETION = json_bytes(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "served",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    }
)
EVENTS = [
    sse_event(completion_chunk({"role": "assistant", "content": "Hel"})),
    sse_event(completion_chunk({"content": "lo"})),
    sse_event(completion_chunk({}, finish_reason="stop")),
    SSE_DONE,
]
PLAIN_WIRE = http_response(200, COMPLETION, {"content-type": "application/json"})
STREAM_WIRE = [
    http_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}),
    chunked(*EVENTS),
    LAST_CHUNK,
]


@dataclass(frozen=True)
class Way:
    """One way in. `build(gateway, wired)` makes the app; `self_wiring`: the host's lifespan is all it needs."""

    build: Callable[[Gateway, bool], App]
    path: str
    self_wiring: bool = True


def _mounted(host: Callable[..., Any]) -> Callable[[Gateway, bool], App]:
    def build(gateway: Gateway, wired: bool) -> App:
        app: App = host(gateway.lifespan if wired else None)
        app.mount("/llm", gateway)  # type: ignore[attr-defined]
        return app

    return build


def _wrapped(host: Callable[..., Any], prefix: str | None = None) -> Callable[[Gateway, bool], App]:
    def build(gateway: Gateway, wired: bool) -> App:
        app: App = host(None)
        options = {} if prefix is None else {"prefix": prefix}
        app.add_middleware(GatewayMiddleware, gateway=gateway, **options)  # type: ignore[attr-defined]
        return app

    return build


def _routed(gateway: Gateway, wired: bool) -> App:
    app = FastAPI()
    app.include_router(gateway_router(gateway), prefix="/api")
    return app


def starlette(lifespan: Any = None) -> Starlette:
    return Starlette(lifespan=lifespan)


def fastapi(lifespan: Any = None) -> FastAPI:
    return FastAPI(lifespan=lifespan)


WAYS = {
    "mount-starlette": Way(_mounted(starlette), "/llm/chat/completions", self_wiring=False),
    "mount-fastapi": Way(_mounted(fastapi), "/llm/chat/completions", self_wiring=False),
    "middleware-starlette": Way(_wrapped(starlette), "/chat/completions"),
    "middleware-fastapi": Way(_wrapped(fastapi), "/chat/completions"),
    "middleware-prefix": Way(_wrapped(starlette, "/llm"), "/llm/chat/completions"),
    "router-fastapi": Way(_routed, "/api/chat/completions"),
    "bare": Way(lambda gateway, wired: gateway, "/chat/completions"),
}


@asynccontextmanager
async def running(app: App, *, lifespan: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """A client of `app` as a server would run it, with its lifespan or, for servers without, not."""
    async with AsyncExitStack() as stack:
        if lifespan:
            app = (await stack.enter_async_context(LifespanManager(app))).app
        yield await stack.enter_async_context(asgi_client(app))


@asynccontextmanager
async def over_sockets(*scripts: RawScript, **options: Any) -> AsyncIterator[tuple[Gateway, RawUpstream]]:
    """A gateway with connections of its own: the first provider refuses them, the second is the upstream here."""
    with dead_port() as port:
        async with RawUpstream(*(scripts or ([PLAIN_WIRE],))) as upstream:
            gateway = Gateway(
                providers=[
                    OpenAI(name="down", base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY),
                    OpenAI(name="up", base_url=f"{upstream.url}/v1", api_key=KEY),
                ],
                **options,
            )
            yield gateway, upstream


@asynccontextmanager
async def in_process(*replies: Any, **options: Any) -> AsyncIterator[tuple[Gateway, ScriptedUpstream]]:
    """A gateway over two in-process providers: the first always answers 503, the second follows the script."""
    upstream = ScriptedUpstream(*replies)
    async with ScriptedUpstream(error(503)).client() as down, upstream.client() as up:
        gateway = Gateway(
            providers=[
                OpenAI(name="down", api_key=KEY, client=down),
                OpenAI(name="up", api_key=KEY, client=up),
            ],
            **options,
        )
        try:
            yield gateway, upstream
        finally:
            await gateway.aclose()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def code(response: httpx.Response) -> Any:
    return response.json()["error"]["code"]


class Recorder:
    """A host that remembers what reached it, by identity, and answers 200 to everything."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any]] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        self.calls.append((scope, receive, send))
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"the host's"})


def http_scope(method: str = "POST", path: str = "/chat/completions", **extra: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("app", 80),
        **extra,
    }


def starlette_with(*middleware: Middleware, routes: Any = ()) -> Starlette:
    return Starlette(middleware=list(middleware), routes=list(routes))


def mounted(gateway: Gateway, path: str = "/llm") -> Mount:
    return Mount(path, app=gateway)
