"""Contract section 7: what goes to a server that the caller named, and how. Real sockets on loopback."""

from __future__ import annotations

import logging

import pytest

from ogw_asgi import VLLM
from ogw_asgi.testing import (
    RawUpstream,
    ScriptedUpstream,
    error,
    http_response,
)

from .harness import gateway_of, key_of, using
from .named_endpoint import ANSWER, COMPLETION, SEQUENCE, STREAM, headers_of, naming, refused
from .schema import error_of

pytestmark = pytest.mark.anyio


# --- named by the caller, even when it is the configured one ----------------------------------------------------------


@pytest.mark.contract("7.equal.no-key")
@pytest.mark.parametrize("key", [None, "sk-c4n4ry-of-the-caller"])
async def test_the_configured_endpoint_named_by_a_caller_gets_the_callers_key_or_none(key: str | None) -> None:
    async with RawUpstream([ANSWER]) as server:
        vllm = using(server, allowed_endpoints=[server.url], headers={"x-team": "team-42-secret"})
        async with gateway_of(vllm=vllm) as world:
            named = await world.post(headers=naming(server.url, key=key))
            configured = await world.post()
    assert (named.status_code, configured.status_code) == (201, 201)
    to_named, to_configured = map(headers_of, server.requests)
    assert to_named.get("authorization") == (None if key is None else f"Bearer {key}")
    assert "x-team" not in to_named
    assert key_of("vllm") not in server.requests[0].head.decode()
    assert to_configured["authorization"] == f"Bearer {key_of('vllm')}"
    assert to_configured["x-team"] == "team-42-secret"


@pytest.mark.contract("7.equal.no-key")
async def test_a_key_that_is_asked_for_is_not_even_asked_for_a_caller_named_endpoint() -> None:
    asked: list[str] = []

    async def key_source() -> str:
        asked.append("key")
        return "sk-c4n4ry-fresh"

    async with RawUpstream([ANSWER]) as server:
        vllm = using(server, allowed_endpoints=[server.url], api_key=key_source)
        async with gateway_of(vllm=vllm) as world:
            assert (await world.post(headers=naming(server.url))).status_code == 201
            assert asked == []
            assert (await world.post()).status_code == 201
            assert asked == ["key"]


@pytest.mark.contract("7.equal.not-listed")
@pytest.mark.parametrize("listed", [(), ("http://10.0.0.7:8000",)])
async def test_the_configured_endpoint_named_by_a_caller_is_a_403_unless_listed(listed: tuple[str, ...]) -> None:
    async with RawUpstream([ANSWER]) as server:
        async with gateway_of(vllm=using(server, allowed_endpoints=listed)) as world:
            refused(await world.post(headers=naming(server.url)), world)
            refused(await world.post(headers=naming(server.url, key="sk-c4n4ry-of-the-caller")), world)
        assert server.connections == 0


@pytest.mark.contract("7.configured-exempt")
@pytest.mark.parametrize("listed", [(), ("http://10.0.0.7:8000",)])
async def test_configured_urls_need_no_entry_in_the_list(listed: tuple[str, ...]) -> None:
    async with RawUpstream([http_response(503)]) as first, RawUpstream([ANSWER]) as second:
        async with gateway_of(openai=first, vllm=using(second, allowed_endpoints=listed)) as world:
            reply = await world.post(headers={SEQUENCE: '["openai", "vllm"]'})
    assert reply.status_code == 201
    assert world.calls() == ["openai", "vllm"]


# --- what goes there, and how -----------------------------------------------------------------------------------------


@pytest.mark.contract("7.own-pool")
async def test_a_client_that_the_user_passed_never_sees_a_caller_named_endpoint() -> None:
    inside = ScriptedUpstream()
    async with RawUpstream([ANSWER]) as server:
        async with gateway_of(vllm=using(inside, allowed_endpoints=[server.url])) as world:
            assert (await world.post(headers=naming(server.url))).status_code == 201
            assert (len(inside.requests), len(server.requests)) == (0, 1)
            assert (await world.post()).status_code == 201
            assert (len(inside.requests), len(server.requests)) == (1, 1)
    assert server.requests[0].head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")


