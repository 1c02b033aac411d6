"""Failover as the SDK's users see it: not at all, but for the headers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ogw_asgi import Timeouts
from ogw_asgi.testing import (
    Break,
    OnAccept,
    RawUpstream,
    Reset,
    Script,
    ScriptedUpstream,
    answer,
    chat,
    dead_port,
    error,
    hang,
    raw,
    serve,
    stream,
)

from ..served import ServeGateway, key_of
from .clients import ATTEMPTS, ENGINES, PROVIDER, QUESTION, Client, Make, ask, complete, listen, raised, sdk

pytestmark = pytest.mark.anyio

SEQUENCE = "x-opengateway-failover-sequence"
TIMEOUT = "x-opengateway-timeout"

DOWN: dict[str, Script | str] = {
    "dead port": "dead",
    "reset on accept": "reset",
    "503": error(503, "Overloaded."),
    "429 about money": error(429, "Pay.", type="insufficient_quota"),
    "401": error(401, "Bad key."),
    "a page": raw(200, {"content-type": "text/html"}, [b"<html>Welcome!</html>"]),
    "silent before the head": hang(),
    "silent behind the head": hang("body"),
    "a broken body": raw(200, {"content-type": "application/json", "content-length": "99"}, [b"{", Break()]),
}
COOLING = {"503", "429 about money"}
"""After these the second call leaves the provider alone."""

NO_STREAM: dict[str, Script] = {
    "JSON for a stream": answer("no stream"),
    "an error event first": stream([{"error": {"message": "boom"}}], role_first=False),
    "nothing but the role": stream([Break()]),
    "DONE at once": stream([], role_first=False, finish_reason=None),
}


@asynccontextmanager
async def broken(fault: Script | str) -> AsyncIterator[Any]:
    """A provider that is down in this way."""
    if fault == "dead":
        with dead_port() as port:
            yield f"http://127.0.0.1:{port}"
    elif fault == "reset":
        async with RawUpstream([OnAccept(), Reset()]) as upstream:
            yield upstream
    else:
        assert not isinstance(fault, str)
        yield ScriptedUpstream(fault)


@pytest.mark.contract("2.first-chunk.failover", "4.next.connect", "4.next.reset", "4.next.timeout")
@pytest.mark.parametrize("name", DOWN)
async def test_completions_and_streams_come_from_the_next_provider(
    gateway_served: ServeGateway, make: Make, name: str
) -> None:
    fault = DOWN[name]
    async with broken(fault) as down, gateway_served(openai=down, azure=ScriptedUpstream(chat("Hi there"))) as served:
        async with sdk(make, served) as client:
            reply = await complete(client, extra_headers={TIMEOUT: "150"})
            heard = await listen(client, extra_headers={TIMEOUT: "150"})
        assert await served.endings.wait_for(2) == ["ok", "ok"]
    assert reply.parse().choices[0].message.content == heard.text == "Hi there"
    assert (reply.headers[PROVIDER], reply.headers[ATTEMPTS]) == ("azure", "2")
    assert heard.failure is None
    made = [2, 1 if name in COOLING else 2]
    assert [(ending.provider, len(ending.attempts)) for ending in served.endings.seen] == [("azure", n) for n in made]


@pytest.mark.contract("2.first-chunk.failover", "4.next.json-for-stream", "4.next.error-event", "4.next.empty-stream")
@pytest.mark.parametrize("reply", [pytest.param(reply, id=name) for name, reply in NO_STREAM.items()])
async def test_what_is_no_stream_is_failed_over(gateway_served: ServeGateway, make: Make, reply: Script) -> None:
    providers = {"openai": ScriptedUpstream(reply), "azure": ScriptedUpstream(chat("Hi there"))}
    async with gateway_served(**providers) as served, sdk(make, served) as client:
        heard = await listen(client)
    assert heard.failure is None
    assert heard.text == "Hi there"
    assert served.calls() == ["openai", "azure"]


@pytest.mark.parametrize("fault", ["dead", "reset", hang()], ids=["dead port", "reset", "silent"])
@pytest.mark.parametrize("engine", ENGINES)
async def test_both_engines_fail_over(
    gateway_served: ServeGateway, make: Make, engine: str, fault: Script | str
) -> None:
    good = ScriptedUpstream(chat("Hi there"))
    async with broken(fault) as down, gateway_served(openai=down, azure=good, engine=engine) as served:
        async with sdk(make, served) as client:
            reply = await complete(client, extra_headers={TIMEOUT: "150"})
            heard = await listen(client, extra_headers={TIMEOUT: "150"})
    assert reply.parse().choices[0].message.content == heard.text == "Hi there"
    assert heard.failure is None


@pytest.mark.contract("2.sequence.order", "2.sequence.target-model")
async def test_a_caller_names_sequence_and_models_with_extra_headers(gateway_served: ServeGateway, make: Make) -> None:
    groq, openai = ScriptedUpstream(error(500)), ScriptedUpstream(chat("from openai"))
    async with gateway_served(openai=openai, azure=ScriptedUpstream(), groq=groq) as served:
        headers = {SEQUENCE: '["groq/llama/70b", "openai"]'}
        async with sdk(make, served, default_headers=headers) as client:
            reply = await complete(client)
    assert reply.parse().choices[0].message.content == "from openai"
    assert served.calls() == ["openai", "groq"]
    assert groq.requests[0].json["model"] == "llama/70b"
    assert openai.requests[0].json["model"] == QUESTION["model"]
    assert openai.requests[0].header("authorization") == f"Bearer {key_of('openai')}"


@pytest.mark.contract("2.endpoint.used", "2.vllm-key.sent", "7.exact-origin")
async def test_a_caller_names_a_vllm_server_and_its_key_per_request(gateway_served: ServeGateway, make: Make) -> None:
    vllm = ScriptedUpstream(chat("from the caller's server"))
    async with serve(vllm) as url, gateway_served(vllm=url) as served:
        headers = {"x-opengateway-vllm-endpoint": f"{url}/v1/", "x-opengateway-vllm-api-key": "callers-own"}
        async with sdk(make, served, default_headers=headers) as client:
            reply = await complete(client)
            with dead_port() as port:
                other = {"x-opengateway-vllm-endpoint": f"http://127.0.0.1:{port}"}
                refused = await raised(complete(client, extra_headers=other))
    assert reply.parse().choices[0].message.content == "from the caller's server"
    (request,) = vllm.requests
    assert request.header("authorization") == "Bearer callers-own"
    assert (refused.status_code, refused.code) == (403, "endpoint_not_allowed")


@pytest.mark.contract("2.limits.caller", "2.limits.shared")
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
async def test_the_clients_own_timeout_is_shared_out_so_that_the_last_provider_answers_in_time(
    gateway_served: ServeGateway, make: Make, streamed: bool
) -> None:
    silent = [ScriptedUpstream(hang()) for _ in range(2)]
    async with gateway_served(a=silent[0], b=silent[1], c=ScriptedUpstream(chat("in time"))) as served:
        async with sdk(make, served, timeout=2.4) as client:
            started_s = time.monotonic()
            if streamed:
                text = (await listen(client)).text
            else:
                text = (await complete(client)).parse().choices[0].message.content
            took_s = time.monotonic() - started_s
        assert served.arrivals[0].headers[b"x-stainless-read-timeout"] == b"2.4"
    # That it came in time is the SDK's own word: it had given up after 2.4 s of silence, and it does not retry here.
    assert text == "in time"
    assert took_s >= 1.6, "two of three shares were given to providers that were silent"
    assert served.calls() == ["a", "b", "c"]
    for upstream in silent:
        await upstream.requests[0].closed.wait()


@pytest.mark.contract("2.limits.configured")
async def test_the_gateways_own_limit_moves_a_stream_on(gateway_served: ServeGateway, make: Make) -> None:
    silent, good = ScriptedUpstream(hang("body")), ScriptedUpstream(chat("at last"))
    async with gateway_served(openai=silent, azure=good, timeouts=Timeouts(first_chunk_s=0.1)) as served:
        async with sdk(make, served) as client:
            heard = await listen(client)
    assert heard.failure is None
    assert heard.text == "at last"


@pytest.mark.contract("2.upstream.no-gateway-headers", "2.upstream.no-caller-headers", "2.upstream.user-agent")
async def test_no_provider_learns_of_the_sdk_or_of_the_gateways_headers(
    gateway_served: ServeGateway, make: Make
) -> None:
    provider = ScriptedUpstream()
    async with gateway_served(openai=provider) as served, sdk(make, served, organization="callers-org") as client:
        await complete(client, extra_headers={SEQUENCE: '["openai"]', "cookie": "session=1"})
    names = {name.decode() for name, _ in provider.requests[0].headers}
    assert not [name for name in names if name.startswith(("x-stainless-", "x-opengateway-", "openai-"))]
    assert "cookie" not in names
    assert "sk-c4n4ry-token-of-the-caller" not in str(provider.requests[0].headers)
    user_agent = provider.requests[0].header("user-agent") or ""
    assert user_agent.startswith("ogw_asgi/")


async def test_a_plain_call_after_a_failed_over_one_is_independent(gateway_served: ServeGateway, make: Make) -> None:
    first = ScriptedUpstream(error(500), chat("recovered"))
    async with gateway_served(openai=first, azure=ScriptedUpstream(chat("spare"))) as served:
        async with sdk(make, served) as client:
            texts = [await _text(client) for _ in range(2)]
    assert texts == ["spare", "recovered"]


async def _text(client: Client) -> Any:
    completion = await ask(client, lambda c: c.chat.completions.create(**QUESTION))
    return completion.choices[0].message.content
