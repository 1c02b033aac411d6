"""F59 and F61: headers that are refused before anybody is called, without a word of what they held."""

from __future__ import annotations

from typing import Any

import pytest

from ogw_asgi import bearer_tokens
from ogw_asgi.testing.encoding import json_bytes

from .caller import Reply, connected
from .selection import Case
from .watching import question
from .wire import payload
from .world import Good, OpenWorld, World

pytestmark = pytest.mark.anyio

SEQUENCE = "x-opengateway-failover-sequence"
ENDPOINT = "x-opengateway-vllm-endpoint"
KEY = "x-opengateway-vllm-api-key"
TIMEOUT = "x-opengateway-timeout"
HEDGE = "x-opengateway-hedge-after"
STATUS = "x-opengateway-success-status"
BREAK = "x-opengateway-on-stream-break"

PLANTED = "{planted}"
"""Stands for a key that must not be seen again."""

REFUSED: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "a limit twice": (TIMEOUT, [(TIMEOUT, "100"), (TIMEOUT, "100")]),
    "a limit twice, by a bare LF": (TIMEOUT, [(TIMEOUT, f"100\n{TIMEOUT}: 200")]),
    "a sequence twice": (SEQUENCE, [(SEQUENCE, '["one"]'), (SEQUENCE, '["two"]')]),
    "a key twice": (KEY, [(KEY, PLANTED), (KEY, PLANTED)]),
    "latin-1 in a limit": (TIMEOUT, [(TIMEOUT, "1\xb2")]),
    "latin-1 in a key": (KEY, [(ENDPOINT, "http://127.0.0.1:1"), (KEY, f"{PLANTED}\xe9")]),
    "a blank that no server strips": (TIMEOUT, [(TIMEOUT, "100\xa0")]),
    "a blank in a key": (KEY, [(ENDPOINT, "http://127.0.0.1:1"), (KEY, f"{PLANTED} {PLANTED}")]),
    "a key without an endpoint": (KEY, [(KEY, PLANTED)]),
    "a key in an endpoint": (ENDPOINT, [(ENDPOINT, f"http://{PLANTED}@127.0.0.1:1")]),
    **{
        f"a limit of {value!r}": (TIMEOUT, [(TIMEOUT, value)])
        for value in ("1e3", "+5", "-1", "0x10", "5.0", "1_000", "10 0", "1000000000000", "9" * 30, "soon", "NaN")
    },
    **{f"a hedge after {value!r}": (HEDGE, [(HEDGE, value)]) for value in ("1e3", "+5", "-1", "1000000000000")},
    "no limit at all": (TIMEOUT, [(TIMEOUT, "0")]),
    "Arabic digits": (TIMEOUT, [(TIMEOUT, "\u0661\u0662\u0663".encode().decode("latin-1"))]),
    "17 names": (SEQUENCE, [(SEQUENCE, json_bytes(["one"] * 17).decode())]),
    "nobody": (SEQUENCE, [(SEQUENCE, "[]")]),
    "nested JSON": (SEQUENCE, [(SEQUENCE, '[["one"]]')]),
    "deeply nested JSON": (SEQUENCE, [(SEQUENCE, "[" * 4000 + "]" * 4000)]),
    "an object": (SEQUENCE, [(SEQUENCE, '{"one": "two"}')]),
    "no JSON": (SEQUENCE, [(SEQUENCE, "one,two")]),
    "an unknown provider": (SEQUENCE, [(SEQUENCE, '["three"]')]),
    "an empty model": (SEQUENCE, [(SEQUENCE, '["one/"]')]),
    "more than 8 KiB": (SEQUENCE, [(SEQUENCE, json_bytes(["one/" + "m" * 8192]).decode())]),
    "another status": (STATUS, [(STATUS, "204")]),
    "another policy": (BREAK, [(BREAK, "ignore")]),
    "a name that is none": ("x-opengateway-timeouts", [("x-opengateway-timeouts", "100")]),
}

NOT_HTTP = {
    "CR": "1\r0",
    "CR and LF in front": "\r\n\r\nGET",
    "NUL": "1\x000",
    "64 KiB": "1" * (64 << 10),
}
"""What servers do not let through, and what they say to it is their own."""


async def post(world: World, headers: list[tuple[str, str]], body: bytes) -> Reply:
    """Everything as it is written: no client would send it so."""
    lines = ["POST /chat/completions HTTP/1.1", "host: gateway.test", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers]
    sent = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode("latin-1") + body
    async with connected(world.port) as exchange:
        await exchange.send_raw(sent)
        try:
            return await exchange.rest()
        finally:
            world.received.append(bytes(exchange.raw).decode("latin-1"))


