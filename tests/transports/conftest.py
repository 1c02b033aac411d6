"""Every test of this folder runs on each engine and every loop; what is about no engine of ours on two of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ogw_asgi.transports.base import Transport

from .engines import ENGINES, Engine

UVLOOP = ("asyncio", {"use_uvloop": True})


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"debug": False}), id="asyncio"),
        pytest.param(("trio", {}), id="trio"),
        pytest.param(UVLOOP, id="uvloop"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Engines of ours have a protocol and sockets of their own below uvloop's transports; all else only has anyio's.
    left_out = [item for item in items if item.path.parent == Path(__file__).parent and _is_uvloop_without_ours(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _is_uvloop_without_ours(item: pytest.Item) -> bool:
    params: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    return params.get("anyio_backend") == UVLOOP and "engine_name" not in params


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
