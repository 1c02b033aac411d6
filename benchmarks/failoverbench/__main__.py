"""python -m benchmarks.failoverbench: run the scenarios, print a table per line, exit 1 if one is not passed."""

from __future__ import annotations

import argparse
import json
import platform
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from ogw_asgi import __version__

from .gateway import DidNotStart
from .report import as_json, counts, summary, table
from .run import FALLBACK, FAST, REAL, Line, run_line
from .scenarios import SCENARIOS

DEFAULTS = Line(name="defaults")
OPTIONS = Line(
    name="with options",
    settings={"OGW_SUCCESS_STATUS": "200", "OGW_ON_STREAM_BREAK": "continue"},
    sequence=("openai", "openai", "vllm/{fallback}"),
    timeout_ms=10_000,
)
LINES = {"defaults": [DEFAULTS], "options": [OPTIONS], "both": [DEFAULTS, OPTIONS]}


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _ids(text: str) -> list[str]:
    ids = text.split(",")
    if unknown := [name for name in ids if name not in SCENARIOS]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(SCENARIOS)}")
    return ids


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.failoverbench", description="Our port of FailoverBench."
    )
    parser.add_argument("--line", choices=list(LINES), default="both")
    parser.add_argument("--only", type=_ids, default=list(SCENARIOS), metavar="S08,S09", help=", ".join(SCENARIOS))
    parser.add_argument("--fast", action="store_true", help=f"times at {FAST.scale:g} of the real ones, for CI")
    parser.add_argument(
        "--on-stream-break", choices=["continue", "hold", "error"], default="continue", help="in the line with options"
    )
    parser.add_argument(
        "--fallback",
        choices=[FALLBACK, "fallback-begins-anew", "fallback-refuses-prefill"],
        default=FALLBACK,
        help="of every scenario but S14",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="verdicts, times, and what the run was made with")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _arguments(argv)
    profile = FAST if arguments.fast else REAL
    scenarios = [SCENARIOS[name] for name in arguments.only]
    conditions = {
        "version": __version__,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "scale": profile.scale,
        "fallback": arguments.fallback,
    }
    lines: list[dict[str, Any]] = []
    short = False
    for line in LINES[arguments.line]:
        if line is OPTIONS:
            line = replace(line, settings={**line.settings, "OGW_ON_STREAM_BREAK": arguments.on_stream_break})
        started_s = time.monotonic()
        try:
            results = anyio.run(partial(run_line, line, scenarios, profile, fallback=arguments.fallback, say=say))
        except DidNotStart as error:
            say(f"\nogw_asgi, {line.name}: the gateway does not start with these options\n{error}")
            return 2
        took_s = time.monotonic() - started_s
        say(f"\n{table(results)}\n\n{summary(line, results)}")
        say(f"{' '.join(f'{name} {value},' for name, value in conditions.items())} {took_s:.0f} s")
        say(f"{json.dumps(line.options())}\n")
        lines.append({**as_json(line, results), "took_s": round(took_s, 1)})
        short |= line.name == OPTIONS.name and counts(results)["pass"] < len(scenarios)
    if arguments.json is not None:
        value = {"conditions": conditions, "lines": lines}
        arguments.json.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    return 1 if short else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by the way that ends the gateway's process, too
    sys.exit(main())
