"""Contract section 7: which servers callers may name, and in which form."""

from __future__ import annotations

import socket
from typing import Any

import anyio
import pytest
from starlette.requests import HTTPConnection

from ogw_asgi import VLLM, ConfigurationError, Gateway, OpenAI, Principal
from ogw_asgi.testing import (
    RawUpstream,
    ScriptedUpstream,
    asgi_client,
    chat,
)

from .harness import gateway_of, using
from .named_endpoint import ANSWER, ENDPOINT, headers_of, naming, refused
from .schema import error_of

pytestmark = pytest.mark.anyio


@pytest.mark.contract("7.exact-origin")
@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
@pytest.mark.parametrize("listed_suffix", ["", "/v1"])
async def test_an_entry_that_is_an_exact_origin_allows_it(suffix: str, listed_suffix: str) -> None:
    async with RawUpstream([ANSWER]) as server:
        vllm = VLLM(allowed_endpoints=["http://10.0.0.7:8000", server.url + listed_suffix])
        async with gateway_of(vllm=vllm) as world:
            reply = await world.post(headers=naming(server.url + suffix))
    assert reply.status_code == 201
    assert reply.headers["x-opengateway-provider"] == "vllm"
    assert [request.head.split(b" ")[1] for request in server.requests] == [b"/v1/chat/completions"]


@pytest.mark.contract("7.exact-only")
@pytest.mark.parametrize(
    ("listed", "named"),
    [
        ("http://10.0.0.7:8000", "https://10.0.0.7:8000"),
        ("http://10.0.0.7:8000", "http://10.0.0.7:8001"),
        ("http://10.0.0.7:8000", "http://10.0.0.7"),
        ("http://10.0.0.7:8000", "http://10.0.0.8:8000"),
        ("http://10.0.0.7", "http://10.0.0.7:443"),
        ("https://10.0.0.7", "http://10.0.0.7:443"),
        ("http://gpu.internal", "http://gpu.internal.evil.test"),
        ("http://gpu.internal", "http://evil-gpu.internal"),
        ("http://gpu.internal", "http://a.gpu.internal"),
        ("http://gpu.internal", "http://internal"),
        ("http://localhost:8000", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000", "http://[::ffff:127.0.0.1]:8000"),
        ("http://127.0.0.1:8000", "http://[::1]:8000"),
        ("http://10.0.0.7:8000", "http://169.254.169.254"),
    ],
)
async def test_it_allows_no_other_scheme_host_or_port(listed: str, named: str) -> None:
    async with gateway_of(vllm=using(ScriptedUpstream(), allowed_endpoints=[listed])) as world:
        refused(await world.post(headers=naming(named)), world)


@pytest.mark.contract("7.exact-origin")
@pytest.mark.parametrize("other", ["openai", "vllm-eu"])
async def test_without_a_provider_named_vllm_no_endpoint_may_be_named_and_a_list_for_it_is_told(
    other: str, caplog: pytest.LogCaptureFixture
) -> None:
    provider = (
        OpenAI(api_key="sk-c4n4ry-k") if other == "openai" else VLLM(name=other, allowed_endpoints=["http://10.0.0.7"])
    )
    providers: dict[str, Any] = {other: provider}
    async with gateway_of(**providers) as world:
        refused(await world.post(headers={ENDPOINT: "http://10.0.0.7"}), world)
    told = [record.getMessage().split()[0] for record in caplog.records if "allowed_endpoints" in record.getMessage()]
    assert told == ([] if other == "openai" else ["allowed_endpoints_unused"])


@pytest.mark.contract("7.odd-hosts")
@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "localhost.",
        "127.0.0.01",
        "127.0.0.1%00.allowed.test",
        "127.0.0.1\\@evil.test",
        "allowed.test@127.0.0.1",
        "[::1%25lo]",
        "[::1",
        "gpu..internal",
        "-gpu.internal",
        "",
    ],
)
async def test_an_odd_form_of_an_allowed_host_is_a_400_and_never_put_right(host: str) -> None:
    listed = ["http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000", "http://allowed.test:8000"]
    async with gateway_of(vllm=using(ScriptedUpstream(), allowed_endpoints=listed)) as world:
        reply = await world.post(headers=naming(f"http://{host}:8000"))
        found = error_of(reply)
        assert (reply.status_code, found["code"], found["param"]) == (400, "invalid_header", ENDPOINT)
        assert world.calls() == []


