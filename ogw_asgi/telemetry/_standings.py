"""What sinks make of CircuitChanged: how each provider stands, which is as its worst circuit does."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from .events import CircuitChanged

STATES: Final = ("closed", "half_open", "open")
"""From the best to the worst."""

MOST = 1000
"""Callers name models, and every model has a circuit: so many that are not closed are remembered."""

FORGOTTEN_AFTER_S = 60.0
"""An open circuit is probed by the next request when its time is over. Where none has come for so long after that,
nobody asks for that model any more, and it would stay open for ever."""

PROBED_FOR_S = 600.0
"""A probe is a request, and may take as long as an answer does."""

_Circuit = tuple[str, str | None]


class Standings:
    """Of the providers of one process. Those of endpoints that callers name do not count.

    `clock_s` is any that does not go back. Readers may be in another thread.
    """

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._circuits: OrderedDict[_Circuit, tuple[int, float]] = OrderedDict()
        """Those that are not closed: how they stand, and until when that is of interest."""
        self._told: dict[str, int] = {}

    def known(self, providers: Iterable[str]) -> None:
        for provider in providers:
            self._told.setdefault(provider, 0)

    def note(self, event: CircuitChanged) -> None:
        if event.named:
            return
        circuit = (event.provider, event.model)
        self._circuits.pop(circuit, None)
        self._told.setdefault(event.provider, 0)
        if event.state != "closed":
            wait_s = event.open_ms / 1000 if event.state == "open" else PROBED_FOR_S
            until_s = self._clock_s() + wait_s + FORGOTTEN_AFTER_S
            self._circuits[circuit] = (STATES.index(event.state), until_s)
            if len(self._circuits) > MOST:
                self._circuits.popitem(last=False)

    @property
    def all_closed(self) -> bool:
        return not self._circuits

    def now(self) -> dict[str, str]:
        """Provider -> the state of its worst circuit."""
        now_s = self._clock_s()
        worst = dict.fromkeys(tuple(self._told), 0)
        for circuit, (state, until_s) in tuple(self._circuits.items()):
            if until_s < now_s:
                self._circuits.pop(circuit, None)
            else:
                worst[circuit[0]] = max(worst.get(circuit[0], 0), state)
        return {provider: STATES[state] for provider, state in worst.items()}
