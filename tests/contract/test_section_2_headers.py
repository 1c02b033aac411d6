"""Section 2: the other headers of the gateway, and what holds for all of them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from ogw_asgi import Gateway, OpenAICompatible, Timeouts, bearer_tokens
from ogw_asgi.testing import Break, ScriptedUpstream, asgi_client, chat, serve, stream

from .checks import MESSAGES, SEQUENCE, TIMEOUT, events, read_stream, refusal, said, sequence
from .harness import gateway_of

pytestmark = pytest.mark.anyio

ENDPOINT = "x-opengateway-vllm-endpoint"
KEY = "x-opengateway-vllm-api-key"
ON_BREAK = "x-opengateway-on-stream-break"
STATUS = "x-opengateway-success-status"
HEDGE = "x-opengateway-hedge-after"
KNOWN = (SEQUENCE, ENDPOINT, KEY, TIMEOUT, ON_BREAK, STATUS, HEDGE)


def each(header: str, values: list[str], *ids: str) -> list[object]:
    marks = pytest.mark.contract(*ids)
    return [pytest.param(header, value, marks=marks, id=f"{header[14:]}={value[:20]}") for value in values]


NO_MILLISECONDS = ["0", "00", "-1", "+1", "1.5", "1e3", "0x10", "5s", "abc", "1,000", "1 0"]
TOO_MANY = ["3600001", "9" * 15, "9" * 400]
NO_POLICY = ["Error", "errors", "fail", "true", '"error"', "error, error"]
NO_STATUS = ["204", "202", "0200", "20", "ok", "200.0", "200, 201"]


@pytest.mark.parametrize(
    ("header", "value"),
    [
        *each(TIMEOUT, NO_MILLISECONDS, "2.timeout.bad"),
        *each(TIMEOUT, TOO_MANY, "2.timeout.limit", "8.first-chunk"),
        *each(ON_BREAK, NO_POLICY, "2.on-stream-break.bad"),
        *each(STATUS, NO_STATUS, "2.success-status.bad"),
        *each(HEDGE, ["-1", "1.5", "off", "0x0", *TOO_MANY], "2.hedge-after.bad"),
    ],
)
async def test_a_value_that_is_none_of_the_header_s_is_a_400_that_names_it(header: str, value: str) -> None:
    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        error = refusal(await world.post(headers={header: value}))
        assert error["param"] == header
        assert header in error["message"]
        assert world.calls() == []


@pytest.mark.contract("2.timeout.limit", "8.first-chunk")
@pytest.mark.parametrize(
    ("timeouts", "value", "status"),
    [(None, "3600000", 201), (None, "", 201), (Timeouts(header_max_s=2), "2000", 201)]
    + [(Timeouts(header_max_s=2), "2001", 400)],
)
async def test_the_longest_limit_that_a_caller_may_name(timeouts: Timeouts | None, value: str, status: int) -> None:
    async with gateway_of(openai=ScriptedUpstream(chat()), timeouts=timeouts) as world:
        assert (await world.post(headers={TIMEOUT: value})).status_code == status


@pytest.mark.contract("2.on-stream-break.error")
@pytest.mark.parametrize("headers", [{}, {ON_BREAK: ""}, {ON_BREAK: "error"}], ids=["absent", "empty", "error"])
async def test_a_break_is_an_error_event_out_of_the_box(headers: dict[str, str]) -> None:
    cut = ScriptedUpstream(stream(["Hel", Break()]))
    async with gateway_of(openai=cut, azure=ScriptedUpstream(chat())) as world:
        text, complete = await read_stream(world, headers=headers)
        assert '"code":"stream_interrupted"' in events(text)[-1]
        assert not complete
        assert world.calls() == ["openai"]


@pytest.mark.contract("2.on-stream-break.hold", "2.on-stream-break.continue")
@pytest.mark.parametrize("value", ["hold", "continue"])
async def test_a_caller_may_ask_for_more_than_to_be_told_of_a_break(value: str) -> None:
    cut = ScriptedUpstream(stream(["Hel", Break()]))
    async with gateway_of(openai=cut, azure=ScriptedUpstream(stream(["Hel", "lo"]))) as world:
        text, complete = await read_stream(world, headers={ON_BREAK: value})
        assert (said(text), complete) == ("Hello", True)
        assert world.calls() == ["openai", "azure"]


@pytest.mark.contract("2.success-status.used")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("configured", [200, 201])
@pytest.mark.parametrize("asked_for", ["200", "201", "", None])
async def test_the_success_status_is_what_the_header_asks_for(
    stream: bool, configured: int, asked_for: str | None
) -> None:
    async with gateway_of(openai=ScriptedUpstream(chat()), success_status=configured) as world:
        headers = {} if asked_for is None else {STATUS: asked_for}
        reply = await world.post(headers=headers, stream=stream)
        assert reply.status_code == int(asked_for or configured)


@pytest.mark.contract("2.hedge-after.zero")
@pytest.mark.parametrize("value", ["0", "000", ""])
async def test_hedging_can_be_switched_off(value: str) -> None:
    async with gateway_of(openai=ScriptedUpstream(chat()), azure=ScriptedUpstream(chat())) as world:
        assert (await world.post(headers={HEDGE: value})).status_code == 201
        assert world.calls() == ["openai"]


@pytest.mark.contract("2.names.case")
async def test_names_are_read_in_any_case_over_a_real_connection() -> None:
    async with serve(ScriptedUpstream(chat())) as url:
        gateway = Gateway(providers=[OpenAICompatible(name, base_url=f"{url}/v1") for name in ("one", "two")])
        async with serve(gateway) as here:
            async with httpx.AsyncClient(base_url=here) as client:
                names = {"X-OpenGateway-Failover-Sequence": '["two"]', "X-OPENGATEWAY-SUCCESS-STATUS": "200"}
                body = {"model": "m", "messages": MESSAGES}
                reply = await client.post("/chat/completions", headers=names, json=body)
                assert (reply.status_code, reply.headers["x-opengateway-provider"]) == (200, "two")
                reply = await client.post("/chat/completions", headers={"X-OpenGateway-Timeout": "x"}, json=body)
                assert refusal(reply)["param"] == TIMEOUT


@pytest.mark.contract("2.names.case", "2.names.twice")
async def test_a_server_that_keeps_the_case_of_names_changes_nothing() -> None:
    """ASGI wants lower-case names; not every server and test client keeps to it."""
    messages: list[dict[str, Any]] = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/chat/completions",
        "headers": [
            (b"Content-Type", b"application/json"),
            (b"X-OpenGateway-Timeout", b"1000"),
            (b"x-opengateway-timeout", b"2000"),
        ],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        messages.append(dict(message))

    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        await world.gateway(scope, receive, send)
        assert messages[0]["status"] == 400
        assert b'"param":"x-opengateway-timeout"' in messages[1]["body"]


VALUES = {
    SEQUENCE: '["openai"]',
    ENDPOINT: "http://gpu-7",
    KEY: "k",
    TIMEOUT: "1000",
    ON_BREAK: "error",
    STATUS: "200",
    HEDGE: "0",
    "content-type": "application/json",
    "authorization": "Bearer t",
}


@pytest.mark.contract("2.names.twice")
@pytest.mark.parametrize("header", VALUES)
@pytest.mark.parametrize("second", ["the same", "empty"])
async def test_a_header_that_comes_twice_is_a_400_that_names_it(header: str, second: str) -> None:
    async with gateway_of(openai=ScriptedUpstream(chat()), authenticate=bearer_tokens(["t"])) as world:
        others = [(name, VALUES[name]) for name in ("content-type", "authorization") if name != header]
        twice = [(header, VALUES[header]), (header, VALUES[header] if second == "the same" else "")]
        error = refusal(await world.post(headers=[*others, *twice], content=b"{}"))
        assert error["param"] == header
        assert header in error["message"]
        assert world.calls() == []


@pytest.mark.contract("2.two-lengths")
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/chat/completions"), ("OPTIONS", "/chat/completions"), ("GET", "/models")]
)
async def test_two_ways_to_say_where_the_body_ends_are_a_400_and_the_end_of_the_connection(
    method: str, path: str
) -> None:
    """Raw, because no client says both."""
    messages: list[dict[str, Any]] = []
    framing = [(b"transfer-encoding", b"chunked"), (b"content-length", b"2")]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(b"content-type", b"application/json"), *framing],
    }

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was asked for")

    async def send(message: Any) -> None:
        messages.append(dict(message))

    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        await world.gateway(scope, receive, send)
        assert messages[0]["status"] == 400
        assert (b"connection", b"close") in messages[0]["headers"]
        assert b'"code":"invalid_header"' in messages[1]["body"]
        assert b'"param":"content-length"' in messages[1]["body"]
        assert world.calls() == []


@pytest.mark.contract("2.names.unknown")
@pytest.mark.parametrize(
    "name", ["x-opengateway-failover-sequnce", "x-opengateway-failover", "x-opengateway-", "X-OpenGateway-Time-Out"]
)
@pytest.mark.parametrize("value", ["1", ""])
async def test_an_unknown_header_of_ours_is_a_400_that_names_those_that_are(name: str, value: str) -> None:
    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        error = refusal(await world.post(headers={**sequence("openai"), name: value}))
        assert error["param"] == name.lower()
        assert all(known in error["message"] for known in KNOWN)
        assert world.calls() == []


@pytest.mark.contract("8.header-limit")
@pytest.mark.parametrize(("size", "status"), [(8192, 201), (8193, 400)])
async def test_a_header_of_ours_may_have_8_kib(size: int, status: int) -> None:
    value = '["openai"' + " " * (size - 10) + "]"
    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        reply = await world.post(headers={SEQUENCE: value})
        assert (len(value), reply.status_code) == (size, status)
        if status == 400:
            assert refusal(reply)["param"] == SEQUENCE


@pytest.mark.contract("2.authorization.malformed")
@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Bearer ", "t", "Basic dDp0", "Token t", "Bearert", "Bearer=t", "Bearer t t", "Bearer t\xe9"],
)
async def test_a_malformed_authorization_is_a_401(value: str) -> None:
    upstream = ScriptedUpstream(chat())
    async with gateway_of(openai=upstream, authenticate=bearer_tokens(["t"])) as world:
        async with asgi_client(world.gateway, headers=[(b"authorization", value.encode("latin-1"))]) as client:
            reply = await client.post("/chat/completions", json={"model": "m", "messages": MESSAGES})
        assert refusal(reply, 401)["type"] == "authentication_error"
        assert reply.headers["www-authenticate"] == "Bearer"
        assert world.calls() == []
