"""Answers, refusals and streams as ASGI messages."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import anyio

from .._dispatch.clock import clock_s
from .._dispatch.limit import Limit
from .._values import AttemptRecord, Header
from .._wire.envelope import render_error
from .._wire.forwarding import server_timing
from ..exceptions import RequestRejected
from .places import Place

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

RETRY_AFTER_MAX_S = 60
"""openai-node ignores more, openai-python does not retry at all above 120 s."""

_PIECE = 64 << 10
_BEAT = b": keep-alive\n\n"

_SSE: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


_EVENTS: tuple[Header, ...] = ((b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no"))


class CallerGone(Exception):
    """`send` failed, whatever the server raised, or took nothing for too long: nobody is listening any more."""


class Reply:
    """The one answer to one request.

    Attributes:
        limit: on the request's work, if it is under way: a caller that takes nothing for `send_s` is gone, and all work
            with it.
        place: of a principal that may have so many; given back as the last message goes out, so that whoever asks one
            after the other never meets itself.
    """

    place: Place | None = None

    def __init__(self, scope: Scope, send: Send, request_id: str, send_s: float = 60.0) -> None:
        self.limit: Limit | None = None
        self._send = send
        self._send_s = send_s
        self._scope = scope
        self._request_id: Header = (b"x-request-id", request_id.encode("ascii"))
        self._head: MutableMapping[str, Any] | None = None
        self._sent_s = 0.0
        self._turns: anyio.Lock | None = None
        self._over = False
        self.begun = False
        """There is a head, if not yet out: another one can never be sent."""
        self.status: int | None = None
        """Of the head, once that is out."""
        self.ending = False
        """The last message has been handed to the server."""

    def json(self, status: int, body: bytes, headers: Sequence[Header] = ()) -> Awaitable[None]:
        return self.content(status, b"application/json", body, headers)

    def content(self, status: int, media: bytes, body: bytes, headers: Sequence[Header]) -> Awaitable[None]:
        length = (b"content-length", b"%d" % len(body))
        self._begin(status, [(b"content-type", media), length, self._request_id, *headers])
        return self._tell_last(b"" if self._scope.get("method") == "HEAD" else body)

    def empty(self, status: int, headers: Sequence[Header]) -> Awaitable[None]:
        self._begin(status, [self._request_id, *headers])
        return self._tell_last(b"")

    def begin_stream(self, status: int, headers: Sequence[Header]) -> None:
        """The head goes out with the first part: both are there, and a second wait for the caller is saved.

        Nothing where a heartbeat had to send it before anybody knew these headers.
        """
        if not self.begun:
            self._begin(status, [*_SSE, self._request_id, *headers])

    async def keep_alive(self, status: int, every_s: float) -> None:
        """Beside the work on a stream: after each `every_s` of silence towards the caller, a comment.

        The head goes out with the first one. Ends with the answer, or when nobody listens any more.
        """
        self._turns = anyio.Lock(fast_acquire=True)
        self._sent_s = clock_s()
        while True:
            await anyio.sleep_until(self._sent_s + every_s)
            async with self._turns:
                # Looked at when it is its turn: what it had to wait for was no silence, and may have been the end.
                if self._over:
                    return
                if clock_s() < self._sent_s + every_s:
                    continue
                self.begin_stream(status, ())
                try:
                    await self._hand(_BEAT, more=True)
                except Exception:  # as with every send that fails: only receive() tells for sure
                    return
                self._sent_s = clock_s()

    def part(self, body: bytes) -> Awaitable[None]:
        """A piece of a stream. Whoever sends many of them has a limit of its own over all, and takes any exception for
        what `CallerGone` is elsewhere: to catch it here would take a coroutine for each."""
        if self._turns is None and self._head is None:  # as nearly always
            return self._send({"type": "http.response.body", "body": body, "more_body": True})
        return self._hand_over(body, more=True)

    async def last_part(self, body: bytes) -> None:
        """The last piece of a stream that is left without its end."""
        await self._tell_last(body, more=True)

    def begin_events(self, headers: Sequence[Header]) -> None:
        """As `begin_stream`, for a stream that nobody may keep."""
        self._begin(200, [*_EVENTS, self._request_id, *headers])

    async def events(self, body: bytes) -> None:
        """A piece of a stream, for which the caller has `send_s`."""
        await self._tell(body)

    async def whole_stream(self, body: bytes) -> None:
        """A stream that is all here, in pieces that a slow caller can take in time one by one."""
        for start in range(0, len(body), _PIECE):
            await self._tell(body[start : start + _PIECE])
        await self.end_stream()

    async def end_stream(self) -> None:
        await self._tell_last(b"")

    async def refuse(
        self,
        refusal: RequestRejected,
        trail: Sequence[Header] = (),
        attempts: Sequence[AttemptRecord] = (),
        challenge: bytes = b"Bearer",
    ) -> None:
        """The refusal in OpenAI's envelope, with everything a client may steer by (contract, section 6)."""
        headers = [*trail]
        if refusal.status == 401:
            headers.append((b"www-authenticate", challenge))
        if refusal.allow is not None:
            headers.append((b"allow", refusal.allow.encode("ascii")))
        if refusal.retry_after_s is not None:
            wait_s = min(max(refusal.retry_after_s, 0.001), RETRY_AFTER_MAX_S)
            headers.append((b"retry-after", str(math.ceil(wait_s)).encode("ascii")))
            headers.append((b"retry-after-ms", str(math.ceil(wait_s * 1000)).encode("ascii")))
        if refusal.should_retry is not None:
            headers.append((b"x-should-retry", b"true" if refusal.should_retry else b"false"))
        if refusal.close and str(self._scope.get("http_version", "1.1")).startswith("1"):
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

    def _begin(self, status: int, headers: list[Header]) -> None:
        self.begun = True
        self._head = {"type": "http.response.start", "status": status, "headers": headers}

    def _tell_last(self, body: bytes, *, more: bool = False) -> Awaitable[None]:
        self._over = True
        return self._tell(body, more=more)

    async def _tell(self, body: bytes, *, more: bool = True) -> None:
        try:
            if self.limit is not None:
                self.limit.move(self.limit.clock_s() + self._send_s)
                await (self._hand if self._turns is None else self._hand_over)(body, more=more)
                return
            with anyio.move_on_after(self._send_s):
                await self._hand_over(body, more=more)
                return
        except Exception as error:
            raise CallerGone from error
        raise CallerGone

    async def _hand_over(self, body: bytes, *, more: bool) -> None:
        if self._turns is None:  # there is no heartbeat
            await self._hand(body, more=more)
            return
        async with self._turns:
            await self._hand(body, more=more)
            self._sent_s = clock_s()

    async def _hand(self, body: bytes, *, more: bool) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            await self._send(head)
            self.status = head["status"]
        message: MutableMapping[str, Any] = {"type": "http.response.body", "body": body}
        if more:
            message["more_body"] = True
        else:
            self.ending = True
            if self.place is not None:
                self.place.leave()
        await self._send(message)


def trail_headers(attempts: Sequence[AttemptRecord], made: int, provider: str | None) -> list[Header]:
    """Who answered, and what was tried up to now; nothing when nothing was tried."""
    headers: list[Header] = []
    if provider is not None:
        headers.append((b"x-opengateway-provider", provider.encode("ascii")))
    if attempts:
        headers.append((b"x-opengateway-attempts", str(made).encode("ascii")))
        headers.append((b"server-timing", server_timing(attempts)))
    return headers
