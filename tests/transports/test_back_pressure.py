"""A slow reader slows the source down; what has come and was not read yet is bounded."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from ogw_asgi.testing import RawUpstream, Wait, http_head
from ogw_asgi.transports.base import Transport

from .engines import request_to
from .servers import until_still

pytestmark = pytest.mark.anyio

KIB = 1 << 10


async def traced(settle: Callable[[], Awaitable[Any]]) -> tuple[int, int]:
    """How many more bytes Python holds when `settle` has returned, and held at their highest."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        await settle()
        _, peak = tracemalloc.get_traced_memory()
        gc.collect()  # of the server's tasks, which lives in this process, too
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return held - before, peak - before


async def test_a_slow_reader_holds_no_more_than_a_quarter_of_a_mebibyte(transport: Transport) -> None:
    piece, pieces = b"x" * (64 * KIB), 320  # 20 MiB, more than the kernel takes

    class Written:
        count = 0

        async def wait(self) -> None:
            self.count += 1

    written = Written()
    steps = [step for _ in range(pieces) for step in (piece, Wait(written))]
    head = http_head(200, {"content-length": str(len(piece) * pieces)})
    with anyio.fail_after(10):
        async with RawUpstream([head, *steps]) as server:
            response = await transport.open(request_to(server.url))
            chunks = response.chunks()
            first = await anext(chunks)
            held, _ = await traced(lambda: until_still(lambda: written.count))
            assert held + len(first) <= 256 * KIB
            assert written.count < pieces, "the source was stopped"
            received = len(first)
            async for chunk in chunks:
                assert len(chunk) <= 256 * KIB
                received += len(chunk)
            await response.aclose()
    assert received == len(piece) * pieces
