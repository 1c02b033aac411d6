"""Faults below HTTP really arrive as what they are called."""

from __future__ import annotations

import errno
import socket

import anyio
import httpx
import pytest

from ogw_asgi.testing import (
    Fin,
    Hang,
    OnAccept,
    OnHead,
    RawRequest,
    RawScript,
    RawUpstream,
    Reset,
    SharedEvent,
    Wait,
    chunked,
    dead_port,
    http_head,
    http_response,
    sse_event,
)

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
OK = http_response(200, b"ok")


class Caller:
    """A bare socket, so that neither an HTTP library nor anyio's streams stand between the test and TCP."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    @classmethod
    async def connect(cls, server: RawUpstream) -> Caller:
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", server.port))
        await anyio.wait_writable(sock)
        return cls(sock)

    async def receive(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            await anyio.wait_readable(self.socket)
            received = self.socket.recv(length - len(data))
            assert received, f"the connection ended after {data!r}"
            data += received
        return data

    async def ending(self) -> str:
        """How the connection ends, when nothing more is sent on it."""
        await anyio.wait_readable(self.socket)
        try:
            return "fin" if self.socket.recv(1) == b"" else "data"
        except OSError as error:
            return errno.errorcode[error.errno or 0]

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


@pytest.mark.parametrize(
    ("script", "sent", "ending"),
    [
        ([Reset()], b"", "ECONNRESET"),
        ([Fin()], b"", "fin"),
        ([b"HTTP/1.1 2", Fin()], b"HTTP/1.1 2", "fin"),
        ([http_head(200), chunked(b"abc"), Reset()], http_head(200) + b"3\r\nabc\r\n", "ECONNRESET"),
        ([Reset(), b"never sent"], b"", "ECONNRESET"),
    ],
)
async def test_the_bytes_arrive_and_then_the_end_that_was_scripted(script: RawScript, sent: bytes, ending: str) -> None:
    with anyio.fail_after(5):
        async with RawUpstream(script) as server:
            with await Caller.connect(server) as caller:
                caller.socket.send(GET)
                assert await caller.receive(len(sent)) == sent
                assert await caller.ending() == ending
                assert server.requests == [RawRequest(GET, b"", 0)]


async def test_on_accept_resets_before_anything_is_read() -> None:
    with anyio.fail_after(5):
        async with RawUpstream([OnAccept(), Reset()], [OK]) as server:
            with await Caller.connect(server) as caller:
                assert await caller.ending() == "ECONNRESET"
            with await Caller.connect(server) as caller:
                caller.socket.send(GET)
                assert await caller.receive(len(OK)) == OK
    assert (server.connections, len(server.requests)) == (2, 1)


async def test_on_accept_can_send_bytes_nobody_asked_for() -> None:
    with anyio.fail_after(5):
        async with RawUpstream([OnAccept(), b"stray"], [OK]) as server:
            with await Caller.connect(server) as caller:
                assert await caller.receive(5) == b"stray"
                caller.socket.send(GET)
                assert await caller.receive(len(OK)) == OK


async def test_on_head_answers_while_the_body_is_still_to_come() -> None:
    head = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n"
    with anyio.fail_after(5):
        async with RawUpstream([OnHead(), OK]) as server:
            with await Caller.connect(server) as caller:
                for _ in range(2):
                    caller.socket.send(head)
                    assert await caller.receive(len(OK)) == OK
                    caller.socket.send(b"abc")
    assert server.requests == [RawRequest(head, b"", 0)] * 2


async def test_recorded_bytes_are_exact_however_they_come() -> None:
    head, body = b"POST /x HTTP/1.1\r\nA:  b \r\ncontent-LENGTH: 4\r\n\r\n", b"\x00\xff\r\n"
    with anyio.fail_after(5):
        async with RawUpstream([OK]) as server:
            with await Caller.connect(server) as caller:
                caller.socket.send(head[:20])
                await server.wait_for_connections()
                caller.socket.send(head[20:] + body + GET)
                assert await caller.receive(2 * len(OK)) == OK * 2
    assert server.requests == [RawRequest(head, body, 0), RawRequest(GET, b"", 0)]


async def test_scripts_follow_requests_across_connections_and_reuse_is_counted() -> None:
    scripts: list[RawScript] = [
        [http_response(200, b"1")],
        [http_response(200, b"2"), Fin()],
        [http_response(200, b"3")],
    ]
    with anyio.fail_after(5):
        async with RawUpstream(*scripts) as server, httpx.AsyncClient(base_url=server.url) as client:
            assert [(await client.get("/")).text for _ in range(4)] == ["1", "2", "3", "3"]
            assert (server.connections, server.reused) == (2, 2)
            assert [request.connection for request in server.requests] == [0, 0, 1, 1]


async def test_a_strict_script_refuses_what_it_does_not_foresee() -> None:
    with anyio.fail_after(5):
        async with RawUpstream([OK], strict=True) as server, httpx.AsyncClient(base_url=server.url) as client:
            assert (await client.get("/")).status_code == 200
            refused = await client.get("/")
    assert (refused.status_code, refused.text) == (500, "script exhausted")


@pytest.mark.parametrize("script", [[Hang()], [Wait(SharedEvent())], [OK], [b"HTTP/1.1 2", Hang()]])
@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_it_knows_when_the_caller_has_closed(script: RawScript, how: str) -> None:
    with anyio.fail_after(5):
        async with RawUpstream(script) as server:
            with await Caller.connect(server) as caller:
                caller.socket.send(GET)
                await server.wait_for_requests()
                await anyio.wait_all_tasks_blocked()
                assert server.peer_closes == 0
                if how == "rst":
                    caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await server.peer_closed()
    assert server.peer_closes == 1


async def test_a_blocked_send_ends_when_the_caller_closes() -> None:
    with anyio.fail_after(5):
        async with RawUpstream([b"x" * 50_000_000]) as server:
            with await Caller.connect(server) as caller:
                caller.socket.send(GET)
                await caller.receive(1)
            await server.peer_closed()


async def test_wait_holds_the_bytes_behind_it() -> None:
    gate = anyio.Event()
    script: RawScript = [
        http_head(200, {"transfer-encoding": "chunked"}),
        Wait(gate),
        chunked(sse_event("x"), last=True),
    ]
    with anyio.fail_after(5):
        async with RawUpstream(script) as server, httpx.AsyncClient(base_url=server.url) as client:
            async with client.stream("GET", "/") as response:
                assert response.status_code == 200
                gate.set()
                assert await response.aread() == b"data: x\n\n"


async def test_an_http_client_sees_a_reset_in_mid_body_as_a_read_error() -> None:
    script: RawScript = [http_head(200, {"content-length": "9"}), b"half", Reset()]
    with anyio.fail_after(5):
        async with RawUpstream(script) as server, httpx.AsyncClient(base_url=server.url) as client:
            with pytest.raises(httpx.ReadError):
                await client.get("/")


async def test_a_chunked_request_is_refused_loudly() -> None:
    with anyio.fail_after(5):
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - the error comes out of the block
            async with RawUpstream([OK]) as server:
                with await Caller.connect(server) as caller:
                    caller.socket.send(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")
                    await server.wait_for_requests()
    assert caught.group_contains(ValueError, match="transfer-encoding")


async def test_an_error_in_the_block_comes_out_as_itself_and_the_port_is_closed() -> None:
    with anyio.fail_after(5):
        with pytest.raises(AssertionError, match="mine"):
            async with RawUpstream([Hang()]) as server:
                raise AssertionError("mine")
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", server.port)) == errno.ECONNREFUSED


def test_a_dead_port_refuses_and_cannot_be_taken_by_others() -> None:
    with dead_port() as port:
        with socket.socket() as sock:
            assert sock.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
        with socket.socket() as sock, pytest.raises(OSError):
            sock.bind(("127.0.0.1", port))