@pytest.mark.contract("7.environment")
@pytest.mark.parametrize("separator", [",", ", ", " ,\n"])
async def test_in_the_environment_entries_are_separated_by_commas(separator: str) -> None:
    async with RawUpstream([ANSWER]) as first, RawUpstream([ANSWER]) as second, RawUpstream([ANSWER]) as third:
        environ = {
            "VLLM_API_KEY": "sk-c4n4ry-configured",
            "OGW_VLLM_ALLOWED_ENDPOINTS": separator.join([first.url, second.url]),
        }
        gateway = Gateway.from_env(environ)
        with anyio.fail_after(5):
            async with gateway, asgi_client(gateway) as client:
                statuses = []
                for server in (first, second, third):
                    call: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
                    reply = await client.post("/chat/completions", headers=naming(server.url), json=call)
                    statuses.append(reply.status_code)
    assert statuses == [201, 201, 403]
    assert [len(server.requests) for server in (first, second, third)] == [1, 1, 0]
    assert "authorization" not in headers_of(first.requests[0])


@pytest.mark.contract("7.guard.in", "7.guard.network", "7.guard.ports", "7.environment")
@pytest.mark.parametrize("way_in", ["code", "environment"])
@pytest.mark.parametrize(
    ("entry", "host", "status"),
    [
        ("http://gpu.test:PORT in 127.0.0.0/8", "gpu.test", 201),
        ("http://*.test:PORT in 127.0.0.0/8", None, None),
        ("http://*.gpu.test:1-65535 in 127.0.0.0/8 ::1/128", "a.gpu.test", 201),
        ("http://gpu.test:PORT", "gpu.test", 403),
        ("http://gpu.test:PORT in 10.0.0.0/8", "gpu.test", 403),
        ("http://*.gpu.test:PORT", "a.gpu.test", 403),
        ("http://127.0.0.0/8:PORT", "127.0.0.1", 201),
        ("http://127.0.0.0/8:PORT", "gpu.test", 403),
        ("http://0.0.0.0/0:PORT", "127.0.0.1", 403),
        ("https://*:1", "127.0.0.1", 403),
    ],
)
async def test_every_form_of_an_entry_in_code_and_in_the_environment(
    entry: str, host: str | None, status: int | None, way_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = socket.getaddrinfo

    def look_up(name: Any, *more: Any, **options: Any) -> Any:
        return system("127.0.0.1" if str(name).endswith("gpu.test") else name, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with RawUpstream([ANSWER]) as server:
        listed = entry.replace("PORT", str(server.port))

        def build() -> Gateway:
            if way_in == "environment":
                return Gateway.from_env({"OGW_VLLM_ALLOWED_ENDPOINTS": f"http://10.0.0.7,{listed}"})
            return Gateway(providers=[VLLM(allowed_endpoints=["http://10.0.0.7", listed])])

        if status is None:
            with pytest.raises(ConfigurationError, match="entry 2"):
                build()
            return
        gateway = build()
        with anyio.fail_after(5):
            async with gateway, asgi_client(gateway) as client:
                call: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
                reply = await client.post(
                    "/chat/completions", headers=naming(f"http://{host}:{server.port}"), json=call
                )
        assert (reply.status_code, server.connections) == (status, int(status == 201))


@pytest.mark.contract("7.exact-origin")
async def test_of_two_endpoints_that_are_allowed_only_the_named_one_is_called() -> None:
    inside = ScriptedUpstream(chat("configured"))
    async with RawUpstream([ANSWER]) as first, RawUpstream([ANSWER]) as second:
        async with gateway_of(vllm=using(inside, allowed_endpoints=[first.url, second.url])) as world:
            assert (await world.post(headers=naming(second.url))).status_code == 201
        assert (first.connections, second.connections, len(inside.requests)) == (0, 1, 0)


@pytest.mark.contract("7.guard.principal")
async def test_a_principals_list_narrows_the_operators_and_one_that_cannot_be_read_allows_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with RawUpstream([ANSWER]) as server:
        lists = {
            "same": [server.url],
            "narrower": [f"http://127.0.0.1:{server.port}"],
            "other": ["http://10.0.0.7"],
            "none": [],
            "unreadable": ["http://user:hunter2@127.0.0.1"],
        }

        def authenticate(connection: HTTPConnection) -> Principal:
            who = connection.headers["x-who"]
            return Principal(who, endpoints=lists[who])

        gateway = Gateway(providers=[VLLM(allowed_endpoints=["http://127.0.0.0/8:1-65535"])], authenticate=authenticate)
        call: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
        statuses = {}
        with anyio.fail_after(5):
            async with gateway, asgi_client(gateway) as client:
                for who in lists:
                    headers = naming(server.url) | {"x-who": who}
                    statuses[who] = (await client.post("/chat/completions", headers=headers, json=call)).status_code
    assert statuses == {"same": 201, "narrower": 201, "other": 403, "none": 403, "unreadable": 403}
    told = [record.getMessage() for record in caplog.records if "principal_endpoints_unreadable" in record.getMessage()]
    assert len(told) == 1
    assert "principal=unreadable" in told[0]
    assert "hunter2" not in caplog.text
