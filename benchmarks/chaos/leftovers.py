"""What a gateway still holds after a part, against what it held before. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..table import Line, at_most, fact, none_of

Vitals = Mapping[str, Any]

RSS_BYTES = 2 << 20
WARM = 1000
"""After fewer requests an allocator still takes what it will keep."""

OBJECTS = 200


def at_rest(cold: Vitals, now: Vitals) -> bool:
    """Nothing is left that belongs to a request or to a connection."""
    return all(now[name] <= cold[name] for name in ("fds", "tasks", "slots", "permits"))


def without_idle(vitals: Vitals, connections: int) -> dict[str, Any]:
    """The same without the connections that may be kept idle."""
    return {**vitals, "fds": vitals["fds"] - connections}


def judged(
    part: str, cold: Vitals, warm: Vitals, end: Vitals, connections: int, *, warm_requests: int | None
) -> list[Line]:
    """`cold`: before the first request. `warm`: at rest after so many more; None of them: memory is not looked at."""
    lines = [
        none_of(part, "sockets and files left over", max(0, end["fds"] - cold["fds"])),
        none_of(part, "tasks left over", max(0, end["tasks"] - cold["tasks"])),
        none_of(part, "slots and permits not given back", end["slots"] + end["permits"]),
        none_of(part, "connections that providers still see", connections),
        none_of(part, "errors logged", end["errors"]),
    ]
    if warm_requests is not None:
        enough = warm_requests >= WARM
        grown = end["rss_bytes"] - warm["rss_bytes"]
        lines += [
            at_most(part, "memory grown", grown / (1 << 20), RSS_BYTES / (1 << 20), unit=" MiB", judged=enough),
            at_most(part, "objects more", end["objects"] - warm["objects"], OBJECTS),
            fact(part, "  most of them", _most_grown(warm["by_type"], end["by_type"])),
        ]
    lines += [fact(part, "an error", end["first_error"].splitlines()[-1])] if end["first_error"] else []
    lines += [
        Line(part=part, what="a setting that was not taken", value=text, bound="none", ok=False)
        for text in end["refused"]
    ]
    return lines


def _most_grown(before: Mapping[str, int], after: Mapping[str, int], types: int = 5) -> str:
    grown = Counter(after)
    grown.subtract(before)
    return ", ".join(f"{count} {name}" for name, count in grown.most_common(types) if count > 0) or "none"
