"""A connection to a server, as an engine sees it: bytes go out, and what comes in goes to the parser.

There is one for asyncio and one for every loop. Closing waits for nothing on either, so that no cancellation can leave
a connection half-closed.
"""

from __future__ import annotations

import socket
import ssl
from abc import ABC, abstractmethod
from typing import Any, Protocol, Self, TypeAlias

import anyio

from .base import FailureKind

READ_BYTES = 64 << 10
BROKEN = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
"""What a connection raises that has ended, on any loop, with TLS or without."""

Shelf: TypeAlias = "dict[Connection, float]"
"""Idle connections, and since when (s, monotonic), the longest first."""


class Parser(Protocol):
    """Is told of all that comes during one exchange.

    Attributes:
        status: of the answer, as soon as it is clear that the request needs no more of an upload; 0 before.
        failure: why there will be no more of an answer.
    """

    status: int
    failure: FailureKind | None

    def feed(self, data: bytes | memoryview) -> None: ...

    def end(self, *, clean: bool) -> None:
        """The connection has ended; `clean` is a FIN."""
        ...


class Connection(ABC):
    """Carries one exchange after the other. The peer's faults end up in the parser, never in an exception.

    Attributes:
        parser: of the exchange under way. What comes when there is none was asked for by nobody.
        lost: it has ended, whoever ended it.
        unsent: the request was not sent to its end, because the peer had answered or left by then.
        upper: what speaks HTTP here, where there is one for a connection and not one for an exchange.
    """

    parser: Parser | None = None
    upper: Any = None
    lost = unsent = False
    _shelf: Shelf | None = None

    @classmethod
    @abstractmethod
    async def take_over(cls, sock: socket.socket, tls: ssl.SSLContext | None, host: str) -> Self:
        """Take a connected socket over and shake hands. Raises one of `BROKEN`, or ValueError."""

    def begin(self, parser: Parser) -> None:
        """The next exchange. A connection that has ended by now says so."""
        self.parser = parser
        if self.lost:
            parser.end(clean=False)

    @abstractmethod
    async def send(self, head: bytes, body: bytes) -> None:
        """Send both, in one segment where they fit, and without a copy of the body where the loop can do that."""

    @abstractmethod
    async def wait(self) -> None:
        """Until the parser has been told more. Closes the connection when cancelled.

        Not to be called when the parser knows the end already: nobody would be left to say more.
        """

    @abstractmethod
    def still_good(self) -> bool:
        """Nothing has come unasked, and no end. To be asked right before a request; if not, it must be closed."""

    def park(self, idle_s: float, shelf: Shelf) -> None:
        """The exchange is over. Where the loop can do that without a task, the connection closes after `idle_s`.

        It takes itself from the shelf where it lies when it ends, so that nobody keeps what is closed.
        """
        self.parser = None
        self._shelf = shelf

    def abort(self) -> None:
        """Close it now. Harmless when repeated."""
        self._end(clean=False)

    def _answered(self) -> bool:
        """The peer has said its last word on this request, or left; an interim response is not that."""
        assert self.parser is not None
        return bool(self.lost or self.parser.status or self.parser.failure)

    def _end(self, *, clean: bool) -> None:
        self.lost = True
        self.upper = None  # it knows us, and would keep us for the garbage collector
        if self._shelf is not None:
            self._shelf.pop(self, None)
        if self.parser is not None:
            self.parser.end(clean=clean)
