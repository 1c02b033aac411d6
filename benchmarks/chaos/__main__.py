"""python -m benchmarks.chaos: run the parts, print the table, exit 1 if a judged line is short. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..table import Line, table
from ..upstream import cores
from .run import Bench, Machine, Result
from .scenarios import SCENARIOS, Options, Part

SHORT_S, LONG_S = 4.5, 60.0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in SCENARIOS]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(SCENARIOS)}")
    return names


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=5, help="the same seed gives the same schedule")
    parser.add_argument("--seconds", type=float, help=f"of each storm; {LONG_S:g}, or {SHORT_S:g} with --short")
    parser.add_argument("--callers", type=int, default=32, help="in the storms")
    parser.add_argument("--engine", choices=["auto", "native", "httpx2", "httpx"], default="auto")
    parser.add_argument("--loop", choices=["asyncio", "uvloop", "trio"], default="asyncio", help="trio: hypercorn")
    parser.add_argument("--only", type=_names, default=list(SCENARIOS), metavar="A,B", help=", ".join(SCENARIOS))
    parser.add_argument(
        "--short", action="store_true", help="a minute; times, and ratios of them, are shown, not judged"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="lines, examples, and what the run was made with")
    return parser.parse_args(argv)


async def _run(parts: Sequence[Part], machine: Machine, options: Options) -> dict[str, Result]:
    async with Bench(machine, options.seed, hurry=options.short, say=say) as bench:
        return await bench.run(parts)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _arguments(argv)
    options = Options(
        seed=arguments.seed,
        seconds=arguments.seconds or (SHORT_S if arguments.short else LONG_S),
        callers=arguments.callers,
        short=arguments.short,
        engine=arguments.engine,
    )
    available = cores()
    pinned = len(available) > 1
    machine = Machine(
        engine=arguments.engine,
        loop=arguments.loop,
        gateway_core=available[0] if pinned else None,
        other_core=available[1] if pinned else None,
    )
    if not pinned:
        say("not pinned: gateway, callers and providers share what there is")
    parts = [part for name in arguments.only for part in SCENARIOS[name](options)]
    started_s = time.monotonic()
    results = asyncio.run(_run(parts, machine, options))
    lines: list[Line] = [line for result in results.values() for line in result.lines]
    say("")
    say(table(lines))
    for name, result in results.items():
        for example in result.examples:
            say(f"\n{name}: {example}")
    short = [line for line in lines if line.short]
    outcome = f"{len(short)} SHORT" if short else "ok"
    say(f"\nseed {options.seed}, {machine.engine}, {machine.loop}, {time.monotonic() - started_s:.0f} s: {outcome}")
    if arguments.json is not None:
        conditions = {
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "options": {**asdict(options), "loop": arguments.loop, "pinned": pinned},
        }
        value = {
            "conditions": conditions,
            "lines": [{**asdict(line), "short": line.short} for line in lines],
            "examples": {name: result.examples for name, result in results.items()},
        }
        arguments.json.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
