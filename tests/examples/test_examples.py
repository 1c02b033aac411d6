"""Every example app is imported as a newcomer would start it, and answers through a failover."""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager

from ogw_asgi.testing import ScriptedUpstream, asgi_client, chat, error, serve


@asynccontextmanager
async def example(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Any, httpx.AsyncClient, ScriptedUpstream]]:
    """The example's module, a client of its app, and the second of its two providers; the first is down."""
    down, good = ScriptedUpstream(error(503)), ScriptedUpstream(chat("Hello"))
    async with serve(down) as first, serve(good) as second:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-c4n4ry-test")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{first}/v1")
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", second)
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-test")
        sys.modules.pop(f"example_apps.{name}", None)
        module = importlib.import_module(f"example_apps.{name}")
        async with LifespanManager(module.app) as manager, asgi_client(manager.app) as client:
            yield module, client, good


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "path", "extra"),
    [
        ("standalone", "/v1/chat/completions", {}),
        ("fastapi_mount", "/llm/chat/completions", {}),
        ("starlette_middleware", "/chat/completions", {}),
        ("fastapi_router", "/llm/v1/chat/completions", {"x-user": "ada"}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_example_fails_over(
    monkeypatch: pytest.MonkeyPatch, name: str, path: str, extra: dict[str, str], stream: bool
) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    async with example(name, monkeypatch) as (_, client, good):
        reply = await client.post(path, json=body, headers=extra)
        assert reply.status_code == 201
        assert reply.headers["x-opengateway-provider"] == "azure"
        assert reply.headers["x-opengateway-attempts"] == "2"
        assert "Hello" in reply.text
        assert good.requests[0].header("api-key") == "azure-test"


@pytest.mark.anyio
async def test_the_hosts_own_routes_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    async with example("starlette_middleware", monkeypatch) as (_, client, _good):
        assert (await client.get("/")).text == "the host's own page"
        assert (await client.get("/chat/completions")).json() == {"chats": []}


@pytest.mark.anyio
async def test_the_router_holds_a_principal_to_what_the_dependency_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"model": "large-model", "messages": [{"role": "user", "content": "hi"}]}
    async with example("fastapi_router", monkeypatch) as (_, client, _good):
        assert (await client.post("/llm/chat/completions", json=body)).json() == {"detail": "who are you?"}
        refused = await client.post("/llm/chat/completions", json=body, headers={"x-user": "bob"})
        assert refused.status_code == 403
        assert refused.json()["error"]["param"] == "model"
