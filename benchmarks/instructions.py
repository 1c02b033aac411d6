"""python -m benchmarks.instructions: what the gateway itself executes for a request, counted by valgrind.

    python -m benchmarks.instructions          # some two minutes; needs Debian's valgrind

A count does not depend on what else the machine does, so it shows a change of one percent, which no clock does here. It
is no price: an instruction after a pause costs three times as much as one in a loop (see README.md).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

FEW, MANY = 50, 550
LIMIT_S = 120.0
KINDS = {
    "plain": "a plain request",
    "burst": "a stream of 50 chunks, 8 at a time",
    "drip": "a stream of 50 chunks, each alone",
}


def count(who: str, kind: str, requests: int) -> int:
    command = [
        *("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"),
        *(sys.executable, "-m", "benchmarks.speed.inprocess", who, kind, str(requests)),
    ]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    found = re.search(r"I *refs: *([\d,]+)", ran.stderr)
    assert found is not None, ran.stderr
    return int(found[1].replace(",", ""))


def per_request(who: str, kind: str) -> float:
    """What starts and ends the process falls out of the difference."""
    return (count(who, kind, MANY) - count(who, kind, FEW)) / (MANY - FEW)


def main() -> int:
    if shutil.which("valgrind") is None:
        sys.stderr.write("valgrind is not installed\n")
        return 1
    asked = [(who, kind) for kind in KINDS for who in ("bare", "gateway")]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = dict(zip(asked, pool.map(lambda pair: per_request(*pair), asked), strict=True))
    sys.stdout.write(f"{'instructions for':38}{'bare relay':>12}{'gateway':>12}\n")
    for kind, what in KINDS.items():
        sys.stdout.write(f"{what:38}{counts['bare', kind]:>12,.0f}{counts['gateway', kind]:>12,.0f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
