"""The process of the three providers: each a port whose state changes on schedule, and a log of every exchange.

It understands as much HTTP/1.1 as it takes to find the end of a request. What it sends is `replies`' business; here are
connections, listeners and the clock. Told what to do by JSON lines on stdin, it answers each with one on stdout.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

from ..upstream import pin
from .exchange import Exchange
from .lag import LagMeter
from .lines import serve_lines
from .proof import Stamp
from .replies import Order, Pace, Piece, play
from .schedule import HEALTHY, OF_THE_LISTENER, PROVIDERS, Switch, Unhealthy

_PORTS = range(20_000, 30_000)
"""Below what the system gives to outgoing connections: a closed port has to stay free."""

_content_length = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE).search
_order = re.compile(rb"request=([\w-]+) words=(\d+)").search
_model = re.compile(rb'"model":[ ]?"([^"]+)"').search
_streams = re.compile(rb'"stream":[ ]?true').search
_UNREAD_S = 1.0
"""A reset may take with it what was sent so shortly before."""

_RST_ON_CLOSE = struct.pack("ii", 1, 0)


class Provider:
    """A port, its state, and its connections."""

    def __init__(self, name: str, dice: random.Random) -> None:
        self.name = name
        self.state = HEALTHY
        self.dice = dice
        self.pace = Pace(first_chunk_s=0, chunk_s=0, slow_s=0)
        self.straggle = (0, 0.0)
        self._stragglers: dict[bytes, list[bool]] = {}
        self.log: list[Exchange] = []
        self.unhealthy: list[Unhealthy] = []
        self.connections: set[_Connection] = set()
        self._since_s = 0.0
        self._flaps = False
        self._server: asyncio.Server | None = None
        self._hole: list[socket.socket] = []
        self.port = self._reserve()

    def _reserve(self) -> int:
        for port in random.SystemRandom().sample(_PORTS, 50):
            try:
                self._listener(port, backlog=1).close()
                return port
            except OSError:
                pass
        raise SystemExit("no free port")

    def _listener(self, port: int, *, backlog: int) -> socket.socket:
        # asyncio switches Nagle's algorithm off only where the protocol is named.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen(backlog)
        except OSError:
            listener.close()
            raise
        listener.setblocking(False)
        return listener

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), sock=self._listener(self.port, backlog=256))

    async def switch(self, state: str) -> None:
        """What is logged as healthy has to be: the span begins before the change and ends behind it."""
        if self.state == HEALTHY:
            self._since_s = time.monotonic()
        self._close_hole()
        was, self.state = self.state, state
        if state in OF_THE_LISTENER:
            if self._server is not None:
                self._server.close()
                self._server = None
            for connection in list(self.connections):
                connection.listener_closed(crash=state == "crash")
            if state == "black_hole":
                self._open_hole()
        elif self._server is None:
            await self.open()
        if was != HEALTHY:
            self.unhealthy.append(Unhealthy(self.name, self._since_s, time.monotonic(), was))
            self._since_s = time.monotonic()

    def _open_hole(self) -> None:
        """A listener whose queue is full and never emptied: the system drops every further SYN."""
        self._hole.append(self._listener(self.port, backlog=0))
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._hole.append(filler)

    def _close_hole(self) -> None:
        while self._hole:
            self._hole.pop().close()

    def fault_of_next(self) -> str:
        if self.state != "flap":
            return self.state
        self._flaps = not self._flaps
        return "status_500" if self._flaps else HEALTHY

    def straggles_s(self, model: bytes) -> float:
        """One of every so many requests for a model is late, neither more nor less; which one is the dice's word."""
        one_of, extra_s = self.straggle
        if not one_of:
            return 0.0
        block = self._stragglers.setdefault(model, [])
        if not block:
            block += self.dice.sample([True] + [False] * (one_of - 1), one_of)
        return extra_s if block.pop() else 0.0

    def take_log(self) -> dict[str, Any]:
        spans = [*self.unhealthy]
        if self.state != HEALTHY:
            spans.append(Unhealthy(self.name, self._since_s, time.monotonic(), self.state))
        log, self.log, self.unhealthy = self.log, [], []
        return {
            "exchanges": [asdict(exchange) for exchange in log],
            "unhealthy": [asdict(span) for span in spans],
        }


