"""A second decoder of event streams, written from the HTML standard, section 9.2.6, step by step, and slow.

An oracle: it shares no line and no idea with ours, which works on blocks.
"""

from __future__ import annotations

from collections.abc import Iterator


def _lines(stream: str) -> Iterator[str]:
    """The lines that have an end: CRLF, LF, or CR that no LF follows."""
    line = ""
    at = 0
    while at < len(stream):
        char = stream[at]
        at += 1
        if char == "\r":
            if stream[at : at + 1] == "\n":
                at += 1
        elif char != "\n":
            line += char
            continue
        yield line
        line = ""


def interpret(stream: bytes) -> Iterator[tuple[str, str]]:
    """What a browser comes to: ("message", data) or (its name, data) for each event it would look at, and, beyond the
    standard, ("", text) for each comment. An event without data is told, too: a browser drops it. Bytes are read as
    latin-1, so that none is lost; the fields and line ends are ASCII.
    """
    text = stream.decode("latin-1")
    if text.startswith("\xef\xbb\xbf"):  # one leading byte order mark is ignored
        text = text[3:]
    data = event_type = ""
    for line in _lines(text):
        if line == "":  # dispatch the event
            if data.endswith("\n"):
                data = data[:-1]
            yield event_type or "message", data
            data = event_type = ""
        elif line.startswith(":"):
            yield "", line[1:]
        else:
            if ":" in line:
                at = line.index(":")
                field, value = line[:at], line[at + 1 :]
                if value.startswith(" "):
                    value = value[1:]
            else:
                field, value = line, ""
            if field == "event":
                event_type = value
            elif field == "data":
                data += value + "\n"
            # id and retry change what a browser remembers, and anything else is ignored
