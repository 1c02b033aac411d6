"""All callers' records against all providers' logs: what no single caller can know is found here. Pure.

Every answer is checked, none sampled. The CRCs prove an answer in itself; the providers' logs prove that it was sent,
once, for this request, and that what arrived broken had been broken by its provider.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .exchange import Exchange
from .proof import Stamp
from .schedule import PROVIDERS, Unhealthy, healthy_all_along
from .traffic import Record
from .verdict import Verdict

MAX_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One part of a run, as it was. Times are monotonic seconds."""

    start_s: float
    records: Sequence[Record]
    exchanges: Sequence[Exchange] = ()
    unhealthy: Sequence[Unhealthy] = ()
    stalls: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    """When a process of the bench was not run."""
    waited_s: Mapping[str, float] = field(default_factory=dict)
    """How long each process was ready to run in vain."""

    def stalled_s(self, from_s: float, to_s: float) -> float:
        """For how much of this time callers or providers stood still: none of it is the gateway's."""
        total_s, reached_s = 0.0, from_s
        for start_s, end_s in sorted(span for process in self.stalls.values() for span in process):
            total_s += max(0.0, min(end_s, to_s) - max(start_s, reached_s))
            reached_s = max(reached_s, end_s)
        return total_s

    def arm(self, name: str) -> list[Record]:
        return [record for record in self.records if record.arm == name]


def checked(history: History) -> History:
    """The same, with every verdict held against the providers' logs, and with providers that were not run unhealthy."""
    sent = {Stamp(one.provider, one.request, one.exchange): one for one in history.exchanges}
    given: set[Stamp] = set()
    records = []
    for record in history.records:
        wrong = _against_the_log(record.verdict, sent, given)
        verdict = Verdict("corrupted", wrong, record.verdict.stamp) if wrong else record.verdict
        records.append(replace(record, verdict=verdict))
    stalled = [
        Unhealthy(provider, start_s, end_s, "not run")
        for start_s, end_s in history.stalls.get("providers", ())
        for provider in PROVIDERS
    ]
    return replace(history, records=records, unhealthy=[*history.unhealthy, *stalled])


def _against_the_log(verdict: Verdict, sent: Mapping[Stamp, Exchange], given: set[Stamp]) -> str | None:
    if verdict.kind not in ("whole", "broken") or verdict.stamp is None:
        return None
    exchange = sent.get(verdict.stamp)
    if exchange is None or exchange.sent_words < verdict.words:
        return "foreign: no provider sent this"
    if verdict.stamp in given:
        return "repeated: given to two callers"
    given.add(verdict.stamp)
    if verdict.kind == "whole" and exchange.ended not in ("complete", "lost"):
        return "whole, yet its provider had not ended it"
    if verdict.kind == "broken" and exchange.ended == "complete":
        return "broken, yet its provider had sent it whole"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What came of the requests of one part.

    Attributes:
        owed: those that had a provider among their first MAX_ATTEMPTS that was healthy all along, whose caller stayed,
            and whose stream was not broken by its provider after it had begun.
        failed: those of `owed` that were not answered whole.
        broken: streams that broke after they had begun, and were marked so.
        lost: those that got no answer within the caller's patience, whoever was healthy.
        unowed: requests that no provider was healthy for all along.
    """

    requests: int
    whole: int
    owed: int
    failed: Sequence[Record]
    broken: int
    corrupted: Sequence[Record]
    lost: Sequence[Record]
    left: int
    unowed: int


def tally(history: History, noticed_s: float = 0.0) -> Tally:
    """`noticed_s`: for so long before the request its provider has to have been healthy, too."""
    owed, failed, unowed = 0, [], 0
    by_kind: dict[str, list[Record]] = {}
    for record in history.records:
        kind = record.verdict.kind
        by_kind.setdefault(kind, []).append(record)
        if kind in ("left", "broken"):
            continue
        sequence, since_s = record.asked.sequence[:MAX_ATTEMPTS], record.start_s - noticed_s
        if not healthy_all_along(sequence, since_s, record.end_s, history.unhealthy):
            unowed += 1
            continue
        owed += 1
        if kind != "whole":
            failed.append(record)
    return Tally(
        requests=len(history.records),
        whole=len(by_kind.get("whole", ())),
        owed=owed,
        failed=failed,
        broken=len(by_kind.get("broken", ())),
        corrupted=by_kind.get("corrupted", []),
        lost=by_kind.get("lost", []),
        left=len(by_kind.get("left", ())),
        unowed=unowed,
    )


def uncounted(history: History) -> list[str]:
    """Requests that reached providers more often than their callers were told (contract, sections 4 and 6).

    A re-send to the same provider is no attempt: over a connection that had been used before, after not one byte of an
    answer. A caller that left was told nothing.
    """
    arrived: dict[str, int] = {}
    for exchange in history.exchanges:
        stale = exchange.reused and exchange.silent and exchange.ended == "cut"
        arrived[exchange.request] = arrived.get(exchange.request, 0) + (not stale)
    told = {one.asked.request: one.attempts for one in history.records if one.verdict.kind not in ("left", "lost")}
    return [name for name, count in arrived.items() if count > told.get(name, count)]


def worst_attempts(history: History) -> int:
    """The most that one request cost, by its caller's header or by the providers' logs."""
    arrived: dict[str, int] = {}
    for exchange in history.exchanges:
        arrived[exchange.request] = arrived.get(exchange.request, 0) + 1
    resent = {one.request for one in history.exchanges if one.reused and one.silent and one.ended == "cut"}
    logged = max((count for name, count in arrived.items() if name not in resent), default=0)
    return max(logged, max((record.attempts for record in history.records), default=0))


def load_exchanges(values: Sequence[dict[str, Any]]) -> list[Exchange]:
    return [Exchange(**value) for value in values]


def load_spans(values: Sequence[dict[str, Any]]) -> list[Unhealthy]:
    return [Unhealthy(**value) for value in values]
