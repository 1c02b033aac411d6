"""One line: the scenarios one after the other against one gateway process, with the provider in this one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import anyio

from ogw_asgi.testing import CrashTestProvider

from . import gateway
from .answer import Answer
from .caller import ask
from .judge import HEALTHY_WITHIN_S, Bounds, History, Judged
from .scenarios import DOWN_S, USED_AGAIN_WITHIN_S, Scenario

FALLBACK = "fallback-continues"
HEALTHY = "healthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How the gateway is run and asked. `{fallback}` in the sequence is the scenario's model."""

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    sequence: Sequence[str] = ("openai", "vllm/{fallback}")
    timeout_ms: int | None = None

    def headers(self, fallback: str, scale: float) -> dict[str, str]:
        sequence = [item.format(fallback=fallback) for item in self.sequence]
        headers = {"x-opengateway-failover-sequence": json.dumps(sequence)}
        if self.timeout_ms is not None:
            headers["x-opengateway-timeout"] = str(round(self.timeout_ms * scale))
        return headers

    def options(self) -> dict[str, object]:
        return {"environment": dict(self.settings), "sequence": list(self.sequence), "timeout_ms": self.timeout_ms}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """seconds: what the slowest of its callers waited."""

    scenario: Scenario
    judged: Judged
    seconds: float
    primary_calls: int
    calls: int
    longest_pause_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Real timings, or scaled ones with a grace for what is not scaled.

    slower: the bounds of scenarios that would be over before something that the gateway does not scale.
    """

    usual: Bounds = Bounds()
    slower: Bounds = Bounds()

    def of(self, scenario: Scenario) -> Bounds:
        return self.slower if scenario.slower else self.usual

    @property
    def scale(self) -> float:
        return self.usual.scale

    @property
    def app(self) -> str:
        return gateway.STANDALONE if self.scale == 1 else gateway.SCALED


REAL = Profile()
FAST = Profile(usual=Bounds(scale=0.1, grace_s=0.4), slower=Bounds(scale=0.2, grace_s=1.5))


async def run_line(
    line: Line,
    scenarios: Sequence[Scenario],
    profile: Profile,
    *,
    fallback: str = FALLBACK,
    say: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Raises `gateway.DidNotStart` when the gateway does not take the line's settings."""
    results: list[Result] = []
    with CrashTestProvider(scale=profile.scale) as provider:
        settings = dict(line.settings) if profile.scale == 1 else {**line.settings, gateway.SCALE: str(profile.scale)}
        with gateway.running(profile.app, gateway.environment(provider.url, settings)) as process:
            for scenario in scenarios:
                provider.scale = profile.of(scenario).scale
                stage = Stage(line, scenario, profile, fallback, provider, process)
                results.append(await stage.play())
                say(f"{line.name}: {scenario.id} {results[-1].judged.verdict}")
    return results


class Process(Protocol):
    """What is asked: the gateway, or in a test whatever stands in its place."""

    @property
    def url(self) -> str: ...
    @property
    def lives(self) -> bool: ...


class Stage:
    """One scenario; its models have names of their own, so that nothing is left of those before it."""

    def __init__(
        self,
        line: Line,
        scenario: Scenario,
        profile: Profile,
        fallback: str,
        provider: CrashTestProvider,
        process: Process,
    ) -> None:
        self._scenario = scenario
        self._bounds = profile.of(scenario)
        self._provider = provider
        self._process = process
        self._primary = f"{scenario.primary}@{scenario.id}"
        self._fallback = f"{scenario.fallback or fallback}@{scenario.id}"
        self._headers = line.headers(self._fallback, self._bounds.scale)
        self._answers: list[Answer] = []

    async def play(self) -> Result:
        if self._scenario.callers == 1:
            await self._ask()
        else:
            await self._ask_in_turn()
        healthy = await ask(
            self._process.url,
            HEALTHY,
            {"x-opengateway-failover-sequence": '["openai"]'},
            streamed=False,
            patience_s=HEALTHY_WITHIN_S,
        )
        history = History(
            answers=self._answers,
            primary=self._provider.calls_to(self._primary),
            fallback=self._provider.calls_to(self._fallback),
            fallback_model=self._fallback,
            healthy=healthy,
            process_lives=self._process.lives,
            recovery_s=self._recovery_s(),
            bounds=self._bounds,
        )
        return Result(
            scenario=self._scenario,
            judged=self._scenario.judge(history),
            seconds=max(answer.took_s for answer in self._answers),
            primary_calls=len(history.primary),
            calls=len(history.calls),
            longest_pause_s=max(answer.longest_pause_s for answer in self._answers),
        )

    async def _ask(self) -> None:
        scenario = self._scenario
        patience_s = scenario.patience_s * self._bounds.scale + 10 * self._bounds.grace_s
        self._answers.append(
            await ask(self._process.url, self._primary, self._headers, streamed=True, patience_s=patience_s)
        )

    async def _ask_in_turn(self) -> None:
        """All of them, and then on until the primary is in use again or is overdue: it is callers who find that out."""
        start_s, pause_s = anyio.current_time(), self._scenario.every_s * self._bounds.scale
        async with anyio.create_task_group() as group:
            number = 0
            while number < self._scenario.callers or self._still_to_be_used():
                group.start_soon(self._ask)
                number += 1
                await anyio.sleep(max(0.0, start_s + number * pause_s - anyio.current_time()))

    def _recovery_s(self) -> float | None:
        calls = self._provider.calls_to(self._primary)
        return calls[0].started_s + DOWN_S * self._bounds.scale if calls else None

    def _still_to_be_used(self) -> bool:
        recovery_s = self._recovery_s()
        if recovery_s is None or any(call.played == "answer" for call in self._provider.calls_to(self._primary)):
            return False
        return anyio.current_time() < recovery_s + self._bounds.at_most(USED_AGAIN_WITHIN_S)
