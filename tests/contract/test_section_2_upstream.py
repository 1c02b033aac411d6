"""Section 2: what goes upstream is an allow-list, and `Via` keeps requests from going in circles."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ogw_asgi import OpenAICompatible, __version__
from ogw_asgi.testing import RawUpstream, RecordedRequest, ScriptedUpstream, asgi_client, chat, http_response

from .checks import refusal, sequence
from .harness import World, gateway_of, key_of

pytestmark = pytest.mark.anyio

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"

FLOOD = [
    ("x-opengateway-timeout", "1000"),
    ("x-opengateway-success-status", "200"),
    ("x-opengateway-hedge-after", "0"),
    ("x-opengateway-on-stream-break", "error"),
    ("x-opengateway-vllm-api-key", ""),
    ("authorization", "Bearer callers-token"),
    ("api-key", "callers-azure-key"),
    ("x-api-key", "callers-other-key"),
    ("cookie", "session=callers-session"),
    ("proxy-authorization", "Basic Y2FsbGVy"),
    ("connection", "close, x-custom"),
    ("keep-alive", "timeout=5"),
    ("te", "trailers"),
    ("trailer", "x-checksum"),
    ("upgrade", "h2c"),
    ("expect", "100-continue"),
    ("x-custom", "of the host app"),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-forwarded-host", "host.example"),
    ("x-forwarded-proto", "https"),
    ("x-real-ip", "203.0.113.7"),
    ("forwarded", "for=203.0.113.7"),
    ("origin", "https://host.example"),
    ("referer", "https://host.example/page"),
    ("accept", "text/html"),
    ("accept-encoding", "gzip, br"),
    ("accept-language", "de"),
    ("user-agent", "OpenAI/Python 3.0"),
    ("openai-organization", "org-callers"),
    ("openai-project", "project-callers"),
    ("openai-beta", "assistants=v2"),
    ("x-stainless-lang", "python"),
    ("x-stainless-read-timeout", "600"),
    ("tracestate", "vendor=1"),
    ("baggage", "user=7"),
    ("traceparent", f"00-{TRACE}-{SPAN}-01"),
    ("via", "1.1 ogw-aaaa, 1.0 proxy.example"),
    ("x-request-id", "callers-id-1"),
    ("idempotency-key", "callers-key-1"),
]


def own_id(request: RecordedRequest) -> str:
    found = re.search(r"1\.1 ogw-([0-9a-z]+)$", request.header("via") or "")
    assert found, "no Via of ours"
    return found[1]


def sent(world: World, name: str) -> dict[str, str]:
    """All headers of the one request; that none comes twice is part of the question."""
    (request,) = world.upstreams[name].requests
    headers = {key.decode(): value.decode() for key, value in request.headers}
    assert len(headers) == len(request.headers)
    return headers


@pytest.mark.contract("2.upstream.no-gateway-headers", "2.upstream.no-caller-headers")
@pytest.mark.contract("2.upstream.request-id", "2.upstream.idempotency-key", "2.upstream.via")
@pytest.mark.contract("2.upstream.user-agent", "2.upstream.traceparent")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("openai", {"authorization": f"Bearer {key_of('openai')}"}),
        ("azure", {"api-key": key_of("azure")}),
        ("groq", {"authorization": f"Bearer {key_of('groq')}"}),
        ("vllm", {"authorization": f"Bearer {key_of('vllm')}"}),
    ],
)
async def test_these_headers_and_no_others_go_upstream(name: str, key: dict[str, str], stream: bool) -> None:
    upstreams: dict[str, Any] = {name: ScriptedUpstream(chat())}
    async with gateway_of(**upstreams) as world:
        reply = await world.post(headers=[*FLOOD, *sequence(name).items()], stream=stream)
        assert reply.status_code == 200
        headers = sent(world, name)
        (request,) = world.upstreams[name].requests
        trace = {}
        if name == "vllm":
            trace["traceparent"] = headers["traceparent"]
            found = re.fullmatch(rf"00-{TRACE}-([0-9a-f]{{16}})-01", headers["traceparent"])
            assert found
            assert found[1] != SPAN
        assert headers == {
            "host": f"{name}.test",
            "content-type": "application/json",
            "content-length": str(len(request.body)),
            "accept": "text/event-stream" if stream else "application/json",
            "accept-encoding": "identity",
            "user-agent": f"ogw_asgi/{__version__}",
            "x-request-id": "callers-id-1",
            "idempotency-key": "callers-key-1",
            "via": f"1.1 ogw-aaaa, 1.1 ogw-{own_id(request)}",
            **key,
            **trace,
        }


@pytest.mark.contract("2.upstream.no-gateway-headers", "2.upstream.no-caller-headers")
async def test_the_same_holds_on_the_wire() -> None:
    body = b'{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"}}]}'
    async with RawUpstream([http_response(200, body, {"content-type": "application/json"})]) as server:
        async with gateway_of(openai=server) as world:
            assert (await world.post(headers=FLOOD)).status_code == 200
            lines = server.requests[0].head.decode().rstrip("\r\n").split("\r\n")
            assert lines[0] == "POST /v1/chat/completions HTTP/1.1"
            names = sorted(line.partition(":")[0].lower() for line in lines[1:])
            assert names == [
                "accept",
                "accept-encoding",
                "authorization",
                "content-length",
                "content-type",
                "host",
                "idempotency-key",
                "user-agent",
                "via",
                "x-request-id",
            ]


@pytest.mark.contract("2.upstream.request-id", "2.upstream.idempotency-key", "2.upstream.via")
async def test_without_the_caller_s_the_request_id_is_new_and_no_idempotency_key_is_made_up() -> None:
    async with gateway_of(openai=ScriptedUpstream(chat()), vllm=ScriptedUpstream(chat())) as world:
        replies = [await world.post() for _ in range(2)]
        requests = world.upstreams["openai"].requests
        ids = [request.header("x-request-id") for request in requests]
        assert ids == [reply.headers["x-request-id"] for reply in replies]
        assert all(re.fullmatch("[0-9a-f]{32}", each or "") for each in ids)
        assert ids[0] != ids[1]
        assert [request.header("idempotency-key") for request in requests] == [None, None]
        assert [request.header("via") for request in requests] == [f"1.1 ogw-{own_id(requests[0])}"] * 2


@pytest.mark.contract("2.upstream.traceparent")
@pytest.mark.parametrize("headers", [{}, {"traceparent": "nonsense"}, {"traceparent": f"00-{'0' * 32}-{SPAN}-01"}])
async def test_a_self_hosted_provider_gets_a_trace_of_our_own_when_the_caller_has_none(headers: dict[str, str]) -> None:
    async with gateway_of(vllm=ScriptedUpstream(chat())) as world:
        for _ in range(2):
            assert (await world.post(headers=headers)).status_code == 201
        first, second = (request.header("traceparent") or "" for request in world.upstreams["vllm"].requests)
        assert re.fullmatch(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-00", first)
        assert first.split("-")[1] != second.split("-")[1]


@pytest.mark.contract("2.upstream.via")
@pytest.mark.parametrize(
    ("via", "kept"),
    [
        (["1.1 ogw-aaaa"], ["aaaa"]),
        (["1.0 proxy, 1.1 ogw-aaaa (comment), HTTP/2.0 ogw-bbbb"], ["aaaa", "bbbb"]),
        (["1.1 ogw-aaaa", "1.1 varnish", "1.1 ogw-bbbb"], ["aaaa", "bbbb"]),
        (["1.1 proxy", "2 cache.example:80"], []),
        (["ogw-aaaa", "1.1 ogw-", "1.1 xogw-aaaa", "", ","], []),
    ],
)
async def test_of_a_via_that_came_in_only_the_gateways_are_kept(via: list[str], kept: list[str]) -> None:
    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        assert (await world.post(headers=[("via", value) for value in via])).status_code == 201
        (request,) = world.upstreams["openai"].requests
        entries = [f"1.1 ogw-{name}" for name in (*kept, own_id(request))]
        assert request.header("via") == ", ".join(entries)


@pytest.mark.contract("2.via.own-id")
async def test_a_request_that_has_been_here_is_a_508() -> None:
    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        await world.post()
        (request,) = world.upstreams["openai"].requests
        reply = await world.post(headers={"via": f"1.1 proxy, {request.header('via')}"})
        assert refusal(reply, 508)["code"] == "loop_detected"
        assert len(world.upstreams["openai"].requests) == 1


@pytest.mark.contract("2.via.own-id")
async def test_a_gateway_that_is_its_own_provider_ends_the_circle_at_once() -> None:
    calls: list[str] = []

    async def leads_back(scope: Any, receive: Any, send: Any) -> None:
        calls.append(scope["path"])
        await outer.gateway(scope, receive, send)

    async with asgi_client(leads_back) as back:
        myself = OpenAICompatible("myself", base_url="http://myself.test", client=back)
        async with gateway_of(myself=myself) as outer:
            reply = await outer.post()
            assert reply.json()["error"]["attempts"][0]["code"] == "loop_detected", reply.text
            assert len(calls) == 1


@pytest.mark.contract("2.via.three")
@pytest.mark.parametrize(
    ("via", "status"),
    [
        (["1.1 ogw-aaaa, 1.1 ogw-bbbb"], 201),
        (["1.1 ogw-aaaa, 1.1 ogw-bbbb, 1.1 proxy, 1.1 nginx"], 201),
        (["1.1 ogw-aaaa, 1.1 ogw-bbbb, 1.1 ogw-cccc"], 508),
        (["1.1 ogw-aaaa", "1.1 ogw-bbbb", "1.1 proxy, 1.1 ogw-cccc"], 508),
    ],
)
async def test_a_request_that_came_through_three_gateways_is_a_508(via: list[str], status: int) -> None:
    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        reply = await world.post(headers=[("via", value) for value in via])
        assert reply.status_code == status
        assert world.calls() == (["openai"] if status == 201 else [])
