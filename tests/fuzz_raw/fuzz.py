"""Mutated requests at a server, many at a time: what must hold of each, and what was counted."""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import anyio

from ogw_asgi import __version__
from ogw_asgi.testing import RawRequest

from .caller import answers_of
from .golden import API_VERSION, KEYS, MOUNTS, STALL_S
from .mutate import mutations
from .run import Stand, stand
from .servers import SERVERS

AT_ONCE = 12
WAIT_S = 0.03
"""For an answer, before the caller leaves: of a mutated request the server often waits for more."""
HANG_S = 1.0
EVERY = 500
STAYING = 200
TRIES = 3

VISIBLE = "[!-~]"
_WAYS = [
    (r"/v1/chat/completions", f"authorization: Bearer {KEYS['openai']}", ""),
    (
        r"/v1/chat/completions",
        f"authorization: Bearer {KEYS['vllm']}",
        r"traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\r\n",
    ),
    (
        rf"/openai/deployments/[A-Za-z0-9][A-Za-z0-9._-]{{0,63}}/chat/completions\?api-version={API_VERSION}",
        f"api-key: {KEYS['azure']}",
        "",
    ),
]


def any_head(port: int) -> re.Pattern[bytes]:
    """Every head that an honest request may have, whoever is asked by whichever engine."""
    heads = [
        rf"POST {path} HTTP/1\.1\r\n[hH]ost: 127\.0\.0\.1:{port}\r\ncontent-type: application/json\r\n"
        rf"accept: (?:application/json|text/event-stream)\r\naccept-encoding: identity\r\n"
        rf"user-agent: ogw_asgi/{re.escape(__version__)}\r\n"
        rf"via: (?:1\.1 ogw-[0-9a-z]{{1,64}}, ){{0,2}}1\.1 ogw-[0-9a-f]{{16}}\r\n"
        rf"x-request-id: {VISIBLE}{{1,128}}\r\n(?:idempotency-key: {VISIBLE}{{1,256}}\r\n)?{trace}{key}\r\n"
        rf"[cC]ontent-[lL]ength: [0-9]+\r\n\r\n"
        for path, key, trace in _WAYS
    ]
    return re.compile("|".join(heads).encode())


@dataclass
class Tally:
    """What came of a run. `faults` is what must not be, each with the number that makes the request again."""

    server: str
    sent: int = 0
    reached: int = 0
    longest_s: float = 0.0
    words: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    again: int = 0
    """How many were late and, sent once more, were not: the machine's doing, not the request's."""
    seconds: float = 0.0

    def __str__(self) -> str:
        common = ", ".join(f"{word} x {count}" for word, count in self.words.most_common(12))
        head = (
            f"{self.server}: {self.sent} requests in {self.seconds:.0f} s, {self.reached} reached the provider, "
            f"longest {self.longest_s * 1000:.0f} ms, {self.again} sent again, {len(self.faults)} faults"
        )
        return "\n".join([head, f"    {common}", *(f"    FAULT {fault[:2000]}" for fault in self.faults[:50])])


