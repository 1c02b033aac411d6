"""What the status page's sink holds after a million requests, and what it takes to tell it of one.

    python -m benchmarks.status [--requests N] [--models N]

No server and no provider: the events of requests as the gateway tells them, straight to the sink. Every second request
fails over, models are callers' inventions, durations are spread over five decades, and the clock runs an hour; so all
that has a bound comes to it.
"""

from __future__ import annotations

import argparse
import gc
import random
import resource
import sys
import time
from collections.abc import Iterator

from ogw_asgi._status.recent import Recent
from ogw_asgi._values import AttemptRecord, Usage
from ogw_asgi.telemetry.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    FailedOver,
    FirstChunk,
    RequestEnded,
    RequestStarted,
)

PROVIDERS = ("openai", "azure", "vllm", "groq", "mistral")
REASONS = ("rate_limited", "timeout", "server_error", "connect", "circuit_open")
HOUR_S = 3600.0


def events_of(serial: int, chance: random.Random, models: int) -> Iterator[Event]:
    """Of one streamed request."""
    first, second = chance.sample(PROVIDERS, 2)
    model = f"gpt-{chance.randrange(models)}"
    request_id = f"{serial:032x}"
    yield RequestStarted(request_id, serial, model, True, None, (first, second), {})
    number, records = 1, []
    if serial % 2:
        record = AttemptRecord(first, "rate_limited", 429, None, 12, model)
        records.append(record)
        yield _started(request_id, serial, 1, first, model)
        yield AttemptEnded(request_id, serial, 1, record, "failed", False, duration_s=0.012, sent=True)
        yield FailedOver(request_id, serial, first, second, chance.choice(REASONS))
        number, first = 2, second
    took_s = 10 ** chance.uniform(-3, 2)
    record = AttemptRecord(first, "ok", 200, None, 12, model, Usage(input_tokens=10, output_tokens=90))
    records.append(record)
    yield _started(request_id, serial, number, first, model)
    yield FirstChunk(request_id, serial, number, first, took_s)
    yield AttemptEnded(
        request_id, serial, number, record, "complete", False, duration_s=2 * took_s, first_chunk_s=took_s, sent=True
    )
    yield RequestEnded(
        request_id,
        serial,
        model,
        "ok",
        201,
        first,
        records,
        round(2000 * took_s),
        True,
        None,
        10 ** -chance.uniform(2, 4),
    )


def _started(request_id: str, serial: int, number: int, provider: str, model: str) -> AttemptStarted:
    return AttemptStarted(
        request_id, serial, number, provider, provider, model, "first", "127.0.0.1", 443, False, False
    )


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def resident_mb() -> float:
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=1000)
    arguments = parser.parse_args()
    count = arguments.requests
    chance = random.Random(7)
    at = [0.0]
    recent = Recent(lambda: at[0], lambda: at[0])
    before_mb, told_s = resident_mb(), 0.0
    marks = {round(count * share) for share in (0.001, 0.01, 0.1, 0.5, 1)}
    say(f"{'requests':>10}  {'MB more':>8}  {'us each':>8}  targets  edges  lines")
    for serial in range(1, count + 1):
        at[0] = HOUR_S * serial / count
        events = list(events_of(serial, chance, arguments.models))
        began_s = time.process_time()
        for event in events:
            recent.on_event(event)
        told_s += time.process_time() - began_s
        if serial in marks:
            more_mb, each_us = resident_mb() - before_mb, told_s / serial * 1e6
            say(
                f"{serial:>10,}  {more_mb:>8.2f}  {each_us:>8.1f}  {len(recent.targets):>7}  {len(recent.edges):>5}"
                f"  {len(recent.ended):>5}"
            )


if __name__ == "__main__":
    main()
