"""The gateway wrapped around a host app."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio

from ..exceptions import ConfigurationError
from .app import COMPLETIONS, route_path
from .lifespan import refuse_startup
from .receive import Receive
from .send import Scope, Send

if TYPE_CHECKING:
    from ..gateway import Gateway

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]


class GatewayMiddleware:
    """`app.add_middleware(GatewayMiddleware, gateway=gateway)`: POST /chat/completions on the host itself.

    Without `prefix` it answers POST on `/chat/completions` and `/v1/chat/completions` and nothing else. With
    `prefix="/llm"` everything below that path is the gateway's, 404 and 405 included. All else goes to the host with
    the same scope, receive and send, websockets and lifespan included. It sees the lifespan, so it opens and closes
    the gateway by itself.

    Raises ConfigurationError for a prefix that does not begin with a slash or that ends with one.
    """

    def __init__(self, app: ASGIApp, gateway: Gateway, prefix: str | None = None) -> None:
        if prefix is not None and (not prefix.startswith("/") or prefix.endswith("/")):
            raise ConfigurationError("prefix: expected a path such as '/llm', without a slash at its end")
        self.app = app
        self._gateway = gateway
        self._prefix = prefix
        if prefix is None and gateway.app.status is not None:
            logging.getLogger("ogw_asgi").warning(
                "status_unreachable: without a prefix the middleware answers chat completions alone, so nobody reaches "
                "the status page. Give it prefix='/llm', or mount the gateway as well: app.mount('/llm', gateway)"
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            inner = self._claim(scope)
            if inner is not None:
                await self._gateway(inner, receive, send)
                return
        elif scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _claim(self, scope: Scope) -> Scope | None:
        """The scope for the gateway if the request is its own."""
        path = route_path(scope)
        if self._prefix is None:
            return scope if scope["method"] == "POST" and path in COMPLETIONS else None
        if path != self._prefix and not path.startswith(f"{self._prefix}/"):
            return None
        root = scope.get("root_path", "").rstrip("/") if path != scope["path"] else ""
        return {**scope, "root_path": f"{root}{self._prefix}"}

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._gateway.__aenter__()
        except Exception as error:
            await receive()
            await refuse_startup(error, send)
            return
        spoken = False
        try:
            await self.app(scope, receive, send)
            spoken = not await _startup_is_waiting(receive)
        finally:
            # A host that does not speak lifespan raises, or returns at once, and the server goes on to serve: the
            # gateway must then open itself on the first request, which a closed one would not.
            await self._gateway._leave(reopenable=not spoken)


async def _startup_is_waiting(receive: Receive) -> bool:
    """Whether the host returned without having read the first message of the lifespan.

    Asked afterwards, because the host gets the server's own `receive` and `send`; a host that has read its shutdown has
    nothing left to read, and the deadline that has passed already ends the wait for it.
    """
    try:
        with anyio.move_on_after(0, shield=True):
            message = await receive()
            return bool(message["type"] == "lifespan.startup")
    except Exception:  # a server that minds the question: nobody knows, so the gateway stays able to open
        return True
    return False
