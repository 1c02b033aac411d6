"""Circuits that workers and machines share: each one's own memory is its truth, what it hears of the others is a hint.

Nothing here waits but an exchange, in which a worker says what has changed and hears what it has missed: at most once a
second for what others say, and at once for what it has to say itself, or when a probe needs its lease. Each is made by
a request, and one at a time: whoever has to say something meanwhile goes along with the next. A request waits for the
others 50 ms in its whole life; what was not said then is said by the next one that comes.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import anyio

from .._rules.circuit import CLOSED, Admitted, Circuit, Event, Released, transition
from .._rules.shared import ELSEWHERE, Word, aged, heard, longest_s, news, word_of
from .._values import Breaker
from .base import Key
from .memory import MOST, MemoryCircuits
from .redis import Answer, Link

PATIENCE_S = 0.05
"""For so long a request waits for the others, in all."""

LEAST_SHARE = 0.5
"""With less than this of it left it does not begin to: the silence of a moment says nothing."""

EVERY_S = 1.0
"""What others say is asked for so often."""

OVERLAP_MS = 1000
"""What arrives while Redis counts to its next millisecond is not missed; to hear it twice does no harm."""

AT_ONCE = 100
"""So many circuits are spoken of in one exchange."""


@dataclass(slots=True)
class _Patience:
    left_s: float


_PATIENCE: ContextVar[_Patience | None] = ContextVar("ogw_asgi_patience", default=None)


def begin_patience() -> None:
    """A request begins. All that is done for it from here on, in tasks of its own too, draws on one patience."""
    _PATIENCE.set(_Patience(PATIENCE_S))


@dataclass(frozen=True, slots=True)
class _Pending:
    """What others have not heard yet. `changed_s`: when its phase changed, if that is among it."""

    number: int
    changed_s: float | None


class SharedCircuits:
    """A `CircuitStore`. `places`: where each provider is, so that those which have but their name in common never meet.

    `on_heard` is told, between two steps of the event loop, of each circuit that came to another phase by what others
    said; but for what `apply` gives back.
    """

    def __init__(
        self,
        memory: MemoryCircuits,
        link: Link,
        breaker: Breaker,
        *,
        places: Mapping[str, str],
        longest_lease_s: float,
        on_heard: Callable[[Key, Circuit], None] | None = None,
    ) -> None:
        self.on_heard = on_heard
        self._memory = memory
        self._link = link
        self._breaker = breaker
        self._places = places
        self._longest_lease_s = longest_lease_s
        self._worker = secrets.token_hex(6)
        self._most_ms = _ms(max(longest_s(breaker), longest_lease_s))
        self._turn = anyio.Lock()
        self._due_s = float("-inf")
        self._after_ms = 0
        self._latest_s = float("-inf")
        """The time after the last wait here: whoever waited may still call it earlier."""
        self._number = 0
        self._pending: OrderedDict[Key, _Pending] = OrderedDict()
        self._claims: dict[Key, int] = {}
        """Leases that this worker has given away for itself, and that others have yet to grant."""
        self._answered_for: dict[Key, int] = {}
        """Whose states an `apply` that is waiting will give back: nobody else need be told of them."""
        self._ids: OrderedDict[Key, str] = OrderedDict()
        self._keys: dict[str, Key] = {}
        self._strangers: OrderedDict[str, tuple[Word, float]] = OrderedDict()
        """What was heard of circuits that nobody here has asked for, and when."""

    @property
    def lost(self) -> bool:
        """Nothing is shared just now."""
        return self._link.lost

    # --- as a store ---

    async def read(self, keys: Sequence[Key], now_s: float) -> Sequence[Circuit]:
        now_s = self._not_before(now_s)
        for key in keys:
            if key not in self._ids:
                self._meet(key, now_s)
        if not 0 < self._due_s - now_s <= EVERY_S and self._link.may_ask():
            self._due_s = now_s + EVERY_S  # nobody else waits for it
            answered = False
            try:
                answered = await self._exchange(now_s)
            finally:
                if not answered:  # whoever was to hear has left, or had no more patience
                    self._due_s = float("-inf")
            now_s = self._not_before(now_s)
        return await self._memory.read(keys, now_s)

    async def known(self, keys: Iterable[Key], now_s: float) -> Mapping[Key, Circuit]:
        now_s = self._not_before(now_s)
        found = dict(await self._memory.known(keys, now_s))
        for key in keys:
            met = self._strangers.get(self._called(key)) if key not in self._ids else None
            if met is not None:
                word, then_s = met
                before, late_s = found.get(key, CLOSED), self._longest_lease_s
                found[key] = heard(before, aged(word, now_s - then_s), now_s, self._breaker, longest_lease_s=late_s)
        return found

    async def apply(self, events: Sequence[tuple[Key, Event]], now_s: float) -> Sequence[tuple[Circuit, Circuit]]:
        now_s = self._not_before(now_s)
        changes = list(await self._memory.apply(events, now_s))  # which never waits
        told = False
        claims: dict[Key, int] = {}
        for (key, event), (before, after) in zip(events, changes, strict=True):
            if before is after or not (changed := news(before, after)):
                continue
            told = True
            self._note(key, now_s if changed.phase else None)
            if isinstance(event, Admitted) and after.lease is not None and after.lease.ticket == event.ticket:
                claims[key] = event.ticket
        if not told:
            return changes
        self._claims |= claims
        keys = {key: index for index, (key, _) in enumerate(events)}
        for key in keys:
            self._answered_for[key] = self._answered_for.get(key, 0) + 1
        try:
            with anyio.CancelScope(shield=True):
                await self._exchange(now_s, keys)
        finally:
            for key in keys:
                if key in claims and self._claims.get(key) == claims[key]:
                    del self._claims[key]
                self._answered_for[key] -= 1
                if not self._answered_for[key]:
                    del self._answered_for[key]
        for key, index in keys.items():
            changes[index] = (changes[index][0], self._memory.look(key))
        return changes

    async def draw(self, key: Key, now_s: float, *, spend: bool) -> bool:
        return await self._memory.draw(key, self._not_before(now_s), spend=spend)

    # --- the exchange ---

    async def _exchange(self, now_s: float, keys: Collection[Key] = ()) -> bool:
        """Say what is pending, and hear; whether there was an answer. What could not be said stays pending.

        `keys`: whose news it is for; once somebody else has taken them along, there is nothing left to do.
        """
        patience = _PATIENCE.get() or _Patience(PATIENCE_S)
        least_s = PATIENCE_S * LEAST_SHARE
        if patience.left_s < least_s:
            return False
        began_s = anyio.current_time()
        try:
            if not await self._has_turn(patience.left_s):
                return False
            try:
                left_s = patience.left_s - (anyio.current_time() - began_s)
                taken_along = keys and not any(key in self._pending for key in keys)
                if left_s < least_s or taken_along or not self._link.may_ask():
                    return False
                batch = dict(list(self._pending.items())[-AT_ONCE:])
                said = self._said(batch, self._passed(now_s, began_s))
                answer = await self._link.ask(said, within_s=left_s)
                if answer is not None:
                    self._heard(answer, batch, self._passed(now_s, began_s))
                return answer is not None
            finally:
                self._turn.release()
        finally:
            patience.left_s -= anyio.current_time() - began_s
            self._passed(now_s, began_s)

    async def _has_turn(self, within_s: float) -> bool:
        try:
            # On a loop that is busy, to let others go first may take longer than Redis does.
            self._turn.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.move_on_after(within_s):
                await self._turn.acquire()
                return True
            return False
        return True

    def _said(self, batch: Mapping[Key, _Pending], now_s: float) -> Mapping[str, Any]:
        ops = []
        for key, pending in batch.items():
            circuit = self._memory.look(key)
            claimed = circuit.lease is not None and self._claims.get(key) == circuit.lease.ticket
            word = word_of(circuit, now_s, changed_s=now_s if claimed else pending.changed_s)
            op: dict[str, Any] = {"id": self._id(key), "cool": _ms(word.cooling_s), "lease": 0, "claim": claimed}
            if word.phase is not None:
                op |= {
                    "phase": word.phase,
                    "ago": _ms(word.ago_s),
                    "since": _ms(word.since_s),
                    "left": _ms(word.left_s),
                    "trips": word.trips,
                    "silent": int(word.silent),
                    "recovered": word.recovered,
                }
            lease = circuit.lease
            if lease is not None and lease.ticket != ELSEWHERE and lease.until_s > now_s:
                op |= {"holder": self._holder(lease.ticket), "lease": _ms(lease.until_s - now_s)}
            ops.append(op)
        return {"worker": self._worker, "after": self._after_ms, "most": self._most_ms, "ops": ops}

    def _heard(self, answer: Answer, batch: Mapping[Key, _Pending], now_s: float) -> None:
        self._after_ms = max(0, answer.now_ms - OVERLAP_MS)
        self._due_s = now_s + EVERY_S
        for key, pending in batch.items():
            said = self._pending.get(key) is pending
            ticket = self._claims.get(key)
            if ticket is not None and self._holder(ticket) in answer.taken:
                self._memory.put(key, transition(self._memory.look(key), Released(ticket), now_s, self._breaker))
                del self._claims[key]
            if said:  # and nothing came on top of it meanwhile, such as another claim
                del self._pending[key]
                self._claims.pop(key, None)
        for name, word in answer.told:
            known = self._keys.get(name)
            if known is None:
                self._strangers[name] = (word, now_s)
                self._strangers.move_to_end(name)
                if len(self._strangers) > MOST:
                    self._strangers.popitem(last=False)
            elif known not in self._pending:  # else what came meanwhile is newer, and to be said first
                self._take_in(known, word, now_s)

    # --- inside ---

    def _holder(self, ticket: int) -> str:
        return f"{self._worker}{ticket}"

    def _take_in(self, key: Key, word: Word, now_s: float) -> None:
        before = self._memory.look(key)
        after = heard(before, word, now_s, self._breaker, longest_lease_s=self._longest_lease_s)
        if after is before:
            return
        self._memory.put(key, after)
        if before.phase != after.phase and key not in self._answered_for and self.on_heard is not None:
            self.on_heard(key, after)

    def _note(self, key: Key, changed_s: float | None) -> None:
        old = self._pending.get(key)
        if changed_s is None and old is not None:
            changed_s = old.changed_s
        self._number += 1
        self._pending[key] = _Pending(self._number, changed_s)
        self._pending.move_to_end(key)
        if len(self._pending) > MOST:
            self._pending.popitem(last=False)

    def _meet(self, key: Key, now_s: float) -> None:
        """A key that is asked for the first time, or again after long: others may have said something of it."""
        met = self._strangers.pop(self._id(key), None)
        if met is not None:
            word, then_s = met
            self._take_in(key, aged(word, now_s - then_s), now_s)

    def _id(self, key: Key) -> str:
        """What others call it: the provider's name, and a hash of all names, for some of them are callers' own."""
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = self._called(key)
            self._keys[found] = key
            if len(self._ids) > 2 * MOST:
                _, forgotten = self._ids.popitem(last=False)
                del self._keys[forgotten]
        return found

    def _called(self, key: Key) -> str:
        names = json.dumps([self._places.get(key[0], ""), *key]).encode()
        return f"{key[0]}:{hashlib.sha256(names).hexdigest()[:32]}"

    def _not_before(self, now_s: float) -> float:
        """A caller's clock may have been read before it waited here. One that has gone back for good is believed."""
        return self._latest_s if 0 < self._latest_s - now_s <= 2 * PATIENCE_S else now_s

    def _passed(self, now_s: float, began_s: float) -> float:
        """The time now, on the caller's clock."""
        self._latest_s = now_s + anyio.current_time() - began_s
        return self._latest_s


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
