"""Circuits and budgets in the memory of one process: the truth of that process, gone with it."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from .._rules.budget import RETRIES, Bucket
from .._rules.circuit import CLOSED, Circuit, Event, anchored, transition
from .._values import Breaker
from .base import Key

MOST = 1000
"""Callers choose models, and some choose endpoints, so keys are unbounded."""

_GATEWAY: Key = ()

_Held = TypeVar("_Held")


class MemoryCircuits:
    """A `CircuitStore`. No method ever waits, so each is one step on its event loop."""

    def __init__(self, breaker: Breaker, *, most: int = MOST, jitter: Callable[[], float] = random.random) -> None:
        self._breaker = breaker
        self._most = most
        self._jitter = jitter
        self._circuits: OrderedDict[Key, Circuit] = OrderedDict()
        self._buckets: OrderedDict[Key, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._circuits) + len(self._buckets)

    async def read(self, keys: Sequence[Key], now_s: float) -> Sequence[Circuit]:
        found = []
        for key in keys:
            circuit = self._circuits.get(key)
            if circuit is not None:
                # Kept as new, or names that nobody needs could push out those that requests look at; and as of now,
                # or a clock that went back would do so again with every look.
                if now_s < circuit.seen_s:
                    circuit = self._circuits[key] = anchored(circuit, now_s)
                self._circuits.move_to_end(key)
            found.append(circuit or CLOSED)
        return found

    async def known(self, keys: Iterable[Key], now_s: float) -> Mapping[Key, Circuit]:
        return self._circuits.copy()

    async def apply(self, events: Sequence[tuple[Key, Event]], now_s: float) -> Sequence[tuple[Circuit, Circuit]]:
        changes = []
        for key, event in events:
            before = self._circuits.get(key, CLOSED)
            after = transition(before, event, now_s, self._breaker, self._jitter())
            if after is not before:
                self._keep(self._circuits, key, after)
            elif key in self._circuits:
                self._circuits.move_to_end(key)
            changes.append((before, after))
        return changes

    async def draw(self, key: Key, now_s: float, *, spend: bool) -> bool:
        keys = (key, _GATEWAY)
        full = Bucket(RETRIES.most, now_s)
        buckets = [self._buckets.get(one, full).filled(RETRIES, now_s, requests=0 if spend else 1) for one in keys]
        enough = not (spend and any(bucket.empty for bucket in buckets))
        for one, bucket in zip(keys, buckets, strict=True):
            self._keep(self._buckets, one, bucket.without_one() if spend and enough else bucket)
        return enough

    def look(self, key: Key) -> Circuit:
        """As it was left; nobody has asked for it by that."""
        return self._circuits.get(key, CLOSED)

    def put(self, key: Key, circuit: Circuit) -> None:
        """What others have found out."""
        self._keep(self._circuits, key, circuit)

    def _keep(self, held: OrderedDict[Key, _Held], key: Key, value: _Held) -> None:
        held[key] = value
        held.move_to_end(key)
        while len(held) > self._most:
            held.popitem(last=False)
