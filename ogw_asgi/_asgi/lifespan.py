"""The lifespan protocol, and how lifespans of several owners become one."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from .receive import Receive
from .send import Scope, Send

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


def combine_lifespans(*lifespans: Lifespan) -> Lifespan:
    """One lifespan out of several: entered in order, left in reverse, their states merged (the later one wins).

    `FastAPI(lifespan=combine_lifespans(mine, gateway.lifespan))`
    """

    @asynccontextmanager
    async def combined(app: Any) -> AsyncIterator[dict[str, Any] | None]:
        state: dict[str, Any] = {}
        async with AsyncExitStack() as stack:
            for lifespan in lifespans:
                own = await stack.enter_async_context(lifespan(app))
                if isinstance(own, Mapping):
                    state.update(own)
            # Starlette takes a falsy state for none at all, and servers without state support refuse any.
            yield state or None

    return combined


async def serve_lifespan(resource: AbstractAsyncContextManager[Any], receive: Receive, send: Send) -> None:
    """Answer the lifespan protocol for an app that is nothing but `resource`."""
    await receive()
    try:
        await resource.__aenter__()
    except Exception as error:
        await refuse_startup(error, send)
        return
    try:
        await send({"type": "lifespan.startup.complete"})
        await receive()
    finally:
        await resource.__aexit__(None, None, None)
    await send({"type": "lifespan.shutdown.complete"})


async def refuse_startup(error: Exception, send: Send) -> None:
    """Say that opening failed. Left unsaid, uvicorn takes it for an app without lifespan support, and serves."""
    logging.getLogger("ogw_asgi").error("open_failed error=%s", type(error).__name__)
    await send({"type": "lifespan.startup.failed", "message": f"ogw_asgi could not open: {type(error).__name__}"})


__all__ = ["Lifespan", "Scope", "combine_lifespans", "refuse_startup", "serve_lifespan"]