class Run:
    def __init__(self, at: Stand, count: int, seed: int) -> None:
        self._at = at
        self._heads = any_head(at.upstream.port)
        self._requests: Iterator[tuple[int, bytes]] = mutations(count, seed)
        self._silent: list[bytes] = []
        self.tally = Tally(at.server)

    async def go(self) -> Tally:
        started_s = time.monotonic()
        done = False
        while not done:
            async with anyio.create_task_group() as group:
                batch = list(islice(self._requests, EVERY))
                done = len(batch) < EVERY
                work = iter(batch)
                for _ in range(AT_ONCE):
                    group.start_soon(self._work, work)
            await self._look()
            if self.tally.sent % 10_000 == 0:
                sys.stderr.write(f"{self.tally}\n")
            if done or len(self._silent) >= STAYING:
                await self._stay()
        self.tally.seconds = time.monotonic() - started_s
        return self.tally

    async def _work(self, work: Iterator[tuple[int, bytes]]) -> None:
        for number, sent in work:
            self.tally.sent += 1
            started_s = time.monotonic()
            try:
                raw = await exchange(self._at.process.port, sent)
            except TimeoutError:
                await self._repeat(number, sent)
                continue
            self.tally.longest_s = max(self.tally.longest_s, time.monotonic() - started_s)
            answers, rest = answers_of(raw, over=True)
            self.tally.words.update([answer.word for answer in answers] or ["no answer"])
            if not answers:
                self._silent.append(sent)
            if any(answer.status == 500 for answer in answers):
                self.tally.faults.append(f"{number}: 500: {sent!r}")
            if rest.startswith(b"HTTP/1") and b"\r\n\r\n" not in rest:
                self.tally.faults.append(f"{number}: half a head: {sent!r}")

    async def _repeat(self, number: int, sent: bytes) -> None:
        for _ in range(TRIES):
            try:
                await exchange(self._at.process.port, sent)
            except TimeoutError:
                continue
            self.tally.again += 1
            return
        self.tally.faults.append(f"{number}: hangs: {sent!r}")

    async def _look(self) -> None:
        """What reached the provider is well-formed; nothing goes on any more, and a good request is answered."""
        try:
            state = await self._at.settled()
            if state["raised"]:
                self.tally.faults.append(f"raised: {state['raised']}")
            # What it logs of a request that fails is no fault; that a loop has something to say is one.
            usual = ("ogw_asgi: all_failed", "server: ")
            self.tally.faults += [line for line in state["complaints"] if not line.startswith(usual)]
        except TimeoutError:
            self.tally.faults.append("not settled within a second")
        self._check_reached()
        for mount in MOUNTS:
            try:
                await self._at.ask_honestly(mount)
            except (AssertionError, TimeoutError) as error:
                self.tally.faults.append(f"{mount}: an honest request fails: {error!r}")
        self._at.upstream.requests.clear()
        traces = [line for line in self._at.process.lines if "Traceback" in line or "ogw_asgi/" in line]
        self.tally.faults += traces
        self._at.process.lines.clear()

    async def _stay(self) -> None:
        """Those without an answer again, and the caller stays: a second after an upload may stall none is left."""
        staying, self._silent = self._silent[:STAYING], []
        for _ in range(TRIES):
            try:
                await self._stay_with(staying)
            except TimeoutError:
                continue
            return
        self.tally.faults.append(f"one of these hangs: {staying}")

    async def _stay_with(self, staying: list[bytes]) -> None:
        streams = [await anyio.connect_tcp("127.0.0.1", self._at.process.port) for _ in staying]
        try:
            for stream, sent in zip(streams, staying, strict=True):
                await stream.send(sent)
            await anyio.sleep(STALL_S)  # so long an upload may stall, and no longer
            await self._at.settled()
        finally:
            for stream in streams:
                await stream.aclose()
            self._check_reached()

    def _check_reached(self) -> None:
        for request in self._at.upstream.requests:
            self._check(request)
        self.tally.reached += len(self._at.upstream.requests)
        self._at.upstream.requests.clear()

    def _check(self, request: RawRequest) -> None:
        found = self._heads.fullmatch(request.head)
        try:
            document = json.loads(request.body)
        except ValueError:
            document = None
        if found is None or not isinstance(document, dict) or "messages" not in document:
            self.tally.faults.append(f"reached the provider: {request!r}")


async def exchange(port: int, sent: bytes) -> bytes:
    """All that comes back; the caller leaves after the first answer, or when none comes soon."""
    raw = b""
    with anyio.fail_after(HANG_S):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            try:
                await stream.send(sent)
                with anyio.move_on_after(WAIT_S):
                    while not answers_of(raw, over=False)[0]:
                        raw += await stream.receive()
                await stream.send_eof()
                with anyio.move_on_after(WAIT_S):
                    while True:
                        raw += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError, OSError):
                pass
    return raw


async def fuzz(server: str, count: int, seed: int) -> Tally:
    async with stand(server) as at:
        return await Run(at, count, seed).go()


async def report(count: int, seed: int, server: str | None) -> int:
    """Prints the tallies; 1 if there is a fault."""
    faults = 0
    for each in [server] if server else list(SERVERS):
        tally = await fuzz(each, count, seed)
        sys.stdout.write(f"{tally}\n")
        sys.stdout.flush()
        faults += len(tally.faults)
    return int(faults > 0)