class _Connection(asyncio.Protocol):
    _transport: asyncio.Transport

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._unread = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._exchange: Exchange | None = None
        self._served = 0
        self.made_s = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._provider.connections.add(self)

    def data_received(self, data: bytes) -> None:
        unread = self._unread
        unread += data
        end = unread.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _content_length(unread, 0, end)
        if len(unread) < end + 4 + (int(length[1]) if length else 0):
            return
        request = bytes(unread)
        unread.clear()
        self._task = asyncio.get_running_loop().create_task(self._answer(request))

    async def _answer(self, request: bytes) -> None:
        provider = self._provider
        asked = _order(request)
        if asked is None:
            self._transport.abort()
            return
        fault = provider.fault_of_next()
        if fault in OF_THE_LISTENER:  # accepted in the very moment in which the port was closed
            self._transport.abort()
            return
        stamp = Stamp(provider.name, asked[1].decode("ascii"), f"x{len(provider.log)}")
        exchange = Exchange(provider.name, stamp.request, stamp.exchange, time.monotonic(), fault, self._served > 0)
        self._exchange = exchange
        provider.log.append(exchange)
        self._served += 1
        order = Order(stamp=stamp, words=int(asked[2]), stream=bool(_streams(request)), pace=provider.pace)
        model = _model(request)
        if extra_s := provider.straggles_s(model[1] if model else b""):
            await asyncio.sleep(extra_s)
        for step in play(fault, order, provider.dice):
            if exchange.ended != "open":
                return
            if isinstance(step, float | int):
                if step:
                    await asyncio.sleep(step)
            elif isinstance(step, Piece):
                exchange.silent = False
                exchange.sent_words = step.words
                if step.last:
                    exchange.ended, exchange.ended_s = "complete", time.monotonic()
                self._transport.write(step.data)
            elif step == "rst":
                self._reset()
            elif step == "fin":
                exchange.ended = "cut"
                self._transport.close()
            else:
                await asyncio.Event().wait()
        if exchange.ended == "open":
            exchange.ended = "cut"  # said all that it had to say, and that was no answer

    def _reset(self) -> None:
        exchange = self._exchange
        if exchange is not None and exchange.ended == "open":
            exchange.ended = "cut"
        elif exchange is not None and time.monotonic() - exchange.ended_s < _UNREAD_S:
            exchange.ended = "lost"
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        self._transport.abort()

    def listener_closed(self, *, crash: bool) -> None:
        """Idle connections end with the port; live ones only when the whole process would have died."""
        idle = self._task is None or self._task.done()
        if crash:
            self._reset()
        elif idle:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._provider.connections.discard(self)
        if self._exchange is not None and self._exchange.ended == "open":
            self._exchange.ended = "left"
        if self._task is not None:
            self._task.cancel()


class Providers:
    """All three, and the one timeline that they follow."""

    def __init__(self) -> None:
        self._all = {name: Provider(name, random.Random(name)) for name in PROVIDERS}
        self._timeline: asyncio.Task[None] | None = None
        self._lag = LagMeter()

    async def start(self) -> dict[str, int]:
        for provider in self._all.values():
            await provider.open()
        self._lag.start()
        return {name: provider.port for name, provider in self._all.items()}

    async def handle(self, message: dict[str, Any]) -> dict[str, Any]:
        if message["do"] == "run":
            for name, provider in self._all.items():
                provider.dice = random.Random(f"{message['seed']} {name}")
                provider.pace = Pace(**message["pace"])
                provider.straggle = tuple(message["straggle"].get(name, (0, 0.0)))
            switches = [Switch(*switch) for switch in message["switches"]]
            self._timeline = asyncio.create_task(self._follow(switches, message["start_s"]))
            return {}
        if message["do"] == "count":
            connections = [one for provider in self._all.values() for one in provider.connections]
            return {"connections": sum(one.made_s < message["made_before_s"] for one in connections)}
        if self._timeline is not None:
            self._timeline.cancel()
        logs = [provider.take_log() for provider in self._all.values()]
        for provider in self._all.values():
            if provider.state != HEALTHY:
                await provider.switch(HEALTHY)
            provider.unhealthy.clear()
        return {
            "exchanges": [exchange for log in logs for exchange in log["exchanges"]],
            "unhealthy": [span for log in logs for span in log["unhealthy"]],
            "stalls": self._lag.take(),
        }

    async def _follow(self, switches: Sequence[Switch], start_s: float) -> None:
        for switch in switches:
            await asyncio.sleep(max(0, start_s + switch.at_s - time.monotonic()))
            await self._all[switch.provider].switch(switch.state)


async def _main() -> None:
    providers = Providers()
    sys.stdout.write(json.dumps(await providers.start()) + "\n")
    sys.stdout.flush()
    await serve_lines(providers.handle)


if __name__ == "__main__":
    pin(int(sys.argv[1]) if len(sys.argv) > 1 else None)
    asyncio.run(_main())
