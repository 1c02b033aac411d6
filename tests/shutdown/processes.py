"""A server as a process of its own: started, watched line by line, and gone at the end, whatever happened."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from subprocess import PIPE, STDOUT

import anyio
import anyio.abc

from ogw_asgi.testing._signals import leave
from tests.canaries import assert_silent

ROOT = Path(__file__).resolve().parents[2]


class ServerProcess:
    """The main process of a server, and what it and its workers have said."""

    def __init__(self, process: anyio.abc.Process, port: int) -> None:
        self._process = process
        self._said = anyio.Event()
        self._silent = False
        self.port = port
        self.lines: list[str] = []

    async def listen_to(self) -> None:
        assert self._process.stdout is not None
        unread = b""
        async for data in self._process.stdout:
            *lines, unread = (unread + data).split(b"\n")
            self.lines += [line.decode(errors="replace").rstrip() for line in lines]
            self._ring()
        self._silent = True
        self._ring()

    def _ring(self) -> None:
        said, self._said = self._said, anyio.Event()
        said.set()

    async def wait_until(self, enough: Callable[[], bool]) -> None:
        """Waits until it holds, looking after each line; fails when the server has gone and it does not."""
        while not enough():
            assert not self._silent, "the server is gone"
            await self._said.wait()

    def told(self, word: str) -> list[list[str]]:
        """The lines of the app that begin with this word, without it."""
        return [line.split()[1:] for line in self.lines if line.startswith(f"{word} ")]

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    async def exit_code(self) -> int:
        """Waits for the end of the main process; negative if a signal ended it."""
        return await self._process.wait()

    async def all_gone(self) -> None:
        """Waits until none of the processes is left that had the server's output."""
        while not self._silent:
            await self._said.wait()


@asynccontextmanager
async def running(
    arguments: Sequence[str], *, upstream: str, workers: int = 1, engine: str = "native"
) -> AsyncIterator[ServerProcess]:
    """`python -m ARGUMENTS`, in which `{port}` stands for a free port; yields it when all its workers serve."""
    with reserved_port() as port:
        process = await anyio.open_process(
            [sys.executable, "-m", *(argument.format(port=port) for argument in arguments)],
            cwd=ROOT,
            env={**_environment(), "SHUTDOWN_UPSTREAM": upstream, "SHUTDOWN_ENGINE": engine},
            stdin=PIPE,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,
        )
        server = ServerProcess(process, port)
        try:
            async with process:
                group = anyio.create_task_group()
                await group.__aenter__()
                try:
                    group.start_soon(server.listen_to)
                    await server.wait_until(lambda: len(server.told("opened")) >= workers)
                    await until_accepting(port)
                    yield server
                finally:
                    _kill_group(process.pid)
                    await leave(group)
            assert_silent("\n".join(server.lines), "what the server said")
        except Exception as error:
            error.add_note("the server said:\n" + "\n".join(server.lines))
            raise


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port that nobody else is given, and that a server may still bind: both have to say that they share it."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _environment() -> dict[str, str]:
    """Nobody's keys, and none of the variables by which servers are configured."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT") if name in os.environ}


async def until_accepting(port: int) -> None:
    # Lifespans start before the port is open, and not every server says when it is.
    while True:
        try:
            async with await anyio.connect_tcp("127.0.0.1", port):
                return
        except OSError:
            await anyio.sleep(0.01)
