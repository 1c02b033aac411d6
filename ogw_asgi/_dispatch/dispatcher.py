"""One request, from its plan to its first chunk or its refusal, and on from where a stream broke."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from .._frozen import dataclass
from .._rules.classify import Verdict
from .._rules.failover import Failover, GiveUp, Try
from .._values import (
    AttemptRecord,
    CallOptions,
    ChatCall,
    Header,
    Limits,
    Outcome,
    Plan,
    StreamBreak,
    Target,
    Timeouts,
)
from .._wire.forwarding import downstream_headers, traceparent, upstream_headers
from .._wire.masking import Mask
from ..exceptions import RequestRejected
from ..providers.base import Provider
from ..telemetry.observers import Observers
from ..transports.base import Transport
from .account import Account, Heard, Unheard
from .admission import Admission, scope_of
from .answer import Answer
from .aside import Aside
from .attempt import Attempt
from .clock import Loop
from .contest import Contest
from .hold import hold
from .race import Line
from .slots import Slots
from .terms import Terms


@dataclass(frozen=True, slots=True)
class Dispatched:
    """What came of a request up to its first chunk.

    Attributes:
        provider: who answered, or whose refusal is passed on.
        headers: what of that provider's headers the caller gets.
        outcome: an answer, which whoever gets it closes, or the refusal that is left when there is none.
    """

    provider: str | None
    headers: Sequence[Header]
    outcome: Answer | RequestRejected


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Shared by all requests of an opened gateway; holds nothing of any one of them."""

    providers: Mapping[str, Provider]
    transport_for: Callable[[Target], Transport]
    slots: Slots
    aside: Aside
    circuits: Admission
    timeouts: Timeouts
    limits: Limits
    failover_on: frozenset[str]
    on_stream_break: StreamBreak
    observers: Observers
    mask: Mask
    gateway_id: str
    version: str
    loop: Loop
    fine_s: Callable[[], float]
    """A clock for measuring."""
    unheard: Unheard

    def dispatch(
        self,
        call: ChatCall,
        options: CallOptions,
        plan: Plan,
        *,
        principal: str | None,
        line: Line,
        began_s: float,
        waited_s: float = 0.0,
    ) -> Dispatch:
        """What is to be done for one request that was there at `began_s`, `waited_s` of it in the queue; nothing has
        been, yet."""
        return Dispatch(self, call, options, plan, principal, line, began_s, waited_s)