@pytest.mark.fault("F59")
@pytest.mark.parametrize(("name", "headers"), REFUSED.values(), ids=REFUSED)
async def test_a_gateway_header_that_is_not_as_it_should_be_is_a_400_that_names_it_and_calls_nobody(
    open_world: OpenWorld, case: Case, name: str, headers: list[tuple[str, str]]
) -> None:
    async with open_world(one=Good(), two=Good(), vllm=Good()) as world:
        planted = world.plant("caller")
        reply = await post(
            world, [(each, value.replace(PLANTED, planted)) for each, value in headers], question(stream=case.stream)
        )
        assert (reply.status, reply.ended) == (400, True)
        assert reply.error["type"] == "invalid_request_error"
        assert reply.error["param"] == name
        assert name in reply.error["message"]
        assert reply.header("x-opengateway-attempts") is None
        assert set(world.calls().values()) == {0}
        await world.settled()


@pytest.mark.fault("F59")
@pytest.mark.parametrize("value", NOT_HTTP.values(), ids=NOT_HTTP)
async def test_what_is_no_header_at_all_calls_nobody(open_world: OpenWorld, case: Case, value: str) -> None:
    async with open_world(one=Good(), two=Good()) as world:
        reply = await post(world, [(TIMEOUT, value)], question(stream=case.stream))
        assert reply.status in (400, 415, 431)
        assert world.calls() == {"one": 0, "two": 0}
        await world.settled()


@pytest.mark.fault("F59")
@pytest.mark.parametrize("name", [SEQUENCE, ENDPOINT, KEY, TIMEOUT, HEDGE, STATUS, BREAK])
async def test_a_header_that_is_sent_empty_is_one_that_is_not_sent(
    open_world: OpenWorld, case: Case, name: str
) -> None:
    async with open_world(one=Good(), two=Good(), idle=["one"]) as world:
        reply = await post(world, [(name, "")], question(stream=case.stream))
        assert (reply.status, reply.header("x-opengateway-provider")) == (201, "one")


# --- F61 --------------------------------------------------------------------------------------------------------------

TOKEN = "a-token-that-nobody-can-guess-0123456789"
REVOKED = "another-token-nobody-can-guess-0123456789"
UNAUTHORIZED: dict[str, list[tuple[str, str]]] = {
    "absent": [],
    "empty": [("authorization", "")],
    "malformed": [("authorization", TOKEN)],
    "of another scheme": [("authorization", f"Basic {TOKEN}")],
    "without a token": [("authorization", "Bearer")],
    "wrong": [("authorization", "Bearer wrong")],
    "short by one": [("authorization", f"Bearer {TOKEN[:-1]}")],
    "long by one": [("authorization", f"Bearer {TOKEN}0")],
    "other at the end": [("authorization", f"Bearer {TOKEN[:-1]}8")],
    "other at the beginning": [("authorization", f"Bearer A{TOKEN[1:]}")],
    "in capitals": [("authorization", f"Bearer {TOKEN.upper()}")],
    "latin-1": [("authorization", f"Bearer {TOKEN}\xe9")],
    "revoked": [("authorization", f"Bearer {REVOKED}")],
    "asking for what is not there": [(SEQUENCE, '["nobody"]'), ("authorization", "Bearer wrong")],
    "asking twice": [(TIMEOUT, "1"), (TIMEOUT, "2"), ("authorization", "Bearer wrong")],
    "with a typo": [("x-opengateway-timeouts", "1")],
    "of no JSON": [("content-type", "text/plain")],
}


@pytest.mark.fault("F61")
async def test_whoever_has_no_valid_token_gets_the_same_401_before_the_body_is_read(
    open_world: OpenWorld, case: Case
) -> None:
    valid = {"now": bearer_tokens([TOKEN, REVOKED])}

    def authenticate(connection: Any) -> Any:
        return valid["now"](connection)

    async with open_world(one=Good(), idle=["one"], authenticate=authenticate) as world:
        for token in (TOKEN, REVOKED):
            reply = await post(world, [("authorization", f"bearer {token}")], question(stream=case.stream))
            assert (reply.status, reply.body) == (201, payload(case.mode, "Hello"))
        valid["now"] = bearer_tokens([TOKEN])
        bodies: set[bytes] = set()
        for headers in UNAUTHORIZED.values():
            lines = ["POST /chat/completions HTTP/1.1", "host: gateway.test", "content-length: 1000"]
            lines += [f"{name}: {value}" for name, value in headers]
            async with connected(world.port) as exchange:
                await exchange.send_raw("\r\n".join([*lines, "", ""]).encode("latin-1"))
                refused = await exchange.rest()
                assert (refused.status, refused.ended) == (401, True)
                assert refused.error["code"] == "invalid_api_key"
                assert refused.header("www-authenticate") == "Bearer"
                assert refused.header("connection") == "close"
                bodies.add(refused.body)
            await world.settled()
        assert len(bodies) == 1
        assert world.calls() == {"one": 2}
        assert (await post(world, [("authorization", f"Bearer {TOKEN}")], question(stream=case.stream))).status == 201
