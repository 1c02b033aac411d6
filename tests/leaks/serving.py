"""A gateway on a port, served on the loop of whoever measures: by uvicorn on asyncio, by hypercorn on trio."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import hypercorn.config
import hypercorn.trio
import trio
import uvicorn

from ogw_asgi import Gateway, Limits, OpenAI, Timeouts
from ogw_asgi.testing._signals import leave

from .provider import Provider, provider

CALLERS = 16
"""How many callers there are at a time, where nothing else is said."""

KEEP_ALIVE_S = 1
"""For so long hypercorn may keep a connection that its caller has closed."""


@dataclass(frozen=True, slots=True)
class World:
    port: int
    gateway: Gateway
    provider: Provider

    def in_flight(self) -> int:
        """What requests hold of the target: its slots, and permits of its circuit."""
        opened = self.gateway._opened
        assert opened is not None
        dispatcher: Any = opened.dispatcher
        return int(dispatcher.slots.in_flight()) + int(dispatcher.circuits.in_flight())


@asynccontextmanager
async def world_of(engine: str, *, concurrency: int = 1000) -> AsyncIterator[World]:
    """The gateway is opened and closed by this block; the provider lives a little longer."""
    chosen: Any = engine
    async with provider() as upstream:
        gateway = Gateway(
            providers=[OpenAI(api_key="sk-c4n4ry-of-the-test", base_url=f"{upstream.url}/v1")],
            engine=chosen,
            limits=Limits(concurrency=concurrency),
            timeouts=Timeouts(),
        )
        async with gateway, served(gateway) as port:
            yield World(port, gateway, upstream)


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        group = anyio.create_task_group()
        await group.__aenter__()
        try:
            if trio.lowlevel.in_trio_task():
                stop = await _start_hypercorn(group, app, listener)
            else:
                stop = await _start_uvicorn(group, app, listener)
            yield listener.getsockname()[1]
            stop()
        except BaseException:
            group.cancel_scope.cancel()
            raise
        finally:
            await leave(group)


async def _start_uvicorn(group: Any, app: Any, listener: socket.socket) -> Any:
    started = anyio.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started.set()

    config = uvicorn.Config(
        app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1, backlog=2048
    )
    server = Server(config)
    group.start_soon(server.serve, [listener])
    await started.wait()

    def stop() -> None:
        server.should_exit = True

    return stop


async def _start_hypercorn(group: Any, app: Any, listener: socket.socket) -> Any:
    over = anyio.Event()
    config = hypercorn.config.Config()
    # Hypercorn owns and closes a descriptor that it is given.
    config.bind = [f"fd://{listener.dup().detach()}"]
    config.accesslog = config.errorlog = None
    config.graceful_timeout = 1
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.backlog = 2048
    serve: Any = hypercorn.trio.serve
    await group.start(partial(serve, app, config, shutdown_trigger=over.wait))
    return over.set
