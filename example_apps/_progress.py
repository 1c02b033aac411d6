"""A progress bar on stderr: one line that moves on a terminal, one plain line at each end elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TextIO

_WIDTH = 28
_MIB = 1 << 20


class Progress:
    """Shows how many of `total_bytes` are done; leave the `with` block and the line is finished."""

    def __init__(self, title: str, total_bytes: int, out: TextIO | None = None) -> None:
        self._title = title
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self._shown = ""
        self._out = sys.stderr if out is None else out
        self._live = self._out.isatty()

    def __enter__(self) -> Progress:
        if self._live:
            self._draw()
        else:
            self._print(f"{self._title} ({self._total_bytes / _MIB:.0f} MiB) ...\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live:
            self._print("\n")
        elif kind is None:
            self._print(f"{self._title}: done\n")

    def move_to(self, done_bytes: int) -> None:
        """Never goes backwards or beyond the end: what is measured may be, the person's patience is not."""
        self._done_bytes = max(self._done_bytes, min(done_bytes, self._total_bytes))
        if self._live:
            self._draw()

    def _draw(self) -> None:
        share = self._done_bytes / self._total_bytes if self._total_bytes else 1.0
        bar = ("#" * round(share * _WIDTH)).ljust(_WIDTH, ".")
        line = f"{self._title:<24} [{bar}] {share:4.0%} of {self._total_bytes / _MIB:.0f} MiB"
        if line != self._shown:
            self._shown = line
            self._print("\r" + line)

    def _print(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
