"""F53 to F56: callers who do not read, or do not send what they announced."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from ogw_asgi import Limits, Timeouts, bearer_tokens
from ogw_asgi.telemetry.events import RequestEnded
from ogw_asgi.testing import RawUpstream, chunked, http_response

from .caller import Exchange, Reply, connected, request
from .faults import Endless
from .selection import Case
from .watching import Heard, assert_unmoved, question, turns
from .wire import JSON, SSE_HEAD, completion, delta
from .world import Good, OpenWorld, World

pytestmark = pytest.mark.anyio

TOKEN = "a-token-that-nobody-can-guess-0123456789"
SLOW = Timeouts(upload_stall_s=0.1)
SMALL = Limits(body_bytes=1000)


def head_of(**headers: str) -> bytes:
    """The head of a request, and nothing of its body."""
    lines = ["POST /chat/completions HTTP/1.1", "host: gateway.test", "content-type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


async def refused(world: World, exchange: Exchange, status: int, code: str) -> Reply:
    """What the caller gets for a body that is still unread: the refusal, and the end of the connection."""
    reply = await exchange.rest()
    world.received.append(bytes(exchange.raw).decode("latin-1"))
    assert (reply.status, reply.error["code"]) == (status, code)
    assert reply.ended
    assert reply.header("connection") == "close"
    assert reply.header("x-opengateway-attempts") is None
    assert set(world.calls().values()) == {0}
    return reply


# --- F53 --------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def caller_with_little_room(port: int, sent: bytes) -> AsyncIterator[Exchange]:
    """Its kernel takes some KiB of the answer, and no more until it reads."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", port))
        sock.setblocking(False)
        exchange = Exchange(sock)
        await exchange.send(sent)
        yield exchange


@pytest.mark.fault("F53")
async def test_a_caller_who_reads_nothing_is_gone_at_the_send_limit(open_world: OpenWorld, case: Case) -> None:
    heard = Heard()
    if case.stream:
        much = RawUpstream(Endless(SSE_HEAD, chunked(delta("x" * 10_000))))
    else:
        much = RawUpstream([http_response(200, completion("x" * (16 << 20)), JSON)])
    # A plain answer has been read to its end before the caller gets any of it; asyncio's servers keep the whole of it.
    idle = () if case.stream else ["one"]
    async with open_world(one=much, two=Good(), idle=idle, sinks=[heard], timeouts=Timeouts(send_s=0.2)) as world:
        async with caller_with_little_room(world.port, request(question(stream=case.stream))) as exchange:
            if case.stream:
                await much.peer_closed()
            if case.loop != "trio":  # where hypercorn shields its send: all that can be ended is the provider's side
                await heard.until(RequestEnded)
                await world.settled()
            reply = await exchange.rest()
            await heard.until(RequestEnded)
            assert reply.status == 201
            if case.stream:
                assert not reply.ended, "what it reads after all ends in the middle"
        assert [ended.outcome for ended in heard.of(RequestEnded)] == ["left"]
        assert world.calls() == {"one": 1, "two": 0}
        assert_unmoved(world)


# --- F54 --------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("F54")
@pytest.mark.parametrize("drips", [True, False], ids=["byte by byte", "nothing at all"])
async def test_an_upload_that_stalls_is_a_408_and_calls_nobody(open_world: OpenWorld, drips: bool) -> None:
    async with open_world(one=Good(), timeouts=SLOW) as world:
        async with connected(world.port) as exchange:
            await exchange.send_raw(head_of(content_length="1000"))
            started_s = anyio.current_time()
            answered = False
            while not answered:
                with anyio.move_on_after(0.02):
                    await exchange.head()
                    answered = True
                if drips and not answered:
                    await exchange.send_raw(b"x")
            assert anyio.current_time() - started_s >= 0.1 - 0.001  # a tick of uvloop's clock
            await refused(world, exchange, 408, "body_timeout")
        await world.settled()


# --- F55 --------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("F55")
async def test_a_body_that_is_announced_too_long_is_refused_before_it_is_sent(open_world: OpenWorld) -> None:
    async with open_world(one=Good(), limits=SMALL) as world:
        async with connected(world.port) as exchange:
            await exchange.send_raw(head_of(content_length="1001"))
            await refused(world, exchange, 413, "body_too_large")
        await world.settled()


@pytest.mark.fault("F55")
async def test_a_body_in_chunks_is_refused_when_it_passes_the_limit(open_world: OpenWorld) -> None:
    async with open_world(one=Good(), limits=SMALL) as world:
        async with connected(world.port) as exchange:
            await exchange.send_raw(head_of(transfer_encoding="chunked") + chunked(b" " * 1000))
            while not world.app.in_flight:
                await turns(1)
            await turns()
            assert not exchange.raw, "so much is allowed"
            await exchange.send_raw(chunked(b" "))
            await refused(world, exchange, 413, "body_too_large")
        await world.settled()


@pytest.mark.fault("F55")
@pytest.mark.parametrize(
    "framing", [{"content_length": "1001"}, {"transfer_encoding": "chunked"}], ids=["length", "chunks"]
)
async def test_with_a_wrong_token_it_is_a_401_and_not_a_byte_of_it_is_asked_for(
    open_world: OpenWorld, framing: dict[str, str]
) -> None:
    async with open_world(one=Good(), limits=SMALL, authenticate=bearer_tokens([TOKEN])) as world:
        async with connected(world.port) as exchange:
            await exchange.send_raw(head_of(authorization=f"Bearer {TOKEN[:-1]}", **framing))
            reply = await refused(world, exchange, 401, "invalid_api_key")
            assert reply.header("www-authenticate") == "Bearer"
        await world.settled()


# --- F56 --------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("F56")
@pytest.mark.parametrize("way", ["fin", "half-close"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_a_body_shorter_than_announced_calls_nobody_and_is_no_error_of_ours(
    open_world: OpenWorld, case: Case, framing: str, way: str
) -> None:
    body = question(stream=case.stream)
    short = head_of(content_length=str(len(body) + 1)) + body
    if framing == "chunks":
        short = head_of(transfer_encoding="chunked") + chunked(body)
    async with open_world(one=Good()) as world:
        async with connected(world.port) as exchange:
            await exchange.send_raw(short)
            while not world.app.in_flight:
                await turns(1)
            await turns()
            exchange.leave("fin" if way == "fin" else "half-close")
            await world.settled()
            while await exchange.read_some():
                pass
            assert b" 500 " not in exchange.raw
            assert b" 201 " not in exchange.raw
        assert world.calls() == {"one": 0}
        assert not [record for record in world.complaints.records if record.levelname in ("WARNING", "ERROR")]
