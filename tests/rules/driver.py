"""Plays the dispatcher to the failover machine, on a clock of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ogw_asgi._rules.failover import Failover, GiveUp, Try
from ogw_asgi._values import Limits, Outcome, Plan, ProviderError, Target, Timeouts

A, B, C = (Target(name, "m", "m") for name in "abc")
TARGETS = {"a": A, "b": B, "c": C}


def targets(letters: str) -> tuple[Target, ...]:
    return tuple(TARGETS[letter] for letter in letters)


def status(number: int, retry_after_s: float | None = None, **error: Any) -> Outcome:
    return Outcome("status", "openai", number, ProviderError(**error), retry_after_s=retry_after_s)


SILENT = Outcome("timeout", "openai")
NO_ROUTE = Outcome("connect_timeout", "openai")
RESET = Outcome("reset", "openai")
BUSY = Outcome("busy", "openai")
OK = Outcome("ok", "openai", 200)
TOO_LONG = status(400, code="context_length_exceeded", message="too long for me")


@dataclass
class Driver:
    """The machine, and what time it is."""

    machine: Failover
    now_s: float = 100.0
    jitter: float = 0.0
    step: Try = field(init=False)
    """Whose answer was taken, where a test says so."""

    def ask(self) -> Try:
        step = self.machine.next_step(self.now_s, self.jitter)
        assert isinstance(step, Try)
        return step

    def end(self) -> GiveUp:
        step = self.machine.next_step(self.now_s, self.jitter)
        assert isinstance(step, GiveUp)
        return step

    def ask_and_record(self, outcome: Outcome, took_s: float = 0.0) -> Try:
        step = self.ask()
        self.now_s += step.wait_s + took_s
        self.machine.record(step, outcome, self.now_s)
        return step


def drive(
    letters: str,
    *,
    stream: bool = False,
    attempts: int = 5,
    first_chunk_s: float | None = None,
    total_s: float | None = None,
    jitter: float = 0.0,
    failover_on: frozenset[str] = frozenset({"context_length"}),
    timeouts: Timeouts | None = None,
) -> Driver:
    plan = Plan(targets(letters), stream, first_chunk_s, total_s)
    machine = Failover(
        plan,
        limits=Limits(attempts=attempts),
        timeouts=timeouts or Timeouts(),
        failover_on=failover_on,
        started_s=100.0,
    )
    return Driver(machine, jitter=jitter)
