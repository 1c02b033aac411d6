"""A connection to a server, as an engine sees it: bytes go out, and what comes in goes to the parser.

There is one for asyncio and one for every loop. Closing waits for nothing on either, so that no cancellation can leave
a connection half-closed.
"""

from __future__ import annotations

import socket
import ssl
from abc import abstractmethod
from typing import Any, Protocol, Self

from ._pool import Pooled, Shelf
from .base import FailureKind

READ_BYTES = 64 << 10


class Parser(Protocol):
    """Is told of all that comes during one exchange.

    Attributes:
        status: of the answer, as soon as there is one that ends the request; 0 before.
        failure: why there will be no more of an answer.
    """

    status: int
    failure: FailureKind | None

    def feed(self, data: bytes | memoryview) -> None: ...

    def end(self, *, clean: bool) -> None:
        """The connection has ended; `clean` is a FIN."""
        ...


class Connection(Pooled):
    """Carries one exchange after the other. The peer's faults end up in the parser, never in an exception.

    Attributes:
        parser: of the exchange under way. What comes when there is none was asked for by nobody.
        lost: it has ended, whoever ended it.
        unsent: the request was not sent to its end, because the peer had answered or left by then.
        upper: what speaks HTTP here, where that is another for every connection and not for every exchange.
    """

    parser: Parser | None = None
    upper: Any = None
    lost = unsent = False

    @classmethod
    @abstractmethod
    async def take_over(cls, sock: socket.socket, tls: ssl.SSLContext | None, host: str) -> Self:
        """Take a connected socket over and shake hands. Raises one of `BROKEN`, or ValueError."""

    @abstractmethod
    async def send(self, head: bytes, body: bytes) -> None:
        """Send both, in one segment where they fit, and without a copy of the body where the loop can do that."""

    @abstractmethod
    async def wait(self) -> None:
        """Until the parser has been told more. Closes the connection when cancelled.

        Not to be called when the parser knows the end already: nobody would be left to say more.
        """

    def park(self, idle_s: float, shelf: Shelf) -> None:
        super().park(idle_s, shelf)
        self.parser = None

    def abort(self) -> None:
        self._end(clean=False)

    def _answered(self) -> bool:
        """The peer has said its last word on this request, or left; an interim response is not that."""
        assert self.parser is not None
        return bool(self.lost or self.parser.status or self.parser.failure)

    def _end(self, *, clean: bool) -> None:
        self.lost = True
        self.upper = None  # it knows us, and would keep us for the garbage collector
        self._leave_the_shelf()
        if self.parser is not None:
            self.parser.end(clean=clean)
