"""Keys that could slip out sideways: cut off in the middle, or in what a value shows of itself."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from ogw_asgi import (
    VLLM,
    Azure,
    ConfigurationError,
    Gateway,
    OpenAI,
    OpenAICompatible,
    Principal,
    Timeouts,
    bearer_tokens,
)
from ogw_asgi._values import CallOptions, ChatCall, Sealed, Secret, Target
from ogw_asgi.telemetry import Event, RequestEnded
from ogw_asgi.testing import RawUpstream, ScriptedUpstream, http_response, stream
from tests.contract.checks import sequence
from tests.contract.continuing import ask
from tests.contract.harness import gateway_of, using

pytestmark = pytest.mark.anyio

KEY = "sk-c4n4ry-canary-0123456789abcdef"


def shown_by(value: Any) -> str:
    """All that a value says of itself, and what is said of it by those who print, store and copy values."""
    said = [repr(value), str(value), f"{value}", f"{value!r:>9}", "%s %r" % (value, value), repr([value])]  # noqa: UP031
    said += [repr(vars(value)) if hasattr(value, "__dict__") else "", json.dumps({"it": value}, default=str)]
    for copied in (copy.copy(value), copy.deepcopy(value)):
        said.append(repr(copied))
    return "\n".join(said)


def test_a_secret_and_what_holds_one_show_nothing_of_it() -> None:
    secret, sealed = Secret(KEY), Sealed([(b"authorization", KEY.encode())])
    provider = OpenAI(api_key=KEY, headers={"x-tenant": KEY})
    azure = Azure(endpoint="https://acme.test", api_key=Secret(KEY))
    options = CallOptions("r-1", vllm_api_key=secret)
    gateway = Gateway(providers=[provider, azure], authenticate=bearer_tokens({Principal("team"): [KEY]}))
    door = gateway.app.completions.door
    for value in (secret, sealed, provider, azure, options, Timeouts()):
        assert KEY not in shown_by(value)
    whole: tuple[Any, ...] = (gateway, door, gateway.app, gateway._mask)
    for value in whole:
        assert KEY not in f"{value} {value!r} {vars(value) if hasattr(value, '__dict__') else ''}"
    assert KEY not in repr(asdict(options))
    for value in (secret, sealed, options, provider):
        stored = pickle.dumps(value)
        assert KEY.encode() not in stored
        assert KEY not in shown_by(pickle.loads(stored))
    assert secret.__reduce__()[1] == ("***",)
    ways: tuple[Any, ...] = (json.dumps, bytes, list, vars, len, lambda it: it + "", lambda it: "".join([it]))
    for show in ways:
        with pytest.raises(TypeError) as refused:
            show(secret)
        assert KEY not in str(refused.value)


def test_a_copy_of_a_secret_is_the_secret_and_not_its_mask() -> None:
    provider = copy.deepcopy(OpenAI(api_key=KEY, headers={"x-tenant": KEY}))
    assert provider._key is not None
    assert provider._key.reveal() == KEY
    assert provider.headers == [(b"x-tenant", KEY.encode())]
    assert Secret(KEY) == Secret(KEY)
    assert hash(Secret(KEY)) == hash(Secret(KEY))
    assert Secret(KEY) != Secret(KEY[:-1])
    assert Secret(KEY) != KEY


@pytest.mark.parametrize("value", [None, 7, KEY.encode(), list(KEY)], ids=["none", "number", "bytes", "list"])
def test_what_is_no_string_is_no_secret(value: Any) -> None:
    with pytest.raises(TypeError, match="must be a string") as refused:
        Secret(value)
    assert KEY not in str(refused.value)


BAD: dict[str, Callable[[], object]] = {
    "key": lambda: OpenAI(api_key=KEY + "\n"),
    "url": lambda: OpenAI(api_key=KEY, base_url="api.test"),
    "userinfo": lambda: VLLM(endpoint=f"http://me:{KEY}@gpu:8000"),
    "header": lambda: Azure(endpoint="https://acme.test", api_key=KEY, headers={"x-tenant": KEY + "\0"}),
    "header's name": lambda: OpenAICompatible("one", base_url="http://one.test", headers={f"x-tenant: {KEY}": "x"}),
    "version": lambda: Azure(endpoint="https://acme.test", api_key=KEY, api_version=KEY),
    "environment": lambda: Gateway.from_env({"OPENAI_API_KEY": KEY, "OGW_TIMEOUT_MS": "soon"}),
    "environment's key": lambda: Gateway.from_env({"OPENAI_API_KEY": KEY + "\né"}),
    "token": lambda: bearer_tokens([KEY + "\n"]),
    "tokens twice": lambda: bearer_tokens([KEY, KEY]),
    "tokens the wrong way round": lambda: bearer_tokens({KEY: "team-a"}),
    "tokens in quotes": lambda: Gateway.from_env({"OGW_BEARER_TOKENS": f'"{KEY}"'}),
    "tokens in an array of no strings": lambda: Gateway.from_env({"OGW_BEARER_TOKENS": f'["{KEY}", 1]'}),
    "tokens in broken JSON": lambda: Gateway.from_env({"OGW_BEARER_TOKENS": json.dumps({"team": [KEY]})[:-1]}),
    "authenticator": lambda: Gateway(authenticate={"team": [KEY]}),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", BAD)
def test_settings_that_are_refused_show_no_key_even_to_those_who_print_locals(what: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        BAD[what]()
    trace = traceback.TracebackException.from_exception(refused.value, capture_locals=True)
    assert KEY not in "".join(trace.format())
    assert refused.value.__context__ is None


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
