"""`POST /chat/completions`: the whole walk of a request, on one screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from .._dispatch.answer import Answer
from .._dispatch.clock import clock_s
from .._dispatch.delivery import Delivery
from .._dispatch.dispatcher import Dispatch, Dispatcher
from .._dispatch.pace import Pace
from .._dispatch.race import Line, line_to
from .._dispatch.relay import STALLED, NotTaken
from .._rules.denials import Denials
from .._rules.plan import make_plan
from .._values import CallOptions, ChatCall, Header, Plan, Principal
from .._wire.body import read_body
from .._wire.envelope import interruption
from .._wire.headers import (
    Values,
    announced_length,
    header_values,
    refuse_two_lengths,
    refuse_two_tokens,
)
from .._wire.structure import takes_long
from ..auth.base import SCOPE_KEY, authenticate
from ..exceptions import EndpointDenied, RequestRejected
from ..telemetry.events import EgressDenied, RequestEnded, RequestOutcome, RequestRefused, StreamBroken
from .door import Door, read_head, request_id_of
from .places import Places, overloaded, too_many_denials
from .receive import Receive, receive_body, too_slow
from .send import CallerGone, Reply, Scope, Send, trail_headers


class ChatCompletions:
    """The endpoint as an ASGI app. Nothing of a request is kept on it but how many there are, whose, who is next."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.in_flight = 0
        self.denials = Denials()
        self.places = Places()
        self.pace = Pace()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        headers = header_values(scope["headers"])
        request_id = request_id_of(headers)
        reply = Reply(scope, send, request_id, self.door.timeouts.send_s)
        if self.in_flight >= self.door.limits.in_flight:
            refusal = overloaded()
            self.refused(request_id, refusal, None)
            return _refuse(reply, refusal)
        return _Exchange(self, reply, scope, receive, headers, request_id).run()

    def refused(self, request_id: str, refusal: RequestRejected, principal: str | None) -> None:
        """Observers are told of whom nobody will be asked for."""
        self.door.observers.tell(
            lambda: RequestRefused(request_id, refusal.status, refusal.code, principal), usual=True
        )


