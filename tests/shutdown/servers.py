"""The servers that the suite runs against, how each is started, and the one table of what they do in their own way.

What stands here as a difference is the server's own: the same with any app, and nothing that an app can change.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass

APP = "tests.shutdown.app:app"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A command line, and what comes of a signal.

    Attributes:
        exit_code: of the main process after SIGTERM, the grace having been enough or not; negative if it lets a signal
            end it.
        cancels: whether it cancels the app at the end of the grace and then runs the lifespan's shutdown. If not, the
            worker is killed, and only the system closes what was open.
        replaces: whether a worker that was killed is replaced, the other one's streams going on meanwhile. If not, all
            end with the first: the others' streams are cut, and nobody serves.
        ends_grace: whether the grace ever ends. If not, the server ends when the last of its streams does.
        drains_all: whether after SIGTERM each of several workers has the whole grace. If not, the first that has
            nothing left to do takes the others with it, and their streams are cut.
        reason: why, where one of these is not what one would wish for.
    """

    command: tuple[str, ...]
    grace: str
    exit_code: int = 0
    cancels: bool = True
    replaces: bool = True
    ends_grace: bool = True
    drains_all: bool = True
    reason: str = ""

    def arguments(self, *, grace_s: int, workers: int = 1) -> list[str]:
        return [*self.command, self.grace, str(grace_s), "--workers", str(workers), APP]


def _hypercorn(worker_class: str) -> Server:
    return Server(
        command=("hypercorn", "--bind", "127.0.0.1:{port}", "--worker-class", worker_class),
        grace="--graceful-timeout",
        replaces=False,
        drains_all=False,
        # It awaits `asyncio.Server.wait_closed()` before the grace begins, which from CPython 3.12.1 on waits for every
        # connection (hypercorn's issue 308). The servers of uvloop and of trio do not.
        ends_grace=worker_class != "asyncio" or sys.version_info < (3, 12, 1),
        reason="hypercorn.run.run: when one worker has ended by a signal, or at all during a shutdown, the main "
        "process sends SIGTERM to the others, which have no handler for it, and ends",
    )


SERVERS: Mapping[str, Server] = {
    "uvicorn": Server(
        # Out of the box 5 s, which is how long a worker that dies while it is asked for its health is not missed.
        command=("uvicorn", "--port", "{port}", "--no-access-log", "--timeout-worker-healthcheck", "1"),
        grace="--timeout-graceful-shutdown",
        exit_code=-signal.SIGTERM,
        reason="uvicorn.Server.capture_signals: having shut down in good order, it raises the signal again, so that "
        "whoever sent it sees that it was heeded. A main process of several workers ends with 0",
    ),
    "hypercorn-asyncio": _hypercorn("asyncio"),
    "hypercorn-trio": _hypercorn("trio"),
    "granian": Server(
        command=("granian", "--interface", "asgi", "--port", "{port}", "--respawn-failed-workers"),
        grace="--workers-kill-timeout",
        cancels=False,
        reason="granian.server.common.AbstractServer._stop_workers: what lives at the end of the grace is killed",
    ),
}
