"""The streaming in-process transport behaves as a server on a connection."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import httpx2
import pytest

from ogw_asgi.testing import StreamingASGITransport, asgi_client, streaming_transport

pytestmark = pytest.mark.anyio


def start(status: int = 200, headers: list[tuple[bytes, bytes]] | None = None) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers or []}


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def read_body(receive: Any) -> bytes:
    data, more = b"", True
    while more:
        message = await receive()
        assert message["type"] == "http.request"
        data += message["body"]
        more = message["more_body"]
    return data


async def echo(scope: Any, receive: Any, send: Any) -> None:
    data = await read_body(receive)
    await send(start(201, [(b"x-a", b"1"), (b"x-a", b"2")]))
    await send(body(data))


async def test_request_and_response_pass_unchanged() -> None:
    with anyio.fail_after(5):
        async with asgi_client(echo) as client:
            response = await client.post("/", content=b"\x00\xff" * 5)
    assert response.status_code == 201
    assert response.content == b"\x00\xff" * 5
    assert response.headers.get_list("x-a") == ["1", "2"]


async def test_the_scope_is_that_of_an_http_server() -> None:
    scopes = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await echo(scope, receive, send)

    transport = StreamingASGITransport(app, root_path="/llm", client=("10.1.2.3", 4))
    with anyio.fail_after(5):
        async with httpx.AsyncClient(transport=transport, base_url="https://h.test") as client:
            await client.get("/llm/a%20b?x=%31", headers={"X-Thing": "V"})
    (scope,) = scopes
    headers = dict(scope.pop("headers"))
    assert headers[b"x-thing"] == b"V"
    assert headers[b"host"] == b"h.test"
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": "/llm/a b",
        "raw_path": b"/llm/a%20b",
        "query_string": b"x=%31",
        "root_path": "/llm",
        "client": ("10.1.2.3", 4),
        "server": ("h.test", 443),
        "extensions": {},
    }


async def test_the_head_is_there_before_any_body_and_chunks_come_one_by_one() -> None:
    go = [anyio.Event(), anyio.Event()]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await go[0].wait()
        await send(body(b"a", more=True))
        await go[1].wait()
        await send(body(b"b"))

    with anyio.fail_after(5):
        async with asgi_client(app) as client, client.stream("GET", "/") as response:
            assert response.status_code == 200
            chunks = response.aiter_raw()
            go[0].set()
            assert await anext(chunks) == b"a"
            go[1].set()
            assert [chunk async for chunk in chunks] == [b"b"]


async def test_send_returns_only_when_its_chunk_was_read() -> None:
    sent = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        for number in range(3):
            await send(body(b"%d" % number, more=True))
            sent.append(number)
        await send(body())

    with anyio.fail_after(5):
        async with asgi_client(app) as client, client.stream("GET", "/") as response:
            await anyio.wait_all_tasks_blocked()
            assert sent == []
            chunks = response.aiter_raw()
            for number in range(3):
                assert await anext(chunks) == b"%d" % number
                await anyio.wait_all_tasks_blocked()
                assert sent == list(range(number + 1))
            assert [chunk async for chunk in chunks] == []


async def test_closing_the_response_gives_the_app_a_disconnect_and_waits_for_its_end() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await send(start())
        await send(body(b"a", more=True))
        seen.append((await receive())["type"])
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        seen.append("ended")

    with anyio.fail_after(5):
        async with StreamingASGITransport(app) as transport:
            request = httpx.Request("POST", "http://app/", content=b"x")
            response = await transport.handle_async_request(request)
            assert isinstance(response.stream, httpx.AsyncByteStream)
            assert await anext(aiter(response.stream)) == b"a"
            assert seen == []
            await response.aclose()
            assert seen == ["http.disconnect", "ended"]


async def test_closing_releases_an_app_that_is_blocked_in_send() -> None:
    ended = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        for _ in range(3):
            await send(body(b"never read", more=True))
        assert (await receive())["type"] == "http.disconnect"
        ended.set()

    with anyio.fail_after(5):
        async with asgi_client(app) as client:
            async with client.stream("GET", "/"):
                await anyio.wait_all_tasks_blocked()
            assert ended.is_set()


async def test_a_caller_cancelled_before_the_head_is_a_disconnect() -> None:
    asked, seen, told = anyio.Event(), [], anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        asked.set()
        seen.append(await receive())
        told.set()

    with anyio.fail_after(5):
        async with asgi_client(app) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(client.get, "/")
                await asked.wait()
                group.cancel_scope.cancel()
            await told.wait()
    assert seen == [{"type": "http.disconnect"}]


async def test_after_a_complete_response_receive_gives_the_disconnect() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"done"))
        seen.append((await receive())["type"])

    with anyio.fail_after(5):
        async with asgi_client(app) as client:
            assert (await client.post("/", content=b"unread")).content == b"done"
    assert seen == ["http.disconnect"]


async def test_a_body_without_an_end_is_a_protocol_error_after_its_chunks() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"half", more=True))

    with anyio.fail_after(5):
        async with asgi_client(app) as client, client.stream("GET", "/") as response:
            chunks = response.aiter_raw()
            assert await anext(chunks) == b"half"
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
                await anext(chunks)


async def test_an_exception_in_mid_body_is_a_protocol_error_with_its_cause_and_a_log_record(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"half", more=True))
        raise ValueError("broken app")

    with caplog.at_level(logging.ERROR, logger="ogw_asgi.testing"), anyio.fail_after(5):
        async with asgi_client(app) as client:
            with pytest.raises(httpx.RemoteProtocolError) as caught:
                await client.get("/")
    assert isinstance(caught.value.__cause__, ValueError)
    assert [record.name for record in caplog.records if record.levelno >= logging.ERROR] == ["ogw_asgi.testing"]


async def fails(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("broken app")


async def test_an_exception_before_the_head_reaches_the_caller() -> None:
    with anyio.fail_after(5):
        async with asgi_client(fails) as client:
            with pytest.raises(ValueError, match="broken app"):
                await client.get("/")


async def test_an_exception_before_the_head_is_a_500_on_request() -> None:
    with anyio.fail_after(5):
        async with asgi_client(fails, raise_app_exceptions=False) as client:
            response = await client.get("/")
    assert (response.status_code, response.text) == (500, "Internal Server Error")


async def test_an_app_that_says_nothing_is_a_500() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass

    with anyio.fail_after(5):
        async with asgi_client(app) as client:
            assert (await client.get("/")).status_code == 500


@pytest.mark.parametrize(
    "messages",
    [[body(b"x")], [start(), start()], [{"type": "http.response.push"}]],
    ids=["body before start", "two starts", "unknown message"],
)
async def test_an_app_that_breaks_asgi_is_told(messages: list[dict[str, Any]]) -> None:
    errors = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            for message in messages:
                await send(message)
        except RuntimeError as error:
            errors.append(str(error))

    with anyio.fail_after(5):
        async with asgi_client(app) as client:
            async with client.stream("GET", "/"):
                pass
    assert len(errors) == 1
    assert "http.response." in errors[0]


async def test_a_head_request_gets_no_body() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(headers=[(b"content-length", b"5")]))
        await send(body(b"hello"))

    with anyio.fail_after(5):
        async with asgi_client(app) as client:
            response = await client.head("/")
    assert (response.headers["content-length"], response.content) == ("5", b"")


async def test_an_upload_arrives_at_its_own_pace() -> None:
    received, more = [], anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        received.append(await receive())
        more.set()
        await echo(scope, receive, send)

    async def upload() -> AsyncIterator[bytes]:
        yield b"first"
        await more.wait()
        yield b"second"

    with anyio.fail_after(5):
        async with asgi_client(app) as client:
            response = await client.post("/", content=upload())
    assert received == [{"type": "http.request", "body": b"first", "more_body": True}]
    assert response.content == b"second"


async def test_an_upload_that_fails_is_a_disconnect_for_the_app() -> None:
    seen, told = [], anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        seen.append("http.disconnect")
        told.set()

    async def upload() -> AsyncIterator[bytes]:
        yield b"first"
        raise OSError("the disk is gone")

    with anyio.fail_after(5):
        async with asgi_client(app) as client:
            with pytest.raises(OSError, match="the disk is gone"):
                await client.post("/", content=upload())
            await told.wait()
    assert seen == ["http.disconnect"]


async def test_requests_run_side_by_side() -> None:
    both, inside = anyio.Event(), 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal inside
        inside += 1
        if inside == 2:
            both.set()
        await both.wait()
        await echo(scope, receive, send)

    with anyio.fail_after(5):
        async with asgi_client(app) as client, anyio.create_task_group() as group:
            group.start_soon(client.get, "/")
            group.start_soon(client.get, "/")
    assert inside == 2


async def test_leaving_the_client_ends_apps_that_still_run() -> None:
    ends = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        try:
            await anyio.sleep_forever()
        finally:
            ends.append("ended")

    with anyio.fail_after(5):
        async with asgi_client(app) as client:
            await client.send(client.build_request("GET", "/"), stream=True)
            assert ends == []
    assert ends == ["ended"]


async def test_an_error_in_the_block_comes_out_as_itself() -> None:
    with anyio.fail_after(5):
        with pytest.raises(AssertionError, match="mine"):  # noqa: PT012 - the block itself is tested
            async with asgi_client(echo) as client:
                await client.get("/")
                raise AssertionError("mine")


async def test_cancelling_the_block_leaves_no_trace() -> None:
    with anyio.fail_after(5):
        with anyio.CancelScope() as scope:
            async with asgi_client(echo):
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        await anyio.lowlevel.checkpoint()


async def test_without_being_entered_it_says_what_to_write() -> None:
    client = httpx.AsyncClient(transport=StreamingASGITransport(echo), base_url="http://app")
    with pytest.raises(RuntimeError, match="async with"):
        await client.get("/")
    await client.aclose()


async def test_it_can_be_entered_again_but_not_twice_at_once() -> None:
    transport = StreamingASGITransport(echo)
    with anyio.fail_after(5):
        for _ in range(2):
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
                assert (await client.get("/")).status_code == 201
                with pytest.raises(RuntimeError, match="its own"):
                    await transport.__aenter__()


async def test_httpx2_gets_the_same_with_its_own_errors() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        data = await read_body(receive)
        await send(start())
        await send(body(data, more=True))

    with anyio.fail_after(5):
        transport = streaming_transport(app, library=httpx2)
        async with httpx2.AsyncClient(transport=transport, base_url="http://app") as client:
            async with client.stream("POST", "/", content=b"abc") as response:
                assert isinstance(response, httpx2.Response)
                chunks = response.aiter_raw()
                assert await anext(chunks) == b"abc"
                with pytest.raises(httpx2.RemoteProtocolError):
                    await anext(chunks)


async def test_an_app_that_answers_early_stops_the_upload() -> None:
    pulled = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(start(413))
        await send(body(b"too large"))

    async def upload() -> AsyncGenerator[bytes, None]:
        for number in range(1000):
            pulled.append(number)
            yield b"x"
            await anyio.wait_all_tasks_blocked()

    with anyio.fail_after(5):
        async with asgi_client(app) as client, aclosing(upload()) as content:
            response = await client.post("/", content=content)
    assert (response.status_code, response.content) == (413, b"too large")
    assert len(pulled) == 2


async def test_nothing_can_be_sent_after_the_end_of_the_body() -> None:
    errors = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"end"))
        try:
            await send(body(b"more"))
        except RuntimeError as error:
            errors.append(str(error))

    with anyio.fail_after(5):
        async with asgi_client(app) as client:
            assert (await client.get("/")).content == b"end"
    assert errors == ["http.response.body was sent after the end of the body"]
