"""The process of the gateway, on any engine, loop and server; beside the gateway's own paths it answers `GET /vitals`.

python -m benchmarks.chaos.gateway SETTINGS    # JSON; see `Settings`
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import resource
import socket
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import anyio

from ogw_asgi import Breaker, Gateway, OpenAICompatible, Timeouts
from ogw_asgi.exceptions import ConfigurationError

from ..upstream import pin

Loop = Literal["asyncio", "uvloop", "trio"]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a gateway process is started with. `timeouts` and `breaker` are the fields of those two."""

    ports: Mapping[str, int]
    loop: Loop
    engine: str
    core: int | None = None
    timeouts: Mapping[str, Any] = field(default_factory=dict)
    breaker: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What a gateway at rest holds. `permits` and `slots` should be 0, the rest what they were before."""

    fds: int
    tasks: int
    slots: int
    permits: int
    rss_bytes: int
    objects: int
    by_type: dict[str, int]
    """The same objects, how many of each type."""
    errors: int
    """Records of level ERROR or above since the start: of the gateway, the server and the loop."""
    first_error: str
    refused: list[str]
    """Settings that this gateway does not take."""


class _Errors(logging.Handler):
    """Counts. What a server says of a body that was left unterminated on purpose is none (contract, section 5)."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.count = 0
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("ASGI callable returned without completing response"):
            return
        self.count += 1
        self.first = self.first or self.format(record)[-2000:]


class App:
    """The gateway, and what it holds when asked at rest."""

    def __init__(self, settings: Settings, errors: _Errors) -> None:
        self._errors = errors
        self._refused: list[str] = []
        providers = [
            OpenAICompatible(name, base_url=f"http://127.0.0.1:{port}/v1", api_key="sk-chaos")
            for name, port in settings.ports.items()
        ]
        make = partial(
            Gateway, providers=providers, failover_sequence=tuple(settings.ports), engine=cast(Any, settings.engine)
        )
        timeouts, breaker = dict(settings.timeouts), dict(settings.breaker)
        while True:  # what it will not take is the run's shortcoming, shown in its table, not its end
            try:
                self._gateway = make(timeouts=Timeouts(**timeouts), breaker=Breaker(**breaker))
                return
            except ConfigurationError as error:
                self._refused.append(str(error))
                if timeouts.pop("hedge_after_s", None) is None and not breaker:
                    raise
                breaker = {} if "breaker" in str(error) else breaker

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/vitals":
            await self._gateway(scope, receive, send)
            return
        vitals = self._vitals()
        body = json.dumps({name: getattr(vitals, name) for name in Vitals.__slots__}).encode("utf-8")
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _vitals(self) -> Vitals:
        for _ in range(3):
            gc.collect()
        opened = self._gateway._opened
        dispatcher: Any = opened.dispatcher if opened is not None else None
        objects = gc.get_objects()
        circuits = getattr(dispatcher, "circuits", None)
        return Vitals(
            fds=len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0,
            tasks=_tasks(),
            slots=dispatcher.slots.in_flight() if dispatcher is not None else 0,
            permits=circuits.in_flight() if circuits is not None else 0,
            rss_bytes=_rss_bytes(),
            objects=len(objects),
            by_type=Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in objects),
            errors=self._errors.count,
            first_error=self._errors.first,
            refused=self._refused,
        )


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        import trio

        return trio.lowlevel.current_statistics().tasks_living


def _rss_bytes() -> int:
    if sys.platform == "linux":
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return 0


def _serve(app: App, listener: socket.socket, loop: Loop) -> None:
    if loop == "trio":
        import hypercorn.config
        import hypercorn.trio

        config = hypercorn.config.Config()
        config.bind = [f"fd://{listener.fileno()}"]
        config.accesslog = None
        config.errorlog = None
        anyio.run(partial(hypercorn.trio.serve, cast(Any, app), config), backend="trio")
        return
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(cast(Any, app), loop=loop, lifespan="on", access_log=False, log_config=None))
    server.run(sockets=[listener])


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    settings = Settings(**json.loads(sys.argv[1]))
    pin(settings.core)
    errors = _Errors()
    logging.getLogger().addHandler(errors)  # with a handler at the root, nothing is printed by the last resort
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    # As servers make theirs from a host and a port: asyncio switches Nagle's algorithm off only with this protocol.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    sys.stdout.write(json.dumps({"port": listener.getsockname()[1]}) + "\n")
    sys.stdout.flush()
    _serve(App(settings, errors), listener, settings.loop)


if __name__ == "__main__":
    main()
