"""Section 2: the vLLM server that a caller names, and whose key it gets."""

from __future__ import annotations

import httpx
import pytest

from ogw_asgi.testing import RawRequest, RawUpstream, ScriptedUpstream, chat, error, http_response

from .checks import asked, refusal, sequence
from .harness import gateway_of, key_of, using

pytestmark = pytest.mark.anyio

ENDPOINT = "x-opengateway-vllm-endpoint"
KEY = "x-opengateway-vllm-api-key"
COMPLETION = b'{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"}}]}'
ANSWER = [http_response(200, COMPLETION, {"content-type": "application/json"})]


def authorization(request: RawRequest) -> list[bytes]:
    lines = request.head.split(b"\r\n")
    return [line.partition(b": ")[2] for line in lines if line.lower().startswith(b"authorization:")]


@pytest.mark.contract("2.endpoint.used", "2.endpoint.v1")
@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/"])
async def test_the_named_server_is_asked_with_or_without_v1(tail: str) -> None:
    configured = ScriptedUpstream(chat())
    async with RawUpstream(ANSWER) as server:
        vllm = using(configured, allowed_endpoints=[server.url])
        async with gateway_of(vllm=vllm, openai=ScriptedUpstream(chat())) as world:
            reply = await world.post(headers={**sequence("vllm"), ENDPOINT: server.url + tail})
            assert (reply.status_code, reply.content) == (201, COMPLETION)
            assert server.requests[0].head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
            assert f"\r\nhost: 127.0.0.1:{server.port}\r\n".encode() in server.requests[0].head.lower()
            assert world.calls() == []


@pytest.mark.contract("2.endpoint.configured", "2.vllm-key.configured")
@pytest.mark.parametrize("headers", [{}, {ENDPOINT: ""}, {ENDPOINT: "", KEY: ""}], ids=["absent", "empty", "both"])
async def test_without_a_named_server_the_configured_one_gets_its_own_key(headers: dict[str, str]) -> None:
    async with gateway_of(vllm=ScriptedUpstream(chat())) as world:
        assert (await world.post(headers={**sequence("vllm"), **headers})).status_code == 201
        (request,) = world.upstreams["vllm"].requests
        assert request.header("authorization") == f"Bearer {key_of('vllm')}"
        assert (request.header("host"), request.path) == ("vllm.test", "/v1/chat/completions")


@pytest.mark.contract("2.endpoint.missing")
@pytest.mark.parametrize("headers", [{}, {ENDPOINT: ""}], ids=["absent", "empty"])
async def test_without_any_server_a_sequence_that_names_vllm_is_refused(headers: dict[str, str]) -> None:
    async with gateway_of(openai=ScriptedUpstream(chat()), vllm=using("", endpoint=None)) as world:
        reply = await world.post(headers={**sequence("openai", "vllm"), **headers})
        assert refusal(reply)["param"] == ENDPOINT
        assert world.calls() == []


def each(values: list[str], *ids: str) -> list[object]:
    return [pytest.param(value, marks=pytest.mark.contract(*ids), id=value) for value in values]


SHAPES = ["gpu-7:8000", "//gpu-7", "/v1", "ftp://gpu-7", "http:gpu-7", "http://", "file:///etc/passwd", "http://gpu 7"]
EXTRAS = ["http://user:hunter2@gpu-7", "http://user@gpu-7", "http://gpu-7?x=1", "http://gpu-7#x", "http://gpu-7\\@evil"]
PATHS = ["http://gpu-7/v2", "http://gpu-7/v1/chat/completions", "http://gpu-7/v1//", "http://gpu-7/%76%31"]
PORTS = ["http://gpu-7:0", "http://gpu-7:65536", "http://gpu-7:x"]
HOSTS = ["http://2130706433", "http://0x7f.1", "http://10.0.0.7.", "http://0177.0.0.1", "http://127.1"]


@pytest.mark.parametrize(
    "value", [*each([*SHAPES, *EXTRAS, *PATHS, *PORTS], "2.endpoint.bad"), *each(HOSTS, "2.endpoint.odd-host")]
)
async def test_a_malformed_server_is_a_400_that_names_the_header(value: str) -> None:
    vllm = using(ScriptedUpstream(chat()), allowed_endpoints=["http://gpu-7", "http://127.0.0.1"])
    async with gateway_of(vllm=vllm) as world:
        error = refusal(await world.post(headers={**sequence("vllm"), ENDPOINT: value}))
        assert error["param"] == ENDPOINT
        assert ENDPOINT in error["message"]
        assert "hunter2" not in error["message"]
        assert world.calls() == []


