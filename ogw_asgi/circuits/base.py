"""The seam behind which circuits and budgets are kept.

A store holds values by key and applies the pure functions of `_rules` to them, each call as one atomic step. It decides
nothing. Its methods are asynchronous for the sake of stores that others share; whoever calls them counts on it that
they end soon, whatever happens to the store, raise nothing, and that `apply` is carried out even if its caller is
cancelled meanwhile (a shield). Between a `read` and an `apply` others may act, where a store waits: `apply` gives back
what has become of it by then, so whoever wanted the probe that was free sees that another has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from .._rules.circuit import Circuit, Event

Key = tuple[str, ...]
"""Names from the general to the particular: provider, origin, principal; and the model behind them."""


class CircuitStore(Protocol):
    """One gateway's, or one that several gateways share. Bounded: what nobody has asked for longest is forgotten."""

    async def read(self, keys: Sequence[Key], now_s: float) -> Sequence[Circuit]:
        """The circuits as of now, in the order of the keys; one never heard of is closed."""
        ...

    async def known(self, keys: Iterable[Key], now_s: float) -> Mapping[Key, Circuit]:
        """All circuits that are kept, and what others say of those of `keys`, to be looked at: nothing changes by it,
        and none of them is kept from being forgotten."""
        ...

    async def apply(self, events: Sequence[tuple[Key, Event]], now_s: float) -> Sequence[tuple[Circuit, Circuit]]:
        """`transition` for each, in order; the states before and after, and what others had to say to it."""
        ...

    async def draw(self, key: Key, now_s: float, *, spend: bool) -> bool:
        """A request asks a target that should be left alone. `spend`: beyond its first attempt, so a token of the
        target's bucket and one of the gateway's go; False: there is none, and nothing was taken. Otherwise the request
        brings its share to both."""
        ...
