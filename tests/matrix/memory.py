"""What a row costs in memory, apart from what the server in front of the gateway and the test itself hold."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

_SHARED = ("h11", "httptools")
"""Parsers that the server, the test and the engines use alike: whose memory it is, their caller tells."""

_NOT_OURS = ("hypercorn", "tests", "asyncio", "tracemalloc.py")


@contextmanager
def traced(frames: int = 1) -> Iterator[None]:
    gc.collect()
    tracemalloc.start(frames)
    try:
        yield
    finally:
        tracemalloc.stop()


async def grown_bytes(work: Callable[[], Awaitable[object]]) -> int:
    """By how much memory grows at the most while this is done; only within `traced`."""
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    await work()
    return tracemalloc.get_traced_memory()[1] - before


def held_bytes() -> int:
    """What is allocated now by the gateway and what it calls; only within `traced`, with some frames."""
    return sum(trace.size for trace in tracemalloc.take_snapshot().traces if _ours(trace.traceback))


def _ours(traceback: tracemalloc.Traceback) -> bool:
    for frame in reversed(traceback):  # the most recent first
        parts = frame.filename.split("/")
        if any(name in parts for name in _SHARED):
            continue
        return not any(name in parts for name in _NOT_OURS)
    return True
