"""The parts of a run: which faults when, what is asked meanwhile, and who judges it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..table import Line
from . import judges
from .history import History
from .judges import Bounds
from .replies import Pace
from .schedule import HEALTHY, PROVIDERS, Switch, anything_goes, one_always_healthy, scripted
from .traffic import Arm, Traffic

Judge = Callable[[str, History, Bounds], list[Line]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says, as far as parts depend on it."""

    seed: int
    seconds: float
    callers: int
    short: bool
    engine: str = "auto"

    def bounds(self, rps: float, *, open_s: float = 0.4, open_max_s: float = 1.6) -> Bounds:
        """The contract's own open times; the shorter ones are for the short form: all that is waited for shrinks."""
        if not self.short:
            open_s, open_max_s = 5.0, 20.0
        return Bounds(open_s=open_s, open_max_s=open_max_s, rps=rps, short=self.short)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One gateway process, one timeline, one kind of traffic.

    `warm`: what comes before the timeline, so that only growth is seen as growth. `noticed_s`: how long a recovery may
    go unnoticed, where all providers may be at fault at once.
    """

    name: str
    switches: Sequence[Switch]
    traffic: Traffic
    pace: Pace
    bounds: Bounds
    judge: Judge | None = None
    timeouts: Mapping[str, Any] = field(default_factory=dict)
    straggle: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    warm_switches: Sequence[Switch] = ()
    warm: Traffic
    memory: bool = False
    noticed_s: float = 0.0


COOLED_S = 2.0
"""The longest wait that a scripted provider names."""

NOTICED_S = 1.0
"""Of a probe, at most."""

EVERYBODY = (Arm(name="all"),)
ONE_SUSPECT = (
    Arm(name="a first", sequence=("a", "b", "c")),
    Arm(name="healthy order", sequence=("b", "c")),
)


def _warm(seconds: float, arms: Sequence[Arm] = EVERYBODY) -> Traffic:
    return Traffic(seconds=seconds, arms=arms, rps=50, words=(3, 6))


def storms(options: Options) -> list[Part]:
    """Limits are short so that many faults fit in; a request lives up to twice `answer_s` and a stream's time.

    What every schedule needs is an overlap longer than that, so a short storm has shorter limits, too.
    """
    seconds = options.seconds
    limits = {"first_chunk_s": 1.0, "answer_s": 1.5, "connect_s": 0.5, "idle_s": 0.8}
    epoch_s, overlap_s, warm_s = min(seconds / 5, 12.0), 4.0, 10.0
    if options.short:
        limits = {name: limit_s * 0.6 for name, limit_s in limits.items()}
        epoch_s, overlap_s, warm_s = seconds / 2, 2.3, 1.5
    always = one_always_healthy(options.seed, seconds, epoch_s=epoch_s, overlap_s=overlap_s)
    schedules = (
        ("storm", always, True),
        ("storm, outages too", anything_goes(options.seed, seconds), not options.short),
    )
    return [
        Part(
            name=name,
            switches=switches,
            traffic=Traffic(seconds=seconds, arms=EVERYBODY, callers=options.callers, leave=0.02),
            pace=Pace(first_chunk_s=0.01, chunk_s=0.005, slow_s=1.5 * limits["first_chunk_s"]),
            bounds=options.bounds(0),
            timeouts=limits,
            warm=Traffic(seconds=warm_s if memory else 0.5, arms=EVERYBODY, callers=options.callers, leave=0.02),
            warm_switches=anything_goes(options.seed + 1, warm_s) if memory else (),
            memory=memory,
            noticed_s=0.0 if switches is always else NOTICED_S + max(COOLED_S, 1.25 * options.bounds(0).open_max_s),
        )
        for name, switches, memory in schedules
    ]


def dead(options: Options) -> list[Part]:
    # Enough requests to judge attempts by in so short a time; for httpx 240 in a second are too many on one core.
    rps = 120 if options.short and options.engine != "httpx" else 50
    bounds = options.bounds(rps, open_s=0.8, open_max_s=1.6)
    again_s = judges.JITTER * bounds.open_s + 0.7
    long_s, back_s = (4.5, 0.3) if options.short else (100.0, 1.0)
    down_s = 1.0 + back_s + again_s
    end_s = down_s + long_s + judges.JITTER * bounds.open_max_s + 0.5
    switches = scripted(
        (1.0, "a", "refused"),
        (1.0 + back_s, "a", HEALTHY),
        (down_s, "a", "refused"),
        (down_s + long_s, "a", HEALTHY),
    )
    return [
        Part(
            name="dead",
            switches=switches,
            traffic=Traffic(seconds=end_s, arms=ONE_SUSPECT, rps=2 * bounds.rps, words=(3, 5)),
            pace=Pace(first_chunk_s=0, chunk_s=0.001, slow_s=0),
            bounds=bounds,
            judge=judges.dead,
            warm=_warm(0.5, ONE_SUSPECT),
        )
    ]


def mute(options: Options) -> list[Part]:
    """With the contract's own limits: nobody waits 30 s, because a target's own times say sooner that it is slow."""
    bounds, streams = options.bounds(25, open_s=1.0, open_max_s=1.0), 0.8
    silent_s = 4.2 if options.short else 60.0
    end_s = 1.0 + silent_s + judges.JITTER * bounds.open_max_s + 2.0
    return [
        Part(
            name=state.replace("_", " "),
            switches=scripted((1.0, "a", state), (1.0 + silent_s, "a", HEALTHY)),
            traffic=Traffic(seconds=end_s, arms=ONE_SUSPECT, rps=2 * bounds.rps, words=(3, 5), streams=streams),
            pace=Pace(first_chunk_s=0.1, chunk_s=0.005, slow_s=0),
            bounds=bounds,
            judge=partial(judges.silent, state=state, streams=streams),
            warm=_warm(0.5, ONE_SUSPECT),
        )
        for state in (("mute",) if options.short else ("mute", "black_hole"))
    ]


def outage(options: Options) -> list[Part]:
    bounds = options.bounds(100, open_s=0.4, open_max_s=0.8)
    down_s = 2.0 if options.short else 20.0
    faults = dict(zip(PROVIDERS, ("refused", "status_500", "status_503"), strict=True))
    down = [(1.0, name, fault) for name, fault in faults.items()]
    up = [(1.0 + down_s, name, HEALTHY) for name in faults]
    return [
        Part(
            name="outage",
            switches=scripted(*down, *up),
            traffic=Traffic(
                seconds=1.5 + down_s + judges.JITTER * bounds.open_max_s + 0.5,
                arms=EVERYBODY,
                rps=bounds.rps,
                words=(3, 5),
            ),
            pace=Pace(first_chunk_s=0.005, chunk_s=0.001, slow_s=0),
            bounds=bounds,
            judge=partial(judges.total_outage, settled_s=1.0),
            warm=_warm(0.5),
        )
    ]


def flap(options: Options) -> list[Part]:
    """One whose every other answer is an error, one whose port comes and goes, and one that is sound."""
    seconds, period_s = (3.0, 1.0) if options.short else (40.0, 5.0)
    states = [
        (number * period_s, "b", "refused" if number % 2 == 0 else HEALTHY) for number in range(int(seconds / period_s))
    ]
    return [
        Part(
            name="flap",
            switches=scripted((0, "a", "flap"), *states),
            traffic=Traffic(seconds=seconds, arms=EVERYBODY, rps=100, words=(3, 8)),
            pace=Pace(first_chunk_s=0.005, chunk_s=0.002, slow_s=0),
            bounds=options.bounds(100),
            warm=_warm(0.5),
        )
    ]


def hedge(options: Options) -> list[Part]:
    """The model differs so that each arm has times of its own to learn from: "off" shows what it is without."""
    seconds, rps = (4.0, 80.0) if options.short else (90.0, 60.0)
    arms = (
        Arm(name="off", sequence=("a/off", "b"), headers={"x-opengateway-hedge-after": "0"}),
        Arm(name="on", sequence=("a/on", "b")),
    )
    settings: list[tuple[str, float | str]] = [("hedge at p95", "p95")]
    if not options.short:
        settings.append(("hedge at 200 ms", 0.2))
    return [
        Part(
            name=name,
            switches=(),
            traffic=Traffic(seconds=seconds, arms=arms, rps=rps, words=(3, 5)),
            pace=Pace(first_chunk_s=0.05, chunk_s=0.001, slow_s=0),
            straggle={"a": (20, 19 * 0.05)},
            bounds=options.bounds(rps / 2),
            judge=judges.hedging,
            timeouts={"hedge_after_s": hedge_after},
            warm=_warm(0.5, arms),
        )
        for name, hedge_after in settings
    ]


SCENARIOS: Mapping[str, Callable[[Options], list[Part]]] = {
    "storm": storms,
    "dead": dead,
    "mute": mute,
    "outage": outage,
    "flap": flap,
    "hedge": hedge,
}
