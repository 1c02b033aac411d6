"""How long a provider that asked for it is left alone (contract, sections 4 and 8)."""

from __future__ import annotations

from typing import Literal

DEFAULTS_S = {"rate": 5.0, "money": 300.0}
"""Where the provider named no time. A bill is not paid within seconds."""

SHORTEST_S = 1.0
LONGEST_S = 300.0
"""Servers name a day (Azure) and zero; neither helps anybody."""


def cooldown_s(kind: Literal["rate", "money"], named_s: float | None) -> float:
    """`named_s`: the provider's Retry-After, not clamped; what is no time at all (NaN, infinite, negative) is none."""
    if named_s is None or not 0 <= named_s < float("inf"):
        return DEFAULTS_S[kind]
    return min(max(named_s, SHORTEST_S), LONGEST_S)
