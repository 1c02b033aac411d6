"""Run the work of a request until it ends or the caller leaves. The only place that starts a task.

Only `receive()` tells that the caller left: `send()` stays silent on uvicorn, hypercorn and granian. So a watcher runs
beside the work for the whole request. asyncio's own TaskGroup costs a sixth of anyio's, and this is once per request;
trio has anyio's. Either way the watcher's life ends inside the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

# After the body a server's receive() says nothing but "disconnect". One that keeps repeating itself without ever
# waiting would spin; it is not asked again.
_REPEATS = 16


async def race(work: Callable[[], Awaitable[None]], receive: Receive) -> bool:
    """Await `work()`; True when the caller left first, and the work was cancelled for it.

    Raises what `work` raises, as it is, not in a group.
    """
    try:
        on_asyncio = asyncio.current_task() is not None
    except RuntimeError:
        on_asyncio = False
    return await (_on_asyncio if on_asyncio else _on_trio)(work, receive)


async def _on_asyncio(work: Callable[[], Awaitable[None]], receive: Receive) -> bool:
    failure: Exception | None = None
    scope = anyio.CancelScope()
    async with asyncio.TaskGroup() as group:
        watcher = group.create_task(_watch(receive, scope))
        try:
            with scope:
                await work()
        except Exception as error:
            failure = error
        finally:
            watcher.cancel()
    if failure is not None:
        raise failure
    return scope.cancelled_caught


async def _on_trio(work: Callable[[], Awaitable[None]], receive: Receive) -> bool:
    failure: Exception | None = None
    scope = anyio.CancelScope()
    async with anyio.create_task_group() as group:
        group.start_soon(_watch, receive, scope)
        try:
            with scope:
                await work()
        except Exception as error:
            failure = error
        finally:
            group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return scope.cancelled_caught


async def _watch(receive: Receive, scope: anyio.CancelScope) -> None:
    try:
        for _ in range(_REPEATS):
            message = await receive()
            if message["type"] == "http.disconnect":
                break
        else:
            return
    except Exception:  # a receive() that fails has no caller behind it
        pass
    scope.cancel()
