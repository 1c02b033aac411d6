"""Section 4, below HTTP: failures of the network before the first chunk move on, over real sockets."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from ogw_asgi import Timeouts
from ogw_asgi.testing import (
    Fin,
    Hang,
    OnAccept,
    OnHead,
    RawUpstream,
    Reset,
    ScriptedUpstream,
    chat,
    chunked,
    dead_port,
    http_head,
    http_response,
)

from .harness import World, gateway_of, using
from .streams import CHUNKED_HEAD, PRIOR

pytestmark = pytest.mark.anyio

GOOD = http_response(
    200,
    b'{"id":"1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"ok"},'
    b'"finish_reason":"stop"}]}',
    {"content-type": "application/json"},
)
JSON_HEAD = http_head(200, {"content-type": "application/json", "content-length": "100"})


async def assert_moved_on(world: World, outcome: str, *, stream: bool = False, timeout_ms: int = 2000) -> None:
    """Asked through the caller's eyes: azure answered, after one attempt that is told apart by `outcome`."""
    reply = await world.post(stream=stream, headers={"x-opengateway-timeout": str(timeout_ms)})
    assert reply.status_code == 201
    assert reply.headers["x-opengateway-provider"] == "azure"
    assert reply.headers["x-opengateway-attempts"] == "2"
    first, second = reply.headers["server-timing"].split(", ")
    assert first.startswith("openai;dur=")
    assert first.endswith(f'desc="{outcome}"')
    assert second.endswith('desc="200"')
    assert len(world.upstreams["azure"].requests) == 1
    assert "error" not in reply.text


@pytest.mark.contract("4.next.connect", "B.any-network")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_port_that_refuses_connections_moves_on(stream: bool) -> None:
    with dead_port() as port:
        async with gateway_of(openai=f"http://127.0.0.1:{port}", azure=ScriptedUpstream()) as world:
            await assert_moved_on(world, "connect", stream=stream)


