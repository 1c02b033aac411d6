"""An exchange that is cancelled at any of its awaits closes its socket, gives its slot back and harms nobody after it.

Every run is followed by a plain request. Each answer names the request that it is for, so that a connection that was
kept in a bad state shows, whichever way it was bad.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from random import Random
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
import trustme

from ogw_asgi import Gateway, Limits, OpenAI, Timeouts
from ogw_asgi._dispatch.slots import Slots
from ogw_asgi.transports.base import Transport, TransportFailure

from .cancelling import (
    Cancellation,
    Means,
    Moment,
    cancelled_after,
    count_tasks,
    means_here,
    nothing_unheard,
    until,
)
from .echo import Answer, EchoServer, echo_server, expected, request_body, settle
from .engines import NO_AUTHORITIES, Engine, fetch, request_to
from .servers import certified, trusting

pytestmark = pytest.mark.anyio

AUTHORITY = trustme.CA()

Ask = Callable[[Answer], Coroutine[Any, Any, None]]
"""A whole exchange with that answer, which must be its own."""


class Asker:
    def __init__(self, transport: Transport, url: str) -> None:
        self._transport = transport
        self._url = url
        self._number = 0

    async def __call__(self, answer: Answer) -> None:
        self._number += 1
        number = self._number
        request = request_to(self._url, body=request_body(answer, number))
        assert (await fetch(self._transport, request)).body == expected(answer, number)


async def at_one_await(server: EchoServer, ask: Ask, answer: Answer, *, kept: bool, cancellation: Cancellation) -> None:
    """One run. Nothing is connected before it, and nothing after it."""
    tasks = count_tasks()
    if kept:
        await ask("length")
    answered = server.answered
    await cancellation.run(lambda: ask(answer))
    await settle()
    left = server.foreign_sockets()
    # A connection is idle when it was not used yet or its answer was read to the end, and then it must be good.
    assert left <= (kept or server.answered > answered), f"{left} sockets are left"
    connections = server.connections
    await ask("last")
    assert server.connections == connections + 1 - left, "the connection that was left is not used again"
    await until(
        lambda: server.nobody_is_connected and count_tasks() == tasks,
        lambda: f"{server}; {count_tasks()} tasks instead of {tasks}",
    )


async def at_every_await(
    server: EchoServer,
    asker: Callable[[], AbstractAsyncContextManager[Ask]],
    answer: Answer,
    *,
    kept: bool,
    moment: Moment,
    means: Means,
) -> None:
    """Until two runs in a row ended by themselves: what the network does in between is not the same each time."""
    ended = cancelled = 0
    for n in count(0 if means == "scope" else 1):
        cancellation = Cancellation(n, moment, means)
        try:
            with anyio.fail_after(5):
                async with asker() as ask:
                    await at_one_await(server, ask, answer, kept=kept, cancellation=cancellation)
        except BaseException as error:
            error.add_note(f"{cancellation}, of {cancellation.awaits}")
            raise
        cancelled += cancellation.begun
        ended = 0 if cancellation.begun else ended + 1
        if ended == 2:
            break
    assert cancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    answer: Answer
    kept: bool = False
    tls: bool = False
    host: str = "127.0.0.1"


OPERATIONS: Mapping[str, Operation] = {
    "length": Operation(answer="length"),
    "length, kept": Operation(answer="length", kept=True),
    "chunks": Operation(answer="chunked"),
    "chunks, kept": Operation(answer="chunked", kept=True),
    "close-delimited": Operation(answer="delimited"),
    "close-delimited, kept": Operation(answer="delimited", kept=True),
    "TLS": Operation(answer="length", tls=True),
    "TLS, kept": Operation(answer="length", tls=True, kept=True),
    "large": Operation(answer="large"),
    "large, kept": Operation(answer="large", kept=True),
    "name": Operation(answer="length", host="localhost"),
    "re-sent": Operation(answer="none", kept=True),
}


SCOPES: list[Means] = ["scope"]


# A gateway cancels by scopes alone. It is cancelled by Task.cancel, too, below; an engine is in the long run.
@pytest.mark.parametrize("by", ["scope", pytest.param("every means", marks=pytest.mark.long)])
@pytest.mark.parametrize("moment", ["blocked", "resuming"])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
async def test_an_exchange(engine: Engine, operation: Operation, moment: Moment, by: str) -> None:
    trusting, certified = contexts() if operation.tls else (NO_AUTHORITIES, None)
    with nothing_unheard():
        async with echo_server(certified) as server:

            @asynccontextmanager
            async def asker() -> AsyncIterator[Ask]:
                transport = engine.make(verify=trusting)
                yield Asker(transport, server.url(operation.host))
                await transport.aclose()

            for means in means_here() if by == "every means" else SCOPES:
                await at_every_await(server, asker, operation.answer, kept=operation.kept, moment=moment, means=means)


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The client's and the server's."""
    return trusting(AUTHORITY), certified(AUTHORITY.issue_cert("127.0.0.1"))


