"""The cases: what is run, what its table shows, and what must be true of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from ..table import Line, at_most, fact
from . import asked
from .apps import sequence
from .asked import BURST, DRIP, PAUSE_MS
from .load import Callers
from .outcome import (
    FLOOR,
    MIB,
    ON_CLIENTS,
    OURS,
    PEERS,
    Case,
    Outcome,
    Setting,
    costs,
    cpu_ratio,
    on_clients,
    quantile_per_s,
    to_peers,
    took,
)
from .proxies import PROXIES
from .rounds import Measured, Run, cpu_us, ratio, side_by_side

SHARE_AMONG_MANY = 0.8
"""Of the usual time of a sample, where a dozen proxies take turns: so that the case ends within a minute."""

LISTENED_TO = ("ogw-sink", "ogw-status", "ogw-prometheus", "ogw-otel-api", "ogw-otel-sdk")


async def plain(setting: Setting) -> Outcome:
    """A plain answer of 1 KB, 32 connections."""
    names = ("echo", FLOOR, OURS, *ON_CLIENTS, *PEERS)
    runs = [Run(proxy=name, asked=asked.plain(), seconds=setting.seconds * SHARE_AMONG_MANY) for name in names]
    rounds = await side_by_side(setting.running, runs, setting.rounds)
    lines = [
        cpu_ratio("plain", "CPU per request, ours to the floor", rounds, OURS, FLOOR, 1.33),
        *on_clients("plain", rounds),
        *to_peers("plain", rounds, {"ferrogw": 1.0, "rolter": 2.0, "litellm": 1 / 40}),
    ]
    return Outcome(title="Plain answer of 1 KB, 32 connections", unit="request", figures=costs(rounds, 1), lines=lines)


async def burst(setting: Setting) -> Outcome:
    """Streams of 50 chunks as fast as they are taken; a chunk's price holds its share of the request."""
    names = (FLOOR, OURS, *ON_CLIENTS, *PEERS)
    what = asked.stream(f"burst-{BURST}", BURST)
    rounds = await side_by_side(
        setting.running,
        [Run(proxy=name, asked=what, seconds=setting.seconds * SHARE_AMONG_MANY) for name in names],
        setting.rounds,
    )
    lines = [
        cpu_ratio("burst", "CPU per chunk, ours to the floor", rounds, OURS, FLOOR, 1.25),
        *on_clients("burst", rounds),
        *to_peers("burst", rounds, {"rolter": 1.0}),
    ]
    title = f"Burst: streams of {BURST} chunks, 32 connections"
    return Outcome(title=title, unit="chunk", figures=costs(rounds, BURST), lines=lines)


async def drip(setting: Setting) -> Outcome:
    """20 streams at once, their chunks 10 ms apart: every chunk wakes the proxy up."""
    names = (FLOOR, OURS, *ON_CLIENTS, *PEERS)
    what = asked.stream(f"drip-{DRIP}-{PAUSE_MS}", DRIP)
    runs = [Run(proxy=name, asked=what, connections=20, count=20) for name in names]
    rounds = await side_by_side(setting.running, runs, setting.rounds)
    lines = [
        cpu_ratio("drip", "CPU per chunk, ours to the floor", rounds, OURS, FLOOR, 1.25),
        *on_clients("drip", rounds),
        *to_peers("drip", rounds, {"ferrogw": 1.0}),
    ]
    title = f"Drip: 20 streams of {DRIP} chunks, {PAUSE_MS} ms apart"
    return Outcome(title=title, unit="chunk", figures=costs(rounds, DRIP), lines=lines)


async def latency(setting: Setting) -> Outcome:
    """One caller, one connection; and what a crowd waits."""
    names = ("direct", "echo", FLOOR, OURS, *PEERS)
    figures: dict[str, dict[str, float]] = {}
    lines: list[Line] = []
    # The bounds are at one connection. Of a crowd, fewer rounds: who takes 10 ms each serves it slowly even once.
    for connections, most in ((1, setting.rounds), (32, 3), (256, 1)):
        runs = [
            Run(proxy=name, asked=asked.plain(), connections=connections, seconds=setting.seconds / 2) for name in names
        ]
        rounds = await side_by_side(setting.running, runs, min(most, setting.rounds))
        direct = rounds["direct"]
        for name, of_it in rounds.items():
            for share in (0.5, 0.99):
                added_s = took(of_it, share) - took(direct, share)
                figures.setdefault(name, {})[f"p{share * 100:.0f}, {connections}"] = added_s * 1000
        if connections == 1:
            for share, bound in ((0.5, 0.6), (0.99, 2.0)):
                added_ms = figures[OURS][f"p{share * 100:.0f}, 1"]
                what = f"p{share * 100:.0f} added at one connection"
                lines.append(at_most("latency", what, added_ms, bound, unit=" ms"))
    return Outcome(title="Latency added to asking the provider directly", unit="ms", figures=figures, lines=lines)


