"""`hold`: a stream is read to its end before anything of it goes out, so that any break is an ordinary failure."""

from __future__ import annotations

from dataclasses import replace

from .._values import Outcome, Timeouts
from .._wire.masking import Mask
from .answer import Answer
from .clock import clock_s
from .reading import Break, outcome_of
from .relay import NotTaken, Relay


class _TooLarge(Exception):
    pass


async def hold(answer: Answer, timeouts: Timeouts, limit_bytes: int) -> Answer | Outcome:
    """The same answer with its whole stream in `body`, or what it failed of; at most `limit_bytes` are held.

    The stream goes through the very relay that would have sent it, only into memory. Whoever calls closes the answer
    unless it comes back.
    """
    stream = answer.stream
    assert stream is not None
    held = bytearray()

    async def keep(part: bytes) -> None:
        if len(held) + len(part) > limit_bytes:
            raise _TooLarge
        held.extend(part)

    relay = Relay(answer, stream, timeouts, Mask())  # what it would tell the caller is told nobody
    try:
        broken = await relay.run(keep)
    except NotTaken as end:
        if not isinstance(end.__cause__, _TooLarge):
            raise
        broken = Break("too_large_to_hold", "")
    duration_s = clock_s() - answer.started_s
    if broken is not None:
        return outcome_of(broken, answer.outcome, duration_s)
    await relay.drain()
    await answer.aclose()  # it is all here: no slot waits for a caller that reads slowly
    answer.outcome = replace(answer.outcome, duration_s=duration_s)
    answer.stream, answer.body, answer.whole = None, bytes(held), True
    return answer
