"""What an engine must know at once of the answers that httpcore reads. No I/O."""

from __future__ import annotations

from .base import FailureKind

UNREAD_BYTES = 1 << 20
"""So much may have come that httpcore has not asked for: an answer of which less waits is stopped at its source."""

INTERIM_BYTES = 16 << 10
"""An interim response beyond this is not looked through; the request is sent to its end first."""

_STATUS_LINE = len("HTTP/1.1 200")
_END_OF_HEAD = b"\r\n\r\n"


class Arrived:
    """The Parser of an exchange: reads of it what must be known at once, and leaves the rest to httpcore.

    Attributes:
        kept: the connection has carried another exchange before.
        received_bytes: of everything.
        taken: httpcore has had some of it.
    """

    def __init__(self, *, kept: bool) -> None:
        self.kept = kept
        self.status = 0
        self.failure: FailureKind | None = None
        self.received_bytes = 0
        self.at_end = self.taken = False
        self._start: bytes | None = b""
        """Of the answer's head, or of an interim one's before it; None: there is nothing more to be seen in it."""
        self._pieces: list[bytes] = []
        self._unread_bytes = 0

    @property
    def unread(self) -> bool:
        """Something has come that httpcore has not taken."""
        return bool(self._pieces)

    def feed(self, data: bytes | memoryview) -> None:
        piece = bytes(data)
        self.received_bytes += len(piece)
        self._unread_bytes += len(piece)
        if self._start is not None:
            self._start = self._read_start(self._start + piece)
        if self._unread_bytes > UNREAD_BYTES:  # only while a request is sent that nobody takes, and no answer is seen
            self.failure = "protocol"
        if self.failure is None:
            self._pieces.append(piece)

    def _read_start(self, start: bytes) -> bytes | None:
        while True:
            if not b"HTTP/".startswith(start[:5]):
                # Also the rest of what came behind the answer before, and of which httpcore holds the beginning.
                self.failure = "protocol"
                return None
            if len(start) < _STATUS_LINE:
                return start
            status = start[9:_STATUS_LINE]
            if status[:1] != b"1":
                # The last word on the request, however much of it has not been sent.
                self.status = int(status) if status.isdigit() else 0
                return None
            end = start.find(_END_OF_HEAD)
            if end < 0:
                return start if len(start) <= INTERIM_BYTES else None
            start = start[end + len(_END_OF_HEAD) :]

    def refuse_early(self) -> bool:
        """Whether anything has come before the request went out: the connection is over then, and nothing was sent."""
        if not self.received_bytes:
            return False
        self.received_bytes = 0
        self.failure = "reset"
        self.forget()
        return True

    def forget(self) -> None:
        """Nobody reads on."""
        self._pieces.clear()

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
        self.taken = self.taken or bool(data)
        return data
