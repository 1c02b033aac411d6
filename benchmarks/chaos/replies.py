"""What a provider sends, healthy or not, as steps to be played on a connection. Pure but for the dice it is given."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from .proof import Stamp, write

Ending = Literal["rst", "fin", "hang"]
"""How a connection ends before its answer does; `hang` leaves that to the other side."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes to write. `words` is how many of the answer's words are out with them; `last`: the answer is complete."""

    data: bytes
    words: int = 0
    last: bool = False


Step = Piece | float | Ending
"""A float is a pause in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """`first_chunk_s` for a healthy answer, `chunk_s` between two chunks; `slow_s` bounds what `slow` waits first."""

    first_chunk_s: float
    chunk_s: float
    slow_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be answered."""

    stamp: Stamp
    words: int
    stream: bool
    pace: Pace


def play(fault: str, order: Order, dice: random.Random) -> Iterator[Step]:
    yield from _PLAYS[fault](order, dice)


# --- shapes -------------------------------------------------------------------------------------------------------


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _head(status: int, *fields: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} X", *fields, "", ""]).encode("ascii")


def _whole(status: int, body: bytes, *fields: str, kind: str = "application/json") -> bytes:
    return _head(status, f"content-type: {kind}", f"content-length: {len(body)}", *fields) + body


_STREAM_HEAD = _head(200, "content-type: text/event-stream", "transfer-encoding: chunked")


def _chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def _event(value: object) -> bytes:
    return b"data: " + _json(value) + b"\n\n"


def _delta(stamp: Stamp, delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return _event({"id": str(stamp), "object": "chat.completion.chunk", "model": "chaos", "choices": [choice]})


def _error(message: str) -> bytes:
    return _json({"error": {"message": message, "type": "server_error", "param": None, "code": None}})


def _completion(order: Order) -> bytes:
    message = {"role": "assistant", "content": " ".join(write(order.stamp, order.words))}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return _json({"id": str(order.stamp), "object": "chat.completion", "model": "chaos", "choices": [choice]})


# --- plays --------------------------------------------------------------------------------------------------------


def _healthy(order: Order, dice: random.Random) -> Iterator[Step]:
    yield order.pace.first_chunk_s
    if not order.stream:
        yield Piece(_whole(200, _completion(order)), order.words, last=True)
        return
    yield Piece(_STREAM_HEAD + _chunk(_delta(order.stamp, {"role": "assistant", "content": ""})))
    for count, word in enumerate(write(order.stamp, order.words), 1):
        yield Piece(_chunk(_delta(order.stamp, {"content": word + " "})), count)
        yield order.pace.chunk_s
    end = _chunk(_delta(order.stamp, {}, "stop")) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    yield Piece(end, order.words, last=True)


def _slow(order: Order, dice: random.Random) -> Iterator[Step]:
    """From in time to too late."""
    yield dice.uniform(0.2, 1.0) * order.pace.slow_s
    yield from _healthy(order, dice)


def _mute(order: Order, dice: random.Random) -> Iterator[Step]:
    yield "hang"


def _reset(order: Order, dice: random.Random) -> Iterator[Step]:
    yield "rst"


def _status(status: int, *fields: str) -> Callable[[Order, random.Random], Iterator[Step]]:
    def refuse(order: Order, dice: random.Random) -> Iterator[Step]:
        yield Piece(_whole(status, _error(f"scripted {status}"), *fields))

    return refuse


def _garbage(order: Order, dice: random.Random) -> Iterator[Step]:
    """A 200 that is none."""
    noise = bytes(dice.randrange(256) for _ in range(200))
    bodies = [
        _whole(200, b"<html>It works!</html>", kind="text/html"),
        _whole(200, b"{}"),
        _whole(200, noise),
        _whole(200, _completion(order)[:-20]),
        _whole(200, _error("with a 200")),
        _whole(200, b""),
        noise,
    ]
    yield Piece(dice.choice(bodies))


def _head_only(order: Order, dice: random.Random) -> Iterator[Step]:
    kind = "text/event-stream" if order.stream else "application/json"
    yield Piece(_head(200, f"content-type: {kind}", "transfer-encoding: chunked"))
    yield "hang"


def _error_first(order: Order, dice: random.Random) -> Iterator[Step]:
    if not order.stream:
        yield from _garbage(order, dice)
        return
    role = _chunk(_delta(order.stamp, {"role": "assistant", "content": ""})) if dice.random() < 0.5 else b""
    error = _chunk(b"data: " + _error("overloaded") + b"\n\n")
    yield Piece(_STREAM_HEAD + role + error + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


def _cut(ending: Ending, *, inside_event: bool = False) -> Callable[[Order, random.Random], Iterator[Step]]:
    """Somewhere behind the first chunk; a plain answer somewhere in its body."""

    def cut(order: Order, dice: random.Random) -> Iterator[Step]:
        last = dice.randrange(1, order.words)
        how: Ending = dice.choice(("rst", "fin", "hang")) if inside_event else ending
        if not order.stream:
            yield order.pace.first_chunk_s
            whole = _whole(200, _completion(order))
            yield Piece(whole[: -dice.randrange(1, 100)])
            yield how
            return
        for step in _healthy(order, dice):
            if isinstance(step, Piece) and step.words == last:
                yield step
                yield order.pace.chunk_s
                if inside_event:
                    half = _delta(order.stamp, {"content": write(order.stamp, last + 1)[last]})
                    yield Piece(_chunk(half[: dice.randrange(7, len(half) - 3)]), last)
                yield how
                return
            yield step

    return cut


def _error_amid(order: Order, dice: random.Random) -> Iterator[Step]:
    """An error event in mid-stream, and then `[DONE]` as if nothing had been."""
    if not order.stream:
        yield from _status(500)(order, dice)
        return
    last = dice.randrange(1, order.words)
    for step in _healthy(order, dice):
        yield step
        if isinstance(step, Piece) and step.words == last:
            error = _chunk(b"data: " + _error("the engine died") + b"\n\n")
            yield Piece(error + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n", last)
            return


_PLAYS: dict[str, Callable[[Order, random.Random], Iterator[Step]]] = {
    "healthy": _healthy,
    "slow": _slow,
    "mute": _mute,
    "reset": _reset,
    "status_500": _status(500),
    "status_503": _status(503, "retry-after: 1"),
    "status_429": _status(429, "retry-after: 2"),
    "garbage": _garbage,
    "head_only": _head_only,
    "error_first": _error_first,
    "error_amid": _error_amid,
    "cut_rst": _cut("rst"),
    "cut_fin": _cut("fin"),
    "cut_stall": _cut("hang"),
    "half_event": _cut("hang", inside_event=True),
}
