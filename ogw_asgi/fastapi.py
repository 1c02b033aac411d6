"""The gateway as a FastAPI router: in the host's `/docs`, behind the host's dependencies. Needs the extra `fastapi`.

FastAPI's part ends when the dependencies are solved: the endpoint returns a `Response` that is the gateway itself, so
the body is read, limited and streamed by the same code as everywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ._asgi.app import ALIVE, COMPLETIONS, MODELS, READY
from ._openapi import MODELS_OPERATION, completions_operation
from .exceptions import ConfigurationError
from .gateway import Gateway

try:
    from fastapi import APIRouter
    from fastapi.params import Depends
except ImportError as error:  # pragma: no cover - shown by an import in an environment without the extra
    raise ConfigurationError('ogw_asgi.fastapi needs FastAPI: pip install "ogw_asgi[fastapi]"') from error

_OTHER_METHODS = ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
_WRITING_METHODS = ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


def gateway_router(gateway: Gateway, *, dependencies: Sequence[Depends] | None = None, **router: Any) -> APIRouter:
    """A router with the gateway's routes, to be included where they should live.

        app.include_router(gateway_router(gateway, dependencies=[Depends(user)]), prefix="/llm")

    Args:
        gateway: opened and closed with the router, whose lifespan FastAPI merges into the app's.
        dependencies: run before every route but the probes, which ask nobody who they are. What one refuses is the
            host's own answer, not the contract's envelope; one that knows who is calling may put a `Principal` into
            `request.scope["ogw_asgi.principal"]`. None there is a 401, unless the gateway's own `authenticate` knows
            better, and anything else a 503.
        router: whatever else `fastapi.APIRouter` takes (`prefix=`, `tags=`, ...).

    The status page, where it is on, is not in the schema. `dependencies` run before it as well, and in addition to its
    own rules, since who may use the host's API may not therefore see how all of it is doing. Where they are enough, say
    `Gateway(status_auth=allow_anyone)`.

    The probes are `/healthz` and `/readyz` below the router's prefix: an app with such paths of its own gives it one.
    """
    routes = APIRouter(lifespan=gateway.lifespan, **{"tags": ["LLM gateway"], **router})

    def add(path: str, methods: list[str], operation: dict[str, Any] | None, name: str, *, asking: bool = True) -> None:
        async def handle(request: Request) -> Response:
            return _Handover(gateway, path)

        routes.add_api_route(
            path,
            handle,
            methods=methods,
            name=name,
            response_class=Response,
            include_in_schema=operation is not None,
            dependencies=dependencies if asking else None,
            **(operation or {}),
        )

    described = completions_operation(gateway.success_status)
    for path in sorted(COMPLETIONS):
        # The alias works but is not described twice.
        add(path, ["POST"], described if not path.startswith("/v1") else None, "chat_completions")
        add(path, _OTHER_METHODS, None, "chat_completions_wrong_method")
    for path in sorted(MODELS):
        add(path, ["GET"], MODELS_OPERATION if not path.startswith("/v1") else None, "list_models")
        add(path, ["HEAD", *_WRITING_METHODS], None, "list_models_wrong_method")
    for path in (ALIVE, READY):
        add(path, ["GET", "HEAD", *_WRITING_METHODS], None, f"probe_{path[1:]}", asking=False)
    for path in sorted(gateway.app.status.paths if gateway.app.status is not None else ()):
        add(path, ["GET", "HEAD", *_WRITING_METHODS], None, "status")
    return routes


class _Handover(Response):
    """Not a response of its own: being called, it lets the gateway answer. `path` is the route without its prefix."""

    def __init__(self, gateway: Gateway, path: str) -> None:
        super().__init__()
        self._gateway = gateway
        self._path = path

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # The router's prefix is the host's: what comes before our route is the mount point.
        full = scope["path"]
        root = full[: len(full) - len(self._path)] if full.endswith(self._path) else ""
        await self._gateway({**scope, "root_path": root}, receive, send)
        if self.background is not None:  # FastAPI puts there what dependencies have added
            await self.background()