class Caller:
    """Calls a gateway from the task that is cancelled, as a server would."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._number = 1000

    async def __call__(self, answer: Answer) -> None:
        self._number += 1
        unread = [{"type": "http.request", "body": request_body(answer, self._number)}]
        sent: list[Any] = []

        async def receive() -> Any:
            if not unread:
                await anyio.sleep_forever()
            return unread.pop()

        async def send(message: Any) -> None:
            await anyio.lowlevel.checkpoint()
            sent.append(message)

        await self._gateway(REQUEST_SCOPE, receive, send)
        body = b"".join([message.get("body", b"") for message in sent])
        assert sent[0]["status"] == 201, body
        assert b" %d" % self._number in body
        assert not sent[-1].get("more_body"), body


REQUEST_SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "POST",
    "scheme": "http",
    "path": "/chat/completions",
    "raw_path": b"/chat/completions",
    "root_path": "",
    "query_string": b"",
    "headers": [(b"host", b"gateway"), (b"content-type", b"application/json")],
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 2),
}


@pytest.mark.parametrize("moment", ["blocked", "resuming"])
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("answer", ["length", "chunked"])
async def test_a_call_of_a_gateway_with_one_slot(engine_name: Any, answer: Answer, kept: bool, moment: Moment) -> None:
    """The next call does not wait for a slot, so there must be one at once."""
    with nothing_unheard():
        async with echo_server() as server:
            gateway = Gateway(
                providers=[OpenAI(api_key="sk-c4n4ry-test", base_url=server.url("127.0.0.1"))],
                limits=Limits(concurrency=1),
                timeouts=Timeouts(slot_wait_s=0.001),
                engine=engine_name,
            )
            caller = Caller(gateway)

            @asynccontextmanager
            async def same_caller() -> AsyncIterator[Ask]:
                yield caller

            async with gateway:
                for means in means_here():
                    await at_every_await(server, same_caller, answer, kept=kept, moment=moment, means=means)


REQUESTS = 1200
WORKERS = 20


async def test_a_storm(engine: Engine) -> None:
    """1,200 requests of 20 workers for 10 slots, each cancelled after another number of turns of the loop."""
    chance = Random(1093)  # the number of the issue at encode/httpcore whose pool did not survive this
    tasks = count_tasks()
    ended = 0
    slots = Slots(10)
    means = means_here()
    with nothing_unheard(), anyio.fail_after(10):
        async with echo_server() as server:
            transport = engine.make()
            ask = Asker(transport, server.url("127.0.0.1"))
            storm = iter(
                [(chance.choice(STORM), int(2 ** chance.uniform(0, 8)), chance.choice(means)) for _ in range(REQUESTS)]
            )

            async def request(answer: Answer) -> None:
                nonlocal ended
                slot = await slots.acquire("target", 5)
                assert slot is not None
                try:
                    await ask(answer)
                except TransportFailure as failure:
                    if answer != "reset" or failure.kind != "reset":
                        raise
                finally:
                    slot.release()
                ended += 1

            async def work() -> None:
                for answer, turns, by in storm:
                    await cancelled_after(turns, partial(request, answer), by)

            async with anyio.create_task_group() as group:
                for _ in range(WORKERS):
                    group.start_soon(work)
            assert 0 < ended < REQUESTS
            assert slots.in_flight() == 0
            for _ in range(3):
                await request("length")
            await transport.aclose()
            await until(lambda: server.nobody_is_connected, lambda: str(server))
    assert count_tasks() == tasks


STORM: list[Answer] = ["length", "length", "chunked", "chunked", "delimited", "none", "reset"]
