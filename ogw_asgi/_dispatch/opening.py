"""What an attempt is given: a stream up to its first chunk, or all of a plain answer; and what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import anyio

from .._values import OutcomeKind, ProviderError
from .._wire.answer import encoded, media, read_answer
from .._wire.chunks import Chunk, read_chunk
from .._wire.sse import Comment, frame, frame_comment
from .._wire.structure import takes_long
from ..transports.base import UpstreamResponse
from .refusal import ERROR_BODY_S, error_body, said
from .stream import ChatStream, StreamDefect

if TYPE_CHECKING:
    from .attempt import Attempt

STALL_S = 0.02
"""A limit that is noticed so much too late had passed while the host blocked the loop."""

CATCH_UP_S = 0.05

_T = TypeVar("_T")


class Begun(NamedTuple):
    """A stream that has its first chunk with substance.

    Attributes:
        held: the frames up to and including that chunk, ready to send.
        chunks: the data events among them, judged.
    """

    stream: ChatStream
    held: list[bytes]
    chunks: list[Chunk]


class Defect(NamedTuple):
    """Why it is no answer. `detail`: of an `invalid_answer`, what is wrong; `error`: what the provider said."""

    kind: OutcomeKind
    detail: str | None = None
    error: ProviderError | None = None


async def read_opening(attempt: Attempt, response: UpstreamResponse) -> bytes | Begun | Defect:
    """All of a plain answer, or the beginning of a stream, within the limit of `attempt`. Raises TransportFailure."""
    scope = attempt.scope
    if not 200 <= response.status <= 299:
        # The limit is lifted for it and kept in there, or a status that has come would end as a timeout.
        until_s, scope.deadline = scope.deadline, math.inf
        body = await error_body(response, min(until_s, attempt.loop.clock_s() + ERROR_BODY_S))
        return Defect("status", None, said(attempt.provider, response, body))
    if encoded(response.headers):
        return Defect("invalid_answer", "encoded")
    kind = media(response.headers)
    if attempt.call.stream:
        if kind in ("json", "html"):
            return Defect("invalid_answer", f"{kind}_for_a_stream")
        return await _begin(attempt, ChatStream(response, attempt.call.choices, attempt.limits))
    if kind in ("sse", "html"):
        return Defect("invalid_answer", f"{kind}_for_a_plain_call")
    whole = bytearray()  # a list of chunks of one byte each would take many times their size
    chunks = response.chunks()
    while True:
        if scope.cancel_called:
            chunk = await _in_time(attempt, lambda: anext(chunks, None))
        else:
            chunk = await anext(chunks, None)
        if chunk is None:
            break
        whole += chunk
        if len(whole) > attempt.limits.upstream_answer_bytes:
            return Defect("invalid_answer", "too_large")
    body = bytes(whole)
    report = attempt.report
    if report is not None:
        report.heard()
    if takes_long(body):
        answer = await attempt.aside.run(partial(read_answer, body, patiently=True))
    else:
        answer = read_answer(body)
    if report is not None and answer.value is not None:
        report.note(answer.value)
    return Defect("invalid_answer", answer.no_answer, answer.error) if answer.no_answer else answer.body


async def _begin(attempt: Attempt, stream: ChatStream) -> Begun | Defect:
    """Read up to the first chunk with substance (contract, section 2)."""
    held: list[bytes] = []
    chunks: list[Chunk] = []
    held_bytes = comment_bytes = 0
    limits, report = attempt.limits, attempt.report
    while True:
        try:
            frames = await _in_time(attempt, lambda: stream.next("first"))
        except StreamDefect as defect:
            return Defect("invalid_answer", defect.cause)
        if report is not None:
            report.heard()
        if frames is None:
            return Defect("invalid_answer", "empty_stream")
        assert not isinstance(frames, bytes)  # which only comes when asked for
        for index, item in enumerate(frames):
            if isinstance(item, Comment):
                comment = frame_comment(item.text)
                comment_bytes += len(comment)  # framed: an empty one, too, takes room
                if comment_bytes <= limits.held_comment_bytes:
                    held.append(comment)
                continue
            chunk = read_chunk(item.data, error_event=item.error)
            if chunk.kind != "data":
                cause = {"done": "empty_stream", "error": "error_event", "broken": "not_json"}[chunk.kind]
                return Defect("invalid_answer", cause, chunk.error)
            stream.note(chunk)
            held.append(frame(chunk.payload))
            chunks.append(chunk)
            held_bytes += len(chunk.payload)
            if chunk.substance or len(chunks) >= limits.held_events or held_bytes > limits.held_bytes:
                stream.put_back(frames[index + 1 :])
                return Begun(stream, held, chunks)


async def _in_time(attempt: Attempt, read: Callable[[], Awaitable[_T]]) -> _T:
    """Read on. What was waiting while a blocked loop let the limit pass is still in time, all of it."""
    if not attempt.scope.cancel_called or attempt.lost:
        return await read()
    now_s = attempt.loop.clock_s()
    if attempt.grace_until_s is None:
        stalled = now_s - attempt.scope.deadline > STALL_S
        attempt.grace_until_s = now_s + CATCH_UP_S if stalled else now_s
    if now_s < attempt.grace_until_s:
        with anyio.CancelScope(shield=True, deadline=attempt.grace_until_s):
            return await read()
    return await read()  # and be cancelled
