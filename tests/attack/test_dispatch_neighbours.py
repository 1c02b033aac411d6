"""What one request may do to another when the breaker that both wait behind opens."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from ogw_asgi import Breaker, Timeouts

from .dispatching import opened, played

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return "asyncio", {"debug": False}


async def test_a_request_that_is_cancelled_by_its_server_is_nobody_elses_failure() -> None:
    """Its hedge is closing its connection, when the breaker there opens."""
    asked = anyio.Event()
    closing = anyio.Event()
    closed = anyio.Event()

    async def silence(_: Any) -> int:
        await anyio.sleep_forever()
        raise AssertionError

    async def slow_to_close(request: Any) -> int:
        if dict(request.headers)[b"x-request-id"] != b"one":
            return 500
        asked.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                closing.set()
                await closed.wait()
        raise AssertionError

    async with opened("a", "b") as gateway:
        world = played(
            gateway, {"a": silence, "b": slow_to_close}, timeouts=Timeouts(), breaker=Breaker(failures=1), crowd=True
        )
        with anyio.fail_after(5):
            task = asyncio.create_task(world.call("a", "b", request_id="one", x_opengateway_hedge_after="1"))
            await asked.wait()
            task.cancel()
            await closing.wait()
            try:
                for _ in range(3):
                    await anyio.lowlevel.checkpoint()
                told = await world.call("b", request_id="two")
                assert told.status == 502
            finally:
                closed.set()
                await asyncio.wait([task])
        assert world.left_over() == {}
