"""The loop: ask the failover machine for a step, make the attempt, tell the machine what came of it."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import anyio

from .._rules.failover import Failover, GiveUp
from .._values import (
    AttemptRecord,
    CallOptions,
    ChatCall,
    Header,
    Limits,
    Outcome,
    Plan,
    Target,
    Timeouts,
)
from .._wire.forwarding import downstream_headers, traceparent, upstream_headers
from .._wire.masking import Mask
from ..exceptions import RequestRejected
from ..providers.base import Provider
from ..telemetry.events import AttemptEnded, AttemptStarted, Observers
from ..transports.base import Transport
from .attempt import Answer, Attempt
from .slots import Slots


@dataclass(frozen=True, slots=True)
class Dispatched:
    """What came of a request up to its first chunk.

    Attributes:
        attempts: the whole trail; `made` counts those of it that went out.
        provider: who answered, or whose refusal is passed on.
        mask: hides every key that was sent.
        headers: what of that provider's headers the caller gets.
        outcome: an answer, which whoever gets it closes, or the refusal that is left when there is none.
    """

    attempts: Sequence[AttemptRecord]
    made: int
    provider: str | None
    mask: Mask
    headers: Sequence[Header]
    outcome: Answer | RequestRejected


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Shared by all requests of an opened gateway; holds nothing of any one of them."""

    providers: Mapping[str, Provider]
    transport_for: Callable[[Target], Transport]
    slots: Slots
    timeouts: Timeouts
    limits: Limits
    failover_on: frozenset[str]
    observers: Observers
    mask: Mask
    gateway_id: str
    version: str

    async def dispatch(self, call: ChatCall, options: CallOptions, plan: Plan) -> Dispatched:
        """Try the plan's targets until one gives its first chunk. Whoever gets an answer closes it."""
        failover = Failover(
            plan,
            limits=self.limits,
            timeouts=self.timeouts,
            failover_on=self.failover_on,
            started_s=anyio.current_time(),
        )
        used: list[str] = []
        said: Sequence[Header] = ()
        while True:
            step = failover.next_step(anyio.current_time(), random.random())
            if isinstance(step, GiveUp):
                mask = self.mask.plus(used)
                # A refusal has a retry-after of its own, within the bounds of the contract, or none.
                headers = [pair for pair in downstream_headers(said, mask) if b"retry-after" not in pair[0]]
                return Dispatched(failover.attempts, failover.made, step.provider, mask, headers, step.refusal)
            if step.wait_s > 0:
                await anyio.sleep(step.wait_s)
            target = step.target
            number = failover.made + 1
            self.observers.tell(
                lambda: AttemptStarted(options.request_id, target.provider, target.model, number)  # noqa: B023
            )
            attempt = self._attempt(call, options, target)
            result = await attempt.run(self.slots, self.timeouts.slot_wait_s, step.first_chunk_s)
            if attempt.used_key is not None:
                used.append(attempt.used_key.reveal())
            outcome = result.outcome if isinstance(result, Answer) else _masked(result, self.mask.plus(used))
            verdict = failover.record(target, outcome, anyio.current_time())
            record = failover.attempts[-1]
            said = attempt.answered if verdict.action == "stop" else ()
            self.observers.tell(
                lambda: AttemptEnded(options.request_id, record, verdict.alert)  # noqa: B023 - told at once
            )
            if isinstance(result, Answer):
                mask = self.mask.plus(used)
                headers = downstream_headers(result.headers, mask)
                return Dispatched(failover.attempts, failover.made, target.provider, mask, headers, result)

    def _attempt(self, call: ChatCall, options: CallOptions, target: Target) -> Attempt:
        provider = self.providers[target.provider]
        trace = None
        if provider.self_hosted:
            trace = traceparent(options.trace_id or secrets.token_hex(16), secrets.token_hex(8), options.trace_flags)
        return Attempt(
            provider=provider,
            target=target,
            call=call,
            transport=self.transport_for(target),
            forwarded=upstream_headers(
                options,
                gateway_id=self.gateway_id,
                version=self.version,
                stream=call.stream,
                traceparent=trace,
            ),
            limits=self.limits,
            connect_s=self.timeouts.connect_s,
            caller_key=options.vllm_api_key if target.endpoint else None,
        )


def _masked(outcome: Outcome, mask: Mask) -> Outcome:
    """The same outcome with a provider's words as they may be shown.

    A server's message may echo our key or a configured URL (contract, section 4). It is masked here, once, because
    from here on it is the caller's refusal, the trail, the log and what sinks see.
    """
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
    )
    return replace(outcome, error=words)
