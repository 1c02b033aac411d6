"""python -m benchmarks: what the gateway costs, beside its floors and other gateways, in one run. See README.md.

    python -m benchmarks                      # every case; some ten minutes on two cores
    python -m benchmarks --only plain,burst   # each is under a minute
    python -m benchmarks --quick              # to see that it works, not to quote

Ends with 1 if a bound is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import uvloop

from .speed import chart, report
from .speed.cases import CASES
from .speed.outcome import Outcome, Setting
from .speed.process import free_port, upstream
from .speed.proxies import PROXIES, Place, running, versions_of_peers
from .table import table
from .upstream import cores


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in CASES]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(CASES)}")
    return names


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", type=_names, default=list(CASES), metavar="A,B", help=", ".join(CASES))
    parser.add_argument("--rounds", type=int, help="besides the one that warms up; 5, or 1 with --quick")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything: not to quote")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="the plain case as an SVG picture")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every figure, and what the run was made with")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _arguments(argv)
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    available = cores()
    if not available:
        raise SystemExit("measured by Linux's /proc, and with processes pinned: not here")
    pinned = len(available) > 1
    if not pinned:
        say("not pinned: proxy, provider and callers share what there is")
    theirs = available[1:2]
    os.sched_setaffinity(0, theirs or available)
    provider = upstream(theirs)
    outcomes: dict[str, Outcome] = {}
    try:
        place = Place(provider=provider, refusing=free_port(), core=available[:1] if pinned else (), cores=available)
        with running(place, say) as servers:
            setting = Setting(running=servers, rounds=rounds, scale=0.1 if arguments.quick else 1.0)
            for name in arguments.only:
                started_s = time.monotonic()
                outcomes[name] = uvloop.run(CASES[name](setting))
                say(f"\n{report.table(outcomes[name])}\n\n({time.monotonic() - started_s:.0f} s)")
            absent = servers.absent
    finally:
        provider.stop()
    lines = [line for outcome in outcomes.values() for line in outcome.lines]
    say("")
    say(table(lines))
    short = [line for line in lines if line.short]
    say(f"\n{len(short)} SHORT" if short else "\nok")
    if arguments.chart is not None and "plain" in outcomes:
        labels = {name: proxy.about for name, proxy in PROXIES.items()}
        title, note = "CPU per request", "microseconds of one core, a plain answer of 1 KB, 32 connections; logarithmic"
        picture = chart.chart(title, note, chart.bars(outcomes["plain"].figures, labels))
        arguments.chart.write_text(picture, encoding="utf-8")
    if arguments.json is not None:
        options = {"rounds": rounds, "quick": arguments.quick, "pinned": pinned}
        value = {
            "conditions": report.conditions(options, absent, versions_of_peers()),
            "cases": {name: asdict(outcome) for name, outcome in outcomes.items()},
        }
        arguments.json.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
