"""python -m tests.auth.flood: what a flood of wrong tokens costs those who have a right one.

Three parts, some two minutes, by hand. In one process: how many refusals and how many answers a second, with no socket
between and the provider in the same process; and what 10^5 wrong tokens leave behind. Then over sockets, each party a
process of its own and the server pinned to a core of its own: the waits of a caller who asks 50 times a second, alone
and beside floods of so many wrong tokens a second, each on a connection of its own, with a body announced that is never
sent. The ratios are what matters; a busy machine spoils them.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from ogw_asgi import Gateway, OpenAI, bearer_tokens
from ogw_asgi.testing import ScriptedUpstream, answer
from tests.asgi.hosts import QUESTION, http_scope

TOKEN = "a-token-that-nobody-can-guess-0123456789"
TOKENS = [TOKEN, *(f"{number:040}" for number in range(99))]
BODY = json.dumps(QUESTION).encode()
HEAD = "POST /chat/completions HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\n"
GOOD = (HEAD.format(TOKEN) + f"content-length: {len(BODY)}\r\n\r\n").encode() + BODY
WRONG = (HEAD.format("wrong") + "content-length: 1000000\r\n\r\n").encode()
EVERY_S, ASKED = 0.02, 500


def gateway(client: Any) -> Gateway:
    return Gateway(providers=[OpenAI(api_key="k", client=client)], authenticate=bearer_tokens(TOKENS))


# --- in one process ---------------------------------------------------------------------------------------------------


async def ask(app: Any, token: str) -> int:
    messages = [{"type": "http.request", "body": BODY, "more_body": False}]
    left = asyncio.Event()
    status = 0

    async def receive() -> Any:
        if not messages:
            await left.wait()
        return messages.pop()

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    headers = [(b"content-type", b"application/json"), (b"authorization", f"Bearer {token}".encode())]
    await app(http_scope(headers=headers), receive, send)
    await asyncio.sleep(0)
    return status


def rss_kib() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 10


async def in_one_process() -> None:
    async with ScriptedUpstream(answer()).client() as client, gateway(client) as app:
        for token, status, count in ((TOKEN, 201, 1000), ("wrong", 401, 10_000)):
            assert await ask(app, token) == status
            began_s = time.process_time()
            for number in range(count):
                await ask(app, token if status == 201 else f"wrong-{number}")
            each_us = (time.process_time() - began_s) / count * 1e6
            sys.stdout.write(f"{status}: {each_us:7.0f} us, {1e6 / each_us:7.0f} a second\n")
        gc.collect()
        before = len(gc.get_objects()), rss_kib()
        for number in range(100_000):
            await ask(app, f"wrong-{number}")
        gc.collect()
        grown = len(gc.get_objects()) - before[0], rss_kib() - before[1]
        sys.stdout.write(f"after 100,000 wrong tokens: {grown[0]:+} objects, {grown[1]:+} KiB\n")


# --- over sockets -----------------------------------------------------------------------------------------------------


async def serve() -> None:
    async with ScriptedUpstream(answer()).client() as client:
        config = uvicorn.Config(gateway(client), port=0, log_level="warning", access_log=False)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - it has no event for that
            await asyncio.sleep(0.01)
        sys.stdout.write(f"{server.servers[0].sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await task


async def flood(port: int, a_second: int) -> None:
    """Until it is ended. Says how many were refused so far, at every second."""
    refused = 0

    async def one() -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(WRONG)
        answered = await reader.read()
        refused += answered.startswith(b"HTTP/1.1 401")
        writer.close()

    async with asyncio.TaskGroup() as group:
        began_s, started = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - began_s) * a_second)
            for _ in range(min(due - started, 200)):
                group.create_task(one())
            started = due
            sys.stdout.write(f"{refused} {time.monotonic() - began_s}\n")
            sys.stdout.flush()
            await asyncio.sleep(0.01)


@contextmanager
def beside(core: int, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.auth.flood", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, {core})
        try:
            yield process
        finally:
            process.kill()


async def waits_ms(port: int) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    waits: list[float] = []
    for _ in range(ASKED):
        began_s = time.monotonic()
        writer.write(GOOD)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 201"), head
        length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
        await reader.readexactly(int(length.partition(b" ")[2]))
        waits.append((time.monotonic() - began_s) * 1000)
        await asyncio.sleep(max(0, began_s + EVERY_S - time.monotonic()))
    writer.close()
    return sorted(waits)


def told(port: int, a_second: int) -> tuple[float, float, float]:
    if not a_second:
        waits, rate = asyncio.run(waits_ms(port)), 0.0
    else:
        with beside(1, "flood", str(port), str(a_second)) as flooding:
            assert flooding.stdout is not None
            flooding.stdout.readline()
            waits = asyncio.run(waits_ms(port))
            flooding.kill()
            *_, last = (line.split() for line in flooding.stdout if line.endswith("\n"))
            rate = int(last[0]) / float(last[1])
    return waits[len(waits) // 2], waits[int(len(waits) * 0.99)], rate


def over_sockets() -> None:
    with beside(0, "serve") as serving:
        assert serving.stdout is not None
        port = int(serving.stdout.readline())
        os.sched_setaffinity(0, {1})
        told(port, 0)  # warm
        alone = told(port, 0)
        sys.stdout.write(f"{'wrong tokens a second':24}{'p50 ms':>8}{'p99 ms':>8}{'x p50':>8}{'x p99':>8}\n")
        for a_second in (0, 100, 300, 600):
            p50, p99, rate = told(port, a_second)
            sys.stdout.write(f"{rate:<24.0f}{p50:8.2f}{p99:8.2f}{p50 / alone[0]:8.2f}{p99 / alone[1]:8.2f}\n")
            sys.stdout.flush()


def main(arguments: list[str]) -> None:
    match arguments:
        case ["serve"]:
            asyncio.run(serve())
        case ["flood", port, a_second]:
            asyncio.run(flood(int(port), int(a_second)))
        case _:
            asyncio.run(in_one_process())
            over_sockets()


if __name__ == "__main__":
    main(sys.argv[1:])
