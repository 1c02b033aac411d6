"""What is fuzzed, how one input is tried, and how a run of many is counted."""

from __future__ import annotations

import gc
import hashlib
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from .mutate import mutants

CRASHES = Path(__file__).parent / "crashes"

SLOWEST_MS = 50.0
MEASURED = 256
"""One input of so many is tried a second time for the memory that it takes."""

HELD_PER_BYTE = 32
"""CPython's values of a JSON text take up to 25 times its size."""
HELD_BESIDES = 1 << 20

CANARY = "CANARY-sk-0123456789"
"""Stands in the seeds wherever a key or a caller's text may; no refusal may hold it."""


@dataclass(frozen=True)
class Target:
    """One reader. `read` is ours, and timed; it returns, or raises one of `refusals`. `judge` gets what came of it, the
    exception included, raises AssertionError if that is wrong, and says whether it was accepted. `inputs` makes them
    from a seed, where they are no mutated `seeds`.
    """

    name: str
    seeds: Sequence[bytes]
    read: Callable[[bytes], Any]
    judge: Callable[[bytes, Any], bool]
    refusals: tuple[type[Exception], ...] = ()
    tokens: Sequence[bytes] = ()
    inputs: Callable[[int], Iterator[bytes]] | None = None


@dataclass
class Tally:
    """What came of a run. `failures`: inputs, and why."""

    target: str
    runs: int = 0
    accepted: int = 0
    slowest_ms: float = 0.0
    slowest: bytes = b""
    failures: list[tuple[bytes, str]] = field(default_factory=list)

    @property
    def refused(self) -> int:
        return self.runs - self.accepted - len(self.failures)


def attempt(target: Target, data: bytes) -> tuple[bool, float]:
    """Was it accepted, and how many milliseconds did that take? Raises whatever is wrong."""
    started_s = time.process_time()
    try:
        result = target.read(data)
    except target.refusals as refusal:
        result = refusal
    took_ms = (time.process_time() - started_s) * 1000
    return target.judge(data, result), took_ms


def check(target: Target, data: bytes) -> tuple[bool, float]:
    """As `attempt`, and AssertionError for one that takes too long, twice."""
    accepted, took_ms = attempt(target, data)
    if took_ms > SLOWEST_MS / 10:  # others are at work here, too, and so is the garbage collector
        gc.collect()
        took_ms = min(took_ms, attempt(target, data)[1])
        assert took_ms <= SLOWEST_MS, f"{took_ms:.0f} ms for {len(data)} bytes"
    return accepted, took_ms


def check_memory(target: Target, data: bytes) -> None:
    """AssertionError for an input that makes its reader take many times its size."""
    tracemalloc.start()
    try:
        target.read(data)
    except target.refusals:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak <= HELD_PER_BYTE * len(data) + HELD_BESIDES, f"{peak} bytes held for {len(data)}"


def run(target: Target, runs: int, seed: int, *, most_failures: int = 10) -> Tally:
    """So many inputs, always the same ones for the same seed; ends early after too many failures."""
    tally = Tally(target.name)
    inputs = target.inputs(seed) if target.inputs else mutants(target.seeds, target.tokens, f"{target.name} {seed}")
    for number, data in enumerate(islice(inputs, runs)):
        tally.runs += 1
        try:
            accepted, took_ms = check(target, data)
            if number % MEASURED == 0:
                check_memory(target, data)
        except Exception as error:
            lines = traceback.format_exception(error)
            tally.failures.append((data, "".join(lines[-3:])))
            if len(tally.failures) >= most_failures:
                break
            continue
        tally.accepted += accepted
        if took_ms > tally.slowest_ms:
            tally.slowest_ms, tally.slowest = took_ms, data
    return tally


def saved(target: str, data: bytes) -> Path:
    """A file that the tests try from now on."""
    path = CRASHES / f"{target}-{hashlib.sha256(data).hexdigest()[:16]}"
    path.write_bytes(data)
    return path


def crashes() -> list[Path]:
    """The inputs that once failed."""
    return sorted(path for path in CRASHES.iterdir() if "-" in path.name and not path.name.startswith("."))
