"""The table "fault -> outcome -> tests", from rows.py and the `fault` markers, as docs/fault-matrix.md.

`python -m tests.matrix --table` writes it. The record of the last full run is the document's own: it is kept as it
stands, until `--full` replaces it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .rows import NEXT, ROWS, STANDING, Row

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "fault-matrix.md"
RECORD_BEGINS = "<!-- record of the last full run -->"
RECORD_ENDS = "<!-- end of the record -->"
NO_RECORD = "There has been none yet."


@dataclass(frozen=True, slots=True)
class Shown:
    """A test that carries the marker, and the one mode it is for."""

    test: str
    mode: str | None


def read_markers(sources: Mapping[str, str]) -> dict[str, list[Shown]]:
    """The tests of each row, in the order of the sources. Raises ValueError for a marker that cannot be read."""
    shown: dict[str, list[Shown]] = {}
    for path, source in sources.items():
        for node in ast.walk(ast.parse(source, path)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for rows, mode in _markers(node, path):
                for row in rows:
                    shown.setdefault(row, []).append(Shown(f"{path}::{node.name}", mode))
    return shown


def _markers(node: ast.FunctionDef | ast.AsyncFunctionDef, path: str) -> Iterator[tuple[list[str], str | None]]:
    for decorator in node.decorator_list:
        if not isinstance(decorator, ast.Call) or ast.unparse(decorator.func) != "pytest.mark.fault":
            continue
        values = [argument.value for argument in decorator.args if isinstance(argument, ast.Constant)]
        modes = [keyword.value.value for keyword in decorator.keywords if isinstance(keyword.value, ast.Constant)]
        if len(values) != len(decorator.args) or len(modes) != len(decorator.keywords) or not values:
            raise ValueError(f"{path}:{decorator.lineno}: the marker is not made of plain strings")
        yield [str(value) for value in values], str(modes[0]) if modes else None


def project_sources() -> dict[str, str]:
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    sources = {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}
    return {path: source for path, source in sources.items() if "mark.fault(" in source}


def faults_of(rows: Mapping[str, Row], shown: Mapping[str, Iterable[Shown]]) -> list[str]:
    """What does not fit together: rows without a test, tests without a row, rows that are shown and deferred."""
    found = [f"no test shows {name}" for name, row in rows.items() if row.deferred is None and name not in shown]
    found += [f"{name} is no row, but a test names it" for name in shown if name not in rows]
    found += [f"{name} is deferred, yet a test shows it" for name in shown if name in rows and rows[name].deferred]
    return found


def render(rows: Mapping[str, Row], shown: Mapping[str, Iterable[Shown]], record: str) -> str:
    lines = [
        "# The fault matrix",
        "",
        "What can go wrong, what comes of it, and the tests that show it, over real sockets on both sides. Written by",
        "`python -m tests.matrix --table` from `tests/matrix/rows.py` and the tests' `fault` markers; the suite fails",
        "when it is stale.",
        "",
        f"- {' '.join(NEXT.split())}",
        f"- {' '.join(STANDING.split())}",
        "- Each test runs for JSON and SSE, unless it says that it is for one of them, on the engines httpx, httpx2",
        "  and native, on asyncio and trio. In the ordinary suite in six cases, so that every pair of engine, loop and",
        "  mode is there; `python -m tests.matrix --full` runs all of them, on uvloop, too.",
        "",
        "## The last full run",
        RECORD_BEGINS,
        record,
        RECORD_ENDS,
        "",
        "## The rows",
        "| id | fault | outcome | tests |",
        "|---|---|---|---|",
    ]
    for name, row in rows.items():
        if row.deferred is None:
            tests = "<br>".join(_cell(each) for each in shown.get(name, ()))
            lines.append(f"| {name} | {row.fault} | {row.outcome} | {tests} |")
    lines += ["", "## Not covered here, and why", "| id | fault | outcome | why not |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {row.fault} | {row.outcome} | {row.deferred} |" for name, row in rows.items() if row.deferred
    ]
    return "\n".join(lines) + "\n"


def _cell(shown: Shown) -> str:
    return f"`{shown.test}`" + (f" ({shown.mode.upper()} only)" if shown.mode else "")


def record_of(document: str) -> str:
    """The record in a document; that there is none, if there is none."""
    _, begun, rest = document.partition(RECORD_BEGINS)
    record, ended, _ = rest.partition(RECORD_ENDS)
    return record.strip() if begun and ended else NO_RECORD


def current(record: str | None = None) -> str:
    """The document as it should be now."""
    if record is None:
        record = record_of(DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else "")
    return render(ROWS, read_markers(project_sources()), record)


def write(record: str | None = None) -> None:
    DOCUMENT.write_text(current(record), encoding="utf-8")
