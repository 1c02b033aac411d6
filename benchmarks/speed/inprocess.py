"""The gateway alone, asked again and again in one process: no server, no engine, no socket. For counting instructions.

python -m benchmarks.speed.inprocess gateway|bare plain|burst|drip REQUESTS
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

from ogw_asgi import Gateway
from ogw_asgi._values import Header, Target, UpstreamRequest
from ogw_asgi.transports.base import Transport, UpstreamResponse

from . import apps, asked
from .asked import BURST, DRIP, PAUSE_MS, Asked
from .upstream import AT_ONCE, COMPLETION, chunk

_WARM = 30


class _Response:
    """What a provider answers, at once and in the pieces in which it would have come."""

    status = 200

    def __init__(self, pieces: Sequence[bytes], content_type: bytes) -> None:
        self._left = list(reversed(pieces))
        self.headers: Sequence[Header] = [
            (b"content-type", content_type),
            (b"date", b"Thu, 01 Jan 2026 00:00:00 GMT"),
            (b"server", b"upstream"),
            (b"x-request-id", b"req_0123456789abcdef0123456789abcdef"),
            (b"openai-processing-ms", b"512"),
            (b"openai-version", b"2020-10-01"),
            (b"x-ratelimit-limit-requests", b"10000"),
            (b"x-ratelimit-remaining-requests", b"9999"),
        ]

    def chunks(self) -> AsyncIterator[bytes]:
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._left:
            return self._left.pop()
        raise StopAsyncIteration

    @property
    def at_end(self) -> bool:
        return not self._left

    async def aclose(self) -> None:
        pass


class _Engine:
    def __init__(self, pieces: Sequence[bytes], content_type: bytes) -> None:
        self._answer = pieces, content_type

    async def open(self, request: UpstreamRequest) -> UpstreamResponse:
        await asyncio.sleep(0)  # as with a socket, others have their turn
        return _Response(*self._answer)

    async def aclose(self) -> None:
        pass


def _load(kind: str) -> tuple[Asked, _Engine]:
    end = chunk("", "stop") + b"data: [DONE]\n\n"
    event = chunk(" dog")
    match kind:
        case "plain":
            return asked.plain(), _Engine([COMPLETION], b"application/json")
        case "burst":
            whole, rest = divmod(BURST, AT_ONCE)
            pieces = [*[event * AT_ONCE] * whole, event * rest + end]
            return asked.stream(f"burst-{BURST}", BURST), _Engine(pieces, b"text/event-stream")
        case _:
            what = asked.stream(f"drip-{DRIP}-{PAUSE_MS}", DRIP)
            return what, _Engine([*[event] * DRIP, end], b"text/event-stream")


class Caller:
    """Asks one app the same again and again."""

    def __init__(self, app: Any, body: bytes) -> None:
        self._app = app
        self._body = body
        self._headers = [
            (b"host", b"127.0.0.1"),
            (b"content-type", b"application/json"),
            (b"authorization", b"Bearer sk-bench"),
            (b"content-length", b"%d" % len(body)),
        ]

    async def ask(self) -> bytes:
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": "/chat/completions",
            "root_path": "",
            "headers": self._headers,
        }
        left = asyncio.get_running_loop().create_future()
        messages = [{"type": "http.request", "body": self._body, "more_body": False}]
        sent: list[bytes] = []

        async def receive() -> MutableMapping[str, Any]:
            if not messages:
                await left
            return messages.pop()

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message.get("body", b""))

        await self._app(scope, receive, send)
        return b"".join(sent)


async def _run(who: str, kind: str, requests: int) -> None:
    what, engine = _load(kind)
    if who == "bare":
        caller = Caller(apps.bare(lambda: engine), what.body)
    else:
        app: Any = apps.gateway()
        gateway: Gateway = app
        await gateway.__aenter__()
        assert gateway._opened is not None

        def transport_for(target: Target) -> Transport:
            return engine

        dispatcher = replace(gateway._opened.dispatcher, transport_for=transport_for)
        gateway._opened = replace(gateway._opened, dispatcher=dispatcher)
        caller = Caller(gateway, what.body)
    expected = COMPLETION if kind == "plain" else b"data: [DONE]\n\n"
    assert (await caller.ask()).endswith(expected)
    for _ in range(_WARM + requests):
        await caller.ask()


if __name__ == "__main__":
    import uvloop

    logging.disable(logging.WARNING)  # the gateway says at its start that nobody guards it, and here nobody need
    os.environ |= apps.settings("native", upstream=9, refusing=9)
    uvloop.run(_run(sys.argv[1], sys.argv[2], int(sys.argv[3])))
