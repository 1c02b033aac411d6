"""Which connections are idle, and which of them may be used again. No I/O but the closing of connections."""

from __future__ import annotations

import time
from weakref import WeakSet

from ._connection import Connection

KEEPALIVE_S = 4.0
"""Below the 5 s after which vLLM and uvicorn close idle connections, so that we are the first to let go."""

Origin = tuple[str, str, int]


class Pool:
    """Idle connections by origin, the last used first; those that rested too long are closed, whoever asks."""

    def __init__(self) -> None:
        self._idle: dict[Origin, list[tuple[float, Connection]]] = {}
        self._open: WeakSet[Connection] = WeakSet()
        self.closed = False

    def add(self, connection: Connection) -> None:
        self._open.add(connection)

    def take(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        while idle:
            since_s, connection = idle.pop()
            # Bytes that lie there before the request is sent answer something else; and often it is the end.
            if time.monotonic() - since_s < KEEPALIVE_S and connection.quiet():
                return connection
            connection.abort()
        return None

    def put(self, origin: Origin, connection: Connection) -> None:
        now_s = time.monotonic()
        for idle in self._idle.values():
            while idle and now_s - idle[0][0] >= KEEPALIVE_S:
                idle.pop(0)[1].abort()
        connection.rest(KEEPALIVE_S)
        self._idle.setdefault(origin, []).append((now_s, connection))

    def close(self) -> None:
        self.closed = True
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()