@pytest.fixture
def unknown_host(monkeypatch: pytest.MonkeyPatch) -> str:
    """A host that the resolver does not know, without asking the network."""
    host, known = "nobody.test", socket.getaddrinfo

    def resolve(name: Any, *arguments: Any, **options: Any) -> Any:
        if name in (host, host.encode()):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(name, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return host


@pytest.mark.contract("4.next.dns")
async def test_a_host_that_does_not_resolve_moves_on(unknown_host: str) -> None:
    async with gateway_of(openai=f"http://{unknown_host}", azure=ScriptedUpstream()) as world:
        await assert_moved_on(world, "dns")


@pytest.mark.contract("4.next.connect")
async def test_a_connect_error_of_the_system_moves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    with dead_port() as port:
        async with gateway_of(openai=f"http://127.0.0.1:{port}", azure=ScriptedUpstream()) as world:
            monkeypatch.setattr(socket, "socket", refuse)
            try:
                await assert_moved_on(world, "connect")
            finally:
                monkeypatch.undo()


@pytest.mark.contract("4.next.tls")
async def test_a_server_that_does_not_speak_tls_moves_on() -> None:
    async with RawUpstream([OnAccept(), b"HTTP/1.1 400 Bad Request\r\n\r\n", Fin()]) as plain:
        async with gateway_of(
            openai=f"https://127.0.0.1:{plain.port}", azure=ScriptedUpstream(), timeouts=Timeouts(connect_s=2)
        ) as world:
            await assert_moved_on(world, "tls")
        assert plain.requests == []


BEFORE_THE_HEAD: Sequence[Any] = [
    pytest.param([OnAccept(), Reset()], "reset", id="reset-on-accept"),
    pytest.param([OnHead(), Reset()], "reset", id="reset-while-uploading"),
    pytest.param([Reset()], "reset", id="reset-before-the-head"),
    pytest.param([Fin()], "reset", id="fin-before-the-head"),
    pytest.param([b"HTTP/1.1 200 OK\r\ncontent-ty", Reset()], "reset", id="reset-in-the-head"),
    pytest.param([b"HTTP/1.1 200 OK\r\ncontent-ty", Fin()], "reset", id="fin-in-the-head"),
    pytest.param([b"SSH-2.0-OpenSSH_9.6\r\n\r\n", Fin()], "protocol", id="not-http"),
    pytest.param([b"HTTP/1.1 two hundred\r\n\r\n", Fin()], "protocol", id="no-status"),
    pytest.param([b"HTTP/1.1 099 Low\r\n\r\n", Fin()], "protocol", id="status-099"),
    pytest.param(
        [b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: %b\r\n" % (n, b"y" * 1000) for n in range(70)) + b"\r\n", Fin()],
        "protocol",
        id="head-over-64-kib",
    ),
    pytest.param([b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", Fin()], "protocol", id="bad-length"),
]


@pytest.mark.contract("4.next.reset", "4.next.protocol", "B.any-network")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("script", "outcome"), BEFORE_THE_HEAD)
async def test_a_connection_that_fails_before_the_head_moves_on_without_a_re_send(
    script: Any, outcome: str, stream: bool
) -> None:
    async with RawUpstream(script, strict=True) as broken:
        async with gateway_of(openai=broken, azure=ScriptedUpstream()) as world:
            await assert_moved_on(world, outcome, stream=stream)
        assert broken.connections == 1


@pytest.mark.contract("4.next.reset", "2.first-chunk.plain")
@pytest.mark.parametrize(
    "script",
    [
        pytest.param([JSON_HEAD, b'{"choi', Reset()], id="reset-in-the-body"),
        pytest.param([JSON_HEAD, b'{"choi', Fin()], id="short-of-its-length"),
        pytest.param(
            [http_head(200, {"transfer-encoding": "chunked"}), chunked(b'{"choices":'), Fin()], id="no-last-chunk"
        ),
    ],
)
async def test_a_plain_answer_that_is_cut_moves_on(script: Any) -> None:
    async with RawUpstream(script) as broken:
        async with gateway_of(openai=broken, azure=ScriptedUpstream()) as world:
            reply = await world.post()
    assert reply.status_code == 201
    assert reply.headers["x-opengateway-provider"] == "azure"
    assert reply.json()["choices"][0]["message"]["content"] == "Hello"


@pytest.mark.contract("4.next.timeout", "2.timeout.each-attempt")
@pytest.mark.parametrize(
    ("script", "stream"),
    [
        pytest.param([Hang()], False, id="no-head"),
        pytest.param([Hang()], True, id="no-head-of-a-stream"),
        pytest.param([b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3, Hang()], False, id="informational-only"),
        pytest.param([JSON_HEAD, b'{"id":', Hang()], False, id="half-an-answer"),
        pytest.param([CHUNKED_HEAD, Hang()], True, id="head-of-a-stream-only"),
        pytest.param([CHUNKED_HEAD, chunked(b": ping\n\n", b": ping\n\n"), Hang()], True, id="comments-only"),
        pytest.param(
            [CHUNKED_HEAD, chunked(b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'), Hang()],
            True,
            id="role-only",
        ),
    ],
)
async def test_no_first_chunk_in_time_moves_on_and_closes_the_connection(script: Any, stream: bool) -> None:
    async with RawUpstream(script) as silent:
        async with gateway_of(openai=silent, azure=ScriptedUpstream()) as world:
            await assert_moved_on(world, "timeout", stream=stream, timeout_ms=100)
            await silent.peer_closed()
        assert len(silent.requests) == 1


@pytest.mark.contract("2.first-chunk.failover")
async def test_an_informational_answer_before_a_good_one_is_no_failure() -> None:
    async with RawUpstream([b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", GOOD]) as upstream:
        async with gateway_of(openai=upstream, azure=ScriptedUpstream()) as world:
            reply = await world.post()
            assert world.calls() == ["openai"]
    assert reply.status_code == 201
    assert reply.headers["x-opengateway-attempts"] == "1"


@pytest.mark.contract("4.no-redirects", "B.any-3xx")
@pytest.mark.parametrize("own_client", [False, True])
@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
async def test_a_redirect_is_never_followed(status: int, own_client: bool, caplog: pytest.LogCaptureFixture) -> None:
    async with AsyncExitStack() as stack:
        canary = await stack.enter_async_context(RawUpstream([GOOD]))
        redirect = http_response(status, b"", {"location": f"{canary.url}/v1/chat/completions"})
        origin = await stack.enter_async_context(RawUpstream([redirect]))
        upstream: Any = origin
        if own_client:
            client = await stack.enter_async_context(httpx.AsyncClient(follow_redirects=True, trust_env=False))
            upstream = using(origin, client=client)
        async with gateway_of(openai=upstream, azure=ScriptedUpstream()) as world:
            await assert_moved_on(world, str(status))
            alone = await world.post(headers={"x-opengateway-failover-sequence": '["openai"]'})
        assert alone.status_code == 502
        assert canary.connections == 0
    assert sum("misconfigured" in record.getMessage() for record in caplog.records) == 2


@pytest.mark.contract("4.retry-stale")
@pytest.mark.parametrize("farewell", [Fin(), Reset()], ids=["fin", "rst"])
async def test_a_pooled_connection_that_the_peer_had_closed_is_replaced_silently(farewell: Any) -> None:
    async with RawUpstream([GOOD], [farewell], [GOOD], strict=True) as upstream:
        async with gateway_of(openai=upstream, azure=ScriptedUpstream()) as world:
            first = await world.post(content=b'{"model":"m","messages":[{"role":"user","content":"1"}]}')
            second = await world.post(content=b'{"model":"m","messages":[{"role":"user","content":"2"}]}')
            assert world.calls() == ["openai"] * 3
    assert first.status_code == second.status_code == 201
    assert second.headers["x-opengateway-provider"] == "openai"
    assert second.headers["x-opengateway-attempts"] == "1"
    assert "," not in second.headers["server-timing"]
    assert [request.connection for request in upstream.requests] == [0, 0, 1]
    assert upstream.requests[1].body == upstream.requests[2].body
    assert upstream.requests[1].head == upstream.requests[2].head


@pytest.mark.contract("4.retry-stale")
async def test_a_stream_s_connection_that_is_stale_at_once_is_replaced_too() -> None:
    whole = PRIOR + b"data: [DONE]\n\n"
    streamed = [CHUNKED_HEAD, chunked(whole, last=True)]
    async with RawUpstream([*streamed, Fin()], streamed) as upstream:
        async with gateway_of(openai=upstream, azure=ScriptedUpstream()) as world:
            for _ in range(2):
                reply = await world.post(stream=True)
                assert reply.content == whole
                assert reply.headers["x-opengateway-attempts"] == "1"
            assert world.calls() == ["openai", "openai"]


@pytest.mark.contract("4.retry-stale", "4.next.reset")
@pytest.mark.parametrize(
    ("scripts", "asked"),
    [
        pytest.param([[GOOD], [Fin()], [Reset()]], 3, id="the-re-send-fails-too"),
        pytest.param([[GOOD], [b"HTTP/1.1 200 OK\r\n\r\n", Reset()]], 2, id="the-head-had-come"),
        pytest.param([[GOOD], [b"HTTP/1.1 20", Fin()]], 2, id="a-part-of-the-head-had-come"),
        pytest.param([[GOOD], [b"HTTP/1.1 103 Early Hints\r\n\r\n", Fin()]], 2, id="an-early-hint-had-come"),
    ],
)
async def test_nothing_is_re_sent_twice_or_after_an_answer_began(scripts: Any, asked: int) -> None:
    async with RawUpstream(*scripts, strict=True) as upstream:
        async with gateway_of(openai=upstream, azure=ScriptedUpstream(chat("Hi"))) as world:
            assert (await world.post()).headers["x-opengateway-provider"] == "openai"
            reply = await world.post()
            assert reply.headers["x-opengateway-provider"] == "azure"
            assert reply.headers["x-opengateway-attempts"] == "2"
            assert len(upstream.requests) == asked
