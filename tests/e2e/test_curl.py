"""The gateway as one meets it first: with curl, looking at the bytes as they come."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import anyio
import pytest

from ogw_asgi.testing import ScriptedUpstream, SharedEvent, Wait, chat, error, stream

from .served import ServeGateway

pytestmark = pytest.mark.anyio

JSON_TYPE = "content-type: application/json"
BODY = json.dumps({"model": "some-model", "messages": [{"role": "user", "content": "Hi"}], "stream": True})

Receive = Callable[[], Awaitable[bytes]]


@pytest.mark.contract("1.created-stream")
async def test_a_stream_is_seen_word_by_word(gateway_served: ServeGateway) -> None:
    gate = SharedEvent()
    provider = ScriptedUpstream(stream(["Hel", Wait(gate), "lo"]))
    async with gateway_served(openai=provider) as served:
        async with post(f"{served.url}/chat/completions", [JSON_TYPE], BODY) as receive:
            begun = await until(receive, b'"content":"Hel"')
            assert b'"content":"lo"' not in begun
            gate.set()
            rest = await until(receive, b"data: [DONE]\n\n")
    head = begun.partition(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 201 ")
    assert b"\r\ncontent-type: text/event-stream" in head
    assert b"\r\nx-opengateway-provider: openai" in head
    assert b'"content":"lo"' in rest


@pytest.mark.contract("2.sequence.default", "2.sequence.out-of-the-box", "2.sequence.order")
async def test_the_empty_header_of_the_api_page_means_the_default_sequence(gateway_served: ServeGateway) -> None:
    providers = {"vllm": ScriptedUpstream(), "openai": ScriptedUpstream(error(503)), "azure": ScriptedUpstream(chat())}
    async with gateway_served(**providers) as served:
        # curl's spelling of a header that is there and has no value.
        headers = [JSON_TYPE, "Authorization: Bearer anything", "x-opengateway-failover-sequence;"]
        async with post(f"{served.url}/v1/chat/completions", headers, BODY) as receive:
            answer = await until(receive, b"data: [DONE]\n\n")
        assert dict(served.arrivals[0].headers)[b"x-opengateway-failover-sequence"] == b""
    assert b"\r\nx-opengateway-provider: azure" in answer.lower()
    assert b"\r\nx-opengateway-attempts: 2" in answer.lower()
    assert served.calls() == ["openai", "azure"]


async def until(receive: Receive, wanted: bytes) -> bytes:
    """What was received up to and with the bytes that were waited for."""
    received = b""
    while wanted not in received:
        received += await receive()
    return received


@asynccontextmanager
async def post(url: str, headers: list[str], body: str) -> AsyncIterator[Receive]:
    """Yields what receives the next bytes of the raw answer, head and framing included, as soon as there are any."""
    curl = shutil.which("curl")
    if curl is None:
        # The same bytes without the program: the gateway is under test, not curl.
        parts = urlsplit(url)
        async with await anyio.connect_tcp(parts.hostname or "", parts.port or 80) as connection:
            lines = [f"POST {parts.path} HTTP/1.1", f"host: {parts.netloc}", f"content-length: {len(body)}"]
            lines += [f"{line[:-1]}:" if line.endswith(";") else line for line in headers]
            await connection.send("\r\n".join([*lines, "", body]).encode())
            yield connection.receive
        return
    # --raw: the framing of the body stays, so that both ways give the same.
    options = [item for line in headers for item in ("-H", line)]
    command = [curl, "-sS", "-N", "-i", "--raw", "--noproxy", "*", url, *options, "-d", body]
    async with await anyio.open_process(command, stdin=None, stderr=None) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.receive
        finally:
            if process.returncode is None:
                process.terminate()
