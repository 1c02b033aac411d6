"""Every test of this folder runs on each engine and every loop; what is about no engine of ours on two of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ogw_asgi.transports.base import Transport

from .engines import CLIENTS, ENGINES, Engine

OF_CLIENTS = {
    "test_cancellation": (),
    "test_connections": (
        "test_a_connection_that_was_idle_for_four_seconds_is_not_used_again",
        "test_a_connection_that_is_made_while_the_engine_is_closed_is_closed_too",
    ),
    "test_response": (
        "test_where_engines_may_differ_they_do_as_the_table_says",
        "test_a_redirect_is_an_answer_like_others_wherever_it_leads",
    ),
    "test_uploads": (),
}
"""What holds for clients that users bring, too, but for these tests: there it is the library's to decide."""

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
    here = [item for item in items if item.path.parent == Path(__file__).parent]
    left_out = [item for item in here if _is_uvloop_without_ours(item) or _is_no_promise_of_a_users_client(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _params(item: pytest.Item) -> dict[str, Any]:
    return item.callspec.params if hasattr(item, "callspec") else {}


def _is_uvloop_without_ours(item: pytest.Item) -> bool:
    # Engines of ours have a protocol and sockets of their own below uvloop's transports; all else only has anyio's.
    params = _params(item)
    return params.get("anyio_backend") == UVLOOP and params.get("engine_name") not in ENGINES


def _is_no_promise_of_a_users_client(item: pytest.Item) -> bool:
    if _params(item).get("engine_name") not in CLIENTS:
        return False
    name: str = getattr(item, "originalname", item.name)
    return item.path.stem not in OF_CLIENTS or name in OF_CLIENTS[item.path.stem]


@pytest.fixture(params=[*ENGINES, *CLIENTS])
def engine_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def engine(engine_name: str) -> Engine:
    return {**ENGINES, **CLIENTS}[engine_name]


@pytest.fixture
async def transport(engine: Engine, anyio_backend: Any) -> AsyncIterator[Transport]:
    made = engine.make()
    yield made
    await made.aclose()
