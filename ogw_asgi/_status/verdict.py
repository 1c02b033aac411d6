"""What an operator reads first: who does not answer, and whether callers notice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from . import words
from .snapshot import Health, Requests, Snapshot, Tile

DOWN: Final[tuple[Health, ...]] = ("open", "probing")
ANSWERING: Final[tuple[Health, ...]] = ("ok", "recovering")
TROUBLED: Final[tuple[Health, ...]] = (*DOWN, "failing", "cooling")

Level = Literal["ok", "warn", "bad", "idle"]

_IDLE: Final = "not asked for five minutes"
_SILENT: Final = "asked, and silent so far"


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
    requests = snapshot.requests
    judged = _judged(snapshot.targets)
    targets = tuple(snapshot.targets[place] for place in judged)
    troubled = tuple(place for health in TROUBLED for place in judged if snapshot.targets[place].health == health)
    level: Level
    if troubled:
        level = "bad" if requests.unanswered or len(troubled) == len(targets) else "warn"
    elif requests.unanswered or (snapshot.targets and not targets):
        level = "warn"
    else:
        level = "ok" if any(tile.health in ANSWERING for tile in targets) else "idle"
    return Verdict(
        level, _says(snapshot, targets, troubled), _callers(requests), _title(targets or snapshot.targets), troubled
    )


def _judged(targets: tuple[Tile, ...]) -> list[int]:
    """Their places. What callers have named that is not there is their trouble: nobody shall make this page call for
    help by a few requests for it. Its tile still tells."""
    return [place for place, tile in enumerate(targets) if not _is_of_callers(tile)]


def _is_of_callers(tile: Tile) -> bool:
    """Endpoints of theirs fail; or a model's breaker is open, and all that came of it was refusals: there is none of
    that name."""
    if tile.named:
        return tile.health == "failing"
    told = tile.five_minutes
    return tile.circuit_of == "model" and told.refused > 0 and not told.ok and not told.failed


def _says(snapshot: Snapshot, targets: tuple[Tile, ...], troubled: tuple[int, ...]) -> str:
    if not targets:
        return "What callers have named is not there" if snapshot.targets else "There is no target"
    if len(troubled) == 1:
        tile = snapshot.targets[troubled[0]]
        return f"{words.name(tile)} is {words.condition(tile)}"
    if troubled:
        return f"{len(troubled)} of {words.many(len(targets), 'target')} are in trouble"
    idle = sum(tile.health == "idle" for tile in targets)
    if idle == len(targets):
        asked = snapshot.recent or snapshot.in_flight or snapshot.requests.ended
        return "Nothing was asked in the last five minutes" if asked else "Nothing has been asked yet"
    silent = sum(tile.health == "silent" for tile in targets)
    if silent and len(targets) == 1:
        return "The one target has been asked, and is silent so far"
    if idle or silent:
        rest = len(targets) - idle - silent
        told = [f"{count} {said}" for count, said in ((idle, _IDLE), (silent, _SILENT)) if count]
        return f"{rest or 'None'} of {len(targets)} targets answer{'s' * (rest < 2)}; {', '.join(told)}"
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
    if requests.after_failover and judged == 1:
        return "Callers notice nothing: the one request in five minutes was answered, but only after failover."
    if requests.after_failover:
        return f"Callers notice nothing: all {judged:,} requests in five minutes answered, {late} only after failover."
    return (
        f"All {words.number(judged)} requests in five minutes answered, none of them after a failover."
        if judged > 1
        else "The one request in five minutes was answered without a failover."
    )


def _title(targets: tuple[Tile, ...]) -> str:
    told = []
    for word, healths in (("down", DOWN), ("failing", ("failing",)), ("cooling", ("cooling",))):
        if count := sum(tile.health in healths for tile in targets):
            told.append(f"{count} {word}")
    found = {tile.health for tile in targets}
    calm = "ok" if found.intersection(ANSWERING) else "silent" if "silent" in found else "idle"
    return f"{', '.join(told) or calm} - ogw_asgi"
