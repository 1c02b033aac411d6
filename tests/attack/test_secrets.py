"""Keys that could slip out sideways: cut off in the middle, or in what a value shows of itself."""

from __future__ import annotations

import json

import pytest

from ogw_asgi import OpenAICompatible
from ogw_asgi._values import ChatCall, Target
from ogw_asgi.telemetry import Event, RequestEnded
from ogw_asgi.testing import RawUpstream, ScriptedUpstream, http_response, stream
from tests.contract.checks import sequence
from tests.contract.continuing import ask
from tests.contract.harness import gateway_of, using

pytestmark = pytest.mark.anyio

KEY = "sk-canary-0123456789abcdef"


@pytest.mark.contract("4.masked")
@pytest.mark.parametrize("shown", [6, 10, len(KEY) - 1, len(KEY)])
async def test_a_key_that_our_own_cut_of_a_long_text_goes_through_is_masked(shown: int) -> None:
    text = ("x" * (500 - shown - 1) + " " + KEY + " and more").encode()
    async with RawUpstream([http_response(400, text, {"content-type": "text/plain"})]) as one:
        async with gateway_of(one=using(one, api_key=KEY)) as world:
            reply = await world.post()
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].endswith(" ***")
    assert KEY[:6] not in reply.text


@pytest.mark.contract("4.masked")
@pytest.mark.parametrize("field", ["type", "param", "code"])
async def test_a_key_at_the_end_of_a_long_name_is_masked(field: str) -> None:
    error = {"message": "no", field: "y" * 245 + KEY}
    async with RawUpstream([http_response(400, json.dumps({"error": error}).encode())]) as one:
        async with gateway_of(one=using(one, api_key=KEY)) as world:
            reply = await world.post()
    assert reply.status_code == 400
    assert reply.json()["error"][field] == "y" * 245 + "***"


@pytest.mark.contract("4.masked")
async def test_a_key_for_a_code_in_a_stream_that_somebody_should_have_gone_on_with_is_in_no_trail() -> None:
    died = f'data: {{"error":{{"message":"died","code":"{KEY}"}}}}\n\n'.encode()
    told: list[Event] = []

    class Sink:
        def on_event(self, event: Event, /) -> None:
            told.append(event)

    one = using(ScriptedUpstream(stream(["Hel", died])), api_key=KEY)
    two = ScriptedUpstream(stream(["Something else."]))
    async with gateway_of(one=one, two=two, on_stream_break="continue", sinks=[Sink()]) as world:
        said = (await ask(world, headers=sequence("one", "two"))).assert_broken("Hel")
    assert [line["provider"] for line in said["attempts"]] == ["one", "two"]
    (ended,) = (event for event in told if isinstance(event, RequestEnded))
    assert KEY not in f"{said} {ended}"


def test_a_prepared_request_and_a_call_show_neither_keys_nor_prompts() -> None:
    provider = OpenAICompatible(
        "one", base_url="http://one.invalid/v1", api_key=KEY, headers={"x-tenant": "tenant-key"}
    )
    body = b'{"model":"m","messages":[{"role":"user","content":"private"}]}'
    call = ChatCall(body, "m", (9, 12))
    request = provider.prepare(call, Target("one", "m", "m"), provider._key, [], 1.0)
    assert (b"authorization", b"Bearer " + KEY.encode()) in request.headers
    for value in (provider, call, request):
        assert not any(secret in repr(value) for secret in (KEY, "tenant-key", "private"))
