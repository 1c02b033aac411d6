"""The command: arguments in, a report and an exit status out."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence

import anyio

from ..gateway import Gateway
from .asking import ask_all
from .judging import heard, of_code, of_environment
from .loading import NotAName, NotLoaded, load
from .printing import printed
from .report import Report
from .sharing import asked_redis

WELL, NOT_WELL = 0, 1
"""And 2 for arguments that cannot be understood, which argparse says."""


def run(argv: Sequence[str] | None = None) -> int:
    """Print the report on stdout. The exit status is 0 only when there is no problem."""
    parser = argparse.ArgumentParser(prog="python -m ogw_asgi", description="An LLM failover gateway.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check",
        help="what is in force, and what is wrong with it",
        description="Prints the effective settings, masked, each with its source, and every problem with the line "
        "that mends it. Exit status: 0 all is well, 1 there are problems, 2 wrong usage. Warnings are no problems.",
    )
    check.add_argument(
        "target", nargs="?", metavar="module:attribute", help="a gateway made in code; else the environment"
    )
    check.add_argument(
        "--probe", action="store_true", help="ask each provider for its models, and Redis; costs nothing"
    )
    check.add_argument("--json", action="store_true", help="one JSON object, for scripts")
    arguments = parser.parse_args(argv)
    report = _report(check, arguments.target, probe=arguments.probe)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what a server says may be more than a terminal can show
    sys.stdout.write(f"{json.dumps(report.as_dict(), indent=2)}\n" if arguments.json else printed(report))
    return WELL if report.well else NOT_WELL


def _report(usage: argparse.ArgumentParser, target: str | None, *, probe: bool) -> Report:
    gateway: Gateway | None = None
    if target is None:
        report, gateway = of_environment(os.environ)
    else:
        try:
            with heard() as lines:
                gateway = load(target)
            report = of_code(target, gateway, lines)
        except NotAName as error:
            usage.error(str(error))
        except NotLoaded as error:
            report = Report(target, problems=[error.problem])
    if probe and gateway is not None:
        with heard():  # that it opens is no news
            anyio.run(_ask, gateway, report)
    return report


async def _ask(gateway: Gateway, report: Report) -> None:
    async def ask_redis() -> None:
        report.redis = await asked_redis(gateway)

    async with anyio.create_task_group() as group:
        group.start_soon(ask_redis)
        report.asked = await ask_all(gateway)