class _Exchange:
    """One request: admitted, dispatched, answered, and told to the observers."""

    _options: CallOptions
    _announced: int | None
    _stream: bool
    _model: str
    _clock_s: Callable[[], float]
    _started_s: float

    def __init__(
        self,
        completions: ChatCompletions,
        reply: Reply,
        scope: Scope,
        receive: Receive,
        headers: Values,
        request_id: str,
    ) -> None:
        self._completions = completions
        self._door = completions.door
        self._reply = reply
        self._scope = scope
        self._receive = receive
        self._headers = headers
        self._request_id = request_id
        self._principal: Principal | None = None
        self._caller: str | None = None
        self._dispatch: Dispatch | None = None
        self._uploading = False
        self._waited_s = 0.0
        self._provider: str | None = None
        self._outcome: RequestOutcome = "left"

    async def run(self) -> None:
        reply, door = self._reply, self._door
        self._completions.in_flight += 1
        try:
            try:
                dispatcher = await self._admit()
            except RequestRejected as refusal:
                await self._turn_away(self._denied(refusal))
                return
            async with line_to(self._receive, reply) as line:
                reply.limit = line.limit
                try:
                    call, plan = await self._read(dispatcher, line)
                except RequestRejected as refusal:
                    await self._turn_away(self._denied(refusal))
                else:
                    dispatch = self._planned(dispatcher, call, plan, line)
                    del call  # its body is the dispatch's to keep, as long as it may be needed
                    await self._answer(dispatch)
            if line.scope.cancelled_caught and self._uploading and not reply.begun:
                reply.limit = None
                await self._turn_away(too_slow(door.limits, door.timeouts.upload_stall_s))
        except (CallerGone, NotTaken):
            pass
        finally:
            self._completions.in_flight -= 1
            if reply.place is not None:
                reply.place.leave()
            if self._dispatch is not None:
                at_once = self._outcome == "ok" and len(self._dispatch.attempts) == 1
                door.observers.tell(self._ended, usual=at_once or self._outcome == "left")

    async def _turn_away(self, refusal: RequestRejected) -> None:
        # Not in `run`: a name for it there would tie it to its own traceback, until the garbage collector comes.
        self._completions.refused(self._request_id, refusal, self._caller)
        await self._reply.refuse(refusal)

    def _planned(self, dispatcher: Dispatcher, call: ChatCall, plan: Plan, line: Line) -> Dispatch:
        self._clock_s = dispatcher.fine_s
        self._stream = call.stream
        self._model = call.model
        self._dispatch = dispatcher.dispatch(
            call,
            self._options,
            plan,
            principal=self._caller,
            line=line,
            began_s=self._started_s,
            waited_s=self._waited_s,
        )
        return self._dispatch

    async def _admit(self) -> Dispatcher:
        """What can be said before the body: whoever is refused here need not send it. Who is calling comes first: to
        nobody is nothing said about what they asked for."""
        door, headers = self._door, self._headers
        try:
            dispatcher = await door.open()
            refuse_two_lengths(headers)
            if door.authenticator is not None:
                refuse_two_tokens(headers)
            principal = (
                None  # where nobody asks who is calling, `authenticate` would say the same at a coroutine's price
            )
            if door.authenticator is not None or SCOPE_KEY in self._scope:
                principal = await authenticate(door.authenticator, self._scope, door.timeouts.authenticate_s)
            if principal is not None:
                self._principal = principal
                self._caller = principal.id
                if principal.in_flight is not None:
                    self._reply.place = self._completions.places.take(principal, principal.in_flight)
            self._options = read_head(door, headers, self._request_id)
            self._announced = announced_length(headers)
            # All that they say is known, a crowd may queue, and a stream may be open for an hour.
            self._headers = headers = {}
            if not self._completions.pace.free():
                dispatcher = await self._in_turn(dispatcher)
        except RequestRejected as refusal:
            refusal.close = True
            raise
        return dispatcher

    async def _in_turn(self, dispatcher: Dispatcher) -> Dispatcher:
        """Behind the door: who is refused there is in nobody's way."""
        came_s = dispatcher.fine_s()
        await self._completions.pace.turn()
        self._waited_s = dispatcher.fine_s() - came_s
        return await self._door.open()  # the gateway may have been closed in the meantime

    async def _read(self, dispatcher: Dispatcher, line: Line) -> tuple[ChatCall, Plan]:
        door = self._door
        self._uploading = True
        body = await receive_body(self._receive, self._announced, door.limits, door.timeouts.upload_stall_s, line.limit)
        self._uploading = False
        self._started_s = dispatcher.fine_s() - self._waited_s
        if takes_long(body):
            read = partial(read_body, body, door.limits, patiently=True, told=door.observers.all_is_told)
            call = await dispatcher.aside.run(read)
        else:
            call = read_body(body, door.limits, told=door.observers.all_is_told)
        plan = make_plan(
            call.model,
            call.stream,
            self._options,
            door.catalogue,
            principal=self._principal,
            guard_for=door.guard_for,
            total_s=door.timeouts.total_s,
        )
        return call, plan

    async def _answer(self, dispatch: Dispatch) -> None:
        status = self._options.success_status or self._door.success_status
        contest = dispatch.first()
        await dispatch.line.watch()
        beat_s = self._door.timeouts.heartbeat_s
        if beat_s is not None and dispatch.stream:
            dispatch.line.spawn(partial(self._reply.keep_alive, status, beat_s))
        result = dispatch.dispatched(contest, await contest.run())
        self._provider = result.provider
        headers = [*result.headers, *trail_headers(dispatch.attempts, dispatch.made, result.provider)]
        answer = result.outcome
        if isinstance(answer, RequestRejected):
            refused = result.provider is not None or isinstance(answer, EndpointDenied)
            answer = self._denied(answer)
            if not self._reply.begun:
                await self._reply.refuse(answer, headers, dispatch.attempts)
            else:  # a heartbeat has promised a stream: this is the end of it
                await self._reply.last_part(interruption(answer.message, attempts=dispatch.attempts))
            self._outcome = "refused" if refused else "failed"
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
                        self._request_id,
                        dispatch.account.serial,
                        delivery.provider,
                        broken.cause,
                        delivery.delivered_bytes,
                    )
                )
                attempts = dispatch.attempts if delivery.tried else None
                await self._reply.last_part(interruption(broken.message, attempts=attempts))
        finally:
            self._provider = delivery.provider  # whoever had it when it ended, and if it was the caller who ended it
            await delivery.aclose()

    def _denied(self, refusal: RequestRejected) -> RequestRejected:
        """The refusal as the caller gets it, the operator being told of an endpoint that was named in vain."""
        endpoint = self._options.vllm_endpoint if isinstance(refusal, EndpointDenied) else None
        if not isinstance(refusal, EndpointDenied) or endpoint is None:
            return refusal
        principal = self._caller
        event = EgressDenied(self._request_id, principal, endpoint.origin, refusal.step, refusal.address)
        self._door.observers.tell(lambda: event)
        wait_s = self._completions.denials.wait_s(principal, clock_s())
        return refusal if wait_s is None else too_many_denials(wait_s)

    def _ended(self) -> RequestEnded:
        dispatch = self._dispatch
        assert dispatch is not None
        return RequestEnded(
            request_id=self._request_id,
            serial=dispatch.account.serial,
            model=self._model,
            outcome=self._outcome,
            status=self._reply.status,
            provider=self._provider,
            attempts=dispatch.told_trail(),
            duration_ms=round((self._clock_s() - self._started_s) * 1000),
            stream=self._stream,
            principal=self._caller,
            overhead_s=dispatch.account.overhead_s,
        )


async def _refuse(reply: Reply, refusal: RequestRejected) -> None:
    try:
        await reply.refuse(refusal)
    except CallerGone:
        pass
