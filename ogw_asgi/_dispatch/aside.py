"""What would hold everybody up is done in a thread, one after the other: megabytes of JSON, to be read or judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Aside:
    """Of one opened gateway, and so of one event loop. Not the threads that the host's own endpoints wait for."""

    _turns: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises. It is not cancelled once it has begun: it ends by itself, in seconds at most.

        It must give its turn away often: a call into C that keeps the interpreter for long is as bad here as anywhere.
        """
        return await anyio.to_thread.run_sync(work, limiter=self._turns)
