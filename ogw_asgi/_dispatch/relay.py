"""After the first chunk: the stream goes through, and a break is made visible (contract, section 5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from .._values import Timeouts
from .._wire.chunks import glance, read_chunk
from .._wire.masking import Mask
from .._wire.sse import DONE, Comment, frame, frame_comment
from ..transports.base import TransportFailure
from .attempt import Answer
from .stream import ChatStream, StreamDefect

DRAIN_BYTES = 16 << 10
DRAIN_S = 0.1

Send = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Break:
    """The stream did not reach its end. `message` is for the caller, `cause` a word for the log."""

    cause: str
    message: str


class Relay:
    """Reads events and hands them on, one send per arrival; the next read waits until the send has returned."""

    def __init__(self, answer: Answer, stream: ChatStream, timeouts: Timeouts, mask: Mask) -> None:
        self._answer = answer
        self._stream = stream
        self._timeouts = timeouts
        self._mask = mask
        self.delivered_bytes = 0

    async def run(self, send: Send) -> Break | None:
        """Relay to the end. None: complete, and `[DONE]` was the last thing sent. Else what broke; nothing sent of it.

        Raises what `send` raises.
        """
        stream, timeouts = self._stream, self._timeouts
        started_s = last_event_s = anyio.current_time()
        out = b"".join(self._answer.held)
        broken: Break | None = None
        finished_s = started_s if stream.finished else None
        ends_s = started_s + timeouts.stream_max_s
        with anyio.CancelScope() as scope:
            while True:
                if out:
                    scope.deadline = ends_s  # a caller that reads slowly is no silence of the provider
                    await send(out)
                    self.delivered_bytes += len(out)
                    out = b""
                    last_event_s = anyio.current_time()
                if broken is not None:
                    break
                if stream.done:
                    return None
                # Usage and [DONE] get their own, shorter limit once nothing of the answer can be missing.
                wait_until_s = last_event_s + timeouts.idle_s
                if finished_s is not None:
                    wait_until_s = min(wait_until_s, finished_s + timeouts.tail_s)
                scope.deadline = min(wait_until_s, ends_s)
                try:
                    frames = await stream.frames()
                except StreamDefect as defect:
                    broken = self._break(defect.cause)
                    break
                except TransportFailure as failure:
                    broken = self._break(failure.kind)
                    break
                if scope.cancel_called:
                    # The limit ran out as these came: nothing can be awaited in here any more, so they are late.
                    broken = self._late(ends_s)
                    break
                if frames is None:
                    broken = self._break("incomplete")
                    break
                # An event that only the end has ended may be half of one, and still look whole at both its ends.
                judge = read_chunk if stream.ended else glance
                parts: list[bytes] = []
                data = False
                for item in frames:
                    if isinstance(item, Comment):
                        parts.append(frame_comment(item.text))
                        continue
                    data = True
                    chunk = judge(item.data, error_event=item.error)
                    if chunk.kind == "data":
                        stream.note(chunk)
                        parts.append(frame(chunk.payload))
                        continue
                    if chunk.kind == "done":
                        stream.done = True
                        parts.append(frame(DONE))
                    elif chunk.kind == "error":
                        broken = self._break("error_event", chunk.error.message if chunk.error else None)
                    else:
                        broken = self._break("not_json")
                    break
                out = b"".join(parts)
                if not data and out:
                    # Comments go on to the caller, but they do not reset the idle limit.
                    scope.deadline = ends_s
                    await send(out)
                    self.delivered_bytes += len(out)
                    out = b""
                if finished_s is None and stream.finished:
                    finished_s = anyio.current_time()
        if scope.cancelled_caught:
            broken = self._late(ends_s)
        if stream.finished:  # nothing of the answer is missing: what came after it, or did not, is no break
            await send(frame(DONE))
            return None
        return broken

    async def drain(self) -> None:
        """After a complete stream: let the connection be kept, if its end comes at once.

        Shielded, because servers report a caller whose response is complete as gone.
        """
        with anyio.move_on_after(DRAIN_S, shield=True):
            await self._stream.drain(DRAIN_BYTES)

    def _late(self, ends_s: float) -> Break:
        return self._break("idle" if anyio.current_time() < ends_s else "too_long")

    def _break(self, cause: str, said: str | None = None) -> Break:
        provider = self._answer.target.provider
        text = f"The stream of {provider} was interrupted ({cause.replace('_', ' ')})."
        return Break(cause, f"{text} {self._mask.text(said)}" if said else text)
