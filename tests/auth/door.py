"""One request through the whole door of a gateway, in process."""

from __future__ import annotations

from typing import Any

import anyio
import httpx

from ogw_asgi.testing import asgi_client
from tests.asgi.hosts import QUESTION, in_process


async def ask(
    authenticator: Any, *, headers: Any = None, path: str = "/chat/completions", **options: Any
) -> tuple[httpx.Response, int]:
    """The answer, and how often a provider was called for it."""
    with anyio.fail_after(5):
        async with in_process(authenticate=authenticator, **options) as (gateway, upstream), gateway:
            async with asgi_client(gateway) as client:
                if path == "/models":
                    return await client.get(path, headers=headers), len(upstream.requests)
                return await client.post(path, json=QUESTION, headers=headers), len(upstream.requests)
