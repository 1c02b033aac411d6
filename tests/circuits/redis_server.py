"""A real redis-server for tests: on a free port of loopback and a socket, without a file, gone at the end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio

HASH = "ogw:{default}:circuits:1"
MISSING = "redis-server is missing, and these tests talk to a real one: apt-get install redis-server"


class RedisServer:
    """`url` of its port, `socket_url` of its socket. What tests ask of it themselves goes through `ask`."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, path: Path) -> None:
        self.process = process
        self.port = port
        self.path = path

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket_url(self) -> str:
        return f"unix://{self.path}"

    def ask(self, *words: str | int) -> Any:
        """One command, and its answer: a string, a number, a list, None; an error is a string with a minus."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.path))
            parts = [str(word).encode() for word in words]
            said = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
            connection.sendall(b"*%d\r\n%s" % (len(parts), said))
            with connection.makefile("rb") as answer:
                return _read(answer)

    def clock_jumps(self, seconds: float) -> None:
        """Its clock is set: all that it has noted lies so much further back, or ahead."""
        by_ms = round(seconds * 1000)
        for name, value in self.fields().items():
            noted, dies, rest = value.split(" ", 2)
            said = json.loads(rest)
            said |= {stamp: said[stamp] - by_ms for stamp in ("at", "since", "open", "cool", "lease") if stamp in said}
            self.ask("HSET", HASH, name, f"{int(noted) - by_ms} {int(dies) - by_ms} {json.dumps(said)}")

    def fields(self, name: str = HASH) -> dict[str, str]:
        flat = self.ask("HGETALL", name)
        return dict(zip(flat[::2], flat[1::2], strict=True))

    def calls(self) -> int:
        """How often the script was run; that it is not there yet is no run."""
        (stats,) = re.findall(
            r"^cmdstat_evalsha:calls=(\d+),.*failed_calls=(\d+)", self.ask("INFO", "commandstats"), re.M
        )
        return int(stats[0]) - int(stats[1])

    def pause(self) -> None:
        """It is still there, and takes connections, and says nothing."""
        os.kill(self.process.pid, signal.SIGSTOP)
        # A signal is on its way for a moment.
        os.waitpid(self.process.pid, os.WUNTRACED)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def _read(answer: Any) -> Any:
    line = answer.readline().rstrip(b"\r\n")
    kind, rest = line[:1], line[1:].decode()
    match kind:
        case b"+":
            return rest
        case b"-":
            return f"-{rest}"
        case b":":
            return int(rest)
        case b"$":
            return None if rest == "-1" else answer.read(int(rest) + 2)[:-2].decode()
        case b"*":
            return None if rest == "-1" else [_read(answer) for _ in range(int(rest))]
    raise AssertionError(line)


@contextmanager
def redis_server(*settings: str, tls: bool = False) -> Iterator[RedisServer]:
    """Ready when it is yielded. `tls`: that is what its port speaks, with the certificate of `settings`."""
    program = shutil.which("redis-server")
    if program is None:
        raise AssertionError(MISSING)
    with tempfile.TemporaryDirectory(prefix="ogw-") as folder:
        server = _started(program, Path(folder), settings, tls=tls)
        try:
            yield server
        finally:
            server.stop()
            assert server.process.stdout is not None
            server.process.stdout.close()


def _started(program: str, folder: Path, settings: tuple[str, ...], *, tls: bool) -> RedisServer:
    said = ""
    for _ in range(5):  # somebody may be quicker to take the port
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        ports = ["--port", "0", "--tls-port", str(port)] if tls else ["--port", str(port)]
        command = [program, "--bind", "127.0.0.1", *ports, "--unixsocket", str(folder / "s")]
        command += ["--save", "", "--appendonly", "no", "--dir", str(folder), "--daemonize", "no", *settings]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        for line in process.stdout:
            said += line.decode(errors="replace")
            if b"eady to accept connections" in line:
                return RedisServer(process, port, folder / "s")
        process.wait()
        process.stdout.close()
    raise AssertionError(f"redis-server does not start:\n{said}")


class Slow:
    """Between a caller and the server: what the server says arrives `delay_s` later."""

    def __init__(self, server: RedisServer, delay_s: float) -> None:
        self.server = server
        self.delay_s = delay_s
        self.port = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
        self.port = listener.extra(anyio.abc.SocketAttribute.local_port)
        task_status.started()
        async with listener:
            await listener.serve(self._pass_on)

    async def _pass_on(self, caller: anyio.abc.SocketStream) -> None:
        async with caller, await anyio.connect_tcp("127.0.0.1", self.server.port) as redis:

            async def answer() -> None:
                async for data in redis:
                    await anyio.sleep(self.delay_s)
                    await caller.send(data)

            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(answer)
                    async for data in caller:
                        await redis.send(data)
                    group.cancel_scope.cancel()
            except* (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass
