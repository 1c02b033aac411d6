"""What a provider says beside a status that is no success: the start of its words, read in time, and what they mean."""

from __future__ import annotations

import logging

import anyio

from .._values import ProviderError
from ..exceptions import where
from ..providers.base import Provider
from ..transports.base import TransportFailure, UpstreamResponse

logger = logging.getLogger("ogw_asgi")

ERROR_BODY_BYTES = 64 << 10
ERROR_BODY_S = 5.0
"""A status has been said already: its explanation is not waited for as long as an answer."""


async def error_body(response: UpstreamResponse, until_s: float) -> bytes:
    """The start of an error's body; what cannot be read in time or at all is left out: the status stands."""
    body = bytearray()
    with anyio.CancelScope(deadline=until_s):
        try:
            async for chunk in response.chunks():
                body += chunk
                if len(body) >= ERROR_BODY_BYTES:
                    break
        except TransportFailure:
            pass
    return bytes(body[:ERROR_BODY_BYTES])


def said(provider: Provider, response: UpstreamResponse, body: bytes) -> ProviderError:
    """What it says, in the provider's own reading."""
    try:
        return provider.read_error(response.status, response.headers, body)
    except Exception as failure:  # a provider class of the user's own
        logger.warning("provider_failed provider=%s error=%s", provider.name, where(failure))
        return ProviderError(form="text")
