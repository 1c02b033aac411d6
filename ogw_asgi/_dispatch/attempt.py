"""One attempt, from its slot to its first chunk: within its limit, and cancelled when it is not needed any more. Every
failure is an `Outcome`.

The whole attempt runs in one cancel scope whose deadline is the first-chunk limit. It is closed before anything is
handed out, so a limit never outlives the attempt that it was for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import anyio

from .._values import (
    ChatCall,
    Header,
    Limits,
    Outcome,
    OutcomeKind,
    Permits,
    ProviderError,
    Secret,
    Target,
)
from .._wire.retry_after import read_retry_after
from ..providers.base import Provider
from ..transports.base import Transport, TransportFailure, UpstreamResponse
from .account import Heard
from .answer import Answer
from .aside import Aside
from .clock import Loop
from .opening import Defect, read_opening
from .prepare import prepare
from .slots import Slot, Slots


class Permitted(Protocol):
    def begin(self, now_s: float) -> None:
        """The request goes out: a wait for a slot is not the target's."""
        ...


@dataclass(slots=True)
class Attempt:
    """Everything that one attempt needs; `run` it once.

    `key` is the caller's key for the caller's own endpoint; otherwise the provider is asked for its configured one.
    `used_key` afterwards holds what was sent, so that it can be masked wherever the provider's words are shown; `sent`
    tells whether the request was handed to the engine at all.
    """

    provider: Provider
    target: Target
    call: ChatCall
    transport: Transport
    forwarded: Sequence[Header]
    limits: Limits
    connect_s: float
    loop: Loop
    aside: Aside
    caller_key: Secret | None = None
    permits: Permits | None = None
    """Where the caller's own endpoint may be found; without it that endpoint is not asked at all."""
    report: Heard | None = None
    """What its answer says of itself is kept here, where somebody listens."""
    used_key: Secret | None = None
    sent: bool = False
    limit_s: float = math.inf
    """What was left for it when it had its slot."""
    answered: Sequence[Header] = field(default=(), repr=False)
    """The head's headers, once there is one, whatever came of the answer."""
    scope: anyio.CancelScope = field(init=False)
    """Around all of it; its deadline is the first-chunk limit."""
    lost: bool = False
    """Another attempt has decided the request."""
    grace_until_s: float | None = None
    """When all must have been read that was waiting when a blocked loop let the limit pass."""

    def __post_init__(self) -> None:
        self.scope = self.loop.cancel_scope()

    def cancel(self) -> None:
        """Another attempt has decided the request. Harmless at any time, also before and after the run."""
        self.lost = True
        self.scope.cancel()

    async def run(
        self,
        slots: Slots,
        permit: Permitted,
        *,
        slot_wait_s: float,
        first_chunk_s: float,
        wait_s: float,
        until_s: float | None,
        begun: Callable[[], None] | None,
        finish: Callable[[Answer], Awaitable[Answer | Outcome]] | None = None,
        ends_s: float = math.inf,
    ) -> Answer | Outcome | None:
        """What came of it; None: it was cancelled by `cancel`.

        `begun` is called when `wait_s` is over, and `permit` told when the request is handed to the engine. `finish`
        takes a stream that has its first chunk, and has until `ends_s` for the rest of it.
        """
        started_s = self.loop.clock_s()
        key = (self.target.provider, self.target.endpoint, self.target.model)
        # Nearly always there is nothing to wait for: then the deadline is set before the scope is entered, and once.
        slot = slots.take(key) if wait_s <= 0 else None
        result: Answer | Outcome | None = None
        try:
            if slot is not None:
                self._set_limit(first_chunk_s, until_s, started_s)
            with self.scope:
                if wait_s > 0:
                    await anyio.sleep(wait_s)
                if begun is not None:
                    begun()
                if slot is None:
                    slot = await slots.acquire(key, min(slot_wait_s, first_chunk_s))
                    started_s = self.loop.clock_s()
                    if slot is not None:
                        self._set_limit(first_chunk_s, until_s, started_s)
                if slot is None:
                    result = self._outcome("busy", started_s)
                else:
                    asked = await prepare(self)
                    if isinstance(asked, str):
                        result = self._outcome(asked, started_s)
                    else:
                        self.sent = True
                        permit.begin(self.loop.clock_s())
                        if self.report is not None:
                            self.report.sent()
                        try:
                            # Awaited from here, for each coroutine in between would wake up with the answer.
                            response = await self.transport.open(asked)
                        except TransportFailure as failure:
                            result = self._outcome(failure.kind, started_s, detail=failure.address)
                        else:
                            result = await self._answer(response, slot, started_s)
            if finish is not None and isinstance(result, Answer) and result.stream is not None:
                answer, result = result, None
                result = await self._finished(answer, finish, ends_s)
        finally:
            if slot is not None and not isinstance(result, Answer):
                slot.release()
        if result is None and not self.lost:
            return self._outcome("timeout", started_s)
        return result

    def _set_limit(self, first_chunk_s: float, until_s: float | None, started_s: float) -> None:
        self.limit_s = first_chunk_s if until_s is None else min(first_chunk_s, until_s - started_s)
        self.scope.deadline = started_s + self.limit_s

    async def _finished(
        self, answer: Answer, finish: Callable[[Answer], Awaitable[Answer | Outcome]], ends_s: float
    ) -> Answer | Outcome | None:
        # A scope of its own: the first one's limit may have passed, and what was waiting then was still in time.
        self.scope = anyio.CancelScope(deadline=ends_s)
        result: Answer | Outcome | None = None
        try:
            if not self.lost:
                with self.scope:
                    result = await finish(answer)
        finally:
            if not isinstance(result, Answer):
                await answer.aclose()
        return result

    async def _answer(self, response: UpstreamResponse, slot: Slot, started_s: float) -> Answer | Outcome:
        self.answered = response.headers
        answer: Answer | None = None
        try:
            found = await read_opening(self, response)
            if isinstance(found, Defect):
                kind, detail, error = found
                return self._outcome(kind, started_s, response=response, detail=detail, error=error)
            outcome = self._outcome("ok", started_s, response=response)
            answer = Answer(self.target, response.headers, response, slot, outcome, started_s, report=self.report)
            if isinstance(found, bytes):
                answer.body = found
            else:
                answer.stream, answer.held, answer.chunks = found
            return answer
        except TransportFailure as failure:
            return self._outcome(failure.kind, started_s, response=response)
        finally:
            if answer is None:
                await response.aclose()

    def _outcome(
        self,
        kind: OutcomeKind,
        started_s: float,
        *,
        response: UpstreamResponse | None = None,
        detail: str | None = None,
        error: ProviderError | None = None,
    ) -> Outcome:
        retry_after_s = None
        if response is not None and kind == "status":
            limited = response.status == 429
            retry_after_s = read_retry_after(response.headers, time.time(), limited=limited)
        return Outcome(
            kind,
            self.provider.kind,
            status=response.status if response is not None else None,
            error=error,
            retry_after_s=retry_after_s,
            detail=detail,
            duration_s=self.loop.clock_s() - started_s,
            caller_key=self.caller_key is not None and self.target.endpoint is not None,
        )
