"""Whether a `BaseHTTPMiddleware` is around the gateway, found in real apps of Starlette's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response

from ogw_asgi import GatewayMiddleware
from ogw_asgi.fastapi import gateway_router
from ogw_asgi.testing import asgi_client
from tests.asgi.looking import LOCAL, Looking, looking

pytestmark = pytest.mark.anyio


class Around(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response


class Pure:
    """Hides the functions that it was called with."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def own_receive() -> Any:
            return await receive()

        async def own_send(message: Any) -> None:
            await send(message)

        await self.app(scope, own_receive, own_send)


def mounted(world: Looking) -> Any:
    host = Starlette()
    host.mount("/llm", world.gateway)
    return host


def routed(world: Looking) -> Any:
    host = FastAPI()
    host.include_router(gateway_router(world.gateway), prefix="/llm")
    return host


def with_function(world: Looking) -> Any:
    async def around(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response

    host = routed(world)
    host.middleware("http")(around)
    return host


def outermost(world: Looking) -> Any:
    return GatewayMiddleware(Around(mounted(world)), gateway=world.gateway, prefix="/llm")


APPS: dict[str, tuple[Callable[[Looking], Any], bool]] = {
    "mounted": (mounted, False),
    "routed": (routed, False),
    "pure": (lambda world: Pure(mounted(world)), False),
    "gzip": (lambda world: GZipMiddleware(mounted(world)), False),
    "outermost": (outermost, False),
    "around": (lambda world: Around(mounted(world)), True),
    "around, routed": (lambda world: Around(routed(world)), True),
    "around pure": (lambda world: Around(Pure(mounted(world))), True),
    "around pure pure": (lambda world: Around(Pure(Pure(routed(world)))), True),
    "pure around": (lambda world: Pure(Around(mounted(world))), True),
    "around around": (lambda world: Around(Around(mounted(world))), True),
    "a function": (with_function, True),
}


@pytest.mark.parametrize("name", APPS)
async def test_what_starlette_puts_around_is_seen_and_nothing_else_is_taken_for_it(name: str) -> None:
    build, expected = APPS[name]
    async with looking() as world:
        async with asgi_client(build(world), base_url=LOCAL) as client:
            for path in ("/llm/_status", "/llm/_status.json"):
                assert (await client.get(path)).status_code == 200
        assert world.desk.surroundings == [expected, expected]
