"""CPU per request, per chunk of a burst and per chunk of a drip, for every engine, side by side in one run.

    python -m benchmarks.engines [--loop asyncio|uvloop|trio] [--quick] [--json FILE]

Rounds are interleaved and start with another engine each time, so that what the machine does meanwhile hits all; the
first round warms up and is thrown away. Each engine gets a fresh loop and a fresh pool for each load of each round.
See README.md for what the numbers hold and what not.
"""

from __future__ import annotations

import argparse
import json
import ssl
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import anyio

from ogw_asgi.exceptions import ConfigurationError
from ogw_asgi.transports._httpcore import OwnHTTPXTransport
from ogw_asgi.transports.base import Transport
from ogw_asgi.transports.httpx import load_library

from . import report
from .loads import Load, Sample, loads, measure
from .upstream import Upstream, cores, pin, running

HEAD_BYTES = 64 << 10
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nothing here speaks TLS; loading them takes 20 ms

LOOPS: Mapping[str, tuple[str, dict[str, object]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}
DRIP_PAUSE_MS = 20

Make = Callable[[], Transport]


def _httpx(name: str) -> Make:
    return partial(OwnHTTPXTransport, load_library(name), NO_AUTHORITIES, head_bytes=HEAD_BYTES)


def _native() -> Make:
    from ogw_asgi.transports.native import NativeTransport  # httptools is an extra

    return partial(NativeTransport, NO_AUTHORITIES, head_bytes=HEAD_BYTES)


def _floor() -> Make:
    from .floor import Floor

    return Floor


# The order of the table. Each entry imports what it needs when it is called, and says so if it cannot.
ENGINES: Mapping[str, Callable[[], Make]] = {
    "floor": _floor,
    "native": _native,
    "httpx2": partial(_httpx, "httpx2"),
    "httpx": partial(_httpx, "httpx"),
}
LABELS = {"floor": "floor (no client)"}


def usable(names: Sequence[str], loop: str) -> dict[str, Make]:
    """The engines that can run here, in their order; why another cannot is said once."""
    found = {}
    for name in names:
        if loop == "trio" and name == "floor":
            say("left out: floor (asyncio alone)")
            continue
        try:
            found[name] = ENGINES[name]()
        except (ImportError, ConfigurationError) as error:
            say(f"left out: {name} ({error})")
    return found


def run_round(make: Make, load: Load, upstream: Upstream, *, loop: str, with_sse: bool) -> Sample:
    """One engine under one load, in a loop of its own."""

    async def run() -> Sample:
        transport = make()
        try:
            return await measure(transport, load, upstream, with_sse=with_sse)
        finally:
            await transport.aclose()

    backend, options = LOOPS[loop]
    return anyio.run(run, backend=backend, backend_options=options)


def run_rounds(
    engines: Mapping[str, Make], columns: Sequence[Load], upstream: Upstream, *, rounds: int, loop: str, with_sse: bool
) -> dict[str, dict[str, list[Sample]]]:
    names = list(engines)
    results: dict[str, dict[str, list[Sample]]] = {name: {load.name: [] for load in columns} for name in names}
    for number in range(rounds + 1):
        first = number % len(names)
        for load in columns:
            for name in (*names[first:], *names[:first]):
                try:
                    sample = run_round(engines[name], load, upstream, loop=loop, with_sse=with_sse)
                except Exception as error:
                    traceback.print_exception(_first(error))
                    raise SystemExit(f"no result: {name} failed under {load.name} on {loop}, round {number}") from None
                if number:
                    results[name][load.name].append(sample)
    return results


def _first(error: BaseException) -> BaseException:
    """Of 32 tasks that fail alike, one."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
        return names

    return parse


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--loop", choices=LOOPS, default="asyncio")
    parser.add_argument("--engines", type=_names(list(ENGINES)), default=list(ENGINES), metavar="A,B")
    parser.add_argument("--loads", type=_names(["plain", "burst", "drip"]), default=["plain", "burst", "drip"])
    parser.add_argument("--rounds", type=int, help="besides the one that warms up; 5, or 2 with --quick")
    parser.add_argument("--quick", action="store_true", help="some fifteen seconds: to see that it works, not to quote")
    parser.add_argument("--drip-pause-ms", type=int, default=DRIP_PAUSE_MS, help="between two chunks of one stream")
    parser.add_argument("--with-sse", action="store_true", help="feed what arrives to the gateway's SSE decoder, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every sample, and what the run was made with")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = _arguments(argv)
    rounds = arguments.rounds or (2 if arguments.quick else 5)
    columns = [
        load
        for load in loads(quick=arguments.quick, drip_pause_ms=arguments.drip_pause_ms)
        if load.name in arguments.loads
    ]
    engines = usable(arguments.engines, arguments.loop)
    if not engines:
        raise SystemExit("no engine is left")
    available = cores()
    pinned = len(available) > 1
    if not pinned:
        say("not pinned: client and upstream share what there is, expect a wide range")
    with running(available[1] if pinned else None) as upstream:
        pin(available[0] if pinned else None)
        results = run_rounds(
            engines, columns, upstream, rounds=rounds, loop=arguments.loop, with_sse=arguments.with_sse
        )
    say(report.table(results, columns, LABELS, loop=arguments.loop, rounds=rounds))
    if arguments.json is not None:
        made_with = report.conditions(
            loop=arguments.loop,
            pinned=pinned,
            with_sse=arguments.with_sse,
            options={"rounds": rounds, "drip_pause_ms": arguments.drip_pause_ms, "quick": arguments.quick},
        )
        text = json.dumps({"conditions": made_with, "samples": report.as_json(results)}, indent=2)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