async def failover(setting: Setting) -> Outcome:
    """The first provider refuses the connection, or answers 503; the second is good."""

    def run(label: str, proxy: str, *targets: str) -> Run:
        headers = [sequence(*targets)]
        return Run(proxy=proxy, label=label, asked=asked.plain(), headers=headers, seconds=setting.seconds)

    runs = [
        run("plain", "ogw-no-breaker", "good"),
        run("refused first", "ogw-no-breaker", "refusing", "good"),
        run("503 first", "ogw-no-breaker", "other/overloaded", "good"),
        run("plain, breaker", OURS, "good"),
        run("refused first, breaker open", OURS, "refusing", "good"),
    ]
    rounds = await side_by_side(setting.running, runs, setting.rounds)
    lines = [
        cpu_ratio("failover", f"CPU, {first} to plain: at most one attempt more", rounds, first, "plain", 2.0)
        for first in ("refused first", "503 first")
    ]
    lines.append(
        cpu_ratio("failover", "breaker open, to plain", rounds, "refused first, breaker open", "plain, breaker", 1.05)
    )
    return Outcome(title="Failover", unit="request", figures=costs(rounds, 1), lines=lines)


async def body(setting: Setting) -> Outcome:
    """Prompts of 300 KB."""
    what = asked.plain(prompt_bytes=300_000)
    runs = [Run(proxy=name, asked=what, connections=8, seconds=setting.seconds) for name in (FLOOR, OURS, *PEERS)]
    rounds = await side_by_side(setting.running, runs, setting.rounds)
    logic_ms = (cpu_us(rounds[OURS]) - cpu_us(rounds[FLOOR])) / 1000
    lines = [at_most("body", "CPU above the floor, each", logic_ms, 3.0, unit=" ms")]
    return Outcome(title="Request bodies of 300 KB", unit="request", figures=costs(rounds, 1), lines=lines)


async def idle(setting: Setting) -> Outcome:
    """1,000 streams that have begun, and are silent."""
    count = round(1000 * setting.scale)
    what = asked.stream("idle", 1)
    figures = {}
    for name in (FLOOR, OURS):
        server = setting.running.again(name)
        assert server is not None
        request = PROXIES[name].request(what.body)
        async with Callers(server.port, count) as callers:
            async with Callers(server.port, 1) as one:
                await one.times(1, PROXIES[name].request(asked.plain().body), asked.plain().strict)
            before = server.rss_bytes
            await callers.begin_all(request)
            figures[name] = {"KB": (server.rss_bytes - before) / count / 1000}
    lines = [at_most("idle", "memory of a stream", figures[OURS]["KB"], 40, unit=" KB")]
    return Outcome(title=f"{count} idle open streams", unit="KB of memory each", figures=figures, lines=lines)


async def streams(setting: Setting) -> Outcome:
    """50,000 streams, and what they leave behind."""
    what = asked.stream("burst-3", 3)
    server = setting.running.again(OURS)
    assert server is not None
    request = PROXIES[OURS].request(what.body)
    async with Callers(server.port, 32) as callers:
        await callers.times(round(5000 * setting.scale), request, what.strict)
        first = server.rss_bytes
        for _ in range(9):
            await callers.times(round(5000 * setting.scale), request, what.strict)
        last = server.rss_bytes
    figures = {OURS: {"after the first tenth, MiB": first / MIB, "after all, MiB": last / MIB}}
    lines = [at_most("streams", "growth after the first tenth", (last - first) / MIB, 2.0, unit=" MiB")]
    return Outcome(title="50,000 streams", unit="MiB", figures=figures, lines=lines)


async def crowd(setting: Setting) -> Outcome:
    """Throughput with 32 connections and with 1,024."""
    # What 1,024 connections begin and end with together should be little of a sample.
    runs = [
        Run(proxy=name, label=f"{name}, {count}", asked=asked.plain(), connections=count, seconds=seconds)
        for name in (FLOOR, OURS, "ogw-gc")
        for count, seconds in ((32, setting.seconds), (1024, 2 * setting.seconds))
    ]
    rounds = await side_by_side(setting.running, runs, setting.rounds)
    figures = {
        name: {"requests per s": quantile_per_s(of_it), "p99, ms": 1000 * took(of_it, 0.99)}
        for name, of_it in rounds.items()
    }

    def fall(name: str) -> float:
        return 1 - 1 / ratio(rounds[f"{name}, 32"], rounds[f"{name}, 1024"], lambda one: one.sample.per_s)

    lines = [
        at_most("crowd", "throughput lost from 32 to 1,024 connections", fall(OURS), 0.15),
        fact("crowd", "the same where garbage is collected rarely", f"{fall('ogw-gc'):.3g}"),
    ]
    return Outcome(title="From 32 to 1,024 connections", unit="requests/s", figures=figures, lines=lines)