@pytest.mark.contract("7.own-pool")
async def test_proxies_of_the_environment_and_cookies_are_not_the_own_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        RawUpstream(
            [http_response(200, COMPLETION, {"content-type": "application/json", "set-cookie": "a=b; path=/"})]
        ) as server,
        RawUpstream([http_response(502)]) as proxy,
    ):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with gateway_of(vllm=using(server, allowed_endpoints=[server.url])) as world:
            for _ in range(2):
                assert (await world.post(headers=naming(server.url))).status_code == 201
        assert proxy.connections == 0
        assert all("cookie" not in headers_of(request) for request in server.requests)


@pytest.mark.contract("8.no-keep-alive")
@pytest.mark.parametrize("streamed", [False, True])
async def test_connections_to_a_caller_named_endpoint_are_never_kept(streamed: bool) -> None:
    script = [STREAM if streamed else ANSWER]
    async with RawUpstream(script) as server:
        async with gateway_of(vllm=using(server, allowed_endpoints=[server.url])) as world:
            for _ in range(3):
                assert (await world.post(headers=naming(server.url), stream=streamed)).status_code == 201
            await server.peer_closed(3)
            assert (server.connections, server.reused) == (3, 0)
            for _ in range(3):
                assert (await world.post(stream=streamed)).status_code == 201
            assert (server.connections, server.reused) == (4, 2)


@pytest.mark.contract("4.no-redirects")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_of_a_caller_named_endpoint_is_not_followed(status: int) -> None:
    async with RawUpstream([ANSWER]) as elsewhere:
        moved = http_response(status, b"", {"location": f"{elsewhere.url}/v1/chat/completions"})
        async with RawUpstream([moved]) as server:
            vllm = using(server, allowed_endpoints=[server.url, elsewhere.url])
            async with gateway_of(vllm=vllm) as world:
                reply = await world.post(headers=naming(server.url, key="sk-c4n4ry-of-the-caller"))
            assert (len(server.requests), elsewhere.connections) == (1, 0)
    assert reply.status_code == 502
    assert error_of(reply)["attempts"][0]["outcome"] == "redirect"


@pytest.mark.contract("2.vllm-key.sent")
async def test_the_callers_key_goes_to_the_callers_endpoint_and_to_no_other_provider() -> None:
    openai, azure = ScriptedUpstream(error(500)), ScriptedUpstream()
    async with RawUpstream([http_response(503)]) as server:
        async with gateway_of(
            openai=openai, vllm=VLLM(allowed_endpoints=[server.url], api_key="sk-c4n4ry-configured"), azure=azure
        ) as world:
            headers = naming(server.url, '["openai", "vllm", "azure"]', key="sk-c4n4ry-of-the-caller")
            assert (await world.post(headers=headers)).status_code == 201
    assert headers_of(server.requests[0])["authorization"] == "Bearer sk-c4n4ry-of-the-caller"
    for upstream in (openai, azure):
        (request,) = upstream.requests
        assert b"sk-c4n4ry-of-the-caller" not in b"\n".join([*(value for _, value in request.headers), request.body])


@pytest.mark.contract("6.envelope.no-secrets")
async def test_the_callers_key_is_masked_in_what_the_callers_endpoint_says(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ogw_asgi")
    said = b'"message": "Invalid key sk-c4n4ry-of-the-caller.", "type": "auth", "code": "sk-c4n4ry-of-the-caller"'
    body = b'{"error": {%b}}' % said
    async with RawUpstream([http_response(401, body, {"content-type": "application/json"})]) as server:
        async with gateway_of(vllm=using(server, allowed_endpoints=[server.url])) as world:
            reply = await world.post(headers=naming(server.url, key="sk-c4n4ry-of-the-caller"))
    found = error_of(reply)
    assert (reply.status_code, found["message"], found["code"]) == (401, "Invalid key ***.", "***")
    assert "sk-c4n4ry-of-the-caller" not in reply.text + str(reply.headers) + caplog.text