class Dispatch(Terms):
    """One request's attempts, and the terms of its first contest (see Terms).

    Attributes:
        call, options: what was asked for.
        policy: what happens when its stream breaks.
        failover: whom it has asked, and may still ask.
        won: the step that gave the last answer.
    """

    def __init__(
        self,
        shared: Dispatcher,
        call: ChatCall,
        options: CallOptions,
        plan: Plan,
        principal: str | None,
        line: Line,
        began_s: float,
        waited_s: float,
    ) -> None:
        self.shared = shared
        self.call = call
        self.options = options
        self.policy: StreamBreak = options.on_stream_break or shared.on_stream_break
        named_s = options.hedge_after_s
        self.request_id = options.request_id
        self.stream = call.stream
        self.hedge_after = shared.timeouts.hedge_after_s if named_s is None else named_s
        self.slot_wait_s = shared.timeouts.slot_wait_s
        self.finishes = call.stream and self.policy == "hold"
        self.continues = False
        self.account: Unheard
        if shared.observers.all_is_told:
            self.account = Account(shared.observers, shared.fine_s, options.request_id, plan, began_s)
        else:
            self.account = shared.unheard
        self.line = line
        self.won: Try | None = None
        self.failover = Failover(
            plan,
            limits=shared.limits,
            timeouts=shared.timeouts,
            failover_on=shared.failover_on,
            started_s=shared.loop.clock_s() - waited_s,
        )
        self._principal = principal
        self._made: tuple[Attempt, ...] = ()
        self._guard = plan.guard
        self.scopes = {target: scope_of(target, principal) for target in plan.targets}

    @property
    def attempts(self) -> Sequence[AttemptRecord]:
        """The whole trail."""
        return self.failover.attempts

    def told_trail(self) -> Sequence[AttemptRecord]:
        """The whole trail, for observers."""
        return self.account.trail(self.failover.orders, self.failover.attempts)

    @property
    def made(self) -> int:
        """How many of the trail went out."""
        return self.failover.made

    @property
    def mask(self) -> Mask:
        """Hides every key that was sent."""
        keys = [one.used_key.reveal() for one in self._made if one.used_key is not None]
        return self.shared.mask.plus(keys)

    def masked(self, outcome: Outcome) -> Outcome:
        """The same outcome with a provider's words as they may be shown."""
        return _masked(outcome, self.mask)

    # --- its terms, as a contest sees them ---

    def make(self, target: Target) -> Attempt:
        return self.attempt(self.call, target)

    async def finish(self, answer: Answer) -> Answer | Outcome:
        return await hold(answer, self.shared.timeouts, self.shared.limits.upstream_answer_bytes)

    def asks_again(self, target: Target, outcome: Outcome, verdict: Verdict) -> bool:
        return False

    # --- what is done for it ---

    def first(self) -> Contest:
        """The contest that tries the plan's targets until one gives its first chunk."""
        if self.account.heard:
            self.account.planned(self.call, self._principal)
        return self._contest(self)

    def dispatched(self, contest: Contest, result: Answer | GiveUp) -> Dispatched:
        """What came of it. Whoever gets an answer closes it."""
        if self.account.heard:
            self.account.decided()
        if isinstance(result, GiveUp):
            said = contest.refusing.answered if contest.refusing is not None else ()
            # A refusal has a retry-after of its own, within the bounds of the contract, or none.
            headers = [pair for pair in downstream_headers(said, self.mask) if b"retry-after" not in pair[0]]
            return Dispatched(result.provider, headers, result.refusal)
        self.won = contest.won
        return Dispatched(result.target.provider, downstream_headers(result.headers, self.mask), result)

    async def other(self, terms: Terms) -> Answer | None:
        """Another answer, from the targets that are left, on these terms. Whoever gets it closes it."""
        contest = self._contest(terms)
        result = await contest.run()
        if isinstance(result, GiveUp):
            return None
        self.won = contest.won
        return result

    async def broken(self, answer: Answer) -> None:
        """The provider broke its stream after the first chunk: its circuit hears of it."""
        await self.shared.circuits.broken(scope_of(answer.target, self._principal), self.shared.loop.clock_s())

    def forget_body(self) -> None:
        """Nobody will be asked again: a prompt of megabytes is not kept for as long as its answer takes."""
        self.call = self.call.without_body()
        for made in self._made:
            made.call = self.call

    def attempt(self, call: ChatCall, target: Target) -> Attempt:
        """An attempt at `target`, to be run once, asking for `call`."""
        shared, options = self.shared, self.options
        provider = shared.providers[target.provider]
        trace = None
        if provider.self_hosted and not shared.observers.traces:
            trace = traceparent(options.trace_id or secrets.token_hex(16), secrets.token_hex(8), options.trace_flags)
        made = Attempt(
            provider=provider,
            target=target,
            call=call,
            transport=shared.transport_for(target),
            forwarded=upstream_headers(
                options,
                gateway_id=shared.gateway_id,
                version=shared.version,
                stream=call.stream,
                traceparent=trace,
            ),
            limits=shared.limits,
            connect_s=shared.timeouts.connect_s,
            loop=shared.loop,
            caller_key=options.vllm_api_key if target.endpoint else None,
            permits=self._guard,
            aside=shared.aside,
            report=Heard(shared.fine_s) if self.account.heard else None,
        )
        self._made += (made,)
        return made

    def _contest(self, terms: Terms) -> Contest:
        shared = self.shared
        return Contest(terms, self.failover, shared.circuits, shared.slots, shared.loop, self.line)


def _masked(outcome: Outcome, mask: Mask) -> Outcome:
    # A server's message may echo our key or a configured URL (contract, section 4). It is masked here, once, because
    # from here on it is the caller's refusal, the trail, the log and what sinks see.
    error = outcome.error
    if error is None:
        return outcome

    def shown(text: str | None) -> str | None:
        return None if text is None else mask.text(text)

    words = replace(
        error,
        message=shown(error.message),
        type=shown(error.type),
        param=shown(error.param),
        code=shown(error.code),
        inner_code=shown(error.inner_code),
    )
    return replace(outcome, error=words)
