"""One attempt: a slot, a key, a request, and its answer up to the first chunk. Every failure is an `Outcome`.

The whole attempt runs in one cancel scope whose deadline is the first-chunk limit. It is closed before anything is
handed out, so a limit never outlives the attempt that it was for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

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
from .._wire.answer import encoded, media, read_answer
from .._wire.chunks import Chunk, read_chunk
from .._wire.retry_after import read_retry_after
from .._wire.sse import Comment, frame, frame_comment
from .._wire.structure import takes_long
from ..providers.base import Provider
from ..transports.base import Transport, TransportFailure, UpstreamResponse
from .account import Heard
from .answer import Answer
from .aside import Aside
from .clock import Loop
from .prepare import prepare
from .refusal import ERROR_BODY_S, error_body, said
from .slots import Slot, Slots
from .stream import ChatStream, StreamDefect

STALL_S = 0.02
"""A limit that is noticed so much too late had passed while the host blocked the loop."""

CATCH_UP_S = 0.05

_T = TypeVar("_T")


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
    _held: list[bytes] = field(init=False, repr=False)
    _chunks: list[Chunk] = field(init=False, repr=False)
    _scope: anyio.CancelScope = field(init=False)
    _lost: bool = False
    _grace_until_s: float | None = None

    def __post_init__(self) -> None:
        self._scope = self.loop.cancel_scope()

    def cancel(self) -> None:
        """Another attempt has decided the request. Harmless at any time, also before and after the run."""
        self._lost = True
        self._scope.cancel()

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
            with self._scope:
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
        if result is None and not self._lost:
            return self._outcome("timeout", started_s)
        return result

    def _set_limit(self, first_chunk_s: float, until_s: float | None, started_s: float) -> None:
        self.limit_s = first_chunk_s if until_s is None else min(first_chunk_s, until_s - started_s)
        self._scope.deadline = started_s + self.limit_s

    async def _finished(
        self, answer: Answer, finish: Callable[[Answer], Awaitable[Answer | Outcome]], ends_s: float
    ) -> Answer | Outcome | None:
        # A scope of its own: the first one's limit may have passed, and what was waiting then was still in time.
        self._scope = anyio.CancelScope(deadline=ends_s)
        result: Answer | Outcome | None = None
        try:
            if not self._lost:
                with self._scope:
                    result = await finish(answer)
        finally:
            if not isinstance(result, Answer):
                await answer.aclose()
        return result

    async def _answer(self, response: UpstreamResponse, slot: Slot, started_s: float) -> Answer | Outcome:
        self.answered = response.headers
        answer: Answer | None = None
        try:
            found = await self._read(response)
            if isinstance(found, ChatStream | bytes):
                outcome = self._outcome("ok", started_s, response=response)
                answer = Answer(self.target, response.headers, response, slot, outcome, started_s, report=self.report)
                if isinstance(found, bytes):
                    answer.body = found
                else:
                    answer.stream, answer.held, answer.chunks = found, self._held, self._chunks
                return answer
            kind, detail, error = found
            return self._outcome(kind, started_s, response=response, detail=detail, error=error)
        except TransportFailure as failure:
            return self._outcome(failure.kind, started_s, response=response)
        finally:
            if answer is None:
                await response.aclose()

    async def _read(
        self, response: UpstreamResponse
    ) -> bytes | ChatStream | tuple[OutcomeKind, str | None, ProviderError | None]:
        if not 200 <= response.status <= 299:
            # The limit is lifted for it and kept in there, or a status that has come would end as a timeout.
            until_s, self._scope.deadline = self._scope.deadline, math.inf
            body = await error_body(response, min(until_s, self.loop.clock_s() + ERROR_BODY_S))
            return "status", None, said(self.provider, response, body)
        if encoded(response.headers):
            return "invalid_answer", "encoded", None
        kind = media(response.headers)
        if self.call.stream:
            if kind in ("json", "html"):
                return "invalid_answer", f"{kind}_for_a_stream", None
            stream = ChatStream(response, self.call.choices, self.limits)
            defect, error = await self._open_stream(stream)
            return ("invalid_answer", defect, error) if defect else stream
        if kind in ("sse", "html"):
            return "invalid_answer", f"{kind}_for_a_plain_call", None
        whole = bytearray()  # a list of chunks of one byte each would take many times their size
        chunks = response.chunks()
        while True:
            if self._scope.cancel_called:
                chunk = await self._in_time(lambda: anext(chunks, None))
            else:
                chunk = await anext(chunks, None)
            if chunk is None:
                break
            whole += chunk
            if len(whole) > self.limits.upstream_answer_bytes:
                return "invalid_answer", "too_large", None
        body = bytes(whole)
        if self.report is not None:
            self.report.heard()
        if takes_long(body):
            answer = await self.aside.run(partial(read_answer, body, patiently=True))
        else:
            answer = read_answer(body)
        if self.report is not None and answer.value is not None:
            self.report.note(answer.value)
        return ("invalid_answer", answer.no_answer, answer.error) if answer.no_answer else answer.body

    async def _in_time(self, read: Callable[[], Awaitable[_T]]) -> _T:
        """Read on. What was waiting while a blocked loop let the limit pass is still in time, all of it."""
        if not self._scope.cancel_called or self._lost:
            return await read()
        now_s = self.loop.clock_s()
        if self._grace_until_s is None:
            stalled = now_s - self._scope.deadline > STALL_S
            self._grace_until_s = now_s + CATCH_UP_S if stalled else now_s
        if now_s < self._grace_until_s:
            with anyio.CancelScope(shield=True, deadline=self._grace_until_s):
                return await read()
        return await read()  # and be cancelled

    async def _open_stream(self, stream: ChatStream) -> tuple[str | None, ProviderError | None]:
        """Read up to the first chunk with substance (contract, section 2). Returns what is wrong, if something is."""
        self._held, self._chunks = [], []
        held_bytes = comment_bytes = events = 0
        while True:
            try:
                frames = await self._in_time(lambda: stream.next("first"))
            except StreamDefect as defect:
                return defect.cause, None
            if self.report is not None:
                self.report.heard()
            if frames is None:
                return "empty_stream", None
            assert not isinstance(frames, bytes)  # which only comes when asked for
            for index, item in enumerate(frames):
                if isinstance(item, Comment):
                    comment = frame_comment(item.text)
                    comment_bytes += len(comment)  # framed: an empty one, too, takes room
                    if comment_bytes <= self.limits.held_comment_bytes:
                        self._held.append(comment)
                    continue
                chunk = read_chunk(item.data, error_event=item.error)
                if chunk.kind != "data":
                    cause = {"done": "empty_stream", "error": "error_event", "broken": "not_json"}[chunk.kind]
                    return cause, chunk.error
                stream.note(chunk)
                self._held.append(frame(chunk.payload))
                self._chunks.append(chunk)
                events += 1
                held_bytes += len(chunk.payload)
                full = events >= self.limits.held_events or held_bytes > self.limits.held_bytes
                if chunk.substance or full:
                    stream.put_back(frames[index + 1 :])
                    return None, None

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
