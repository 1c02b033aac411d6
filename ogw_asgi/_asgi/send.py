"""Answers, refusals and streams as ASGI messages."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from .._values import AttemptRecord, Header
from .._wire.envelope import render_error
from .._wire.forwarding import server_timing
from ..exceptions import RequestRejected

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

RETRY_AFTER_MAX_S = 60
"""openai-node ignores more, openai-python does not retry at all above 120 s."""

_JSON: Header = (b"content-type", b"application/json")
_SSE: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class CallerGone(Exception):
    """`send` failed: whatever the server raised, nobody is listening any more."""


class Reply:
    """The one answer to one request."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self._send = send
        self._head_only = scope.get("method") == "HEAD"
        self._http1 = str(scope.get("http_version", "1.1")).startswith("1")
        self._request_id: Header = (b"x-request-id", request_id.encode("ascii"))
        self.status: int | None = None

    async def json(self, status: int, body: bytes, headers: Sequence[Header] = ()) -> None:
        length = (b"content-length", str(len(body)).encode("ascii"))
        await self._start(status, [_JSON, length, self._request_id, *headers])
        await self._tell({"type": "http.response.body", "body": b"" if self._head_only else body})

    async def empty(self, status: int, headers: Sequence[Header]) -> None:
        await self._start(status, [self._request_id, *headers])
        await self._tell({"type": "http.response.body", "body": b""})

    async def start_stream(self, status: int, headers: Sequence[Header]) -> None:
        await self._start(status, [*_SSE, self._request_id, *headers])

    async def part(self, body: bytes) -> None:
        await self._tell({"type": "http.response.body", "body": body, "more_body": True})

    async def end_stream(self) -> None:
        await self._tell({"type": "http.response.body", "body": b""})

    async def refuse(
        self, refusal: RequestRejected, trail: Sequence[Header] = (), attempts: Sequence[AttemptRecord] = ()
    ) -> None:
        """The refusal in OpenAI's envelope, with everything a client may steer by (contract, section 6)."""
        headers = [*trail]
        if refusal.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if refusal.allow is not None:
            headers.append((b"allow", refusal.allow.encode("ascii")))
        if refusal.retry_after_s is not None:
            wait_s = min(max(refusal.retry_after_s, 0.001), RETRY_AFTER_MAX_S)
            headers.append((b"retry-after", str(math.ceil(wait_s)).encode("ascii")))
            headers.append((b"retry-after-ms", str(math.ceil(wait_s * 1000)).encode("ascii")))
        if refusal.should_retry is not None:
            headers.append((b"x-should-retry", b"true" if refusal.should_retry else b"false"))
        if refusal.close and self._http1:
            # The body is unread: what is left of it must not be taken for the next request.
            headers.append((b"connection", b"close"))
        body = render_error(
            message=refusal.message,
            type=refusal.type,
            param=refusal.param,
            code=refusal.code,
            attempts=attempts or None,
        )
        await self.json(refusal.status, body, headers)

    async def _start(self, status: int, headers: list[Header]) -> None:
        await self._tell({"type": "http.response.start", "status": status, "headers": headers})
        self.status = status

    async def _tell(self, message: MutableMapping[str, Any]) -> None:
        try:
            await self._send(message)
        except Exception as error:
            raise CallerGone from error


def trail_headers(attempts: Sequence[AttemptRecord], made: int, provider: str | None) -> list[Header]:
    """Who answered, and what was tried up to now; nothing when nothing was tried."""
    headers: list[Header] = []
    if provider is not None:
        headers.append((b"x-opengateway-provider", provider.encode("ascii")))
    if attempts:
        headers.append((b"x-opengateway-attempts", str(made).encode("ascii")))
        headers.append((b"server-timing", server_timing(attempts)))
    return headers
