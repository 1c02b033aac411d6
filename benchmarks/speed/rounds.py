"""Side by side: every round measures every proxy once, and begins with another each time; the first is thrown away."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from . import asked
from .asked import Asked
from .load import Answer, Callers, Sample, WrongAnswer
from .process import Server
from .proxies import PROXIES, Running


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One proxy in one round."""

    cpu_s: float
    sample: Sample
    rss_bytes: int = 0
    """Resident memory of its processes right after the sample."""

    @property
    def cpu_us(self) -> float:
        """Of one request."""
        return self.cpu_s * 1e6 / self.sample.requests


Rounds = Mapping[str, Sequence[Measured]]
"""By proxy; one for each round, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One row of a case: who is asked what, with which headers, and by how many callers.

    `count`: so many requests in all, instead of as many as there are in `seconds`.
    """

    proxy: str
    asked: Asked
    label: str = ""
    headers: Sequence[tuple[str, str]] = ()
    connections: int = 32
    seconds: float = 0.6
    count: int | None = None

    @property
    def name(self) -> str:
        return self.label or self.proxy


async def measure(server: Server, run: Run) -> Measured:
    proxy, plain = PROXIES[run.proxy], asked.plain()
    request, warm = proxy.request(run.asked.body, run.headers), proxy.request(plain.body, run.headers)
    check = run.asked.loose if proxy.peer else run.asked.strict
    check_warm = plain.loose if proxy.peer else plain.strict
    async with Callers(server.port, run.connections) as callers:
        await callers.times(max(64, run.connections), warm, check_warm)  # connections to the provider are open then
        gc.collect()
        before_s = server.cpu_s
        if run.count is not None:
            sample = await callers.times(run.count, request, check)
        else:
            sample = await callers.for_seconds(run.seconds, request, check)
        return Measured(cpu_s=server.cpu_s - before_s, sample=sample, rss_bytes=server.rss_bytes)


async def fault(server: Server, run: Run) -> str:
    """What is wrong with a peer's answer to one trial request, if anything is."""
    found = ""

    def check(answer: Answer) -> None:
        if answer.status not in asked.GOOD:  # said before its body is taken for what it is not
            raise WrongAnswer(f"answers {answer.status} {answer.body[:200].decode(errors='replace').strip()}")
        run.asked.loose(answer)

    try:
        async with Callers(server.port, 1) as callers:
            await callers.times(1, PROXIES[run.proxy].request(run.asked.body, run.headers), check)
    except* (WrongAnswer, ValueError, OSError) as wrong:
        first = wrong.exceptions[0]
        found = str(first) if isinstance(first, WrongAnswer) else repr(first)
    return found


async def _able(running: Running, run: Run) -> Server | None:
    server = running.get(run.proxy)
    if server is not None and PROXIES[run.proxy].peer and (found := await fault(server, run)):
        running.leave_out(run.proxy, found)
        return None
    return server


async def side_by_side(running: Running, runs: Sequence[Run], rounds: int) -> Rounds:
    """Whoever is absent is left out."""
    there = [(run, server) for run in runs if (server := await _able(running, run)) is not None]
    measured: dict[str, list[Measured]] = {run.name: [] for run, _ in there}
    for number in range(rounds + 1):
        first = number % len(there)
        for run, server in (*there[first:], *there[:first]):
            one = await measure(server, run)
            if number:
                measured[run.name].append(one)
    return measured


def cpu_us(rounds: Sequence[Measured]) -> float:
    return median(one.cpu_us for one in rounds)


def ratio(mine: Sequence[Measured], theirs: Sequence[Measured], of: Callable[[Measured], float]) -> float:
    """The median of the rounds' ratios: what slowed a whole round down falls out of it."""
    return median(of(one) / of(other) for one, other in zip(mine, theirs, strict=True))


def quantile(rounds: Sequence[Measured], share: float, of: Callable[[Sample], Sequence[float]]) -> float:
    """Median of the rounds' quantiles, in the unit of `of`."""
    return median(_quantile(of(one.sample), share) for one in rounds)


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
