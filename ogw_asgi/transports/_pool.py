"""Which connections are idle, and which of them may be used again. No I/O but the closing of connections."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeAlias, TypeVar
from weakref import WeakSet

from ._request import Origin

KEEPALIVE_S = 4.0
"""Below the 5 s after which vLLM and uvicorn close idle connections, so that we are the first to let go."""


Shelf: TypeAlias = dict[Any, float]
"""Idle connections, and since when (s, monotonic), the longest first."""


class Pooled(ABC):
    """A connection, as far as the pool knows it."""

    _shelf: Shelf | None = None

    @abstractmethod
    def still_good(self) -> bool:
        """Nothing has come unasked, and no end. To be asked right before a request; if not, it must be closed."""

    @abstractmethod
    def abort(self) -> None:
        """Close it now. Harmless when repeated."""

    def park(self, idle_s: float, shelf: Shelf) -> None:
        """The exchange is over. Where the loop can do that without a task, the connection closes after `idle_s`.

        It takes itself from the shelf where it lies when it ends, so that nobody keeps what is closed.
        """
        self._shelf = shelf

    def _leave_the_shelf(self) -> None:
        if self._shelf is not None:
            self._shelf.pop(self, None)


C = TypeVar("C", bound=Pooled)


class Pool(Generic[C]):
    """Idle connections by origin, the last used first; those that rested too long are closed, whoever asks."""

    def __init__(self) -> None:
        self._idle: dict[Origin, Shelf] = {}
        self._open: WeakSet[C] = WeakSet()
        self.closed = False

    def add(self, connection: C) -> bool:
        """False if the pool has been closed meanwhile, and the connection with it."""
        if self.closed:
            connection.abort()
            return False
        self._open.add(connection)
        return True

    def take(self, origin: Origin) -> C | None:
        idle = self._idle.get(origin)
        while idle:
            connection: C
            connection, since_s = idle.popitem()
            # Bytes that lie there before the request is sent answer something else; and often it is the end.
            if time.monotonic() - since_s < KEEPALIVE_S and connection.still_good():
                return connection
            connection.abort()
        return None

    def put(self, origin: Origin, connection: C) -> None:
        if self.closed:
            connection.abort()
            return
        now_s = time.monotonic()
        for idle in self._idle.values():
            while idle and now_s - idle[oldest := next(iter(idle))] >= KEEPALIVE_S:
                oldest.abort()
        idle = self._idle.setdefault(origin, {})
        idle[connection] = now_s
        connection.park(KEEPALIVE_S, idle)

    def close(self) -> None:
        self.closed = True
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()
