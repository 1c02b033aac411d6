"""Who makes snapshots: at most one a second, by whichever viewer comes first. No task of its own."""

from __future__ import annotations

import time

from .snapshot import Overhead, Requests, Snapshot


class Desk:
    def __init__(self) -> None:
        self._latest: Snapshot | None = None

    async def look(self) -> Snapshot:
        """The latest, which is no older than a second. Raises RequestRejected where the gateway has been closed."""
        now = time.time()
        if self._latest is None or now - self._latest.at_s >= 1:
            number = self._latest.number + 1 if self._latest else 1
            requests = Requests(0, 0, 0, 0, 0, 0, 0, 0, 0.0)
            nothing = Overhead(None, None)
            self._latest = Snapshot(
                now, number, 1, "0", "httpx", "asyncio", 1.0, 0, "own", requests, (), (), (), (), nothing, (), ()
            )
        return self._latest

    def note_surroundings(self, base_http: bool) -> None: ...
