"""The caller's side: bytes out, and whatever comes back, cut into answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

LIMIT_S = 5.0
LEFT = ", and when the caller leaves "
AFTERWARDS_S = 0.02
"""How long the end of the connection is waited for; hypercorn keeps one open that the caller has half-closed."""

_HEAD = re.compile(rb"HTTP/1\.[01] (\d{3})[^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")
_LENGTH = re.compile(rb"^content-length: *(\d+)\r$", re.IGNORECASE | re.MULTILINE)
_CHUNKED = re.compile(rb"^transfer-encoding: *chunked\r$", re.IGNORECASE | re.MULTILINE)
_CHUNK = re.compile(rb"([0-9a-fA-F]+)\r\n")


@dataclass(frozen=True)
class Answer:
    status: int
    head: bytes = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def word(self) -> str:
        """`201`; `400 invalid_header` when the gateway says so; `400` when it is the server's own."""
        try:
            code = json.loads(self.body)["error"]["code"]
        except (ValueError, TypeError, LookupError):
            return str(self.status)
        return f"{self.status} {code}"


@dataclass(frozen=True)
class Conversation:
    """All that came back. `rest` is what is no whole answer; the answers from `left` on came when we had hung up."""

    answers: list[Answer]
    rest: bytes
    left: int

    @property
    def words(self) -> str:
        """What the caller got, in short; interim answers are answers, too."""
        words = [answer.word for answer in self.answers]
        if self.rest:
            words.append("HTTP/2" if self.rest[3:6] == b"\x04\x00\x00" else "half an answer")
        then = f"{LEFT}{', '.join(words[self.left :])}" if len(words) > self.left else ""
        return (", ".join(words[: self.left]) or "closed") + then


def answers_of(raw: bytes, *, over: bool, to_head: bool = False) -> tuple[list[Answer], bytes]:
    """The answers that are whole, and what is left; when all is `over`, one that ends with the connection, too."""
    found: list[Answer] = []
    at = 0
    while head := _HEAD.match(raw, at):
        status, fields = int(head[1]), head[2]
        body, end = b"", head.end()
        length = _LENGTH.search(fields)
        if status >= 200 and status not in (204, 304) and not to_head:
            if _CHUNKED.search(fields):
                chunked = _dechunk(raw, end)
                if chunked is None:
                    break
                body, end = chunked
            elif length:
                end += int(length[1])
                body = raw[head.end() : end]
                if len(raw) < end:
                    break
            elif not over:
                break
            else:
                body, end = raw[end:], len(raw)
        found.append(Answer(status, head[0], body))
        at = end
    return found, raw[at:]


def _dechunk(raw: bytes, at: int) -> tuple[bytes, int] | None:
    body = b""
    while size := _CHUNK.match(raw, at):
        at = size.end() + int(size[1], 16) + 2
        if len(raw) < at:
            return None
        if int(size[1], 16) == 0:
            return body, at
        body += raw[size.end() : at - 2]
    return None


async def converse(
    port: int,
    sent: bytes,
    enough: Callable[[list[Answer]], bool],
    *,
    silence_s: float = LIMIT_S,
    after_s: float = AFTERWARDS_S,
) -> Conversation:
    """Sends the bytes, and hangs up when that was `enough`, or when after the last answer it has been silent for long.

    `after_s` is for what comes when we have hung up.

    Raises TimeoutError when neither comes, nor the end of the connection.
    """
    raw = b""
    to_head = sent.startswith(b"HEAD ")
    over, left = False, 1 << 30
    with anyio.fail_after(LIMIT_S):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            try:
                await stream.send(sent)
                while not enough(answers_of(raw, over=False, to_head=to_head)[0]):
                    with anyio.move_on_after(silence_s if raw else LIMIT_S) as waiting:
                        raw += await stream.receive()
                    if waiting.cancelled_caught:
                        break
                left = len(answers_of(raw, over=False, to_head=to_head)[0])
                await stream.send_eof()
                with anyio.move_on_after(after_s):
                    while True:
                        raw += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError, OSError):
                over = True
    answers, rest = answers_of(raw, over=over, to_head=to_head)
    return Conversation(answers, rest, left if answers else 1 << 30)
