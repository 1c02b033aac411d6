"""What an attempt sends: the key it is given, and what its provider makes of the call."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from .._secret import Misdirected
from .._values import Endpoint, OutcomeKind, Permits, UpstreamRequest
from ..exceptions import where
from ..providers.base import Unservable

if TYPE_CHECKING:
    from .attempt import Attempt

logger = logging.getLogger("ogw_asgi")


async def prepare(attempt: Attempt) -> UpstreamRequest | OutcomeKind:
    """The request of `attempt`, whose `used_key` is then set; or what it failed of, nothing having been sent."""
    provider, target = attempt.provider, attempt.target
    try:
        attempt.used_key = attempt.caller_key if target.endpoint else await provider.key()
    except Exception as failure:  # whatever a user's callable raises
        logger.warning("key_unavailable provider=%s error=%s", provider.name, where(failure))
        return "key_unavailable"
    try:
        request = provider.prepare(attempt.call, target, attempt.used_key, attempt.forwarded, attempt.connect_s)
        return request if target.endpoint is None else _guarded(request, target.endpoint, attempt.permits)
    except Unservable:
        return "unservable"
    except Misdirected:
        return "misdirected"
    except Exception as failure:  # a provider class of the user's own
        logger.warning("provider_failed provider=%s error=%s", provider.name, where(failure))
        return "unservable"


def _guarded(request: UpstreamRequest, endpoint: Endpoint, permits: Permits | None) -> UpstreamRequest:
    """Bound here, whatever a provider class of the user's own makes of a call."""
    return replace(request, origin=endpoint.origin, permits=permits or (lambda ip: False))
