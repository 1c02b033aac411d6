"""How much of a request's time was the gateway's own. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def own_time_s(began_s: float, ended_s: float, waits: Iterable[tuple[float, float]]) -> float:
    """What is left between the two times when nobody was waited for. Waits may overlap, and may reach beyond both."""
    own_s, at_s = 0.0, began_s
    for start_s, end_s in sorted(waits):
        if start_s > at_s:
            own_s += min(start_s, ended_s) - min(at_s, ended_s)
        at_s = max(at_s, end_s)
    return own_s + max(0.0, ended_s - at_s)
