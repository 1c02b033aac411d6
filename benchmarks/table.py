"""Lines with a bound each, and the table that they make. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One number. `ok` None: there is no bound on it, it is there to be read.

    `judged` False: it is shown, and falling short of its bound fails nothing.
    """

    part: str
    what: str
    value: str
    bound: str = ""
    ok: bool | None = None
    judged: bool = True

    @property
    def short(self) -> bool:
        return self.judged and self.ok is False

    @property
    def mark(self) -> str:
        if self.ok is None:
            return ""
        if self.ok:
            return "ok"
        return "SHORT" if self.judged else "short (not judged here)"


def unhurried(lines: Iterable[Line]) -> list[Line]:
    """The same lines, those of times not judged: a machine that is busy with other things breaks them."""
    return [replace(line, judged=False) if line.bound.endswith((" s", " ms")) else line for line in lines]


def at_most(part: str, what: str, value: float | None, bound: float, *, unit: str = "", judged: bool = True) -> Line:
    """A value that never came to be is short."""
    shown = "never" if value is None else f"{value:,.4g}{unit}"
    ok = value is not None and value <= bound
    return Line(part=part, what=what, value=shown, bound=f"<= {bound:,.4g}{unit}", ok=ok, judged=judged)


def none_of(part: str, what: str, count: int, of: int | None = None) -> Line:
    shown = f"{count}" if of is None else f"{count} of {of}"
    return Line(part=part, what=what, value=shown, bound="0", ok=count == 0)


def share(part: str, what: str, good: int, of: int) -> Line:
    """100 %, and of something: a run without a single one has shown nothing."""
    shown = f"{good / of:.3%} of {of}" if of else "none"
    return Line(part=part, what=what, value=shown, bound="100%", ok=good == of > 0)


def fact(part: str, what: str, value: str) -> Line:
    return Line(part=part, what=what, value=value)


def table(lines: Sequence[Line]) -> str:
    rows = [(line.part, line.what, line.value, line.bound, line.mark) for line in lines]
    rows.insert(0, ("part", "what", "measured", "bound", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    out = []
    for index, row in enumerate(rows):
        part = row[0] if index < 2 or row[0] != rows[index - 1][0] else ""
        cells = (part, *row[1:])
        out.append("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
        if index + 1 < len(rows) and rows[index + 1][0] != row[0]:
            out.append("")
    return "\n".join(out)
