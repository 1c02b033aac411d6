"""One HTTP/1.1 response, from the bytes of a connection: llhttp, and what llhttp does not check. No I/O.

llhttp refuses in its strict mode: both lengths at once, a length twice, bare CR or LF, NUL, folded headers. It says
nothing of an end of input, takes any status, version and transfer coding, and knows no limits.
"""

from __future__ import annotations

from typing import Any

import httptools

from .._values import Header
from .base import FailureKind

OVERHEAD_BYTES = 512 << 10
"""So much may have come for which no body was taken. More than ever waits unread, and a head is shorter, too: what is
beyond was chunk extensions or trailers."""

CHUNK_HEAD_BYTES = 16
"""What any chunk may cost in framing, besides as many bytes as it has itself."""

PIECES = 1000
"""Of a body, before they become one: a list of chunks of two bytes takes thirty times their size."""

FIELDS = 1_000
"""Of a head: tiny ones take ten times their size."""


class ResponseParser:
    """Feed it until there is a `failure` or it is `complete`, and `take` what has come of the body.

    Attributes:
        status, headers: of the final response, and 0 until its head is there.
        failure: why there will be no more of an answer; before the head `protocol` for what is no HTTP, else `reset`.
        complete: the whole body has come.
        reusable: the connection may carry another request: it said so, and nothing more has come (but blank lines,
            in one piece with the answer's end: llhttp swallows those).
        received_bytes: of everything, interim responses included.
    """

    def __init__(self, head_bytes: int) -> None:
        self._head_bytes = head_bytes
        self._fields: list[Header] = []
        self._body: list[bytes] = []
        self._until_end = self._keep = False
        self._taken_bytes = 0
        self.status = 0
        self.headers: list[Header] = []
        self.failure: FailureKind | None = None
        self.complete = self.reusable = False
        self.received_bytes = 0
        self.on_body = self._body.append  # called by httptools: no Python for each chunk
        self._parser: Any = httptools.HttpResponseParser(self)

    @property
    def has_body(self) -> bool:
        """Something of the body is there to take."""
        return bool(self._body)

    def take(self) -> bytes:
        """What has come of the body since the last time, as one piece."""
        body = self._body
        data = body[0] if len(body) == 1 else b"".join(body)
        self._credit(len(data), len(body))
        body.clear()
        return data

    def _credit(self, size: int, chunks: int) -> None:
        # A body may be framed in as many bytes as it has, and some for each chunk; but nothing can be saved up.
        credit = 2 * size + CHUNK_HEAD_BYTES * chunks
        self._taken_bytes = min(self.received_bytes, self._taken_bytes + credit)

    def feed(self, data: bytes | memoryview) -> None:
        if self._is_over():
            self.reusable = False  # nobody asked for this
            return
        if not self.received_bytes and not b"HTTP/".startswith(bytes(data[:5])):  # RTSP and ICE would be taken, too
            self.failure = "protocol"
            return
        self.received_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:  # 101 raises, too
            self.reusable = False
            if not self.complete:
                self.failure = "reset" if self.status else "protocol"
        if not self.status:
            if self.received_bytes > self._head_bytes:  # also a flood of interim responses
                self.failure = "protocol"
        elif self.received_bytes - self._taken_bytes > OVERHEAD_BYTES and not self.complete:
            self.failure = "reset"
        if len(self._body) > PIECES:
            self._credit(0, len(self._body))
            self._body[:] = [b"".join(self._body)]
        if self._is_over():
            self._parser = None  # it knows us, and would keep us for the garbage collector

    def _is_over(self) -> bool:
        return self.complete or self.failure is not None

    def end(self, *, clean: bool) -> None:
        """The connection has ended; `clean` is a FIN. llhttp has no word for it."""
        self.reusable = False
        if clean and self._until_end and not self.failure:
            self.complete = True
        elif not self._is_over():
            self.failure = "reset"
        self._parser = None

    # --- called by httptools ---

    def on_message_begin(self) -> None:
        if self.status:
            raise ValueError("a second response, which would go through the same callbacks")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:  # else it is a trailer
            if len(self._fields) == FIELDS:
                raise ValueError("a head of tiny fields takes many times its size")
            self._fields.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        status, fields = self._parser.get_status_code(), self._fields
        if 100 <= status <= 199 and status != 101:
            if any(_announces_a_body(name, value) for name, value in fields):
                raise ValueError("llhttp reads a body of some of these, and it would stand in front of the answer's")
            fields.clear()
            return
        version = self._parser.get_http_version()
        codings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
        oversized = (
            self.received_bytes > self._head_bytes and sum(len(n) + len(v) + 4 for n, v in fields) > self._head_bytes
        )
        if not 200 <= status <= 599 or version not in ("1.1", "1.0") or codings not in ([], [b"chunked"]) or oversized:
            raise ValueError("no answer that may be read")
        self._until_end = not codings and status not in (204, 304) and all(n != b"content-length" for n, _ in fields)
        self._keep = version == "1.1" or not codings  # chunks are no framing of HTTP/1.0 (RFC 9112, 6.1)
        self.status, self.headers = status, fields

    def on_message_complete(self) -> None:
        if self.status:  # else an interim response has ended
            self.complete = True
            self.reusable = self._keep and self._parser.should_keep_alive()


def _announces_a_body(name: bytes, value: bytes) -> bool:
    return name == b"transfer-encoding" or (name == b"content-length" and bool(value.strip(b"0")))
