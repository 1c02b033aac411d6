"""What an authenticator is, and how the door asks one."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio
from starlette.requests import HTTPConnection

from .._values import Principal
from ..exceptions import RequestRejected, where

Authenticator = Callable[[HTTPConnection], "Principal | None | Awaitable[Principal | None]"]
"""Any callable, sync or async, that gets the connection and returns who it is, or None for nobody (401).

It sees method, path, headers and whatever the host's own middleware left in the scope, never the body. One that raises
or takes longer than `Timeouts.authenticate_s` fails closed (503). A sync one runs on the event loop: it must not block.
"""

logger = logging.getLogger("ogw_asgi")

SCOPE_KEY = "ogw_asgi.principal"
"""A host that has already authenticated (a FastAPI dependency, a middleware) puts a Principal here."""


async def authenticate(
    authenticator: Authenticator | None, scope: MutableMapping[str, Any], limit_s: float
) -> Principal | None:
    """The principal of the caller whose ASGI scope this is; None when the host asked for no authentication.

    Raises RequestRejected: 401 for nobody, 503 when the authenticator fails or hangs. Wrong and unknown tokens get the
    same answer, byte for byte.
    """
    given = scope.get(SCOPE_KEY)
    if isinstance(given, Principal):
        return given
    if authenticator is None:
        return None
    principal: object = None
    try:
        with anyio.fail_after(limit_s):
            principal = authenticator(HTTPConnection(scope))
            if inspect.isawaitable(principal):
                principal = await principal
    except RequestRejected:
        raise
    except Exception as error:
        # The host's own code has failed: without a line here nobody would ever learn where.
        logger.warning("authenticator_failed error=%s", where(error))
        raise _unavailable() from error
    if principal is None:
        raise RequestRejected(
            401,
            "Missing or wrong bearer token: expected the header 'Authorization: Bearer TOKEN'.",
            type="authentication_error",
            code="invalid_api_key",
            close=True,
        )
    if not isinstance(principal, Principal):
        logger.warning("authenticator_failed returned=%s expected=Principal or None", type(principal).__name__)
        raise _unavailable()
    return principal


def _unavailable() -> RequestRejected:
    return RequestRejected(
        503,
        "The caller could not be authenticated.",
        type="service_unavailable_error",
        code="authentication_unavailable",
        retry_after_s=1,
        close=True,
    )
