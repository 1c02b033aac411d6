"""What an operator reads first: who does not answer, and whether callers notice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from . import words
from .snapshot import Health, Requests, Snapshot, Tile

DOWN: Final[tuple[Health, ...]] = ("open", "probing")
TROUBLED: Final[tuple[Health, ...]] = (*DOWN, "failing", "cooling")


Level = Literal["ok", "warn", "bad", "idle"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`troubled`: the targets that cannot be counted on, as places in `targets`, the worst first."""

    level: Level
    says: str
    callers: str
    title: str
    troubled: tuple[int, ...]


def verdict(snapshot: Snapshot) -> Verdict:
    """`bad` is what callers notice, or that nobody is left to ask; a target that others stand in for is `warn`."""
    targets, requests = snapshot.targets, snapshot.requests
    troubled = tuple(place for health in TROUBLED for place, tile in enumerate(targets) if tile.health == health)
    level: Level
    if troubled:
        level = "bad" if requests.unanswered or len(troubled) == len(targets) else "warn"
    elif requests.unanswered:
        level = "warn"
    else:
        level = "idle" if all(tile.health == "idle" for tile in targets) else "ok"
    return Verdict(level, _says(snapshot, troubled), _callers(requests), _title(targets), troubled)


def _says(snapshot: Snapshot, troubled: tuple[int, ...]) -> str:
    targets = snapshot.targets
    if not targets:
        return "There is no target"
    if len(troubled) == 1:
        tile = targets[troubled[0]]
        return f"{words.name(tile)} is {words.condition(tile)}"
    if troubled:
        return f"{len(troubled)} of {words.many(len(targets), 'target')} are in trouble"
    idle = sum(tile.health == "idle" for tile in targets)
    if idle == len(targets):
        asked = snapshot.recent or snapshot.in_flight or snapshot.requests.ended
        return "Nothing was asked in the last five minutes" if asked else "Nothing has been asked yet"
    if idle:
        rest = len(targets) - idle
        return f"{rest} of {len(targets)} targets answer{'s' * (rest == 1)}; {idle} not asked for five minutes"
    return "The one target answers" if len(targets) == 1 else f"All {len(targets)} targets answer"


def _callers(requests: Requests) -> str:
    unanswered, judged = requests.unanswered, requests.judged
    if not requests.ended:
        return "No request has ended in the last five minutes."
    if not judged:
        return "No request of the last five minutes was one for a provider to answer: all were refused, or left."
    late = (
        f"{words.number(requests.after_failover)} of them ({words.percent(requests.after_failover, requests.ok or 1)})"
    )
    if unanswered:
        of = f"{words.number(unanswered)} of {words.many(judged, 'request')} in five minutes not answered"
        why = f"{words.number(requests.exhausted)} exhausted, {words.number(requests.broken)} broken off"
        then = f" {words.number(requests.ok)} answered, {late} only after failover." if requests.after_failover else ""
        return f"Callers notice: {of} ({why}).{then}"
    if requests.after_failover:
        of = (
            f"all {words.many(judged, 'request')} in five minutes answered"
            if judged > 1
            else "the one request answered"
        )
        return f"Callers notice nothing: {of}, {late} only after failover."
    return (
        f"All {words.number(judged)} requests in five minutes answered at the first attempt."
        if judged > 1
        else "The one request in five minutes was answered at the first attempt."
    )


def _title(targets: tuple[Tile, ...]) -> str:
    told = []
    for word, healths in (("down", DOWN), ("failing", ("failing",)), ("cooling", ("cooling",))):
        if count := sum(tile.health in healths for tile in targets):
            told.append(f"{count} {word}")
    calm = "ok" if any(tile.health != "idle" for tile in targets) else "idle"
    return f"{', '.join(told) or calm} - ogw_asgi"
