"""After the first chunk: the stream goes through, and a break is made visible (contract, section 5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from .._values import Timeouts
from .._wire.chunks import glance, read_chunk
from .._wire.masking import Mask
from .._wire.sse import DONE, Comment, Event, frame, frame_comment
from .._wire.transcript import Transcript
from ..transports.base import TransportFailure
from .answer import Answer
from .clock import clock_s
from .limit import Limit, limited
from .reading import Break, Reading
from .stream import ChatStream, Found, How

DRAIN_BYTES = 16 << 10
DRAIN_S = 0.05

STALLED = "caller_stalled"
"""The cause of a break that is the caller's: it took nothing for `send_s`."""

Send = Callable[[bytes], Awaitable[None]]


class NotTaken(Exception):
    """`send` has raised: nobody takes the stream any more."""


class Relay:
    """Reads events and hands them on, one send per arrival; the next read waits until the send has returned.

    With a `transcript` every chunk is parsed and noted there, and from the second part on written anew.
    """

    def __init__(
        self,
        answer: Answer,
        stream: ChatStream,
        timeouts: Timeouts,
        mask: Mask,
        transcript: Transcript | None = None,
    ) -> None:
        self._answer = answer
        self._stream = stream
        self._timeouts = timeouts
        self._transcript = transcript
        self._mask = mask
        self._how: How = "as they came" if transcript is None else "frames"
        self.delivered_bytes = 0
        self._sending_s: float | None = None

    async def run(self, send: Send) -> Break | None:
        """Relay to the end. None: complete, and `[DONE]` was the last thing sent. Else what broke; nothing sent of it.

        Raises NotTaken.
        """
        stream, report = self._stream, self._answer.report
        reading = Reading(self._answer.target.provider, stream, self._timeouts, self._mask)
        # Events that need no look go on as they came, together; a transcript must have seen every one of them.
        passing = self._transcript is None
        chunks, send_s = stream.chunks, self._timeouts.send_s
        out, data = self._opening(), True
        broken: Break | None = None
        with limited() as limit:
            if stream.at_hand:
                out, broken = self._and_at_hand(out, reading, limit)
            while True:
                if report is not None and data and self.delivered_bytes:
                    report.heard_on()
                if out:
                    # A caller that reads slowly is no silence of the provider; one that does not read at all is gone.
                    self._sending_s = reading.clock_s()
                    until_s = self._sending_s + send_s
                    limit.move(until_s if until_s < reading.ends_s else reading.ends_s)
                    try:
                        await send(out)
                    except Exception as error:
                        raise NotTaken from error
                    self._sending_s = None
                    self.delivered_bytes += len(out)
                    out = b""  # the next may take its time
                    if limit.passed and reading.clock_s() < reading.ends_s:
                        return Break(STALLED, "")  # only a server's shield kept the send alive
                if data:  # comments go on to the caller, but they do not reset the idle limit
                    reading.heard()
                if broken is not None:
                    break
                if stream.done:
                    return None
                limit.move(reading.late_s)
                try:
                    # From here, and not from a coroutine of its own: that would be made for every piece.
                    out = await chunks.__anext__()
                except (StopAsyncIteration, TransportFailure) as end:
                    out, data, broken = self._look(reading.ended(end, limit), reading, limit)
                    continue
                if passing and not limit.passed and stream.passes(out):
                    data = True
                    if report is not None:
                        report.saw(out)
                else:
                    out, data, broken = self._look(reading.found(out, limit, self._how), reading, limit)
        if limit.scope.cancelled_caught:
            if self._sending_s is not None and reading.clock_s() < reading.ends_s:
                return Break(STALLED, "")
            broken = reading.late()
        if stream.finished:  # nothing of the answer is missing: what came after it, or did not, is no break
            try:
                with anyio.move_on_after(self._timeouts.send_s):
                    await send(self._end())
                    return None
            except Exception as error:
                raise NotTaken from error
            return Break(STALLED, "")
        return broken

    def _and_at_hand(self, out: bytes, reading: Reading, limit: Limit) -> tuple[bytes, Break | None]:
        # Not in `run`: what it has a name for there lives as long as the stream.
        more, _, broken = self._look(reading.found(None, limit, self._how), reading, limit)
        return out + more, broken

    def _look(self, found: Found | Break, reading: Reading, limit: Limit) -> tuple[bytes, bool, Break | None]:
        """What is to be sent of `found`, and of all that is at hand; was there data in it, and what is broken?"""
        stream, report = self._stream, self._answer.report
        parts: list[bytes] = []
        data, over = False, False
        broken: Break | None = None
        while True:
            if isinstance(found, bytes):
                parts.append(found)
                data = True
                if report is not None:
                    report.saw(found)
            elif isinstance(found, Break):
                broken = found
                break
            else:
                some, over, broken = self._judge(found, parts, reading)
                data = data or some
                reading.look()
            if over or not stream.at_hand:
                break
            limit.move(reading.late_s)
            found = reading.found(None, limit, self._how)
        return b"".join(parts), data, broken

    def _judge(
        self, frames: list[Event | Comment], parts: list[bytes], reading: Reading
    ) -> tuple[bool, bool, Break | None]:
        """Adds to `parts` what is to be sent of these: was there data, was it the last, and what is broken?"""
        stream, transcript, report = self._stream, self._transcript, self._answer.report
        # An event that only the end has ended may be half of one, and still look whole at both its ends.
        judge = glance if transcript is None and not stream.ended else read_chunk
        data = False
        for item in frames:
            if isinstance(item, Comment):
                parts.append(frame_comment(item.text))
                continue
            data = True
            chunk = judge(item.data, error_event=item.error)
            if chunk.kind == "data":
                stream.note(chunk)
                if report is not None:
                    report.saw(chunk.payload) if chunk.value is None else report.note(chunk.value)
                parts.append(frame(chunk.payload) if transcript is None else transcript.told(chunk))
                continue
            if chunk.kind == "done":
                stream.done = True
                parts.append(self._end())
                return True, True, None
            if chunk.kind == "error":
                return True, True, reading.broken("error_event", error=chunk.error)
            return True, True, reading.broken("not_json")
        return data, False, None

    def _opening(self) -> bytes:
        """What was read before the answer was one."""
        if self._answer.report is not None:
            for chunk in self._answer.chunks:
                self._answer.report.note(chunk.value or {})
        if self._transcript is None:
            return b"".join(self._answer.held)
        told = [self._transcript.told(chunk) for chunk in self._answer.chunks]
        return b"".join(self._answer.held if self._transcript.parts == 1 else told)

    def _end(self) -> bytes:
        if self._transcript is None or self._transcript.parts == 1:
            return frame(DONE)
        # The head named who began.
        return frame_comment(b" x-opengateway-provider: " + self._answer.target.provider.encode()) + frame(DONE)

    async def guard(self) -> None:
        """Beside `run`: closes the provider when the caller takes nothing for too long, also where nobody can end the
        server's `send` (hypercorn shields it on trio)."""
        limit_s = self._timeouts.send_s
        while True:
            began_s = self._sending_s
            left_s = limit_s if began_s is None else began_s + limit_s - clock_s()
            if left_s <= 0:
                await self._answer.aclose()
                return
            await anyio.sleep(left_s)

    async def drain(self) -> None:
        """After a complete stream: let the connection be kept, if its end comes at once.

        Shielded, because servers report a caller whose response is complete as gone.
        """
        if self._answer.response.at_end:
            return
        with anyio.move_on_after(DRAIN_S, shield=True):
            await self._stream.drain(DRAIN_BYTES)
