"""What callers ask for, and what is kept of each request. Values, and the dice that make them. Pure."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .proof import Stamp
from .schedule import PROVIDERS
from .verdict import Asked, Verdict

PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A share of the requests that is judged for itself.

    `sequence` empty: all providers, in an order of the request's own, now and then with a repeat.
    """

    name: str
    sequence: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Arms take turns, in a new order each time.

    Attributes:
        rps: so many requests a second, however long answers take; 0: each caller asks again when it has its answer.
        callers: how many ask at once, without `rps`.
        pause_s: the longest pause of a caller between two requests.
        streams: the share of requests that are streams.
        leave: the share of requests whose caller goes away at a random moment.
        words: the fewest and the most.
    """

    seconds: float
    arms: Sequence[Arm]
    rps: float = 0
    callers: int = 0
    pause_s: float = 0.05
    streams: float = 0.5
    leave: float = 0
    words: tuple[int, int] = (3, 20)
    patience_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    asked: Asked
    arm: str
    headers: Mapping[str, str]
    leave_after_s: float | None

    @property
    def body(self) -> bytes:
        prompt = f"request={self.asked.request} words={self.asked.words}"
        messages = [{"role": "user", "content": prompt}]
        return json.dumps({"model": "chaos", "stream": self.asked.stream, "messages": messages}).encode("ascii")


def requests(traffic: Traffic, prefix: str, seed: int, caller: int = 0) -> Iterator[Request]:
    """Without end. The same arguments give the same requests."""
    dice = random.Random(f"{seed} {prefix} {caller}")
    count = 0
    turn: list[Arm] = []
    while True:
        turn = turn or dice.sample(list(traffic.arms), len(traffic.arms))  # else one would always be the other's echo
        arm = turn.pop()
        sequence = list(arm.sequence)
        if not sequence:
            sequence = dice.sample(PROVIDERS, len(PROVIDERS))
            if dice.random() < 0.05:
                sequence.insert(1, sequence[0])
        name = f"{prefix}-{caller}-{count}"
        asked = Asked(
            request=name,
            words=dice.randint(*traffic.words),
            stream=dice.random() < traffic.streams,
            sequence=tuple(sequence),
        )
        leave_after_s = dice.uniform(0.001, 0.3) if dice.random() < traffic.leave else None
        headers = {
            "x-request-id": name,
            "x-opengateway-failover-sequence": json.dumps(sequence),
            **arm.headers,
        }
        yield Request(asked=asked, arm=arm.name, headers=headers, leave_after_s=leave_after_s)
        count += 1


@dataclass(frozen=True, slots=True)
class Try:
    """One entry of `Server-Timing`: who was tried, what came of it."""

    provider: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One request as its caller saw it. Times are the system's monotonic clock, the same in all processes."""

    asked: Asked
    arm: str
    start_s: float
    first_s: float | None
    end_s: float
    verdict: Verdict
    attempts: int = 0
    trail: Sequence[Try] = ()

    @property
    def first_ms(self) -> float:
        return ((self.first_s or self.end_s) - self.start_s) * 1000

    def tried(self, provider: str) -> bool:
        return any(step.provider == provider for step in self.trail)

    @property
    def served_by(self) -> str | None:
        return self.verdict.stamp.provider if self.verdict.stamp is not None else None


def read_trail(value: str) -> list[Try]:
    """`openai;dur=5001;desc="timeout", azure;dur=420;desc="200"`; what an app's host adds has no `desc`."""
    trail = []
    for entry in value.split(","):
        name, *fields = [part.strip() for part in entry.split(";")]
        described = [part for part in fields if part.startswith("desc=")]
        if name and described:
            trail.append(Try(name, described[0].removeprefix("desc=").strip('"')))
    return trail


def dump(record: Record) -> dict[str, Any]:
    return asdict(record)


def load(value: dict[str, Any]) -> Record:
    verdict = dict(value["verdict"])
    stamp = verdict.pop("stamp")
    return Record(
        **{
            **value,
            "asked": Asked(**value["asked"]),
            "verdict": Verdict(**verdict, stamp=Stamp(**stamp) if stamp else None),
            "trail": [Try(**step) for step in value["trail"]],
        }
    )