async def workers(setting: Setting) -> Outcome:
    """One worker and two, on each server. Nobody is pinned: they share all cores with the callers."""
    names = [f"{server}-{count}" for server in ("uvicorn", "granian") for count in (1, 2)]
    runs = [Run(proxy=name, asked=asked.plain(), connections=64, seconds=2 * setting.seconds) for name in names]
    pinned = os.sched_getaffinity(0)
    os.sched_setaffinity(0, setting.running.place.cores)
    try:
        rounds = await side_by_side(setting.running, runs, setting.rounds)
    finally:
        os.sched_setaffinity(0, pinned)
    lines = []
    for server in ("uvicorn", "granian"):
        if f"{server}-2" in rounds:
            gain = ratio(rounds[f"{server}-2"], rounds[f"{server}-1"], lambda one: one.sample.per_s)
            lines.append(fact("workers", f"requests/s of two {server} workers to one", f"{gain:.2f}"))
    return Outcome(title="Workers", unit="request", figures=costs(rounds, 1), lines=lines)


async def neighbours(setting: Setting) -> Outcome:
    """32 callers with small prompts, alone and beside one who sends 400 KB again and again."""
    small, large = asked.plain(), asked.plain(prompt_bytes=400_000)
    figures: dict[str, dict[str, float]] = {}
    ratios: dict[str, float] = {}
    for name in (FLOOR, OURS):
        server = setting.running.get(name)
        assert server is not None
        proxy = PROXIES[name]
        alone_s, beside_s = [], []
        for number in range(setting.rounds + 1):
            async with Callers(server.port, 32) as many, Callers(server.port, 1) as one:
                request = proxy.request(small.body)
                alone = await many.for_seconds(setting.seconds, request, small.strict)
                async with asyncio.TaskGroup() as group:
                    beside = group.create_task(many.for_seconds(setting.seconds, request, small.strict))
                    group.create_task(one.for_seconds(setting.seconds, proxy.request(large.body), large.strict))
            if number:
                alone_s.append(Measured(cpu_s=0, sample=alone))
                beside_s.append(Measured(cpu_s=0, sample=beside.result()))
        figures[name] = {"p99 alone, ms": took(alone_s, 0.99) * 1000, "p99 beside, ms": took(beside_s, 0.99) * 1000}
        ratios[name] = figures[name]["p99 beside, ms"] / figures[name]["p99 alone, ms"]
    lines = [
        at_most("neighbours", "p99 of the small ones, to alone", ratios[OURS], 1.5),
        fact("neighbours", "the floor's", f"{ratios[FLOOR]:.2f}"),
    ]
    return Outcome(title="A prompt of 400 KB beside 32 small ones", unit="ms", figures=figures, lines=lines)


async def numbered(setting: Setting) -> Outcome:
    """200 streams at once whose chunks are numbered: every one comes once, in order, to whom it is for."""
    count, pieces = round(200 * setting.scale), 50
    server = setting.running.get(OURS)
    assert server is not None
    whats = [asked.numbered(number, pieces, PAUSE_MS) for number in range(count)]
    async with Callers(server.port, count) as callers:
        sample = await callers.each([(PROXIES[OURS].request(what.body), what.strict) for what in whats])
    figures = {OURS: {"streams": float(sample.requests), "chunks": float(sample.requests * pieces)}}
    # A chunk that is missing, repeated or somebody else's has ended the run by now.
    lines = [fact("numbered", "streams whose every chunk came 1:1, in order", f"{sample.requests} of {count}")]
    return Outcome(title="200 numbered streams", unit="", figures=figures, lines=lines)


async def sinks(setting: Setting) -> Outcome:
    """What those cost who listen; a gateway without sinks is the measure."""
    figures: dict[str, dict[str, float]] = {}
    lines: list[Line] = []
    kinds = (("plain", asked.plain(), 1), ("burst", asked.stream(f"burst-{BURST}", BURST), BURST))
    for kind, what, units in kinds:
        runs = [Run(proxy=name, asked=what, seconds=setting.seconds) for name in (OURS, *LISTENED_TO)]
        rounds = await side_by_side(setting.running, runs, setting.rounds)
        for name, of_it in rounds.items():
            row = figures.setdefault(name, {})
            row[f"{kind}, us"] = cpu_us(of_it) / units
            row[f"{kind}, x"] = ratio(of_it, rounds[OURS], lambda one: one.cpu_us)
            if name != OURS:
                lines.append(fact("sinks", f"{kind}, {name}, to none", f"{row[f'{kind}, x']:,.4g}"))
    return Outcome(title="Sinks: CPU of a request, and of a chunk", unit="request", figures=figures, lines=lines)


CASES: Mapping[str, Case] = {
    "plain": plain,
    "burst": burst,
    "drip": drip,
    "latency": latency,
    "failover": failover,
    "body": body,
    "idle": idle,
    "streams": streams,
    "crowd": crowd,
    "workers": workers,
    "neighbours": neighbours,
    "numbered": numbered,
    "sinks": sinks,
}
