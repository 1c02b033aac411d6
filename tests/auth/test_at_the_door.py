"""401 first: over sockets with the body unsent, and with nothing said of what the caller asked for."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx
import pytest

from ogw_asgi import Gateway, Limits, OpenAI, Principal, bearer_tokens
from ogw_asgi.testing import RawUpstream, ScriptedUpstream, SharedEvent, Wait, asgi_client, http_response, serve
from tests.asgi.hosts import COMPLETION, QUESTION
from tests.contract.harness import gateway_of

pytestmark = pytest.mark.anyio

TOKEN = "a-token-that-nobody-can-guess-0123456789"
HEAD = "POST /chat/completions HTTP/1.1\r\nhost: gateway.test\r\ncontent-type: application/json\r\n"
JSON = {"content-type": "application/json"}

FRAMING = {
    "length": "content-length: 1000000\r\n",
    "chunks": "transfer-encoding: chunked\r\n",
    "length, to be continued": "content-length: 1000000\r\nexpect: 100-continue\r\n",
    "chunks, to be continued": "transfer-encoding: chunked\r\nexpect: 100-continue\r\n",
    "over the limit": f"content-length: {1 << 40}\r\n",
}


def everything_from(url: str, sent: bytes) -> bytes:
    """All that comes back until the server closes, to a caller that sends no more than this."""
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=5) as line:
        line.sendall(sent)
        received = b""
        while part := line.recv(65536):
            received += part
        return received


@asynccontextmanager
async def served(http: str, upstream: RawUpstream, **settings: Any) -> AsyncIterator[str]:
    provider = OpenAI(api_key="k", base_url=f"{upstream.url}/v1")
    async with serve(Gateway(providers=[provider], **settings), http=http) as url:
        yield url


@pytest.mark.contract("1.unauthorized.first")
@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_over_uvicorn_it_is_said_before_the_upload_and_the_connection_ends(http: str) -> None:
    async with RawUpstream([http_response(500)]) as upstream:
        async with served(http, upstream, authenticate=bearer_tokens([TOKEN])) as url:
            for framing in FRAMING.values():
                for token in ("", "authorization: Bearer wrong\r\n"):
                    head = f"{HEAD}{token}{framing}\r\n".encode()
                    received = await anyio.to_thread.run_sync(everything_from, url, head)
                    assert received.startswith(b"HTTP/1.1 401 "), "and no 100 Continue in front of it"
                    assert b"\r\nconnection: close\r\n" in received
                    assert b"\r\nwww-authenticate: Bearer\r\n" in received
                    assert received.count(b"HTTP/1.1") == 1
        assert upstream.connections == 0


@pytest.mark.contract("1.rate-limited.in-flight")
@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_over_uvicorn_a_principals_own_limit_is_told_before_the_upload(http: str) -> None:
    release = SharedEvent()
    answer = http_response(200, COMPLETION, {"content-type": "application/json"})
    limited = bearer_tokens({Principal("p", in_flight=1): [TOKEN]})
    async with RawUpstream([Wait(release), answer]) as upstream:
        async with served(http, upstream, authenticate=limited) as url:
            authorization = {"authorization": f"Bearer {TOKEN}"}
            statuses: list[int] = []
            async with (
                httpx.AsyncClient(base_url=url, headers=authorization) as client,
                anyio.create_task_group() as group,
            ):

                async def ask() -> None:
                    statuses.append((await client.post("/chat/completions", json=QUESTION)).status_code)

                group.start_soon(ask)
                await upstream.wait_for_requests(1)
                for framing in FRAMING.values():
                    head = f"{HEAD}authorization: Bearer {TOKEN}\r\n{framing}\r\n".encode()
                    received = await anyio.to_thread.run_sync(everything_from, url, head)
                    assert received.startswith(b"HTTP/1.1 429 ")
                    assert b"\r\nconnection: close\r\n" in received
                    assert b'"code":"principal_overloaded"' in received
                release.set()
                while not statuses:
                    await anyio.lowlevel.checkpoint()
                for _ in range(20):  # one after the other, as fast as they come
                    await ask()
        assert statuses == [201] * 21


# --- no oracle --------------------------------------------------------------------------------------------------------

ASKED: dict[str, list[tuple[str, str]]] = {
    "a provider that is there": [("x-opengateway-failover-sequence", '["openai"]')],
    "a provider that is not": [("x-opengateway-failover-sequence", '["nobody"]')],
    "no JSON": [("x-opengateway-failover-sequence", "openai")],
    "an endpoint that is allowed": [("x-opengateway-vllm-endpoint", "http://10.0.0.7:8000")],
    "an endpoint that is not": [("x-opengateway-vllm-endpoint", "http://169.254.169.254")],
    "no endpoint": [("x-opengateway-vllm-endpoint", "file:///etc/passwd")],
    "an unknown header": [("x-opengateway-nonsense", "1")],
    "a header of ours twice": [("x-opengateway-timeout", "1"), ("x-opengateway-timeout", "2")],
    "a header of ours too long": [("x-opengateway-timeout", "1" * 10_000)],
    "a content type twice": [("content-type", "text/plain"), ("content-type", "application/json")],
    "no JSON body": [("content-type", "text/plain")],
    "a compressed body": [("content-encoding", "gzip")],
    "a body over the limit": [("content-length", "1000000000")],
    "three gateways on the way": [("via", "1.1 ogw-a, 1.1 ogw-b, 1.1 ogw-c")],
}


@pytest.mark.contract("1.unauthorized.first", "1.unauthorized.alike")
@pytest.mark.parametrize("token", [None, "Bearer wrong", "nonsense"])
@pytest.mark.parametrize("path", ["/chat/completions", "/v1/chat/completions", "/models"])
async def test_whoever_may_not_call_learns_nothing_of_what_could_be_called(path: str, token: str | None) -> None:
    answers = set()
    async with gateway_of(
        openai=ScriptedUpstream(), authenticate=bearer_tokens([TOKEN]), limits=Limits(body_bytes=1000)
    ) as world:
        for headers in [[], *ASKED.values()]:
            mine = [("x-request-id", "same"), *headers, *([] if token is None else [("authorization", token)])]
            method = "GET" if path == "/models" else "POST"
            async with asgi_client(world.gateway) as client:
                request = client.build_request(method, path, headers=mine, content=b"{")
                reply = await client.send(request)
            answers.add((reply.status_code, reply.content, tuple(reply.headers.items())))
        assert world.calls() == []
    assert [status for status, *_ in answers] == [401]


@pytest.mark.contract("2.names.twice")
@pytest.mark.parametrize(
    "tokens", [("wrong", "wrong"), (TOKEN, "wrong"), ("wrong", TOKEN), (TOKEN, TOKEN)], ids=["ww", "rw", "wr", "rr"]
)
@pytest.mark.parametrize("path", ["/chat/completions", "/models"])
async def test_two_tokens_are_a_400_whatever_they_are(path: str, tokens: tuple[str, str]) -> None:
    headers = [("authorization", f"Bearer {token}") for token in tokens]
    async with gateway_of(openai=ScriptedUpstream(), authenticate=bearer_tokens([TOKEN])) as world:
        reply = await world.client.request("GET" if path == "/models" else "POST", path, headers=headers)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "authorization")
        assert world.calls() == []
