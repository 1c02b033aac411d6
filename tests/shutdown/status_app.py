"""The app that the servers serve whose shutdown an open status page must not hold up. What it tells: see `app.py`.

The gateway is there twice: as it is, and below `/around` within a `BaseHTTPMiddleware`, which hides the server.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount

from ogw_asgi import Gateway, OpenAI
from tests.shutdown.app import say

gateway = Gateway(providers=[OpenAI(api_key="sk-c4n4ry-of-the-test")], status=True)


@asynccontextmanager
async def lifespan(host: Starlette) -> AsyncIterator[None]:
    async with gateway.lifespan(host):
        say("opened", os.getpid())
        yield
    say("closed", os.getpid())


class Around(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response


around = Starlette(routes=[Mount("/llm", gateway)], middleware=[Middleware(Around)])
app = Starlette(lifespan=lifespan, routes=[Mount("/llm", gateway), Mount("/around", around)])
