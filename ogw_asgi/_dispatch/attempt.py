"""One attempt: a slot, a key, a request, and its answer up to the first chunk. Every failure is an `Outcome`.

The whole attempt runs in one cancel scope whose deadline is the first-chunk limit. It is closed before anything is
handed out, so a limit never outlives the attempt that it was for.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from .._values import ChatCall, Header, Limits, Outcome, OutcomeKind, ProviderError, Secret, Target
from .._wire.answer import encoded, media, read_answer
from .._wire.chunks import read_chunk
from .._wire.retry_after import read_retry_after
from .._wire.sse import Comment, frame, frame_comment
from ..exceptions import where
from ..providers.base import Provider, Unservable
from ..transports.base import Transport, TransportFailure, UpstreamResponse
from .slots import Slot, Slots
from .stream import ChatStream, StreamDefect

logger = logging.getLogger("ogw_asgi")

ERROR_BODY_BYTES = 64 << 10
ERROR_BODY_S = 5.0
"""A status has been said already: its explanation is not waited for as long as an answer."""


@dataclass(slots=True)
class Answer:
    """A good first chunk, and what follows it. Whoever holds this closes it."""

    target: Target
    headers: Sequence[Header]
    response: UpstreamResponse
    slot: Slot
    outcome: Outcome
    body: bytes = b""
    stream: ChatStream | None = None
    held: list[bytes] = field(default_factory=list)
    """The frames up to and including the first with substance, ready to send."""

    async def aclose(self) -> None:
        try:
            await self.response.aclose()
        finally:
            self.slot.release()


@dataclass(slots=True)
class Attempt:
    """Everything that one attempt needs; `run` it once.

    `key` is the caller's key for the caller's own endpoint; otherwise the provider is asked for its configured one.
    `used_key` afterwards holds what was sent, so that it can be masked wherever the provider's words are shown.
    """

    provider: Provider
    target: Target
    call: ChatCall
    transport: Transport
    forwarded: Sequence[Header]
    limits: Limits
    connect_s: float
    caller_key: Secret | None = None
    used_key: Secret | None = None
    answered: Sequence[Header] = ()
    """The head's headers, once there is one, whatever came of the answer."""
    _held: list[bytes] = field(default_factory=list)
    _scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def run(self, slots: Slots, slot_wait_s: float, first_chunk_s: float) -> Answer | Outcome:
        started_s = anyio.current_time()
        key = (self.target.provider, self.target.endpoint, self.target.model)
        slot = await slots.acquire(key, min(slot_wait_s, first_chunk_s))
        if slot is None:
            return self._outcome("busy", started_s)
        started_s = anyio.current_time()
        result: Answer | Outcome | None = None
        try:
            with anyio.move_on_after(first_chunk_s) as self._scope:
                result = await self._run(slot, started_s)
        finally:
            if not isinstance(result, Answer):
                slot.release()
        return result or self._outcome("timeout", started_s)

    async def _run(self, slot: Slot, started_s: float) -> Answer | Outcome:
        try:
            self.used_key = self.caller_key if self.target.endpoint else await self.provider.key()
        except Exception as failure:  # whatever a user's callable raises
            logger.warning("key_unavailable provider=%s error=%s", self.provider.name, where(failure))
            return self._outcome("key_unavailable", started_s)
        try:
            request = self.provider.prepare(self.call, self.target, self.used_key, self.forwarded, self.connect_s)
        except Unservable:
            return self._outcome("unservable", started_s)
        except Exception as failure:  # a provider class of the user's own
            logger.warning("provider_failed provider=%s error=%s", self.provider.name, where(failure))
            return self._outcome("unservable", started_s)
        try:
            response = await self.transport.open(request)
        except TransportFailure as failure:
            return self._outcome(failure.kind, started_s)
        self.answered = response.headers
        answer: Answer | None = None
        try:
            found = await self._read(response)
            if isinstance(found, ChatStream | bytes):
                outcome = self._outcome("ok", started_s, response=response)
                answer = Answer(self.target, response.headers, response, slot, outcome)
                if isinstance(found, bytes):
                    answer.body = found
                else:
                    answer.stream, answer.held = found, self._held
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
            body = await self._error_body(response)
            return "status", None, self._read_error(response, body)
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
        async for chunk in response.chunks():
            whole += chunk
            if len(whole) > self.limits.upstream_answer_bytes:
                return "invalid_answer", "too_large", None
        answer = read_answer(bytes(whole))
        return ("invalid_answer", answer.no_answer, answer.error) if answer.no_answer else answer.body

    async def _error_body(self, response: UpstreamResponse) -> bytes:
        """The start of an error's body; what cannot be read in time or at all is left out: the status stands.

        The attempt's own limit is lifted for that and kept here, or a status that has come would end as a timeout.
        """
        body = bytearray()
        until_s = min(self._scope.deadline, anyio.current_time() + ERROR_BODY_S)
        self._scope.deadline = math.inf
        with anyio.CancelScope(deadline=until_s):
            try:
                async for chunk in response.chunks():
                    body += chunk
                    if len(body) >= ERROR_BODY_BYTES:
                        break
            except TransportFailure:
                pass
        return bytes(body[:ERROR_BODY_BYTES])

    def _read_error(self, response: UpstreamResponse, body: bytes) -> ProviderError:
        try:
            return self.provider.read_error(response.status, response.headers, body)
        except Exception as failure:  # a provider class of the user's own
            logger.warning("provider_failed provider=%s error=%s", self.provider.name, where(failure))
            return ProviderError(form="text")

    async def _open_stream(self, stream: ChatStream) -> tuple[str | None, ProviderError | None]:
        """Read up to the first chunk with substance (contract, section 2). Returns what is wrong, if something is."""
        held_bytes = comment_bytes = events = 0
        while True:
            try:
                frames = await stream.frames()
            except StreamDefect as defect:
                return defect.cause, None
            if frames is None:
                return "empty_stream", None
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
            duration_s=anyio.current_time() - started_s,
            caller_key=self.caller_key is not None and self.target.endpoint is not None,
        )
