"""No authentication, and that on purpose."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from .._values import Principal

ANYONE = Principal("anyone")


def allow_anyone(connection: HTTPConnection) -> Principal | None:
    """`Gateway(authenticate=allow_anyone)`: whoever reaches the gateway may use it, and no start-up line warns of it.

    For what stands behind somebody else's door: a host that asks for itself, a private port, a demo. A host that names
    its callers in `scope["ogw_asgi.principal"]`, and wants nobody else, says `authenticate=lambda connection: None`.
    """
    return ANYONE