@pytest.mark.contract("2.endpoint.not-allowed")
@pytest.mark.parametrize("allowed", [[], ["http://127.0.0.1:1"], ["https://127.0.0.1"]], ids=["none", "port", "scheme"])
async def test_a_server_that_the_allow_list_does_not_hold_is_a_403(allowed: list[str]) -> None:
    async with RawUpstream(ANSWER) as server:
        vllm = using(ScriptedUpstream(chat()), allowed_endpoints=allowed)
        async with gateway_of(vllm=vllm, openai=ScriptedUpstream(chat())) as world:
            for names in (["vllm"], ["openai", "vllm"]):
                reply = await world.post(headers={**sequence(*names), ENDPOINT: server.url})
                assert refusal(reply, 403)["param"] == ENDPOINT
            assert (server.connections, world.calls()) == (0, [])


@pytest.mark.contract("2.vllm-key.sent")
async def test_the_caller_s_key_goes_to_the_caller_s_server_and_to_nobody_else() -> None:
    async with RawUpstream([http_response(503)]) as server:
        vllm = using(ScriptedUpstream(chat()), allowed_endpoints=[server.url])
        async with gateway_of(vllm=vllm, openai=ScriptedUpstream(chat())) as world:
            headers = {**sequence("vllm", "openai"), ENDPOINT: server.url, KEY: "callers-own-key"}
            assert (await world.post(headers=headers)).status_code == 201
            assert authorization(server.requests[0]) == [b"Bearer callers-own-key"]
            assert asked(world) == ["openai"]
            (request,) = world.upstreams["openai"].requests
            assert not any(b"callers-own-key" in value for _, value in request.headers)


@pytest.mark.contract("2.vllm-key.never-configured")
@pytest.mark.parametrize("key", [{}, {KEY: ""}], ids=["absent", "empty"])
@pytest.mark.parametrize("same", [False, True], ids=["another server", "the configured server itself"])
async def test_a_named_server_never_gets_a_configured_key(key: dict[str, str], same: bool) -> None:
    async with RawUpstream(ANSWER) as server:
        options = {"allowed_endpoints": [server.url], "headers": {"x-operator": "operators-secret"}}
        vllm = using(server if same else ScriptedUpstream(chat()), **options)
        async with gateway_of(vllm=vllm) as world:
            reply = await world.post(headers={**sequence("vllm"), ENDPOINT: server.url, **key})
            assert reply.status_code == 201
            (request,) = server.requests
            assert authorization(request) == []
            assert key_of("vllm").encode() not in request.head
            assert b"operators-secret" not in request.head


@pytest.mark.contract("2.vllm-key.bad")
@pytest.mark.parametrize("key", ["two words", "tab\tin it", "k\xe9y", "k\x7fy", "line\nend"])
async def test_a_key_of_other_characters_is_a_400_that_names_the_header_and_not_the_key(key: str) -> None:
    vllm = using(ScriptedUpstream(chat()), allowed_endpoints=["http://gpu-7"])
    async with gateway_of(vllm=vllm) as world:
        pairs = {**sequence("vllm"), ENDPOINT: "http://gpu-7"}
        request = world.client.build_request("POST", "/chat/completions", headers=pairs, json={})
        request.headers = httpx.Headers([*request.headers.raw, (KEY.encode(), key.encode("latin-1"))])
        reply = await world.client.send(request)
        error = refusal(reply)
        assert error["param"] == KEY
        assert key not in error["message"]
        assert world.calls() == []


@pytest.mark.contract("2.vllm-key.without-endpoint")
@pytest.mark.parametrize("endpoint", [{}, {ENDPOINT: ""}], ids=["absent", "empty"])
async def test_a_key_without_a_server_is_a_400(endpoint: dict[str, str]) -> None:
    async with gateway_of(vllm=ScriptedUpstream(chat(), error(500))) as world:
        error_ = refusal(await world.post(headers={**sequence("vllm"), KEY: "callers-own-key", **endpoint}))
        assert error_["param"] == KEY
        assert "callers-own-key" not in error_["message"]
        assert world.calls() == []
