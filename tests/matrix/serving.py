"""An app on a loopback port, served by hypercorn on the loop of the test, whichever that is."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import hypercorn.asyncio
import hypercorn.trio
import trio
from hypercorn.config import Config

from ogw_asgi.testing._signals import leave


class Watched:
    """Tells how many requests an app is working on, and keeps what it raises: a server would only log it."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app
        self.in_flight = 0
        self.raised: list[Exception] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self.in_flight += 1
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            self.raised.append(error)
            raise
        finally:
            self.in_flight -= 1


@asynccontextmanager
async def served(app: Any, *, on: socket.socket | None = None, **settings: Any) -> AsyncIterator[int]:
    """Serves the app until the block is left, and yields its port. `settings` are hypercorn's.

    `on`: a listening socket for an app whose port had to be known before; it stays the caller's.
    """
    over, up = anyio.Event(), anyio.Event()

    async def telling(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        async def tell(message: Any) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                up.set()

        await app(scope, receive, tell if scope["type"] == "lifespan" else send)

    with socket.create_server(("127.0.0.1", 0)) if on is None else on.dup() as listener:
        config = Config()
        # Hypercorn owns and closes a descriptor that it is given.
        port, config.bind = listener.getsockname()[1], [f"fd://{listener.dup().detach()}"]
        config.accesslog = config.errorlog = None
        config.graceful_timeout = 1
        for name, value in settings.items():
            setattr(config, name, value)
        serve: Any = hypercorn.trio.serve if _on_trio() else hypercorn.asyncio.serve
        group = anyio.create_task_group()
        await group.__aenter__()
        group.start_soon(lambda: serve(telling, config, shutdown_trigger=over.wait))
        try:
            await up.wait()
            yield port
        finally:
            over.set()  # not by cancelling: hypercorn is untidy then
            await leave(group)


def _on_trio() -> bool:
    return trio.lowlevel.in_trio_task()
