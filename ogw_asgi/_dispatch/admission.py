"""Who may be asked, and what is learned from each attempt: the circuits' door to the dispatcher.

What is shared is in the store. What only this process can know is here: which attempts are under way, how long each
target has been taking, and who waits at a target whose circuit opens.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from .._rules.budget import HEDGES, HEDGES_AT_FIRST, Bucket
from .._rules.charge import DELIVERED, Charge
from .._rules.circuit import (
    Admitted,
    Circuit,
    Cooled,
    Event,
    Failed,
    Late,
    Outrun,
    Released,
    Succeeded,
)
from .._rules.failover import PROBE_S
from .._rules.first_chunks import FirstChunks
from .._rules.standing import Standing, standing
from .._values import Target, Timeouts
from ..circuits.base import CircuitStore, Key
from ..telemetry.events import CircuitChanged
from ..telemetry.observers import Observers

LEASE_EXTRA_S = 5.0
"""A probe's lease outlives its limit by this, for what comes after the limit; it is given back anyway."""

MOST_MEASURED = 1000


@dataclass(frozen=True, slots=True)
class Scope:
    """The two circuits of a target. A caller-named endpoint is its principal's own: nobody else's breaker moves."""

    origin: Key
    model: Key


@lru_cache(maxsize=MOST_MEASURED)
def scope_of(target: Target, principal: str | None) -> Scope:
    origin: Key = (target.provider,)
    if target.endpoint is not None:
        origin = (target.provider, target.endpoint.origin, principal or "")
    return Scope(origin, (*origin, target.model))


def model_of(key: Key) -> str | None:
    """The model that a circuit is of; None: it is an origin's."""
    return key[-1] if len(key) % 2 == 0 else None


@dataclass(slots=True, eq=False)
class Permit:
    """One attempt that was let through; settled exactly once.

    `on_open` is called when a circuit that it waits behind opens.
    """

    ticket: int
    scope: Scope
    started_s: float
    stream: bool
    slow_after_s: float
    learned: FirstChunks
    """What its target has shown so far."""
    late_after_s: float | None
    on_open: Callable[[], None] | None = None
    sent: bool = False
    """And `started_s` is when; before, it is when that was expected."""
    late: bool = False
    settled: bool = False

    def begin(self, now_s: float) -> None:
        """The request goes out: a wait for a slot is not the target's."""
        self.sent = True
        self.started_s = now_s


class Taken:
    """Instead of a permit: the probe that was free when it was looked at is another's by now."""


TAKEN = Taken()


