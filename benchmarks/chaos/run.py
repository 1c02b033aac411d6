"""One part after the other: its processes, its timeline, its history, its lines."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from ..table import Line, unhurried
from . import judges, leftovers
from .client import Client, Left
from .gateway import Settings
from .history import History, checked, load_exchanges, load_spans, tally
from .lines import Peer
from .scenarios import Part
from .schedule import PROVIDERS, Switch
from .traffic import PATH, Record, Traffic, load

LEAD_S = 0.15
"""Between the word to begin and the beginning: all processes have heard it by then."""

IDLE_S = 5.0
"""Longer than the gateway keeps an idle connection to a provider."""

SETTLE_S = 8.0
"""What may stay open after the last answer goes within this: idle connections, and hung attempts' ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where and on what the gateway runs. A core is None where processes cannot be pinned."""

    engine: str
    loop: Any
    gateway_core: int | None
    other_core: int | None


@dataclass(frozen=True, slots=True)
class Result:
    lines: list[Line]
    examples: list[str] = field(default_factory=list)
    """Requests that should have gone otherwise, with all that is known of each."""


def _core(core: int | None) -> list[str]:
    return [] if core is None else [str(core)]


@dataclass(frozen=True, slots=True)
class _Stage:
    """A part's own processes: its gateway and its callers."""

    part: Part
    gateway: Peer
    callers: Peer
    client: Client

    async def aclose(self) -> None:
        await self.callers.stop()
        await self.gateway.stop()


class Bench:
    """The providers' process lives as long as this; each part has a gateway and callers of its own.

    `hurry`: the next part begins while what the last one has left is still going away. That takes time from nobody
    but the processor, so ratios of latencies are not for judging then.
    """

    def __init__(self, machine: Machine, seed: int, *, hurry: bool, say: Callable[[str], None]) -> None:
        self._machine = machine
        self._say = say
        self._seed = seed
        self._hurry = hurry
        self._providers: Peer
        self._ports: Mapping[str, int] = {}

    async def __aenter__(self) -> Bench:
        self._providers = await Peer.start("benchmarks.chaos.provider", *_core(self._machine.other_core))
        self._ports = await self._providers.hear()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._providers.stop()

    async def run(self, parts: Sequence[Part]) -> dict[str, Result]:
        results: dict[str, Result] = {}
        async with asyncio.TaskGroup() as group:
            stages: list[asyncio.Task[_Stage]] = []
            for number, part in enumerate(parts):
                while len(stages) <= min(number + self._hurry, len(parts) - 1):
                    stages.append(group.create_task(self._stage(parts[len(stages)])))
                stage = await stages[number]
                started_s = time.monotonic()
                finish = await self._play(stage)
                self._say(f"{part.name}: {time.monotonic() - started_s:.0f} s")
                task = group.create_task(_keep(results, part.name, finish))
                if not self._hurry:
                    await task
        return {part.name: results[part.name] for part in parts}

    async def _stage(self, part: Part) -> _Stage:
        machine = self._machine
        settings = Settings(
            ports=self._ports,
            loop=machine.loop,
            engine=machine.engine,
            core=machine.gateway_core,
            timeouts=part.timeouts,
            breaker={"open_s": part.bounds.open_s, "open_max_s": part.bounds.open_max_s},
        )
        gateway = await Peer.start("benchmarks.chaos.gateway", json.dumps(asdict(settings)))
        port = (await gateway.hear())["port"]
        callers = await Peer.start("benchmarks.chaos.callers", str(port), *_core(machine.other_core))
        await callers.hear()
        return _Stage(part, gateway, callers, Client(port))

    async def _play(self, stage: _Stage) -> Coroutine[Any, Any, Result]:
        """The part's traffic; what is left is to see that nothing stays."""
        part = stage.part
        cold = await _vitals(stage.client)
        prefix = part.name.replace(" ", "-").replace(",", "")
        before = await self._traffic(stage, part.warm, part.warm_switches, f"warm-{prefix}")
        warm_requests = len(before.records) if part.memory else None
        warm = await _at_rest(stage.client, cold) if part.memory else cold
        history = await self._traffic(stage, part.traffic, part.switches, prefix)
        return self._finish(stage, cold, warm, warm_requests, history, time.monotonic())

    async def _finish(
        self,
        stage: _Stage,
        cold: leftovers.Vitals,
        warm: leftovers.Vitals,
        warm_requests: int | None,
        history: History,
        over_s: float,
    ) -> Result:
        part = stage.part
        end = await _at_rest(stage.client, cold)
        left = (await self._providers.ask({"do": "count", "made_before_s": over_s}))["connections"]
        await stage.aclose()
        history = await asyncio.to_thread(checked, history)
        lines = judges.everywhere(part.name, history, part.noticed_s)
        if part.judge is not None:
            lines += part.judge(part.name, history, part.bounds)
        lines += leftovers.judged(part.name, cold, warm, end, left, warm_requests=warm_requests)
        if part.bounds.short:
            lines = unhurried(lines)
        return Result(lines, _examples(history))

    async def _traffic(self, stage: _Stage, traffic: Traffic, switches: Sequence[Switch], prefix: str) -> History:
        part, callers = stage.part, stage.callers
        peers = {"gateway": stage.gateway, "callers": callers, "providers": self._providers}
        before_s = {name: peer.waited_s() for name, peer in peers.items()}
        start_s = time.monotonic() + LEAD_S
        common = {"do": "run", "seed": self._seed, "start_s": start_s}
        plan = [(switch.at_s, switch.provider, switch.state) for switch in switches]
        straggle = dict(part.straggle)
        await self._providers.ask({**common, "switches": plan, "pace": asdict(part.pace), "straggle": straggle})
        await callers.ask({**common, "traffic": asdict(traffic), "prefix": prefix})
        seen = await callers.ask({"do": "take"})
        log = await self._providers.ask({"do": "log"})
        return History(
            start_s=start_s,
            records=[load(record) for record in seen["records"]],
            exchanges=load_exchanges(log["exchanges"]),
            unhealthy=load_spans(log["unhealthy"]),
            stalls={"providers": log["stalls"], "callers": seen["stalls"]},
            waited_s={name: peer.waited_s() - before_s[name] for name, peer in peers.items()},
        )


