"""Keys that come back: said by providers in other spellings, or by half, on every way to a caller or a log."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

import anyio
import pytest

from ogw_asgi import VLLM, Azure, Gateway, OpenAI, Timeouts, bearer_tokens
from ogw_asgi.providers import Secret
from ogw_asgi.telemetry import Event
from ogw_asgi.testing import (
    RawUpstream,
    Reply,
    ScriptedUpstream,
    asgi_client,
    chat,
    completion_chunk,
    error,
    http_response,
    raw,
    sse_event,
    stream,
)
from tests.canaries import canary
from tests.contract.harness import gateway_of, using

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # nothing here knows the loop


KEY = "sk-proj-Qx7zR2mN9wL4vT8kJ5hG"
STARRED = "Incorrect API key provided: sk-proj-********J5hG. You can find your API key at https://platform.example."
HALVES = ("sk-proj", "J5hG")


def at_once(status: int, code: str | None, message: str) -> Reply:
    return error(status, message, code=code)


def in_the_answer(code: str | None, message: str, *, pieces: tuple[str, ...]) -> Reply:
    died = sse_event({"error": {"message": message, "type": "invalid_request_error", "code": code}})
    return stream([*pieces, died], role_first=bool(pieces), finish_reason=None, done=False)


REFUSALS = {
    "401": at_once(401, "invalid_api_key", STARRED),
    "401-text": raw(401, {"content-type": "text/plain"}, [STARRED.encode()]),
    "401-html": raw(401, {"content-type": "text/html"}, [f"<p>{STARRED}</p>".encode()]),
    "403": at_once(403, "permission_denied", STARRED),
    "400-as-xai": at_once(400, None, STARRED),
    "422": at_once(422, None, STARRED),
    "event-first": in_the_answer("invalid_api_key", STARRED, pieces=()),
    "event-later": in_the_answer("invalid_api_key", STARRED, pieces=("Hel",)),
    "event-later-without-code": in_the_answer(None, STARRED, pieces=("Hel",)),
    "event-later-of-other-words": in_the_answer(None, "Bad credential sk-proj...J5hG", pieces=("Hel",)),
}
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "stream": {"stream": True},
    "hold": {"stream": True, "headers": {"x-opengateway-on-stream-break": "hold"}},
    "continue": {"stream": True, "headers": {"x-opengateway-on-stream-break": "continue"}},
}


@pytest.mark.contract("4.masked", "6.envelope.no-secrets")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("refusal", REFUSALS)
async def test_half_a_key_is_not_shown_whoever_is_the_last(
    refusal: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Of one provider, and of several whose keys are all wrong; also where a heartbeat has sent the head before."""
    told: list[Event] = []

    class Sink:
        def on_event(self, event: Event, /) -> None:
            told.append(event)

    for names in (("one",), ("one", "two")):
        for heartbeat_s in (None, 0.001):
            ups: dict[str, Any] = {name: using(ScriptedUpstream(REFUSALS[refusal]), api_key=KEY) for name in names}
            async with gateway_of(
                **ups, failover_sequence=names, timeouts=Timeouts(heartbeat_s=heartbeat_s), sinks=[Sink()]
            ) as world:
                async with world.stream(**{"stream": False, **WAYS[way]}) as reply:
                    text = bytearray()
                    try:
                        async for piece in reply.aiter_raw():
                            text += piece
                    except Exception:  # left unterminated on purpose
                        pass
                    assert text or reply.status_code == 201
                    output = f"{reply.headers.multi_items()}{text.decode()}"
            for half in HALVES:
                assert half not in output + repr(told) + caplog.text


def spellings(key: str) -> dict[str, str]:
    return {
        "as it is": key,
        "percent": "".join(f"%{byte:02X}" for byte in key.encode()),
        "base64": base64.b64encode(key.encode()).decode(),
        "base64 of the header": base64.b64encode(f"Bearer {key}".encode()).decode(),
        "base64 of user and key": base64.b64encode(f"me:{key}".encode()).decode(),
        "JSON's escapes": "".join(f"\\u{ord(char):04x}" for char in key),
        "JSON's escapes, escaped": "".join(f"\\\\u{ord(char):04x}" for char in key),
    }


@pytest.mark.contract("4.masked", "4.masked-header", "6.envelope.no-secrets")
@pytest.mark.parametrize("spelling", spellings(""))
async def test_a_key_in_another_spelling_is_masked_wherever_a_provider_says_it(spelling: str) -> None:
    said = spellings(canary("openai"))[spelling].replace("\\\\", "\\")
    # In the escapes of JSON themselves, which reading undoes; once more, and only the mask can.
    raw_json = f'{{"error":{{"message":"no {said}","type":"{said}","code":"{said}","param":"{said}"}}}}'.encode()
    if spelling == "JSON's escapes, escaped":
        raw_json = raw_json.replace(b"\\", b"\\\\")
    headers = {"content-type": "application/json", "x-ratelimit-limit-requests": said, "openai-model": f"m-{said}-m"}
    upstreams = [
        raw(400, headers, [raw_json[:30], raw_json[30:]]),
        raw(422, {**headers, "content-type": "text/plain"}, [f"no {said}".encode()]),
        raw(200, {**headers, "content-type": "text/event-stream"}, [b"data: ", raw_json[:25], raw_json[25:], b"\n\n"]),
        raw(
            200,
            {**headers, "content-type": "text/event-stream"},
            [sse_event(completion_chunk({"content": "Hel"})), b"data: ", raw_json[:25], raw_json[25:], b"\n\n"],
        ),
    ]
    for upstream in upstreams:
        async with gateway_of(openai=using(ScriptedUpstream(upstream), api_key=canary("openai"))) as world:
            for streamed in (False, True):
                async with world.stream(stream=streamed) as reply:
                    text = bytearray()
                    try:
                        async for piece in reply.aiter_raw():
                            text += piece
                    except Exception:  # left unterminated on purpose
                        pass
                assert b"error" in text
                output = f"{reply.headers.multi_items()}{text.decode()}"
                assert said not in output
                # And the plugin of the suite has its own look at all of it.


