"""`POST /chat/completions`: the whole walk of a request, on one screen."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import anyio
from starlette.requests import HTTPConnection

from .._dispatch.answer import Answer
from .._dispatch.delivery import Delivery
from .._dispatch.dispatcher import Dispatch, Dispatcher
from .._dispatch.race import Spawn, race
from .._dispatch.relay import STALLED
from .._rules.plan import Catalogue, make_plan
from .._values import CallOptions, ChatCall, Endpoint, Header, Limits, Plan, Principal, Timeouts
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
    """The endpoint as an ASGI app. Nothing of a request is kept on it but how many there are."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = read_request_id(scope["headers"]) or secrets.token_hex(16)
        reply = Reply(scope, send, request_id, self._door.timeouts.send_s)
        if self._in_flight >= self._door.limits.in_flight:
            await _refuse(reply, overloaded())
            return
        self._in_flight += 1
        try:
            await self._walk(scope, receive, reply, request_id)
        finally:
            self._in_flight -= 1

    async def _walk(self, scope: Scope, receive: Receive, reply: Reply, request_id: str) -> None:
        door, headers = self._door, scope["headers"]
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
            await _refuse(reply, refusal)
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
        self._dispatch: Dispatch | None = None
        self._provider: str | None = None
        self._outcome = "left"

    async def run(self, receive: Receive) -> None:
        started_s = anyio.current_time()
        try:
            await race(self._work, receive, lambda: self._reply.ending)
        except CallerGone:
            pass
        finally:
            self._door.observers.tell(lambda: self._ended(started_s))

    async def _work(self, spawn: Spawn) -> None:
        principal = self._principal.id if self._principal is not None else None
        dispatch = self._dispatch = self._dispatcher.dispatch(
            self._call, self._options, self._plan, principal=principal, spawn=spawn
        )
        status = self._options.success_status or self._door.success_status
        beat_s = self._door.timeouts.heartbeat_s
        if beat_s is not None and self._call.stream:
            spawn(partial(self._reply.keep_alive, status, beat_s))
        result = await dispatch.first()
        self._provider = result.provider
        headers = [*result.headers, *trail_headers(dispatch.attempts, dispatch.made, result.provider)]
        answer = result.outcome
        if isinstance(answer, RequestRejected):
            if not self._reply.begun:
                await self._reply.refuse(answer, headers, dispatch.attempts)
            else:  # a heartbeat has promised a stream: this is the end of it
                await self._reply.last_part(interruption(answer.message, attempts=dispatch.attempts))
            self._outcome = "refused" if result.provider is not None else "failed"
        elif answer.stream is not None:
            await self._deliver(dispatch, answer, status, headers)
        else:
            await answer.aclose()  # it is all here: no slot waits for a caller that reads slowly
            if answer.whole:
                self._reply.begin_stream(status, headers)
                await self._reply.whole_stream(answer.body)
            else:
                await self._reply.json(status, answer.body, headers)
            self._outcome = "ok"

    async def _deliver(self, dispatch: Dispatch, answer: Answer, status: int, headers: list[Header]) -> None:
        self._reply.begin_stream(status, headers)
        delivery = Delivery(dispatch, answer)
        try:
            broken = await delivery.run(self._reply.part)
            if broken is None:
                await self._reply.end_stream()
                self._outcome = "ok"
                await delivery.drain()
            elif broken.cause != STALLED:
                # The body is left without its end, so that clients that ignore the event still see a broken
                # connection (contract, section 5).
                self._outcome = "broken"
                self._door.observers.tell(
                    lambda: StreamBroken(
                        self._options.request_id, delivery.provider, broken.cause, delivery.delivered_bytes
                    )
                )
                attempts = dispatch.attempts if delivery.tried else None
                await self._reply.last_part(interruption(broken.message, attempts=attempts))
        finally:
            self._provider = delivery.provider  # whoever had it when it ended, and if it was the caller who ended it
            await delivery.aclose()

    def _ended(self, started_s: float) -> RequestEnded:
        return RequestEnded(
            request_id=self._options.request_id,
            outcome=self._outcome,
            status=self._reply.status,
            provider=self._provider,
            attempts=tuple(self._dispatch.attempts) if self._dispatch is not None else (),
            duration_ms=round((anyio.current_time() - started_s) * 1000),
            stream=self._call.stream,
            principal=self._principal.id if self._principal is not None else None,
        )


async def _refuse(reply: Reply, refusal: RequestRejected) -> None:
    try:
        await reply.refuse(refusal)
    except CallerGone:
        pass


def overloaded() -> RequestRejected:
    """The 503 at the door, before the body: an answer in time is worth more than one more request in the queue."""
    return RequestRejected(
        503,
        "The gateway has as many requests in flight as it takes.",
        type="service_unavailable_error",
        code="gateway_overloaded",
        retry_after_s=1,
        close=True,
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
