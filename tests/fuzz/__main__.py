"""`python -m tests.fuzz --runs 1000000 [--target NAME] [--seed N]`: a table of what came of it; exit 1 on a failure.

What fails is written to `tests/fuzz/crashes/`, where the tests try it again from then on.
"""

from __future__ import annotations

import argparse
import sys

from .all import TARGETS
from .target import Tally, run, saved


def main() -> int:
    """The run that the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--runs", type=int, default=100_000, help="inputs for each target")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    _say("| target | runs | accepted | refused | slowest ms | failures |\n| --- | --- | --- | --- | --- | --- |")
    failed = False
    for name in arguments.target or TARGETS:
        tally = run(TARGETS[name], arguments.runs, arguments.seed)
        _say(line(tally))
        for data, why in tally.failures:
            failed = True
            _say(f"{saved(name, data)}: {data[:200]!r}\n{why}")
    return int(failed)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def line(tally: Tally) -> str:
    """A row of the table."""
    return (
        f"| {tally.target} | {tally.runs:,} | {tally.accepted:,} | {tally.refused:,} | {tally.slowest_ms:.1f} |"
        f" {len(tally.failures)} |"
    )


if __name__ == "__main__":
    sys.exit(main())
