"""What a run comes to, as text and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from .judge import Verdict
from .run import Line, Result

_COLUMNS = ("scenario", "", "verdict", "seconds", "to primary", "calls", "note")


def table(results: Sequence[Result]) -> str:
    rows = [_COLUMNS, *(_row(result) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    numbers = {3, 4, 5}
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _row(result: Result) -> tuple[str, ...]:
    scenario = result.scenario
    counts = (f"{result.seconds:.1f}", str(result.primary_calls), str(result.calls))
    return (scenario.id, scenario.title, result.judged.verdict, *counts, result.judged.note)


def counts(results: Sequence[Result]) -> dict[str, int]:
    verdicts = [result.judged.verdict for result in results]
    return {verdict: verdicts.count(verdict) for verdict in get_args(Verdict)}


def summary(line: Line, results: Sequence[Result]) -> str:
    return f"ogw_asgi, {line.name}: " + ", ".join(f"{count} {name}" for name, count in counts(results).items())


def as_json(line: Line, results: Sequence[Result]) -> dict[str, Any]:
    return {
        "line": line.name,
        "options": line.options(),
        "counts": counts(results),
        "scenarios": [
            {
                "id": result.scenario.id,
                "title": result.scenario.title,
                "verdict": result.judged.verdict,
                "note": result.judged.note,
                "seconds": round(result.seconds, 3),
                "calls_to_primary": result.primary_calls,
                "calls": result.calls,
                "longest_pause_s": round(result.longest_pause_s, 3),
            }
            for result in results
        ],
    }
