"""Who makes snapshots: at most one a second, by whichever viewer comes first. It has no task of its own."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import Final

from .._dispatch.clock import clock_s
from .._dispatch.dispatcher import Dispatcher
from .._rules.circuit import Circuit
from ..circuits.base import Key
from .health import Stands, health, stands
from .kinds import KINDS
from .recent import (
    ANSWERS,
    ENDS,
    FIRST_CHUNKS,
    MOST_TARGETS,
    OWN,
    REASONS,
    UPSTREAM,
    Recent,
    Seen,
)
from .snapshot import Counts, Failover, Overhead, Requests, Sharing, ShownSetting, Snapshot, Tile, Warned
from .windows import ONE_MINUTE, SLOT_S, percentile_s, percentiles, slot_of

FRESH_S: Final = 1.0

MOST_SHOWN_RUNNING: Final = 10
_SPARKS: Final = 24
_MOST_KEYS: Final = 1000
_LATELY: Final = 3
"""Slots, of which the last has only begun: how many requests come in is told from these."""


@dataclass(frozen=True, slots=True)
class Configured:
    """A provider. `where`: host and port; None: callers name them, each their own."""

    name: str
    kind: str
    where: str | None


@dataclass(frozen=True, slots=True)
class House:
    """What the desk knows of the gateway.

    Attributes:
        open: as a request opens it; raises RequestRejected where it has been closed.
        settings: as they are in force, masked; asked once.
        warnings: what an operator should know. `base_http`: the app is wrapped in Starlette's BaseHTTPMiddleware.
        sharing: as in Snapshot.
    """

    open: Callable[[], Awaitable[Dispatcher]]
    providers: Sequence[Configured]
    settings: Callable[[], Sequence[ShownSetting]]
    warnings: Callable[[bool], Sequence[Warned]]
    sharing: Callable[[Dispatcher], Sharing]


class Desk:
    def __init__(self, recent: Recent, house: House) -> None:
        self._recent = recent
        self._house = house
        self._settings: tuple[ShownSetting, ...] | None = None
        self._base_http = False
        self._latest: Snapshot | None = None
        self._made_s = 0.0

    def note_surroundings(self, base_http: bool) -> None:
        """Of a request for the page: how it came here."""
        self._base_http = self._base_http or base_http

    async def look(self) -> Snapshot:
        """The latest, which is no older than a second. Raises RequestRejected where the gateway has been closed."""
        dispatcher = await self._house.open()
        if self._is_old():
            store = dispatcher.circuits.store
            # Where it is shared, only who asks hears what others say, and whether anybody is there to say it; requests
            # may not have asked for long. This waits no longer than one of them would; a second viewer may be first.
            await store.read((), clock_s())
            if self._is_old():
                circuits = await store.known(self._keys(), clock_s())  # which waits for nobody
                self._made_s = self._recent.now_s()
                self._latest = self._made(circuits, dispatcher, self._made_s)
        assert self._latest is not None
        return self._latest

    def _is_old(self) -> bool:
        return self._latest is None or self._recent.now_s() - self._made_s >= FRESH_S

    def _keys(self) -> list[Key]:
        """Of what settings name: of targets that nobody here has asked, too, another worker may have told."""
        models = () if self._recent.opened is None else self._recent.opened.models
        names = [one.name for one in self._house.providers]
        return [*((name,) for name in names), *islice(product(names, models), _MOST_KEYS)]

    def _made(self, circuits: Mapping[Key, Circuit], dispatcher: Dispatcher, now_s: float) -> Snapshot:
        recent, opened = self._recent, self._recent.opened
        if self._settings is None:
            self._settings = tuple(self._house.settings())
        running = [one.line(now_s) for _, one in zip(range(MOST_SHOWN_RUNNING), recent.running.values(), strict=False)]
        return Snapshot(
            at_s=recent.wall_s(),
            number=1 if self._latest is None else self._latest.number + 1,
            process=os.getpid(),
            version="" if opened is None else opened.version,
            engine="" if opened is None else opened.engine,
            loop="" if opened is None else opened.loop,
            uptime_s=now_s - recent.began_s,
            in_flight=len(recent.running),
            sharing=self._house.sharing(dispatcher),
            requests=_requests(recent, now_s),
            targets=tuple(self._tiles(circuits, now_s, clock_s())),
            failovers=tuple(_failovers(recent, now_s)),
            running=tuple(running),
            recent=tuple(reversed(recent.ended)),
            overhead=_overhead(recent, now_s),
            settings=self._settings,
            warnings=tuple(self._house.warnings(self._base_http)),
        )

    def _tiles(self, circuits: Mapping[Key, Circuit], now_s: float, loop_s: float) -> Iterator[Tile]:
        """In the order of the settings, and of the models' names. `loop_s`: on the circuits' clock."""
        seen = sorted(self._recent.targets.values(), key=lambda one: (one.key.named, one.key.model or ""))
        for provider in self._house.providers:
            theirs = [one for one in seen if one.key.provider == provider.name]
            heard = list(_heard_of(provider, {one.key.model for one in theirs}, circuits, loop_s))
            if not theirs and not heard:
                yield _unasked(provider, None, circuits, loop_s)
            for one in theirs:
                yield _tile(one, circuits, now_s, loop_s)
            yield from heard


def _heard_of(
    provider: Configured, known: Set[str | None], circuits: Mapping[Key, Circuit], loop_s: float
) -> Iterator[Tile]:
    """Its models that are passed over though nobody here has asked them: another worker has found out, or they have
    been forgotten since."""
    models = sorted(key[1] for key in circuits if len(key) == 2 and key[0] == provider.name and key[1] not in known)
    down = (model for model in models if stands(None, circuits[provider.name, model], loop_s) != Stands())
    for model in islice(down, MOST_TARGETS):
        yield _unasked(provider, model, circuits, loop_s)


def _unasked(provider: Configured, model: str | None, circuits: Mapping[Key, Circuit], loop_s: float) -> Tile:
    own = None if model is None else circuits.get((provider.name, model))
    found = stands(circuits.get((provider.name,)), own, loop_s)
    return Tile(
        provider=provider.name,
        kind=provider.kind,
        model=model,
        named=provider.where is None and model is None,
        where=provider.where,
        health=health(found, failed_last=False, failed_lately=False, asked=False, answered=False),
        circuit=found.circuit,
        circuit_of=found.circuit_of,
        probe_in_s=found.probe_in_s,
        cooling_s=found.cooling_s,
        sparkline=(None,) * _SPARKS,
    )


def _tile(one: Seen, circuits: Mapping[Key, Circuit], now_s: float, loop_s: float) -> Tile:
    provider, model = one.key.provider, one.key.model
    pair = (None, None) if model is None else (circuits.get((provider,)), circuits.get((provider, model)))
    found, slot = stands(*pair, loop_s), slot_of(now_s)
    sums = one.window.sums(slot)
    five = Counts(*sums[: len(KINDS)])
    minute = Counts(*one.window.lately(slot, ONE_MINUTE, 0, len(KINDS)))
    first_chunk = percentiles(sums[slice(*FIRST_CHUNKS)])
    return Tile(
        provider=provider,
        kind=one.kind,
        model=model,
        named=one.key.named,
        where=one.where,
        health=health(
            found,
            failed_last=one.failed_last,
            failed_lately=minute.failed > 0,
            asked=five.total > 0 or one.in_flight > 0,
            answered=first_chunk is not None or five.ok + five.refused > 0 or one.streaming > 0,
        ),
        circuit=found.circuit,
        circuit_of=found.circuit_of,
        probe_in_s=found.probe_in_s,
        cooling_s=found.cooling_s,
        in_flight=one.in_flight,
        one_minute=minute,
        five_minutes=five,
        first_chunk=first_chunk,
        answer=percentiles(sums[slice(*ANSWERS)]),
        sparkline=tuple(_median_s(cells) for cells in one.window.each(slot, _SPARKS, FIRST_CHUNKS[0], ANSWERS[1])),
        last_error=None if one.last_error is None else replace(one.last_error, age_s=now_s - one.erred_s),
    )


def _median_s(cells: Sequence[int]) -> float | None:
    """Of first chunks and whole answers taken together."""
    width = FIRST_CHUNKS[1] - FIRST_CHUNKS[0]
    return percentile_s([one + other for one, other in zip(cells[:width], cells[width:], strict=True)], 0.5)


def _requests(recent: Recent, now_s: float) -> Requests:
    slot = slot_of(now_s)
    of = dict(zip(ENDS, recent.requests.sums(slot), strict=False))
    (came,) = recent.requests.lately(slot, _LATELY, ENDS.index("came_in"), ENDS.index("came_in") + 1)
    since_s = max((slot - _LATELY + 1) * SLOT_S, recent.began_s)
    return Requests(
        ended=sum(of[end] for end in ("ok", "refused", "failed", "broken", "left")),
        ok=of["ok"],
        after_failover=of["after_failover"],
        exhausted=of["failed"],
        broken=of["broken"],
        refused=of["refused"],
        left=of["left"],
        rejected=of["rejected"],
        per_second=came / max(now_s - since_s, 1.0),
    )


def _failovers(recent: Recent, now_s: float) -> Iterator[Failover]:
    slot = slot_of(now_s)
    for (before, after), edge in recent.edges.items():
        counts = dict(zip(REASONS, edge.window.sums(slot), strict=True))
        reasons = sorted(((reason, count) for reason, count in counts.items() if count), key=lambda one: -one[1])
        yield Failover(before, after, sum(counts.values()), edge.total, tuple(reasons))


def _overhead(recent: Recent, now_s: float) -> Overhead:
    sums = recent.requests.sums(slot_of(now_s))
    return Overhead(percentiles(sums[slice(*OWN)]), percentiles(sums[slice(*UPSTREAM)]))
