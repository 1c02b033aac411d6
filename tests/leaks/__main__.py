"""The full sizes by hand, each combination of engine and loop in a process of its own.

    python -m tests.leaks [--streams 100000] [--only native trio]

Prints a row for each, and below it what it has missed of what is promised; ends with 1 if anything was.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from functools import partial

import anyio

from .combinations import COMBINATIONS, LOOPS
from .limits import missed_by_drops, missed_by_storm, missed_by_streams, sized
from .measure import measure
from .storms import cancel_storm, drop_large_streams

COLUMNS = (
    f"{'engine':<7} {'loop':<8}{'streams':>8}{'timed':>7}{'p50 ms':>8}{'p99 ms':>8}{'max ms':>8}{'slots':>6}"
    f"{'tasks':>6}{'fds':>5}{'objects':>8}{'blocks':>7}{'RSS KiB':>8}{'held ms':>8}{'storm':>7}{'s':>6}"
)


def run(engine: str, loop: str, streams: int) -> bool:
    backend, options = LOOPS[loop]
    limits = sized(streams)
    started_s = time.monotonic()
    storm = anyio.run(partial(cancel_storm, engine, limits.storm), backend=backend, backend_options=options)
    drops = anyio.run(partial(drop_large_streams, engine), backend=backend, backend_options=options)
    numbers = anyio.run(partial(measure, engine, limits.first, limits.rest), backend=backend, backend_options=options)
    took_s = time.monotonic() - started_s
    grown = numbers.grown
    p50, p99, longest = (numbers.delay_s(quantile) * 1000 for quantile in (0.5, 0.99, 1))
    say(
        f"{engine:<7} {loop:<8}{numbers.streams:>8}{len(numbers.delays_s):>7}{p50:>8.1f}{p99:>8.1f}{longest:>8.1f}"
        f"{numbers.in_flight:>6}{grown.tasks:>6}{grown.sockets:>5}{grown.objects:>+8}{grown.blocks:>+7}"
        f"{grown.rss_bytes // 1024:>+8}{drops[0].wall_s * 1000:>8.1f}{storm[1]:>5}/3{took_s:>6.0f}"
    )
    missed = [*missed_by_streams(numbers, limits), *missed_by_drops(*drops, limits), *missed_by_storm(*storm)]
    for line in missed:
        say(f"        missed: {line}")
    return not missed


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.leaks")
    parser.add_argument("--streams", type=int, default=100_000)
    parser.add_argument("--only", nargs=2, metavar=("ENGINE", "LOOP"), help="one combination, in this process")
    arguments = parser.parse_args()
    if arguments.only is not None:
        engine, loop = arguments.only
        return 0 if run(engine, loop, arguments.streams) else 1
    say(COLUMNS)
    command = [sys.executable, "-m", "tests.leaks", "--streams", str(arguments.streams), "--only"]
    codes = [subprocess.run([*command, *combination]).returncode for combination in COMBINATIONS]
    return max(codes)


if __name__ == "__main__":
    raise SystemExit(main())
