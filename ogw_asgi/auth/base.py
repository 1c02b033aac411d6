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
or takes longer than `Timeouts.authenticate_s` fails closed (503); a `RequestRejected` is an answer and passes as it is.
A sync one runs on the event loop: it must not block.
"""

logger = logging.getLogger("ogw_asgi")

SCOPE_KEY = "ogw_asgi.principal"
"""A host that has already authenticated (a FastAPI dependency, a middleware) puts a Principal here.

Only the host can: what a caller sends becomes other members of the scope. None is the host's word for nobody, whom the
authenticator may still know.
"""

_UNSAID = object()


async def authenticate(
    authenticator: Authenticator | None, scope: MutableMapping[str, Any], limit_s: float
) -> Principal | None:
    """The principal of the caller whose ASGI scope this is; None when nobody asked for authentication.

    Raises RequestRejected: 401 for nobody, 503 when the authenticator fails or hangs, and when it or the host names
    what is no principal. Wrong and unknown tokens get the same answer, byte for byte.
    """
    found: object = scope.get(SCOPE_KEY, _UNSAID)
    source = SCOPE_KEY
    if authenticator is None:
        if found is _UNSAID:
            return None
    elif found is _UNSAID or found is None:
        found = await _ask(authenticator, scope, limit_s)
        source = "authenticate"
    if isinstance(found, Principal):
        return found
    if found is None:
        raise RequestRejected(
            401,
            "Missing or wrong bearer token: expected the header 'Authorization: Bearer TOKEN'.",
            type="authentication_error",
            code="invalid_api_key",
            close=True,
        )
    raise _no_principal(found, source)


async def identify(
    authenticator: Authenticator, scope: MutableMapping[str, Any], limit_s: float, source: str
) -> Principal | None:
    """Whom this authenticator knows, whatever the host says. `source`: the setting that it comes from, for the log.

    Raises RequestRejected: the authenticator's own, and 503 when it fails, hangs, or names what is no principal.
    """
    found = await _ask(authenticator, scope, limit_s)
    if found is None or isinstance(found, Principal):
        return found
    raise _no_principal(found, source)


async def _ask(authenticator: Authenticator, scope: MutableMapping[str, Any], limit_s: float) -> object:
    try:
        found: object = authenticator(HTTPConnection(scope))
        if found is None or isinstance(found, Principal) or not inspect.isawaitable(found):
            return found
        with anyio.move_on_after(limit_s):
            return await found
    except RequestRejected as refusal:
        # A host may raise the same one for all: what it remembers of those before is let go of.
        raise refusal.with_traceback(None)  # noqa: B904 - it is the same one
    except Exception as error:
        # The host's own code has failed: without a line here nobody would ever learn where.
        logger.warning("authenticator_failed error=%s", where(error))
        raise _unavailable() from error
    logger.warning("authenticator_failed error=no answer within %g s", limit_s)
    raise _unavailable()


def _no_principal(found: object, source: str) -> RequestRejected:
    logger.warning("authenticator_failed source=%s found=%s expected=Principal or None", source, type(found).__name__)
    return _unavailable()


def _unavailable() -> RequestRejected:
    return RequestRejected(
        503,
        "The caller could not be authenticated.",
        type="service_unavailable_error",
        code="authentication_unavailable",
        retry_after_s=1,
        close=True,
    )
