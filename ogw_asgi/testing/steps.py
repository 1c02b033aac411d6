"""The steps of which scripts are made, for both kinds of upstream; plain values, nothing is played here."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ._signals import Waitable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wait:
    """Goes on when `event` is set. When the caller leaves first, the rest of the script is not played."""

    event: Waitable


@dataclass(frozen=True, slots=True)
class Hang:
    """Sends nothing more and keeps the connection open until the caller closes it."""


@dataclass(frozen=True, slots=True)
class Break:
    """Cuts the body: the response ends without its end, as when a provider crashes in mid-stream."""


@dataclass(frozen=True, slots=True)
class Fin:
    """Sends FIN, reads on until the caller has closed, and ends the connection (raw only)."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Ends the connection with RST: the caller reads "connection reset by peer" (raw only)."""


@dataclass(frozen=True, slots=True)
class OnAccept:
    """As the first step: the script is played on accepting a connection, nothing being read (raw only)."""


@dataclass(frozen=True, slots=True)
class OnHead:
    """As the first step: the script is played when the head has been read, before the body (raw only)."""


class Sequencer(Generic[T]):
    """Hands out one script per request, in order, and the last again and again, or `None` when `strict`."""

    def __init__(self, scripts: Sequence[T], *, strict: bool) -> None:
        if not scripts:
            raise ValueError("a script needs at least one reply")
        self._scripts = tuple(scripts)
        self._strict = strict
        self._used = 0
        self._lock = threading.Lock()

    def upcoming(self) -> T | None:
        """What `take` would hand out now."""
        if self._used < len(self._scripts):
            return self._scripts[self._used]
        return None if self._strict else self._scripts[-1]

    def take(self) -> T | None:
        with self._lock:
            script = self.upcoming()
            self._used += 1
            return script
