"""Server-sent events from a provider: where does an event end, and what is its data? Bytes in, frames out.

Decodes the event stream of the HTML standard (9.2.6) without decoding its text: what goes on to the caller is
the payload's bytes under our own framing, one `data: ` line per event, so four things differ from a browser's
decoder:

- Several `data` lines are joined by one blank, not by LF. Our framing has room for one line only, many
  clients read no other (wire facts, 5.3), and a line end in JSON stands between tokens, where a blank means
  the same.
- Data that is empty or blank is dropped: clients hand it to their JSON parser. Only an event named `error` is
  kept even without data: its name says it all.
- An event that the end of the stream cuts off before its blank line is dispatched: servers forget that line.
- `id`, `retry` and names other than `error` are dropped; comments are handed out as they stand.

Judges no payload; that is `chunks`. Never blocks, never looks at a byte twice but at line ends.
"""

from __future__ import annotations

from .._frozen import dataclass

DONE = b"[DONE]"
MAX_LINES = 4096
"""Lines of one event. Real events have one to three; a stream of `data:` lines costs a list entry each."""

_BOM = b"\xef\xbb\xbf"
_BLANKS = b" \t"
_CANONICAL = b"data: "


class EventTooLarge(ValueError):
    """One event passed the limit of bytes or lines before its end."""


@dataclass(frozen=True, slots=True)
class Event:
    """The data of one event; `error` says that the event's name was `error`."""

    data: bytes
    error: bool = False


@dataclass(frozen=True, slots=True)
class Comment:
    """What stood behind a line's leading colon, blanks included."""

    text: bytes


def frame(payload: bytes) -> bytes:
    """The one framing that every client reads."""
    return b"data: " + payload + b"\n\n"


def frame_comment(text: bytes) -> bytes:
    """A comment of its own block. SDKs decode comments strictly, so bytes that are not UTF-8 are replaced."""
    return b":" + text.decode("utf-8", "replace").encode() + b"\n\n"


def is_done(data: bytes) -> bool:
    """Does this event end the stream? By prefix, as openai-python tests it; blanks in front are tolerated."""
    return data.lstrip(_BLANKS).startswith(DONE)


class SSEDecoder:
    """Incremental: the same bytes give the same frames however they are cut into chunks.

    Attributes:
        holds: something of an event has been fed, and not yet its end; or nothing at all yet.
        too_large: an event was; nothing more is worth waiting for, for the next call raises.

    Comments come before the event in whose block they stand. `EventTooLarge` never costs an event that was
    complete before it: what the chunk held in front is returned first, and the next call raises.
    """

    __slots__ = ("_after_cr", "_head", "_max_bytes", "_newlines", "_rest", "_started", "holds", "too_large")

    def __init__(self, max_event_bytes: int) -> None:
        self._max_bytes = max_event_bytes
        self._started = False
        self._head = b""  # what may still become a byte order mark
        self._after_cr = False  # a LF that comes next belongs to the CR before it
        self._rest = bytearray()  # the unfinished block: LF only, without a blank line in it
        self._newlines = 0  # in _rest
        self.holds = True
        self.too_large = False

    def feed(self, chunk: bytes) -> list[Event | Comment]:
        """The frames that `chunk` completes. Raises EventTooLarge."""
        if self.too_large:
            raise EventTooLarge("an event of the stream is too large")
        if not self._started:
            chunk = self._head + chunk
            if _BOM.startswith(chunk):
                self._head = chunk
                return []
            self._started = True
            chunk = chunk.removeprefix(_BOM)
        chunk = self._with_lf_only(chunk)

        rest = self._rest
        if rest:
            # The search goes on where the last one ended, or segments of one byte would cost the square of an
            # event.
            scan_from = len(rest) - 1
            rest += chunk
            if rest.find(b"\n\n", scan_from) < 0:
                self._newlines += chunk.count(b"\n")
                return self._checked([])
            chunk = bytes(rest)
        blocks = chunk.split(b"\n\n")
        unfinished = blocks.pop()
        self._rest = bytearray(unfinished)
        self._newlines = unfinished.count(b"\n")

        frames: list[Event | Comment] = []
        for block in filter(None, blocks):  # a flood of blank lines is skipped in C
            if len(block) > self._max_bytes or not self._read(block, frames):
                self.too_large = True
                break
        return self._checked(frames)

    def close(self) -> list[Event | Comment]:
        """The stream has ended: the frames of a last block without its blank line. Raises EventTooLarge."""
        if self.too_large:
            raise EventTooLarge("an event of the stream is too large")
        frames: list[Event | Comment] = []
        self._read(bytes(self._rest.removesuffix(b"\n")), frames)
        self._rest.clear()
        return frames

    def _with_lf_only(self, chunk: bytes) -> bytes:
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return chunk

    def _checked(self, frames: list[Event | Comment]) -> list[Event | Comment]:
        # A last LF may be half of the blank line, so it counts neither as a byte nor as a line, however
        # chunks are cut.
        self.holds = bool(self._rest) or self._after_cr
        ended = self._rest.endswith(b"\n")
        if len(self._rest) - ended > self._max_bytes or self._newlines - ended >= MAX_LINES:
            self.too_large = True
        if self.too_large:
            self._rest.clear()
            if not frames:
                raise EventTooLarge("an event of the stream is too large")
        return frames

    @staticmethod
    def _read(block: bytes, frames: list[Event | Comment]) -> bool:
        """Adds the frames of one block; False when it has too many lines."""
        if b"\n" not in block and block.startswith(_CANONICAL):
            payload = block[len(_CANONICAL) :]
            if payload.strip(_BLANKS):
                frames.append(Event(payload))
            return True
        if block.count(b"\n") >= MAX_LINES:
            return False
        data: list[bytes] = []
        error = False
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            if name == b"data":
                data.append(value.removeprefix(b" "))
            elif name == b"event":
                error = value.removeprefix(b" ") == b"error"
            elif line.startswith(b":"):
                frames.append(Comment(value))
        payload = b" ".join(data)
        if error or payload.strip(_BLANKS):
            frames.append(Event(payload, error))
        return True
