"""What an engine must know at once of the answers that httpcore reads. No I/O."""

from __future__ import annotations

from .base import FailureKind

UNREAD_BYTES = 1 << 20
"""So much may have come that httpcore has not asked for: an answer of which less waits is stopped at its source."""

_STATUS_LINE = len("HTTP/1.1 200")


class Arrived:
    """The Parser of an exchange: reads of it what must be known at once, and leaves the rest to httpcore.

    Attributes:
        kept: the connection has carried another exchange before.
        received_bytes: of everything.
    """

    def __init__(self, *, kept: bool) -> None:
        self.kept = kept
        self.status = 0
        self.failure: FailureKind | None = None
        self.received_bytes = 0
        self.at_end = False
        self._start = b""
        self._pieces: list[bytes] = []
        self._unread_bytes = 0

    @property
    def unread(self) -> bool:
        return bool(self._pieces)

    def feed(self, data: bytes | memoryview) -> None:
        self.received_bytes += len(data)
        self._unread_bytes += len(data)
        if len(self._start) < _STATUS_LINE:
            self._start += bytes(data[: _STATUS_LINE - len(self._start)])
            self._read_start()
        if self._unread_bytes > UNREAD_BYTES:  # only while a request is sent that its server does not take
            self.failure = "protocol"
        if self.failure is None:
            self._pieces.append(bytes(data))

    def _read_start(self) -> None:
        start = self._start
        if not b"HTTP/".startswith(start[:5]):
            # Also the rest of something that came behind the answer before, and of which httpcore holds the beginning.
            self.failure = "protocol"
        elif len(start) == _STATUS_LINE and start[9:10] != b"1" and start[9:].isdigit():
            self.status = int(start[9:])  # the last word on the request, however much of it has not been sent

    def refuse_early(self) -> bool:
        """Whether anything has come before the request went out: the connection is over then, and nothing was sent."""
        if not self.received_bytes:
            return False
        self.received_bytes = 0
        self.failure = "reset"
        self._pieces.clear()
        return True

    def end(self, *, clean: bool) -> None:
        if not clean and not self.at_end and self.failure is None:
            self.failure = "reset"
        self.at_end = True

    def take(self) -> bytes:
        """What has come since the last time."""
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._unread_bytes = 0
        return data
