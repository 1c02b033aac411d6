"""The app that the servers of this folder serve: a gateway in front of the one upstream that the environment names.

Every answer says which worker gave it (`x-worker`). On standard output the life cycle is told, a line each:

    opened PID                  the lifespan has opened the gateway
    closing PID SOCKETS         it is about to close it; so many connections to the upstream are open
    closed PID SOCKETS          it has closed it
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from anyio.lowlevel import checkpoint
from starlette.applications import Starlette

from ogw_asgi import Gateway, OpenAI

UPSTREAM = os.environ["SHUTDOWN_UPSTREAM"]
ENGINE: Any = os.environ["SHUTDOWN_ENGINE"]

gateway = Gateway(providers=[OpenAI(api_key="sk-c4n4ry-of-the-test", base_url=f"{UPSTREAM}/v1")], engine=ENGINE)


def upstream_sockets() -> int:
    """How many sockets of this process lead to the upstream."""
    peer = ("127.0.0.1", urlsplit(UPSTREAM).port)
    found = 0
    for name in os.listdir("/dev/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as same:
                found += same.getpeername() == peer
        except OSError:  # no socket, not connected, or the directory itself
            continue
    return found


def say(*words: object) -> None:
    # One write each: workers share the pipe.
    os.write(sys.stdout.fileno(), (" ".join(map(str, words)) + "\n").encode())


@asynccontextmanager
async def lifespan(host: Starlette) -> AsyncIterator[None]:
    async with gateway.lifespan(host):
        say("opened", os.getpid())
        yield
        say("closing", os.getpid(), upstream_sockets())
    for _ in range(3):  # asyncio and uvloop close what was closed in one of the next turns
        await checkpoint()
    say("closed", os.getpid(), upstream_sockets())


host = Starlette(lifespan=lifespan)
host.mount("/llm", gateway)


async def app(scope: Any, receive: Any, send: Any) -> None:
    async def named(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"x-worker", str(os.getpid()).encode())]
        await send(message)

    await host(scope, receive, named if scope["type"] == "http" else send)
