"""What the demo looks like: colours, wrapped text, tokens as they arrive, attempts as a timeline."""

from __future__ import annotations

import io
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

_COLUMNS = 80
_INDENT = "   "
_BAR_COLUMNS = 36
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_ENTRY = re.compile(r'([^\s;,]+);dur=([0-9.]+);desc="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Attempt:
    """One entry of a Server-Timing header."""

    provider: str
    duration_ms: float
    outcome: str

    @property
    def good(self) -> bool:
        return self.outcome.startswith("2")


def read_server_timing(value: str) -> list[Attempt]:
    return [Attempt(name, float(dur), desc) for name, dur, desc in _ENTRY.findall(value)]


def timeline(attempts: list[Attempt], *, block: str = "#") -> Iterator[tuple[Attempt, str]]:
    """Each attempt with its bar, which starts where the one before it ended; none is too short to be seen."""
    total_ms = sum(attempt.duration_ms for attempt in attempts) or 1.0
    elapsed_ms = 0.0
    for attempt in attempts:
        start = min(int(elapsed_ms / total_ms * _BAR_COLUMNS), _BAR_COLUMNS - 1)
        elapsed_ms += attempt.duration_ms
        end = max(start + 1, round(elapsed_ms / total_ms * _BAR_COLUMNS))
        yield attempt, (" " * start + block * (end - start)).ljust(_BAR_COLUMNS)


class Screen:
    """Prints within 80 columns. Colours only on a terminal, and not against NO_COLOR (no-color.org)."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = sys.stdout if out is None else out
        if isinstance(self._out, io.TextIOWrapper):
            # A model may say what a console's code page cannot.
            self._out.reconfigure(errors="replace")
        self._coloured = self._out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._block = "█" if (getattr(self._out, "encoding", None) or "").lower().startswith("utf") else "#"
        self._column = 0

    def paint(self, text: str, *styles: str) -> str:
        if not self._coloured or not styles:
            return text
        return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"

    def line(self, text: str = "") -> None:
        self._write(f"{text}\n")

    def heading(self, text: str) -> None:
        self.line()
        self.line(self.paint(text, "bold"))

    def paragraph(self, text: str, *styles: str) -> None:
        for line in textwrap.wrap(text, _COLUMNS, initial_indent=_INDENT, subsequent_indent=_INDENT):
            self.line(self.paint(line, *styles))

    def asked(self, text: str) -> None:
        self.line()
        self.paragraph(f"> {text}", "cyan")

    def token(self, text: str) -> None:
        """Shows a piece of an answer at once; breaks the line before a word that would not fit."""
        for part in re.findall(r"\n|[^\S\n]*[^\s]+|[^\S\n]+", text):
            starts_word = part[0].isspace() or self._column == 0
            if part == "\n" or (starts_word and self._column + len(part) > _COLUMNS):
                self._write("\n")
                self._column = 0
                part = part.strip()
            if part:
                if self._column == 0:
                    self._write(_INDENT)
                    self._column = len(_INDENT)
                    part = part.lstrip()
                self._write(part)
                self._column += len(part)

    def end_of_tokens(self) -> None:
        if self._column:
            self._write("\n")
        self._column = 0

    def trail(self, status: str, headers: dict[str, str]) -> None:
        """The head of an answer, and what it took to get it."""
        self.line()
        self.line(_INDENT + self.paint(f"HTTP/1.1 {status}", "green" if status.startswith("2") else "red"))
        for name in ("x-opengateway-provider", "x-opengateway-attempts"):
            if name in headers:
                self.line(f"{_INDENT}{self.paint(f'{name}:', 'dim')} {headers[name]}")
        attempts = read_server_timing(headers.get("server-timing", ""))
        if attempts:
            self.line(_INDENT + self.paint("server-timing:", "dim"))
        for attempt, bar in timeline(attempts, block=self._block):
            colour = "green" if attempt.good else "yellow" if attempt.outcome == "timeout" else "red"
            tail = f"{attempt.duration_ms:>7,.0f} ms  {attempt.outcome}"
            self.line(f"{_INDENT}  {attempt.provider:<10.10} {self.paint(bar, colour)} {tail}")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
