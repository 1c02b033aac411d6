"""The running loop: its clock, its cancel scopes, and which one it is.

anyio asks all that anew each time, which costs more than most of what is done in between.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import anyio
from anyio.lowlevel import current_token


class Loop(NamedTuple):
    """What a request needs of its loop all the time.

    Attributes:
        clock_s: seconds on the clock that deadlines are on.
        cancel_scope: makes one without a deadline.
        asyncio: it is asyncio's, or one like it.
    """

    clock_s: Callable[[], float]
    cancel_scope: Callable[[], anyio.CancelScope]
    asyncio: bool


def this_loop() -> Loop:
    loop = _asyncio_loop()
    if loop is None:
        return Loop(anyio.current_time, anyio.CancelScope, False)
    return Loop(loop.time, _kind_of_scope(), True)


def fine_clock() -> Callable[[], float]:
    """For measuring alone, never for deadlines. uvloop's own ticks in milliseconds, and stands still within a turn."""
    loop = _asyncio_loop()
    if loop is None:
        return anyio.current_time
    return time.monotonic if type(loop).__module__.startswith("uvloop") else loop.time


def clock_s() -> float:
    """`anyio.current_time()`, at a quarter of its price."""
    loop = _asyncio_loop()
    return anyio.current_time() if loop is None else loop.time()


def loop_id() -> object:
    """What tells the running loop from any other."""
    return _asyncio_loop() or current_token()


def on_trio() -> bool:
    return _asyncio_loop() is None


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    # Not any running loop: trio in guest mode has one beneath it.
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    return loop if asyncio.current_task(loop) is not None else None


@lru_cache(maxsize=1)
def _kind_of_scope() -> type[anyio.CancelScope]:
    # What anyio's own class makes on asyncio. Made directly it is not initialised a second time.
    return type(anyio.CancelScope())
