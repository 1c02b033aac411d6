"""The four servers, and how each is started."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from tests.shutdown.processes import ServerProcess, running

APP = "tests.fuzz_raw.app:app"

_UVICORN = ("uvicorn", "--port", "{port}", "--no-access-log", "--ws", "none")

# No websockets, which the gateway has none of: see docs/servers.md for what uvicorn does with them.
SERVERS: Mapping[str, Sequence[str]] = {
    "uvicorn, h11": (*_UVICORN, "--http", "h11", APP),
    "uvicorn, httptools": (*_UVICORN, "--http", "httptools", APP),
    "granian": ("granian", "--interface", "asgi", "--port", "{port}", "--no-ws", APP),
    "hypercorn": ("hypercorn", "--bind", "127.0.0.1:{port}", APP),
}


@asynccontextmanager
async def serving(server: str, upstream: str) -> AsyncIterator[ServerProcess]:
    """One worker of this server in front of the upstream at this URL."""
    async with running(SERVERS[server], upstream=upstream) as process:
        yield process
