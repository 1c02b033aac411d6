"""A principal's requests in flight: counted by its id, and every way out gives the place back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from starlette.requests import HTTPConnection

from ogw_asgi import Principal, bearer_tokens
from ogw_asgi.testing import Break, ScriptedUpstream, SharedEvent, chat, error, hang, hold, stream
from tests.asgi.hosts import QUESTION, STREAMED, http_scope
from tests.contract.harness import World, gateway_of

pytestmark = pytest.mark.anyio

A, B = "a-token-of-team-a-0123456789-0123456789", "a-token-of-team-b-0123456789-0123456789"
ONE_EACH: dict[str | Principal, list[str]] = {
    Principal("team-a", in_flight=1): [A],
    Principal("team-b", in_flight=1): [B],
}


class Call:
    """One request, told to the gateway as a server tells it."""

    def __init__(self, world: World, token: str | None = A, body: bytes = b"", headers: Any = ()) -> None:
        self.messages: list[dict[str, Any]] = []
        self.gone = anyio.Event()
        self.on_last: Callable[[], Any] | None = None
        self.fails_after: int | None = None
        self._world = world
        self._body: bytes | None = body or json.dumps(QUESTION).encode()
        mine = [(b"content-type", b"application/json"), *headers]
        self._headers = mine if token is None else [*mine, (b"authorization", f"Bearer {token}".encode())]

    async def run(self) -> Call:
        await self._world.gateway(http_scope(headers=self._headers), self._receive, self._send)
        return self

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if self.fails_after is not None and len(self.messages) >= self.fails_after:
            raise OSError("nobody listens")
        self.messages.append(dict(message))
        if message["type"] == "http.response.body" and not message.get("more_body") and self.on_last is not None:
            await self.on_last()

    @property
    def body_is_read(self) -> bool:
        return self._body is None

    @property
    def reply(self) -> httpx.Response:
        head, *parts = self.messages
        body = b"".join(part.get("body", b"") for part in parts)
        return httpx.Response(head["status"], headers=head["headers"], content=body)


def places(world: World) -> int:
    """Principals of whom anything is remembered."""
    return len(world.gateway.app.completions.places)


@asynccontextmanager
async def one_each(*script: Any, **settings: Any) -> AsyncIterator[tuple[World, ScriptedUpstream]]:
    upstream = ScriptedUpstream(*script)
    async with gateway_of(openai=upstream, authenticate=bearer_tokens(ONE_EACH), **settings) as world:
        yield world, upstream


@pytest.mark.contract("1.rate-limited.in-flight")
async def test_beyond_its_limit_a_principal_is_refused_at_the_door_and_others_are_not() -> None:
    release = SharedEvent()
    async with one_each(hold(chat(), until=release), chat(), chat()) as (world, upstream):
        first = Call(world)
        async with anyio.create_task_group() as group:
            group.start_soon(first.run)
            await upstream.wait_for_requests()
            refused = await Call(world).run()
            other = await Call(world, B).run()
            release.set()
        assert first.reply.status_code == other.reply.status_code == 201
        assert not refused.body_is_read
        reply = refused.reply
        found = reply.json()["error"]
        assert (reply.status_code, found["code"], found["type"]) == (429, "principal_overloaded", "rate_limit_error")
        assert (reply.headers["retry-after"], reply.headers["retry-after-ms"]) == ("1", "1000")
        assert reply.headers["connection"] == "close"
        assert "x-should-retry" not in reply.headers, "a client that asks again within seconds does right"
        assert len(upstream.requests) == 2
        assert (await Call(world).run()).reply.status_code == 201
        assert places(world) == 0


@pytest.mark.contract("1.rate-limited.in-flight")
async def test_it_is_the_id_that_counts_whatever_object_it_comes_in_and_whichever_token() -> None:
    def authenticate(connection: HTTPConnection) -> Principal | None:
        return Principal("team-a", in_flight=int(connection.headers["x-most"]))

    release = SharedEvent()
    upstream = ScriptedUpstream(hold(chat(), until=release))
    async with gateway_of(openai=upstream, authenticate=authenticate) as world:
        async with anyio.create_task_group() as group:
            for count in (1, 2, 3):
                group.start_soon(Call(world, headers=[(b"x-most", b"3")]).run)
                await upstream.wait_for_requests(count)
            statuses = [
                (await Call(world, headers=[(b"x-most", b"%d" % most)]).run()).reply.status_code for most in (1, 3)
            ]
            release.set()
        assert statuses == [429, 429]
        assert places(world) == 0


async def test_without_a_limit_nothing_is_counted() -> None:
    release = SharedEvent()
    upstream = ScriptedUpstream(hold(chat(), until=release))
    async with gateway_of(openai=upstream, authenticate=bearer_tokens({"team-a": [A]})) as world:
        async with anyio.create_task_group() as group:
            for count in (1, 2, 3):
                group.start_soon(Call(world).run)
                await upstream.wait_for_requests(count)
            assert places(world) == 0
            release.set()


async def test_a_principal_that_the_host_has_named_is_held_to_its_limit() -> None:
    release = SharedEvent()
    upstream = ScriptedUpstream(hold(chat(), until=release))

    async with gateway_of(openai=upstream) as world:
        scope = {"ogw_asgi.principal": Principal("team-a", in_flight=1)}

        async def host(inner: Any, receive: Any, send: Any) -> None:
            await original(inner | scope, receive, send)

        original = world.gateway.app.completions
        first, second = Call(world), Call(world)
        async with anyio.create_task_group() as group:
            group.start_soon(host, http_scope(), first._receive, first._send)
            await upstream.wait_for_requests()
            await host(http_scope(), second._receive, second._send)
            release.set()
        assert (first.reply.status_code, second.reply.status_code) == (201, 429)


# --- ways out ---------------------------------------------------------------------------------------------------------

BAD_HEADER = [(b"x-opengateway-timeout", b"soon")]
WAYS: dict[str, tuple[Any, dict[str, Any], int]] = {
    "a whole answer": (chat(), {}, 201),
    "a whole stream": (chat(), {"body": json.dumps(STREAMED).encode()}, 201),
    "a broken stream": (stream(["Hel", Break()]), {"body": json.dumps(STREAMED).encode()}, 201),
    "a bad header": (chat(), {"headers": BAD_HEADER}, 400),
    "a bad body": (chat(), {"body": b"{"}, 400),
    "all failed": (error(500), {}, 502),
    "refused by the provider": (error(400), {}, 400),
}


@pytest.mark.contract("1.rate-limited.room")
@pytest.mark.parametrize(("reply", "request_", "status"), WAYS.values(), ids=WAYS)
async def test_whatever_the_answer_it_gives_the_place_back(reply: Any, request_: Any, status: int) -> None:
    async with one_each(reply) as (world, _):
        for _ in range(3):
            assert (await Call(world, **request_).run()).reply.status_code == status
            assert places(world) == 0


@pytest.mark.contract("1.rate-limited.room")
@pytest.mark.parametrize("body", [QUESTION, STREAMED, {}], ids=["plain", "stream", "refused"])
async def test_whoever_asks_again_as_soon_as_the_answer_is_over_does_not_meet_itself(body: Any) -> None:
    async with one_each(chat()) as (world, _):
        call, next_call = Call(world, body=json.dumps(body).encode()), Call(world)
        call.on_last = next_call.run
        await call.run()
        assert next_call.reply.status_code == 201
        assert places(world) == 0


@pytest.mark.contract("1.rate-limited.room")
@pytest.mark.parametrize(
    "script", [hang(), stream(["Hel"], gate=SharedEvent())], ids=["before the head", "in the stream"]
)
@pytest.mark.parametrize("way", ["leaves", "is cancelled"])
async def test_a_caller_that_leaves_gives_its_place_back(script: Any, way: str) -> None:
    async with one_each(script) as (world, upstream):
        for count in (1, 2):
            call = Call(world, body=json.dumps(STREAMED).encode())
            async with anyio.create_task_group() as group:
                group.start_soon(call.run)
                await upstream.wait_for_requests(count)
                assert places(world) == 1
                if way == "leaves":
                    call.gone.set()
                else:
                    group.cancel_scope.cancel()
            assert places(world) == 0


@pytest.mark.contract("1.rate-limited.room")
@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_caller_that_cannot_be_sent_to_gives_its_place_back(after: int) -> None:
    async with one_each(chat("a b c")) as (world, _):
        call = Call(world, body=json.dumps(STREAMED).encode())
        call.fails_after = after
        await call.run()
        assert len(call.messages) == after
        assert places(world) == 0


async def test_what_is_remembered_of_many_principals_is_gone_with_their_requests() -> None:
    def authenticate(connection: HTTPConnection) -> Principal | None:
        return Principal(connection.headers["x-who"], in_flight=1)

    release = SharedEvent()
    upstream = ScriptedUpstream(hold(chat(), until=release))
    async with gateway_of(openai=upstream, authenticate=authenticate) as world:
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(Call(world, headers=[(b"x-who", b"user-%d" % number)]).run)
            await upstream.wait_for_requests(50)
            assert places(world) == 50
            release.set()
        assert places(world) == 0
