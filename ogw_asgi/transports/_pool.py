"""Which connections are idle, and which of them may be used again. No I/O but the closing of connections."""

from __future__ import annotations

import time
from weakref import WeakSet

from ._connection import Connection, Shelf
from ._request import Origin

KEEPALIVE_S = 4.0
"""Below the 5 s after which vLLM and uvicorn close idle connections, so that we are the first to let go."""


class Pool:
    """Idle connections by origin, the last used first; those that rested too long are closed, whoever asks."""

    def __init__(self) -> None:
        self._idle: dict[Origin, Shelf] = {}
        self._open: WeakSet[Connection] = WeakSet()
        self.closed = False

    def add(self, connection: Connection) -> bool:
        """False if the pool has been closed meanwhile, and the connection with it."""
        if self.closed:
            connection.abort()
            return False
        self._open.add(connection)
        return True

    def take(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        while idle:
            connection, since_s = idle.popitem()
            # Bytes that lie there before the request is sent answer something else; and often it is the end.
            if time.monotonic() - since_s < KEEPALIVE_S and connection.still_good():
                return connection
            connection.abort()
        return None

    def put(self, origin: Origin, connection: Connection) -> None:
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
