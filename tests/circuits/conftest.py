"""A Redis for each module, emptied for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ogw_asgi.circuits import shared

from .redis_server import RedisServer, redis_server


@pytest.fixture(scope="module")
def started_server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def server(started_server: RedisServer) -> RedisServer:
    started_server.ask("FLUSHALL")
    started_server.ask("CONFIG", "RESETSTAT")
    return started_server


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked is what comes of an answer, on a machine that may be busy."""
    monkeypatch.setattr(shared, "PATIENCE_S", 5.0)
