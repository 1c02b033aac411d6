"""The app that the servers serve whose shutdown an open status page must not hold up. What it tells: see `app.py`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from ogw_asgi import Gateway, OpenAI
from tests.shutdown.app import say

gateway = Gateway(providers=[OpenAI(api_key="sk-c4n4ry-of-the-test")], status=True)


@asynccontextmanager
async def lifespan(host: Starlette) -> AsyncIterator[None]:
    async with gateway.lifespan(host):
        say("opened", os.getpid())
        yield
    say("closed", os.getpid())


app = Starlette(lifespan=lifespan)
app.mount("/llm", gateway)
