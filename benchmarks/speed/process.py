"""Processes under measurement: started on a socket of ours, pinned to a core, their CPU and memory read from /proc."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

STARTED_S = 60.0
"""LiteLLM's proxy takes half of it."""

STOPPED_S = 10.0


def tree(pid: int) -> list[int]:
    """The process and all below it."""
    pids = [pid]
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                pids += tree(int(child))
    return pids


def cpu_s(pid: int) -> float:
    """User and system time of a process tree, as the scheduler counts it; threads that have ended are left out."""
    total = 0
    for one in tree(pid):
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def rss_bytes(pid: int) -> int:
    """Resident memory of a process tree."""
    pages = 0
    for one in tree(pid):
        with suppress(OSError):
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def listener() -> socket.socket:
    """On a free port of loopback, to be inherited."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(4096)
    return sock


def free_port() -> int:
    with listener() as sock:
        port: int = sock.getsockname()[1]
        return port


class Server:
    """A process that serves on `port`. `cores`: where it may run; none: where its parent does."""

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        *,
        cores: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
        inherited: socket.socket | None = None,
    ) -> None:
        pinned = ["taskset", "--cpu-list", ",".join(map(str, cores))] if cores else []
        self.port = port
        self._process = subprocess.Popen(
            [*pinned, *command],
            env={**os.environ, **(environment or {})},
            pass_fds=() if inherited is None else (inherited.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that its whole tree can be ended
        )

    @property
    def cpu_s(self) -> float:
        return cpu_s(self._process.pid)

    @property
    def rss_bytes(self) -> int:
        return rss_bytes(self._process.pid)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, sign)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOPPED_S)
                return


def await_port(server: Server) -> bool:
    """Whether it listens in time."""
    until_s = time.monotonic() + STARTED_S
    while time.monotonic() < until_s and not server.ended:
        with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1):
            return True
        time.sleep(0.1)
    return False


def upstream(cores: Sequence[int]) -> Server:
    """The bench's provider."""
    with listener() as sock:
        command = [sys.executable, "-m", "benchmarks.speed.upstream", str(sock.fileno())]
        return Server(command, sock.getsockname()[1], cores=cores, inherited=sock)