async def _keep(results: dict[str, Result], name: str, finish: Coroutine[Any, Any, Result]) -> None:
    results[name] = await finish


async def _vitals(gateway: Client) -> dict[str, Any]:
    while True:
        try:
            vitals: dict[str, Any] = json.loads(await gateway.get("/vitals"))
            return vitals
        except (OSError, ValueError):
            await asyncio.sleep(0.02)  # it is listening, and not yet serving


async def _at_rest(gateway: Client, cold: Mapping[str, Any]) -> dict[str, Any]:
    """The vitals when nothing is left that will go by itself.

    On trio idle connections close when the engine is asked for the next one, not when their time is over. So a gateway
    that still has some is asked once more of each provider, and may keep those few connections.
    """
    start_s = time.monotonic()
    nudged = 0
    while True:
        vitals = leftovers.without_idle(await _vitals(gateway), nudged)
        waited_s = time.monotonic() - start_s
        if leftovers.at_rest(cold, vitals) or waited_s > SETTLE_S:
            return vitals
        if waited_s > IDLE_S and not nudged:
            nudged = len(PROVIDERS)
            for name in PROVIDERS:
                headers = {"x-opengateway-failover-sequence": json.dumps([name]), "connection": "close"}
                body = b'{"model": "chaos", "messages": [{"role": "user", "content": "request=nudge words=2"}]}'
                with suppress(Left, OSError):  # the next part may have begun, and its faults
                    await gateway.post(PATH, headers, body, leave_after_s=1.0)
        await asyncio.sleep(0.5)  # asking collects garbage, and somebody else's part may be running


def _examples(history: History, most: int = 5) -> list[str]:
    sums = tally(history)
    return [_example(history, record) for record in [*sums.corrupted[:most], *sums.lost[:most], *sums.failed[:most]]]


def _example(history: History, record: Record) -> str:
    trail = ", ".join(f"{step.provider}: {step.outcome}" for step in record.trail) or "nothing"
    at_fault = ", ".join(
        f"{span.provider} {span.state} {span.from_s - history.start_s:.3f}..{span.to_s - history.start_s:.3f}"
        for span in history.unhealthy
        if span.from_s <= record.end_s and record.start_s <= span.to_s
    )
    seen = ", ".join(
        f"{one.provider} {one.fault} {one.ended} after {one.sent_words}"
        for one in history.exchanges
        if one.request == record.asked.request
    )
    verdict = record.verdict
    return (
        f"{record.asked.request} {'stream' if record.asked.stream else 'plain'} {'>'.join(record.asked.sequence)} "
        f"{record.start_s - history.start_s:.3f}..{record.end_s - history.start_s:.3f} s: "
        f"{verdict.kind} ({verdict.why}); tried {trail}; "
        f"seen by {seen or 'nobody'}; at fault {at_fault or 'nobody'}"
    )
