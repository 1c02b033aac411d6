"""Every test of this folder runs on each engine and both loops."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ogw_asgi.transports.base import Transport

from .engines import ENGINES, Engine


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def engine(engine_name: str) -> Engine:
    return ENGINES[engine_name]


@pytest.fixture
async def transport(engine: Engine, anyio_backend: Any) -> AsyncIterator[Transport]:
    made = engine.make()
    yield made
    await made.aclose()
