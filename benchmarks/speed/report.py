"""Tables to read, and what a run was made with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .outcome import Outcome

_PACKAGES = ("anyio", "granian", "httptools", "httpx", "httpx2", "ogw_asgi", "starlette", "uvicorn", "uvloop")


def table(outcome: Outcome) -> str:
    columns = list(dict.fromkeys(column for row in outcome.figures.values() for column in row))
    rows = [["", *columns]]
    for name, figures in outcome.figures.items():
        rows.append([name, *(_number(figures[column]) if column in figures else "" for column in columns)])
    widths = [max(len(row[index]) for row in rows) for index in range(len(columns) + 1)]
    lines = []
    for name, *cells in rows:
        aligned = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *aligned]))
    unit = f" (per {outcome.unit})" if outcome.unit in ("request", "chunk") else ""
    return "\n".join([f"{outcome.title}{unit}", "", *(line.rstrip() for line in lines)])


def conditions(options: Mapping[str, object], absent: Mapping[str, str], peers: Mapping[str, str]) -> dict[str, object]:
    """What somebody needs to repeat the run."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "options": dict(options),
        "versions": {**_versions(_PACKAGES), **peers},
        "absent": dict(absent),
    }


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
