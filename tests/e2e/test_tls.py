"""Providers behind TLS: an authority of one's own for one provider, and nobody trusted who should not be."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import anyio
import httpx
import pytest
import trustme

from ogw_asgi import VLLM, Gateway, OpenAICompatible
from ogw_asgi.providers import Provider
from ogw_asgi.testing import ASGIApp, ScriptedUpstream, asgi_client, chat, serve
from ogw_asgi.transports.choice import EngineName

from .served import Arrivals

pytestmark = pytest.mark.anyio

AUTHORITY = trustme.CA()
ENGINES: list[EngineName] = ["native", "httpx2", "httpx"]
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}

UNTRUSTED = {
    "expired": AUTHORITY.issue_cert("localhost", not_after=datetime(2020, 1, 1, tzinfo=UTC)),
    "wrong name": AUTHORITY.issue_cert("other.test"),
    "self-signed": trustme.CA().issue_cert("localhost"),
}


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@asynccontextmanager
async def tls(upstream: ASGIApp, certificate: trustme.LeafCert) -> AsyncIterator[str]:
    """The upstream behind a TLS server on loopback, as `https://localhost:PORT`."""
    with certificate.private_key_and_cert_chain_pem.tempfile() as path:
        async with serve(upstream, ssl_certfile=path) as url:
            yield url.replace("http://127.0.0.1", "https://localhost")


async def ask(providers: list[Provider], engine: EngineName, headers: dict[str, str] | None = None) -> httpx.Response:
    names = [provider.name for provider in providers]
    gateway = Gateway(providers=providers, failover_sequence=names, engine=engine)
    async with gateway, asgi_client(gateway) as caller:
        return await caller.post("/chat/completions", json=CHAT, headers=headers)


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_provider_behind_an_authority_of_ones_own_answers_and_its_connection_is_kept(
    engine: EngineName,
) -> None:
    upstream = Arrivals(ScriptedUpstream(chat("from behind TLS")))
    with anyio.fail_after(5):
        async with tls(upstream, AUTHORITY.issue_cert("localhost")) as url:
            providers: list[Provider] = [VLLM(endpoint=url, ssl_context=trusting(AUTHORITY))]
            gateway = Gateway(providers=providers, failover_sequence=["vllm"], engine=engine)
            async with gateway, asgi_client(gateway) as caller:
                for _ in range(3):
                    reply = await caller.post("/chat/completions", json=CHAT)
                    assert reply.json()["choices"][0]["message"]["content"] == "from behind TLS"
    assert len(upstream.requests) == 3
    assert len({request.connection for request in upstream.requests}) == 1


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("certificate", UNTRUSTED.values(), ids=UNTRUSTED)
async def test_a_certificate_that_cannot_be_trusted_is_told_once_and_the_next_provider_answers(
    engine: EngineName, certificate: trustme.LeafCert, caplog: pytest.LogCaptureFixture
) -> None:
    distrusted, good = ScriptedUpstream(chat("never")), ScriptedUpstream(chat("from the next"))
    caplog.set_level(logging.WARNING, "ogw_asgi")
    with anyio.fail_after(5):
        async with tls(distrusted, certificate) as url, serve(good) as good_url:
            providers: list[Provider] = [
                VLLM(endpoint=url, ssl_context=trusting(AUTHORITY)),
                OpenAICompatible("good", base_url=good_url),
            ]
            reply = await ask(providers, engine)
    assert (reply.status_code, reply.headers["x-opengateway-provider"]) == (201, "good")
    assert "vllm" in reply.headers["server-timing"]
    assert 'desc="tls"' in reply.headers["server-timing"]
    assert distrusted.requests == [], "nothing of the request was sent"
    assert [record.getMessage().split()[0] for record in caplog.records if record.name == "ogw_asgi"] == [
        "misconfigured"
    ]


@pytest.mark.parametrize("engine", ENGINES)
async def test_an_authority_of_one_provider_is_trusted_for_no_other(engine: EngineName) -> None:
    private, public = ScriptedUpstream(chat("private")), ScriptedUpstream(chat("public"))
    with anyio.fail_after(5):
        async with (
            tls(private, AUTHORITY.issue_cert("localhost")) as private_url,
            tls(public, AUTHORITY.issue_cert("localhost")) as public_url,
        ):
            providers: list[Provider] = [
                OpenAICompatible("public", base_url=public_url),
                VLLM(endpoint=private_url, ssl_context=trusting(AUTHORITY)),
            ]
            reply = await ask(providers, engine)
    assert reply.headers["x-opengateway-provider"] == "vllm"
    assert public.requests == []


@pytest.mark.contract("7.exact-origin")
@pytest.mark.parametrize("engine", ENGINES)
async def test_endpoints_that_callers_name_are_trusted_as_the_operators_own_server_is(engine: EngineName) -> None:
    upstream = ScriptedUpstream(chat("the caller's choice"))
    with anyio.fail_after(5):
        async with tls(upstream, AUTHORITY.issue_cert("localhost")) as url:
            for context, status in ((trusting(AUTHORITY), 201), (None, 502)):
                providers: list[Provider] = [
                    VLLM(allowed_endpoints=[f"{url} in 127.0.0.0/8 ::1/128"], ssl_context=context)
                ]
                reply = await ask(providers, engine, {"x-opengateway-vllm-endpoint": url})
                assert reply.status_code == status
    assert len(upstream.requests) == 1