@dataclass(slots=True)
class Admission:
    """Of one opened gateway."""

    store: CircuitStore
    timeouts: Timeouts
    observers: Observers
    _waiting: dict[Key, dict[int, Permit]] = field(init=False, default_factory=dict)
    _first_chunks: OrderedDict[tuple[Key, bool], FirstChunks] = field(init=False, default_factory=OrderedDict)
    _hedges: Bucket = field(init=False, default_factory=lambda: Bucket(HEDGES_AT_FIRST, 0.0))

    def in_flight(self) -> int:
        """How many permits have not been settled."""
        return sum(len(permits) for permits in self._waiting.values())

    async def standings(
        self, targets: Iterable[Target], scopes: Mapping[Target, Scope], now_s: float
    ) -> dict[Target, Standing]:
        found = {}
        for target in targets:
            scope = scopes[target]
            if scope.model in self._waiting:
                await self._mark_late(scope, now_s)
            found[target] = standing(await self.store.read((scope.origin, scope.model), now_s), now_s)
        return found

    async def admit(
        self, scope: Scope, seen: Standing, now_s: float, *, wait_s: float, limit_s: float, extra: bool, stream: bool
    ) -> Permit | Taken | None:
        """A permit for one attempt that starts in `wait_s` and may then take `limit_s`; None: the budget is spent.

        TAKEN: between the look at the target and this a store was waited for, and somebody else has its probe.
        """
        if seen.state != "ready" and not await self.store.draw(scope.model, now_s, spend=extra and not seen.recovering):
            return None
        learned = self._learned(scope, stream)
        learned_s = learned.slow_after_s()
        own_s = self.timeouts.first_chunk_s if stream else self.timeouts.answer_s
        permit = Permit(
            ticket=random.getrandbits(63),
            scope=scope,
            started_s=now_s + wait_s,
            stream=stream,
            slow_after_s=own_s if learned_s is None or own_s < learned_s else learned_s,
            learned=learned,
            # A plain answer takes as long as it is; only of a stream's first chunk does lateness say anything.
            late_after_s=learned_s if stream else None,
        )
        if seen.state == "probe":
            # An answer may take its ten minutes; others need not wait so long for their turn to find out.
            event = Admitted(permit.ticket, min(limit_s, self.timeouts.first_chunk_s) + LEASE_EXTRA_S)
            try:
                changes = await self._apply([(scope.origin, event), (scope.model, event)], now_s)
            except BaseException:  # a task's own cancel() goes through a store's shield
                released = Released(permit.ticket)
                await self._apply([(scope.origin, released), (scope.model, released)], now_s)
                raise
            if not all(_is_held(after, permit.ticket) for _, after in changes):
                released = Released(permit.ticket)
                await self._apply([(scope.origin, released), (scope.model, released)], now_s)
                return TAKEN
        self._waiting.setdefault(scope.model, {})[permit.ticket] = permit
        return permit

    async def settle(self, permit: Permit, charge: Charge, now_s: float, *, took_s: float = 0.0) -> None:
        """Tell both circuits what came of the attempt; `took_s`: until its first chunk, if that came."""
        if not self._leave(permit):
            return
        if charge.model == "ok":
            permit.learned.add(took_s)
        events = _events(permit, charge)
        self._notice(events, await self.store.apply(events, now_s))

    async def outrun(self, permit: Permit, now_s: float) -> None:
        """It was cancelled, for another target has answered; which says something when it had had its second."""
        if self._leave(permit):
            lost = Outrun if now_s - permit.started_s >= PROBE_S else Released
            scope = permit.scope
            await self._apply([(key, lost(permit.ticket)) for key in (scope.origin, scope.model)], now_s)

    async def broken(self, scope: Scope, now_s: float) -> None:
        """A stream broke after its first chunk, which had counted as a success."""
        await self._apply([(scope.model, Failed(random.getrandbits(63), broke=True))], now_s)

    def changed(self, key: Key, circuit: Circuit) -> None:
        """A circuit has come to another phase, here or by what others say: let those know whom it concerns."""
        self.observers.tell(
            lambda: CircuitChanged(key[0], model_of(key), circuit.phase, _open_ms(circuit), len(key) > 2)
        )
        if circuit.phase == "open":
            self._wake(key)

    # --- hedges ---

    def hedge_after_s(self, scope: Scope, stream: bool, setting: float | str | None) -> float | None:
        """When a request that is still waiting for this target may have a second attempt; None: not at all."""
        if isinstance(setting, str):
            return self._learned(scope, stream).hedge_after_s(float(setting.removeprefix("p")) / 100)
        return setting or None

    def count_hedgeable(self) -> None:
        self._hedges = self._hedges.filled(HEDGES, 0.0, requests=1)

    @property
    def hedge_left(self) -> bool:
        return not self._hedges.empty

    def take_hedge(self) -> None:
        self._hedges = self._hedges.without_one()

    # --- inside ---

    def _learned(self, scope: Scope, stream: bool) -> FirstChunks:
        key = (scope.model, stream)
        found = self._first_chunks.get(key)
        if found is None:
            found = self._first_chunks[key] = FirstChunks()
            if len(self._first_chunks) > MOST_MEASURED:
                self._first_chunks.popitem(last=False)
        else:
            self._first_chunks.move_to_end(key)
        return found

    def _leave(self, permit: Permit) -> bool:
        if permit.settled:
            return False
        permit.settled = True
        waiting = self._waiting[permit.scope.model]
        del waiting[permit.ticket]
        if not waiting:
            del self._waiting[permit.scope.model]
        return True

    async def _mark_late(self, scope: Scope, now_s: float) -> None:
        """Whoever comes by looks who is overdue: no attempt needs a timer of its own."""
        overdue: list[Permit] = []
        for permit in self._waiting[scope.model].values():  # in the order they went out
            if permit.late or permit.late_after_s is None or not permit.sent:
                continue
            if now_s - permit.started_s < permit.late_after_s:
                break
            permit.late = True
            overdue.append(permit)
        if overdue:
            late = [(scope.model, Late(permit.ticket, permit.started_s)) for permit in overdue]
            await self._apply(late, now_s)

    async def _apply(self, events: Sequence[tuple[Key, Event]], now_s: float) -> Sequence[tuple[Circuit, Circuit]]:
        """Apply events to the circuits of one target, and let those know whom a change concerns."""
        changes = await self.store.apply(events, now_s)
        self._notice(events, changes)
        return changes

    def _notice(self, events: Sequence[tuple[Key, Event]], changes: Sequence[tuple[Circuit, Circuit]]) -> None:
        for (key, _), (before, after) in zip(events, changes, strict=True):
            if before.phase != after.phase:
                self.changed(key, after)

    def _wake(self, opened: Key) -> None:
        behind = [
            permit
            for permits in self._waiting.values()
            for permit in permits.values()
            if opened in (permit.scope.origin, permit.scope.model)
        ]
        for permit in behind:
            if permit.on_open is not None:
                permit.on_open()


def _events(permit: Permit, charge: Charge) -> Sequence[tuple[Key, Event]]:
    scope = permit.scope
    if charge is DELIVERED:  # as nearly always
        succeeded = Succeeded(permit.ticket, permit.started_s)
        return ((scope.origin, succeeded), (scope.model, succeeded))
    events: list[tuple[Key, Event]] = []
    for key, word in ((scope.origin, charge.origin), (scope.model, charge.model)):
        match word:
            case "ok":
                events.append((key, Succeeded(permit.ticket, permit.started_s)))
            case "failed":
                opens_s = charge.opens_s if key is scope.model else None
                events.append((key, Failed(permit.ticket, charge.silent, opens_s, permit.started_s)))
            case "nothing":
                events.append((key, Released(permit.ticket)))
    if charge.cools_s is not None:
        events.append((scope.model, Cooled(charge.cools_s)))
    return events


def _is_held(circuit: Circuit, ticket: int) -> bool:
    """Whether that one may go out as its probe; a closed one needs none."""
    return circuit.phase == "closed" or (circuit.lease is not None and circuit.lease.ticket == ticket)


def _open_ms(circuit: Circuit) -> int:
    return round(circuit.open_s * 1000) if circuit.phase == "open" else 0
