"""`python -m tests.matrix`: the matrix by hand.

--table  writes docs/fault-matrix.md anew, the record of the last full run untouched
--full   runs every row in the full product of engine, loop and mode, and puts the result on record there; further
         arguments go to pytest (`-n 2`), and a selection of them (`-k ...`) is not put on record
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping

import pytest

from . import table
from .selection import FULL_VARIABLE

VERSIONS = ("httpx", "httpcore", "httpx2", "httpcore2", "httptools", "anyio", "trio", "uvloop", "hypercorn")


class Count:
    """A pytest plugin: which cases ran, and which of them failed."""

    def __init__(self) -> None:
        self.ran: set[str] = set()
        self.failed: dict[str, None] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.ran.add(report.nodeid)
        if report.failed:
            self.failed[report.nodeid] = None


def run_full(arguments: list[str]) -> int:
    os.environ[FULL_VARIABLE] = "full"
    count, started_s = Count(), time.monotonic()
    shown = table.read_markers(table.project_sources())
    files = sorted({each.test.partition("::")[0] for tests in shown.values() for each in tests})
    paths = [str(table.ROOT / file) for file in files]
    code = int(pytest.main([*paths, "-q", "-m", "fault", *arguments], plugins=[count]))
    if "-k" not in arguments:
        table.write(record(count, shown, time.monotonic() - started_s))
    return code


def record(count: Count, shown: Mapping[str, Iterable[table.Shown]], seconds: float) -> str:
    ran = {case.partition("[")[0] for case in count.ran}
    rows = [row for row, tests in shown.items() if any(each.test in ran for each in tests)]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    lines = [
        f"- {datetime.datetime.now(datetime.UTC):%Y-%m-%d}, Python {platform.python_version()}, {platform.system()}, "
        f"{os.cpu_count()} cores; {versions}",
        f"- {len(rows)} rows, {len(count.ran)} cases, {len(count.ran) - len(count.failed)} passed, {seconds:.0f} s",
        *(f"  - failed: `{case}`" for case in count.failed),
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    if arguments == ["--table"]:
        table.write()
        return 0
    if arguments[:1] == ["--full"]:
        return run_full(arguments[1:])
    sys.stdout.write(f"{__doc__}\n")
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