@pytest.mark.contract("6.content.plain", "6.content.stream")
@pytest.mark.shows_keys("what a provider says in its answer is the caller's, byte for byte, whatever it is")
async def test_an_answer_is_relayed_byte_for_byte_even_if_it_holds_a_key() -> None:
    text = f"Your key is {canary('openai')}."
    async with gateway_of(openai=using(ScriptedUpstream(chat(text)), api_key=canary("openai"))) as world:
        plain = await world.post()
        streamed = await world.post(stream=True)
    assert plain.json()["choices"][0]["message"]["content"] == text
    assert canary("openai") in streamed.text


BAD = {
    "newline": canary("callable") + "\n",
    "nul": canary("callable") + "\0",
    "blank": canary("callable") + " ",
    "inner blank": canary("callable").replace("-", " "),
    "not ASCII": canary("callable") + "é",
    "empty": "",
    "bytes": canary("callable").encode(),
    "none": None,
    "list": list(canary("callable")),
}


@pytest.mark.contract("6.envelope.no-secrets")
@pytest.mark.parametrize("given", BAD)
@pytest.mark.parametrize("how", ["sync", "async"])
async def test_a_key_that_no_header_can_carry_is_no_key_and_the_next_provider_answers(
    given: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def later() -> Any:
        return BAD[given]

    def now() -> Any:
        return BAD[given]

    bad = using(ScriptedUpstream(), api_key=later if how == "async" else now)
    async with gateway_of(one=bad, two=ScriptedUpstream(), failover_sequence=["one", "two"]) as world:
        reply = await world.post()
    assert reply.headers["x-opengateway-provider"] == "two"
    assert reply.headers["server-timing"].startswith("one;dur=")
    assert 'desc="key_unavailable"' in reply.headers["server-timing"]
    assert world.calls() == ["two"]
    (line,) = [one for one in caplog.messages if one.startswith("key_unavailable")]
    assert line.startswith("key_unavailable provider=one error=")


PATH = "acct-c4n4ry-of-path"
SENT = {
    "openai": ("openai", "header"),
    "fresh": ("callable",),
    "azure": ("azure",),
    "entra": ("entra",),
    "vllm": ("caller",),
}
"""Provider -> the keys that it is sent."""


def parrot(names: tuple[str, ...], engine: str) -> bytes:
    """An error of all that it was sent. httpcore logs the heads of responses at DEBUG, so theirs holds nothing."""
    said = f"{' '.join(map(canary, names))} at /{PATH}/v1/chat/completions"
    headers = {"content-type": "application/json", "x-ratelimit-remaining-requests": "1"}
    if engine == "native":
        headers["openai-model"] = said
    return http_response(400, json.dumps({"error": {"message": said, "code": canary(names[0])}}).encode(), headers)


@pytest.mark.contract("4.masked", "4.masked-header", "6.envelope.no-secrets")
@pytest.mark.parametrize("engine", ["native", "httpx2", "httpx"])
async def test_eight_planted_keys_are_in_no_output_of_any_engine(engine: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Provider's key, a callable's, the caller's, a token, Azure's, Entra's, a header's value and a part of a URL.

    Every provider says all that it was sent; the plugin looks at what comes out, DEBUG included.
    """
    caplog.set_level(logging.DEBUG)

    async def entra() -> str:
        return canary("entra")

    scripts = [[parrot(names, engine)] for names in SENT.values()]
    with anyio.fail_after(5):
        async with RawUpstream(*scripts) as server:
            base = f"{server.url}/{PATH}/v1"
            gateway = Gateway(
                providers=[
                    OpenAI(api_key=canary("openai"), base_url=base, headers={"x-tenant": canary("header")}),
                    OpenAI(name="fresh", api_key=lambda: Secret(canary("callable")), base_url=base),
                    Azure(endpoint=f"{server.url}/{PATH}", api_key=canary("azure")),
                    Azure(name="entra", endpoint=f"{server.url}/{PATH}", api_key=entra, api_version="2024-10-21"),
                    VLLM(allowed_endpoints=[server.url]),
                ],
                engine=engine,
                authenticate=bearer_tokens({"team": [canary("token")]}),
            )
            async with gateway, asgi_client(gateway) as caller:
                for name in SENT:
                    headers = {
                        "authorization": f"Bearer {canary('token')}",
                        "x-opengateway-failover-sequence": json.dumps([name]),
                        "x-opengateway-vllm-endpoint": server.url,
                        "x-opengateway-vllm-api-key": canary("caller"),
                    }
                    reply = await caller.post("/chat/completions", headers=headers, json=QUESTION)
                    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "***"), reply.text
                    assert reply.headers["x-ratelimit-remaining-requests"] == "1"
                    assert "openai-model" not in reply.headers
    for request, (name, names) in zip(server.requests, SENT.items(), strict=True):
        head = request.head.decode()
        assert all(canary(planted) in head for planted in names)
        assert (f"/{PATH}/" in head) is (name != "vllm")
    if engine != "native":
        # What httpx says of it is heard, and has nothing of the path.
        assert sum(one.startswith(f"HTTP Request: POST {server.url}/ ") for one in caplog.messages) == len(SENT)


QUESTION = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
