"""The scripted provider: what it says, what it remembers, and what it knows of the caller's leaving."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from ogw_asgi.testing import (
    Break,
    Hang,
    RecordedRequest,
    Reply,
    Script,
    ScriptedUpstream,
    SharedEvent,
    StreamingASGITransport,
    Wait,
    answer,
    chat,
    error,
    hang,
    hold,
    raw,
    serve,
    stream,
)

pytestmark = pytest.mark.anyio

PATH = "/v1/chat/completions"


def contents(sse: str) -> str:
    data = [line.removeprefix("data: ") for line in sse.splitlines() if line]
    assert data[-1] == "[DONE]"
    deltas = [choice["delta"] for item in data[:-1] for choice in json.loads(item)["choices"]]
    return "".join(delta.get("content", "") for delta in deltas)


async def test_a_failover_test_takes_six_lines() -> None:
    primary, backup = ScriptedUpstream(error(503)), ScriptedUpstream(chat("Hi there"))
    with anyio.fail_after(5):
        async with primary.client() as first, backup.client() as second:
            reply = await first.post(PATH, json={"model": "m"})
            reply = await second.post(PATH, json={"model": "m"}) if reply.is_error else reply
    assert reply.json()["choices"][0]["message"]["content"] == "Hi there"
    assert (len(primary.requests), len(backup.requests)) == (1, 1)


async def test_replies_are_played_in_order_and_the_last_is_repeated() -> None:
    upstream = ScriptedUpstream(error(500), error(429), answer())
    with anyio.fail_after(5):
        async with upstream.client() as client:
            assert [(await client.post(PATH)).status_code for _ in range(4)] == [500, 429, 200, 200]


async def test_a_strict_script_refuses_what_it_does_not_foresee() -> None:
    upstream = ScriptedUpstream(answer(), strict=True)
    with anyio.fail_after(5):
        async with upstream.client() as client:
            assert (await client.post(PATH)).status_code == 200
            refused = await client.post(PATH)
    assert refused.status_code == 500
    assert refused.json()["error"]["message"] == "script exhausted"


async def test_a_function_chooses_by_the_request() -> None:
    def choose(request: RecordedRequest) -> Script:
        return chat(request.json["model"]) if request.header("Authorization") else error(401)

    with anyio.fail_after(5):
        async with ScriptedUpstream(choose).client() as client:
            assert (await client.post(PATH, json={"model": "m"})).status_code == 401
            reply = await client.post(PATH, json={"model": "m"}, headers={"authorization": "Bearer k"})
    assert reply.json()["choices"][0]["message"]["content"] == "m"


async def test_a_new_script_takes_over_from_the_next_request() -> None:
    upstream = ScriptedUpstream(error(503))
    with anyio.fail_after(5):
        async with upstream.client() as client:
            assert (await client.post(PATH)).status_code == 503
            upstream.script(answer())
            assert (await client.post(PATH)).status_code == 200
    with pytest.raises(ValueError, match="at least one"):
        upstream.script()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ({"stream": True}, "text/event-stream"),
        ({"stream": False}, "application/json"),
        ([], "application/json"),
    ],
)
async def test_chat_answers_as_the_request_asks(body: Any, content_type: str) -> None:
    with anyio.fail_after(5):
        async with ScriptedUpstream(chat("Hello big world")).client() as client:
            reply = await client.post(PATH, json=body)
    assert reply.headers["content-type"] == content_type
    if content_type == "text/event-stream":
        assert contents(reply.text) == "Hello big world"
    else:
        assert reply.json()["choices"][0]["message"]["content"] == "Hello big world"


async def test_chat_streams_usage_when_it_is_asked_for() -> None:
    with anyio.fail_after(5):
        async with ScriptedUpstream().client() as client:
            asked = {"stream": True, "stream_options": {"include_usage": True}}
            assert '"usage":{' in (await client.post(PATH, json=asked)).text
            assert '"usage":{' not in (await client.post(PATH, json={"stream": True})).text


@pytest.mark.parametrize(
    ("reply", "asked", "content_type"),
    [(answer(), True, "application/json"), (stream(), False, "text/event-stream")],
)
async def test_answer_and_stream_ignore_what_was_asked(reply: Reply, asked: bool, content_type: str) -> None:
    with anyio.fail_after(5):
        async with ScriptedUpstream(reply).client() as client:
            response = await client.post(PATH, json={"stream": asked})
    assert response.headers["content-type"] == content_type


async def test_every_byte_of_a_request_is_kept() -> None:
    upstream = ScriptedUpstream()
    path = "/openai/deployments/a%20b/chat/completions?api-version=2024-10-21&x=%31"
    headers = [(b"X-Twice", b"1"), (b"x-twice", b"\xe9")]
    with anyio.fail_after(5):
        async with upstream.client() as client:
            await client.post(path, content=b'{ "a":  1}', headers=headers)
    (request,) = upstream.requests
    assert (request.method, request.path) == ("POST", "/openai/deployments/a b/chat/completions")
    assert request.raw_path == b"/openai/deployments/a%20b/chat/completions"
    assert request.query == b"api-version=2024-10-21&x=%31"
    assert [pair for pair in request.headers if pair[0] == b"x-twice"] == [
        (b"x-twice", b"1"),
        (b"x-twice", b"\xe9"),
    ]
    assert (request.header("X-TWICE"), request.header("absent")) == ("1", None)
    assert (request.body, request.json) == (b'{ "a":  1}', {"a": 1})
    assert request.started_s > 0
    assert request.finished.is_set()
    assert not request.closed.is_set()


async def test_a_recorded_key_does_not_show_in_the_repr() -> None:
    upstream = ScriptedUpstream()
    with anyio.fail_after(5):
        async with upstream.client() as client:
            await client.post(PATH, headers={"authorization": "Bearer sk-c4n4ry-secret"})
    assert "sk-c4n4ry-secret" not in repr(upstream.requests)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models", 200),
        ("POST", "/v1/models", 405),
        ("GET", PATH, 405),
        ("POST", "/v1/embeddings", 404),
    ],
)
async def test_other_requests_are_answered_without_using_up_the_script(method: str, path: str, status: int) -> None:
    upstream = ScriptedUpstream(answer("first"), error(500), models=["a", "b"])
    with anyio.fail_after(5):
        async with upstream.client() as client:
            other = await client.request(method, path)
            assert (await client.post(PATH)).json()["choices"][0]["message"]["content"] == "first"
    assert other.status_code == status
    if status == 200:
        assert [model["id"] for model in other.json()["data"]] == ["a", "b"]
    else:
        assert other.json()["error"]["type"] == "invalid_request_error"


async def test_raw_chunks_are_exact_and_each_comes_alone() -> None:
    upstream = ScriptedUpstream(raw(200, {"X-A": "1"}, [b"da", b"ta: \xff", b"\n\n"]))
    with anyio.fail_after(5):
        async with upstream.client() as client, client.stream("POST", PATH) as response:
            chunks = [chunk async for chunk in response.aiter_raw()]
    assert response.headers.raw == [(b"x-a", b"1")]
    assert chunks == [b"da", b"ta: \xff", b"\n\n"]


async def test_a_gate_holds_the_stream_behind_its_first_piece() -> None:
    gate = anyio.Event()
    upstream = ScriptedUpstream(stream([b"1", b"2"], gate=gate, role_first=False, finish_reason=None, done=False))
    with anyio.fail_after(5):
        async with upstream.client() as client, client.stream("POST", PATH) as response:
            chunks = response.aiter_raw()
            assert await anext(chunks) == b"1"
            await anyio.wait_all_tasks_blocked()
            assert not upstream.requests[0].finished.is_set()
            gate.set()
            assert [chunk async for chunk in chunks] == [b"2"]


async def test_hold_delays_the_head() -> None:
    gate, replies = anyio.Event(), []
    upstream = ScriptedUpstream(hold(chat(), until=gate))

    async def ask(client: httpx.AsyncClient) -> None:
        replies.append(await client.post(PATH))

    with anyio.fail_after(5):
        async with upstream.client() as client, anyio.create_task_group() as group:
            group.start_soon(ask, client)
            await upstream.wait_for_requests()
            await anyio.wait_all_tasks_blocked()
            assert replies == []
            gate.set()
    assert replies[0].status_code == 200


async def test_break_cuts_the_stream() -> None:
    upstream = ScriptedUpstream(stream(["Hel", Break(), "lo"]))
    with anyio.fail_after(5):
        async with upstream.client() as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(PATH)
    assert upstream.requests[0].finished.is_set()
    assert not upstream.requests[0].closed.is_set()


@pytest.mark.parametrize(
    "reply", [hang(), hang(before="body"), stream(["a", Hang()]), stream(["a", Wait(SharedEvent())])]
)
async def test_it_knows_when_a_waiting_caller_has_left(reply: Reply) -> None:
    upstream = ScriptedUpstream(reply)

    async def ask(client: httpx.AsyncClient) -> None:
        await client.post(PATH)

    with anyio.fail_after(5):
        async with upstream.client() as client:
            async with anyio.create_task_group() as group:
                group.start_soon(ask, client)
                (request,) = await upstream.wait_for_requests(1)
                await anyio.wait_all_tasks_blocked()
                assert not request.closed.is_set()
                group.cancel_scope.cancel()
            await request.closed.wait()
            await request.finished.wait()


async def test_it_knows_when_a_caller_leaves_in_mid_stream() -> None:
    upstream = ScriptedUpstream(raw(200, {}, [b"1", b"2", b"3"]))
    with anyio.fail_after(5):
        async with StreamingASGITransport(upstream) as transport:
            response = await transport.handle_async_request(httpx.Request("POST", "http://u" + PATH))
            assert isinstance(response.stream, httpx.AsyncByteStream)
            assert await anext(aiter(response.stream)) == b"1"
            await response.aclose()
    assert upstream.requests[0].closed.is_set()


async def test_served_from_a_thread_it_tells_this_loop_what_happens_there() -> None:
    gate = SharedEvent()
    upstream = ScriptedUpstream(stream(["a", "b"], gate=gate), stream(["a", Break()]), hang())
    with anyio.fail_after(10):
        async with serve(upstream) as url, httpx.AsyncClient(base_url=url) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(client.post, PATH)
                (request,) = await upstream.wait_for_requests(1)
                gate.set()
            await request.finished.wait()
            assert not request.closed.is_set()
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(PATH)
            async with anyio.create_task_group() as group:
                group.start_soon(client.post, PATH)
                *_, hanging = await upstream.wait_for_requests(3)
                group.cancel_scope.cancel()
            await hanging.closed.wait()


async def test_one_upstream_serves_one_loop_after_another() -> None:
    upstream = ScriptedUpstream(error(500), answer())

    async def ask() -> int:
        with anyio.fail_after(5):
            async with upstream.client() as client:
                status = (await client.post(PATH)).status_code
                await upstream.wait_for_requests(1)
                return status

    statuses = [
        await anyio.to_thread.run_sync(partial(anyio.run, ask, backend=backend)) for backend in ("trio", "asyncio")
    ]
    assert statuses == [500, 200]


async def test_it_refuses_websockets() -> None:
    async def unused(*_: Any) -> Any:
        raise AssertionError

    with pytest.raises(RuntimeError, match="websocket"):
        await ScriptedUpstream()({"type": "websocket"}, unused, unused)


async def test_a_caller_that_leaves_in_mid_upload_is_recorded_with_what_came() -> None:
    upstream = ScriptedUpstream()

    async def upload() -> AsyncIterator[bytes]:
        yield b"first"
        await anyio.wait_all_tasks_blocked()
        raise OSError("the caller broke")

    with anyio.fail_after(5):
        async with upstream.client() as client:
            with pytest.raises(OSError, match="the caller broke"):
                await client.post(PATH, content=upload())
            (request,) = await upstream.wait_for_requests()
            await request.closed.wait()
    assert request.body == b"first"


@pytest.mark.parametrize("reply", [Reply(before_head=(Break(),)), raw(200, {}, [b"a", Break()])])
async def test_break_may_come_before_the_head_or_last(reply: Reply) -> None:
    upstream = ScriptedUpstream(reply)
    with anyio.fail_after(10):
        async with serve(upstream, lifespan="on", http="h11") as url, httpx.AsyncClient(base_url=url) as client:
            if reply.before_head:
                assert (await client.post(PATH)).status_code == 500  # what uvicorn makes of an app without a head
            else:
                with pytest.raises(httpx.RemoteProtocolError):
                    await client.post(PATH)
    assert upstream.requests[0].finished.is_set()


async def test_a_reply_without_a_body_ends_with_its_head() -> None:
    with anyio.fail_after(5):
        async with ScriptedUpstream(raw(204, {}, [])).client() as client:
            reply = await client.post(PATH)
    assert (reply.status_code, reply.content) == (204, b"")


async def test_it_takes_part_in_the_lifespan_of_its_server() -> None:
    asked = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = []

    async def receive() -> Any:
        return asked.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await ScriptedUpstream()({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
