"""How the processes talk: one JSON object a line, a question on stdin, its answer on stdout, until stdin ends."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

LIMIT_BYTES = 1 << 30
"""A log of a long run is one line."""

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


async def serve_lines(handle: Handler) -> None:
    reader = asyncio.StreamReader(LIMIT_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        answer = await handle(json.loads(line))
        sys.stdout.write(json.dumps(answer, separators=(",", ":")) + "\n")
        sys.stdout.flush()


class Peer:
    """The other end of those pipes: a process of ours."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._asking = asyncio.Lock()

    @classmethod
    async def start(cls, module: str, *arguments: str) -> Peer:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *arguments, stdin=pipe, stdout=pipe, limit=LIMIT_BYTES
        )
        return cls(process)

    async def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a process of the bench ended by itself ({await self._process.wait()})")
        heard: dict[str, Any] = json.loads(line)
        return heard

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        async with self._asking:
            return await self._ask(self._process.stdin, message)

    async def _ask(self, stdin: asyncio.StreamWriter, message: dict[str, Any]) -> dict[str, Any]:
        stdin.write(json.dumps(message).encode("ascii") + b"\n")
        await stdin.drain()
        return await self.hear()

    def waited_s(self) -> float:
        """How long it has been ready to run while something else ran, since it was started; 0 where nobody counts."""
        try:
            return int(Path(f"/proc/{self._process.pid}/schedstat").read_text().split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 10)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
