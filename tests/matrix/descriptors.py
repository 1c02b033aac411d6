"""A gateway in a process of its own that can be left without a file descriptor. For P06.

    python -m tests.matrix.descriptors ENGINE LOOP URL_OF_ONE URL_OF_TWO

It says its port on standard output and serves until its standard input ends. Besides the gateway's there are two paths,
to be asked on a connection that is there already: `/take` uses up every descriptor that the process may have, `/give`
closes them again.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import Any

import anyio
import anyio.to_thread

from ogw_asgi import Gateway, OpenAICompatible

from .selection import Case
from .serving import served

MOST = 100


class Host:
    """The gateway, and the two paths in front of it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._taken: list[int] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        match scope.get("path"):
            case "/take":
                self._take()
            case "/give":
                self._give()
            case _:
                await self._gateway(scope, receive, send)
                return
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    def _take(self) -> None:
        try:
            while True:
                self._taken.append(os.dup(0))
        except OSError:
            pass

    def _give(self) -> None:
        while self._taken:
            os.close(self._taken.pop())


async def main(engine: Any, *urls: str) -> None:
    providers = [OpenAICompatible(name, base_url=f"{url}/v1") for name, url in zip(("one", "two"), urls, strict=True)]
    gateway = Gateway(providers=providers, failover_sequence=["one", "two"], engine=engine)
    async with served(Host(gateway)) as port:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (MOST, hard))
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        await anyio.to_thread.run_sync(sys.stdin.read)


if __name__ == "__main__":
    name, options = Case(sys.argv[1], sys.argv[2], "json").backend  # type: ignore[arg-type]
    anyio.run(main, sys.argv[1], *sys.argv[3:], backend=name, backend_options=options)
