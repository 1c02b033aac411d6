"""Who makes snapshots: at most one a second, by whichever viewer comes first. No task of its own."""

from __future__ import annotations

from .snapshot import Snapshot


class Desk:
    async def look(self) -> Snapshot:
        """The latest, which is no older than a second. Raises RequestRejected where the gateway has been closed."""
        raise NotImplementedError
