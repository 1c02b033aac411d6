"""A time limit that is moved with every event of a stream.

To set a cancel scope's deadline is to cancel one timer and to set another, which costs as much as to relay the event.
On asyncio this one has a timer that is left where it is: when it rings too early it is set anew.
"""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Protocol, Self

import anyio

from .clock import this_loop


class Limit(Protocol):
    """`scope` is cancelled when the time is over that `move` has set last; none is set at first."""

    scope: anyio.CancelScope

    def clock_s(self) -> float:
        """The loop's clock; to ask the limit for it costs less than to look for the loop."""
        ...

    @property
    def passed(self) -> bool:
        """The time is over, and nothing in the scope can wait any more. Not to be asked where others cancel it, too."""
        ...

    def move(self, until_s: float) -> None:
        """To another time on the loop's clock, earlier or later; `inf` lifts it."""
        ...

    def stop(self) -> None:
        """Lift it for good."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool: ...


def limited() -> Limit:
    """Around what is to be ended when the time is over: `with limited() as limit`."""
    loop = this_loop()
    scope = loop.cancel_scope()
    return Timer(scope) if loop.asyncio else Deadline(scope)


class _Limit:
    """Entering it is entering its scope."""

    __slots__ = ("scope",)

    def __init__(self, scope: anyio.CancelScope) -> None:
        self.scope = scope

    def stop(self) -> None:
        """Most end with their scope."""

    def __enter__(self) -> Self:
        self.scope.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self.stop()
        return bool(self.scope.__exit__(exc_type, exc, traceback))


class Deadline(_Limit):
    """A Limit on any loop."""

    __slots__ = ()

    def clock_s(self) -> float:
        return anyio.current_time()

    @property
    def passed(self) -> bool:
        return self.scope.cancel_called

    def move(self, until_s: float) -> None:
        self.scope.deadline = until_s


class Timer(_Limit):
    """A Limit on asyncio. Whoever makes it stops it."""

    __slots__ = ("_due_s", "_handle", "_loop", "_until_s", "clock_s", "passed")

    def __init__(self, scope: anyio.CancelScope) -> None:
        super().__init__(scope)
        self.passed = False
        self._loop = asyncio.get_running_loop()
        self.clock_s = self._loop.time
        self._handle: asyncio.TimerHandle | None = None
        self._due_s = self._until_s = math.inf

    def move(self, until_s: float) -> None:
        self._until_s = until_s
        if until_s < self._due_s:
            self.stop()
            self._set()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _set(self) -> None:
        self._due_s = self._until_s
        self._handle = None if self._until_s == math.inf else self._loop.call_at(self._until_s, self._ring)

    def _ring(self) -> None:
        self._handle = None
        if self._loop.time() >= self._until_s:
            self.passed = True
            self.scope.cancel()
        else:
            self._set()
