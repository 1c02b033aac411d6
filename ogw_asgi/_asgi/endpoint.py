"""`POST /chat/completions`: the whole walk of a request, on one screen."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
from starlette.requests import HTTPConnection

from .._dispatch.dispatcher import Dispatched, Dispatcher
from .._dispatch.race import race
from .._dispatch.relay import Relay
from .._rules.plan import Catalogue, make_plan
from .._values import CallOptions, ChatCall, Endpoint, Limits, Plan, Principal, Timeouts
from .._wire.body import read_body
from .._wire.envelope import interruption
from .._wire.headers import announced_length, read_options, read_request_id, refuse_media, refuse_repeats
from ..auth.base import Authenticator, authenticate
from ..exceptions import RequestRejected
from ..telemetry.events import Observers, RequestEnded, StreamBroken
from .receive import Receive, receive_body
from .send import CallerGone, Reply, Scope, Send, trail_headers

MAX_GATEWAYS = 3
"""A request that has come through this many gateways like this one goes in a circle (contract, section 1)."""


@dataclass(frozen=True, slots=True)
class Door:
    """What the door needs to know of the gateway behind it."""

    open: Callable[[], Awaitable[Dispatcher]]
    catalogue: Catalogue
    endpoint_allowed: Callable[[Endpoint], bool]
    authenticator: Authenticator | None
    timeouts: Timeouts
    limits: Limits
    success_status: int
    gateway_id: str
    observers: Observers
    models: tuple[str, ...]


class ChatCompletions:
    """The endpoint as an ASGI app. Nothing of a request is kept on it."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door, headers = self._door, scope["headers"]
        request_id = read_request_id(headers) or secrets.token_hex(16)
        reply = Reply(scope, send, request_id)
        try:
            try:
                dispatcher = await door.open()
                refuse_repeats(headers)
                principal = await authenticate(door.authenticator, HTTPConnection(scope), door.timeouts.authenticate_s)
                options = read_options(
                    headers, request_id=request_id, limits=door.limits, header_max_s=door.timeouts.header_max_s
                )
                refuse_loop(options, door.gateway_id)
                refuse_media(headers)
            except RequestRejected as refusal:
                refusal.close = True
                raise
            body = await receive_body(receive, announced_length(headers), door.limits, door.timeouts.upload_stall_s)
            call = read_body(body, door.limits)
            plan = make_plan(
                call.model,
                call.stream,
                options,
                door.catalogue,
                principal=principal,
                endpoint_allowed=door.endpoint_allowed,
                total_s=door.timeouts.total_s,
            )
        except RequestRejected as refusal:
            try:
                await reply.refuse(refusal)
            except CallerGone:
                pass
            return
        await _Exchange(door, dispatcher, reply, call, options, plan, principal).run(receive)


class _Exchange:
    """One planned request: dispatched, answered, and told to the observers."""

    def __init__(
        self,
        door: Door,
        dispatcher: Dispatcher,
        reply: Reply,
        call: ChatCall,
        options: CallOptions,
        plan: Plan,
        principal: Principal | None,
    ) -> None:
        self._door = door
        self._dispatcher = dispatcher
        self._reply = reply
        self._call = call
        self._options = options
        self._plan = plan
        self._principal = principal
        self._result: Dispatched | None = None
        self._outcome = "left"

    async def run(self, receive: Receive) -> None:
        started_s = anyio.current_time()
        try:
            await race(self._work, receive)
        except CallerGone:
            pass
        finally:
            self._door.observers.tell(lambda: self._ended(started_s))

    async def _work(self) -> None:
        result = self._result = await self._dispatcher.dispatch(self._call, self._options, self._plan)
        headers = [*result.headers, *trail_headers(result.attempts, result.made, result.provider)]
        answer = result.outcome
        if isinstance(answer, RequestRejected):
            await self._reply.refuse(answer, headers, result.attempts)
            self._outcome = "refused" if result.provider is not None else "failed"
            return
        try:
            status = self._options.success_status or self._door.success_status
            if answer.stream is None:
                await self._reply.json(status, answer.body, headers)
                self._outcome = "ok"
                return
            await self._reply.start_stream(status, headers)
            relay = Relay(answer, answer.stream, self._door.timeouts, result.mask)
            broken = await relay.run(self._reply.part)
            if broken is not None:
                # The body is left without its end, so that clients that ignore the event still see a broken
                # connection (contract, section 5).
                self._outcome = "broken"
                self._door.observers.tell(
                    lambda: StreamBroken(
                        self._options.request_id,
                        answer.target.provider,
                        broken.cause,
                        relay.delivered_bytes,
                    )
                )
                # First, because a caller who has stopped reading may never let that last part go out.
                await answer.aclose()
                await self._reply.part(interruption(broken.message))
                return
            await self._reply.end_stream()
            self._outcome = "ok"
            await relay.drain()
        finally:
            await answer.aclose()

    def _ended(self, started_s: float) -> RequestEnded:
        result = self._result
        return RequestEnded(
            request_id=self._options.request_id,
            outcome=self._outcome,
            status=self._reply.status,
            provider=result.provider if result is not None else None,
            attempts=tuple(result.attempts) if result is not None else (),
            duration_ms=round((anyio.current_time() - started_s) * 1000),
            stream=self._call.stream,
            principal=self._principal.id if self._principal is not None else None,
        )


def refuse_loop(options: CallOptions, gateway_id: str) -> None:
    """Raise the 508 when the request has been here before (contract, section 1)."""
    if gateway_id in options.via or len(options.via) >= MAX_GATEWAYS:
        raise RequestRejected(
            508,
            "The request came back to this gateway: one of its providers leads here.",
            code="loop_detected",
            type="loop_detected",
            should_retry=False,
        )
