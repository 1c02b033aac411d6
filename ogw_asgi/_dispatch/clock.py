"""The running loop's clock, and which loop it is. anyio asks anew with every reading: four times the price."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
from anyio.lowlevel import current_token


def clock_s() -> float:
    """`anyio.current_time()`: seconds on the clock that deadlines are on."""
    try:
        loop = asyncio.get_running_loop()
        if asyncio.current_task(loop) is not None:
            return loop.time()
    except RuntimeError:
        pass
    return anyio.current_time()


def clock() -> Callable[[], float]:
    """The running loop's clock, for whoever reads it again and again."""
    try:
        loop = asyncio.get_running_loop()
        if asyncio.current_task(loop) is not None:
            return loop.time
    except RuntimeError:
        pass
    return anyio.current_time


def loop_id() -> object:
    """What tells the running loop from any other."""
    try:
        loop = asyncio.get_running_loop()
        if asyncio.current_task(loop) is not None:
            return loop
    except RuntimeError:
        pass
    return current_token()


def on_trio() -> bool:
    # Not the running loop: trio in guest mode has one beneath it.
    try:
        return asyncio.current_task() is None
    except RuntimeError:
        return True
