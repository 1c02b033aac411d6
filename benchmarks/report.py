"""From samples to a table and to JSON: medians, ranges, and ratios within the same round."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median

from .loads import CONNECTIONS, Load, Sample

BASELINE = "native"

Samples = Mapping[str, Mapping[str, Sequence[Sample]]]
"""By engine, then by load: one per round, in the order of the rounds."""

_PACKAGES = ("anyio", "httpcore", "httpcore2", "httptools", "httpx", "httpx2", "ogw_asgi", "trio", "uvloop")


def cpu_us(samples: Sequence[Sample]) -> list[float]:
    return [sample.cpu_us for sample in samples]


def ratio(samples: Sequence[Sample], baseline: Sequence[Sample]) -> float:
    """The median of the rounds' ratios: what slowed a whole round down falls out of it."""
    return median(mine / its for mine, its in zip(cpu_us(samples), cpu_us(baseline), strict=True))


def table(results: Samples, loads: Sequence[Load], labels: Mapping[str, str], *, loop: str, rounds: int) -> str:
    ratios = BASELINE in results
    title = (
        f"CPU of the client's process in us, {CONNECTIONS} connections, {loop}: median of {rounds} rounds (min..max)"
    )
    rows = [["engine", *(f"per {load.unit}" for load in loads)]]
    for engine, by_load in results.items():
        cells = []
        for load in loads:
            cell = _cell(cpu_us(by_load[load.name]))
            if ratios:
                cell += f" {ratio(by_load[load.name], results[BASELINE][load.name]):6.2f}x"
            cells.append(cell)
        rows.append([labels.get(engine, engine), *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    legend = f"x: times what {BASELINE} took in the same round, median\n" if ratios else ""
    return f"{title}\n{legend}\n" + "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    def number(value: float) -> str:
        return f"{value:.0f}" if value >= 100 else f"{value:.1f}"

    return f"{number(median(values))} ({number(min(values))}..{number(max(values))})"


def conditions(*, loop: str, pinned: bool, with_sse: bool, options: Mapping[str, object]) -> dict[str, object]:
    """What somebody needs to repeat the run."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "loop": loop,
        "connections": CONNECTIONS,
        "pinned": pinned,
        "with_sse": with_sse,
        "options": dict(options),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def as_json(results: Samples) -> dict[str, object]:
    return {
        engine: {load: [asdict(sample) for sample in samples] for load, samples in by_load.items()}
        for engine, by_load in results.items()
    }
