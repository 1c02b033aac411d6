"""The request's body, bounded in size and in time (contract, sections 1 and 8)."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .._dispatch.limit import Limit
from .._values import Limits
from ..exceptions import RequestRejected

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


async def receive_body(receive: Receive, announced: int | None, limits: Limits, stall_s: float, limit: Limit) -> bytes:
    """All of the body.

    Servers have no limits of their own on size, and uvicorn none on a slow upload, so both are here: `stall_s` without
    a byte, or less than `limits.upload_bytes_per_s` on average after the first `stall_s`, and `limit` has passed: then
    `too_slow` is what to say. It is lifted when the body is there.

    Raises RequestRejected: 413, or 400 when the caller left in mid-upload (granian answers a 500 of its own when
    an app stays silent then). An announced length over the limit is refused unread: a caller that waits for
    `100 Continue` is spared the upload.
    """
    if announced is not None and announced > limits.body_bytes:
        raise too_large(limits)
    parts: list[bytes] = []
    size = 0
    started_s = last_byte_s = limit.clock_s()
    try:
        while True:
            until_s = started_s + stall_s + size / limits.upload_bytes_per_s
            if last_byte_s + stall_s < until_s:
                until_s = last_byte_s + stall_s
            limit.move(until_s)
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RequestRejected(
                    400, "The caller left before the body had ended.", code="client_disconnected", close=True
                )
            part = message.get("body", b"")
            if part:
                size += len(part)
                if size > limits.body_bytes:
                    raise too_large(limits)
                parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)
            if part:
                last_byte_s = limit.clock_s()
    finally:
        limit.move(math.inf)


def too_slow(limits: Limits, stall_s: float) -> RequestRejected:
    return RequestRejected(
        408,
        f"The body came too slowly: expected a byte every {stall_s:g} s and "
        f"{limits.upload_bytes_per_s >> 10} KiB/s on average.",
        code="body_timeout",
        close=True,
    )


def too_large(limits: Limits) -> RequestRejected:
    return RequestRejected(
        413, f"The body is over the limit of {limits.body_bytes} bytes.", code="body_too_large", close=True
    )
