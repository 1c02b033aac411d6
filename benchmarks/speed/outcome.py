"""What a case is, what comes of it, and the figures and lines that most cases have."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field

from ..table import Line, at_most, fact
from .proxies import Running
from .rounds import Measured, Rounds, cpu_us, quantile, ratio

MIB = 1 << 20
FLOOR, OURS = "bare-native", "ogw"
PEERS = ("ferrogw", "rolter", "litellm")
ON_CLIENTS = ("client-httpx2", "bare-httpx2", "ogw-httpx2", "client-httpx", "bare-httpx", "ogw-httpx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """`rounds`: those that count. `scale`: of what a case does, for a look whether it works."""

    running: Running
    rounds: int
    scale: float

    @property
    def seconds(self) -> float:
        return 0.6 * self.scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`figures`: row -> column -> number, for the tables, the chart and the JSON."""

    title: str
    unit: str
    figures: Mapping[str, Mapping[str, float]]
    lines: Sequence[Line] = field(default_factory=list)


Case = Callable[[Setting], Coroutine[None, None, Outcome]]


def quantile_per_s(rounds: Sequence[Measured]) -> float:
    return sorted(one.sample.per_s for one in rounds)[len(rounds) // 2]


def took(rounds: Sequence[Measured], share: float) -> float:
    return quantile(rounds, share, lambda sample: sample.took_s)


def costs(rounds: Rounds, units: int) -> dict[str, dict[str, float]]:
    floor = rounds.get(FLOOR)
    figures = {}
    for name, of_it in rounds.items():
        row = {"CPU, us": cpu_us(of_it) / units}
        if floor is not None:
            row["x floor"] = ratio(of_it, floor, lambda one: one.cpu_us)
        row["p50, ms"] = took(of_it, 0.5) * 1000
        row["p99, ms"] = took(of_it, 0.99) * 1000
        row["per s"] = quantile_per_s(of_it)
        row["RSS, MiB"] = sorted(one.rss_bytes for one in of_it)[len(of_it) // 2] / MIB
        figures[name] = row
    return figures


def cpu_ratio(part: str, what: str, rounds: Rounds, mine: str, theirs: str, bound: float) -> Line:
    return at_most(part, what, ratio(rounds[mine], rounds[theirs], lambda one: one.cpu_us), bound)


def on_clients(part: str, rounds: Rounds) -> list[Line]:
    """Two floors: what one would write by hand with that client, and a relay over the engine that we put below it."""
    return [
        cpu_ratio(part, f"on {name}, to {what}", rounds, f"ogw-{name}", f"{floor}-{name}", 1.1)
        for name in ("httpx2", "httpx")
        for floor, what in (("client", "a bare relay on its client"), ("bare", "a bare relay on our engine"))
        if f"ogw-{name}" in rounds and f"{floor}-{name}" in rounds
    ]


def to_peers(part: str, rounds: Rounds, aims: Mapping[str, float]) -> list[Line]:
    """What we aim at, shown and not judged."""
    lines = []
    for name in PEERS:
        if name in rounds:
            of_it = ratio(rounds[OURS], rounds[name], lambda one: one.cpu_us)
            if name in aims:
                lines.append(at_most(part, f"to {name} (an aim)", of_it, aims[name], judged=False))
            else:
                lines.append(fact(part, f"to {name}", f"{of_it:,.4g}"))
    return lines
