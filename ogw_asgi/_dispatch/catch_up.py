"""Reads the stream of a target that was asked to go on with a text, up to what is new to the caller."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .._rules.continuation import Stitch
from .._values import Outcome, Timeouts
from .._wire.chunks import Chunk, object_choices, read_chunk
from .._wire.masking import Mask
from .._wire.sse import Comment
from .._wire.transcript import delta_of, has_more_than_text, is_other, text_of, with_text
from .answer import Answer
from .clock import clock_s
from .limit import limited
from .reading import Break, Reading, outcome_of


async def catch_up(answer: Answer, stitch: Stitch, timeouts: Timeouts) -> Answer | Outcome:
    """The same answer with what is new first, or why it cannot be joined to what the caller has.

    Whoever calls closes the answer unless it comes back.
    """
    found = _joined(stitch, answer.chunks) or await _read_on(answer, stitch, timeouts)
    if isinstance(found, Chunk):
        answer.held, answer.chunks = [], [found]
        return answer
    duration_s = clock_s() - answer.started_s
    if isinstance(found, Break):
        return outcome_of(found, answer.outcome, duration_s)
    return replace(answer.outcome, kind="diverged", detail=stitch.dropped, duration_s=duration_s)


async def _read_on(answer: Answer, stitch: Stitch, timeouts: Timeouts) -> Chunk | Break | None:
    """The first chunk with something new, with nothing old in it; None: it has been dropped."""
    stream = answer.stream
    assert stream is not None
    last = answer.chunks[-1]
    reading = Reading(answer.target.provider, stream, timeouts, Mask())
    with limited() as limit:
        while not stitch.dropped:
            frames = await reading.next(limit, "frames")
            if isinstance(frames, Break):
                return frames
            assert not isinstance(frames, bytes)  # which only comes when asked for
            for index, item in enumerate(frames):
                if isinstance(item, Comment):
                    continue
                reading.heard()
                chunk = read_chunk(item.data, error_event=item.error)
                match chunk.kind:
                    case "error":
                        return reading.broken("error_event", error=chunk.error)
                    case "broken":
                        return reading.broken("not_json")
                    case "done":  # without a finish_reason; it is for whoever relays the rest
                        stream.put_back(frames[index:])
                        new = stitch.end()
                        return _with(last, new) if stitch.joined else None
                last = chunk
                stream.note(chunk)
                if (found := _joined(stitch, [chunk])) is not None:
                    stream.put_back(frames[index + 1 :])
                    return found
                if stitch.dropped:
                    break
    return reading.late() if limit.scope.cancelled_caught else None


def _joined(stitch: Stitch, chunks: Iterable[Chunk]) -> Chunk | None:
    """The chunk that has something new, without what is old in it; None: not yet, or never."""
    for chunk in chunks:
        value = chunk.value or {}
        choices = object_choices(value)
        new = stitch.feed(text_of(value))
        deltas = [delta_of(choice) for choice in choices]
        if any(map(is_other, choices)):
            stitch.drop()
        if not stitch.joined and any(has_more_than_text(delta) for delta in deltas):
            if any(delta.get("tool_calls") for delta in deltas):
                new += stitch.end(cut=True)  # what it had to say, it has said
            else:
                stitch.drop()
        elif chunk.finished:
            new += stitch.end(cut=any(choice.get("finish_reason") != "stop" for choice in choices))
        if stitch.dropped:
            return None
        if stitch.joined:
            return _with(chunk, new)
    return None


def _with(chunk: Chunk, text: str) -> Chunk:
    return replace(chunk, value=with_text(chunk.value or {}, text))
