"""Whatever the gateway itself says is OpenAI's: by its published schema, and by the types of its SDK.

Relayed traffic is not measured here: real providers break the schema daily, and what they send is theirs. The
scripted replies of `ogw_asgi.testing` are measured, because users' tests trust them.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openai.pagination import SyncPage
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.shared import ErrorObject
from pydantic import BaseModel
from referencing import Registry, Resource

import ogw_asgi
from ogw_asgi import Gateway, Limits, OpenAI, Principal, Timeouts, allow_anyone, bearer_tokens
from ogw_asgi.testing import (
    SSE_DONE,
    Break,
    Reply,
    Script,
    ScriptedUpstream,
    SharedEvent,
    answer,
    asgi_client,
    chat,
    error,
    hang,
    hold,
    sse_event,
    stream,
    tokens,
)

from ..contract.harness import World, gateway_of, using

pytestmark = pytest.mark.anyio

_SCHEMA = json.loads((Path(__file__).parents[1] / "data" / "openai-chat.schema.json").read_text(encoding="utf-8"))
_REGISTRY: Registry[Any] = Registry().with_resource(_SCHEMA["$id"], Resource.from_contents(_SCHEMA))

SEQUENCE = "x-opengateway-failover-sequence"
TYPE = "content-type"
JSON = {TYPE: "application/json"}
BEARER = {"authorization": "Bearer token"}
GOOD = {"model": "some-model", "messages": [{"role": "user", "content": "Hi"}]}


def by_schema(kind: str, value: object) -> None:
    """`kind`: response, chunk or error."""
    Draft202012Validator({"$ref": f"{_SCHEMA['$id']}#/$defs/{kind}"}, registry=_REGISTRY).validate(value)


def by_sdk(model: type[BaseModel], value: object) -> None:
    """The SDK constructs its types without looking; pydantic looks."""
    model.model_validate_json(json.dumps(value), strict=True)


def check_envelope(envelope: Any) -> None:
    by_schema("error", envelope)
    by_sdk(ErrorObject, envelope["error"])
    assert list(envelope) == ["error"]


async def unauthenticated(connection: object) -> Principal | None:
    raise OSError("the directory is down")


async def dripping() -> AsyncIterator[bytes]:
    while True:
        yield b" "
        await anyio.sleep(0.1)  # longer than the gateway of this case waits


def permitted(**fields: Any) -> dict[str, Any]:
    return {"authenticate": bearer_tokens({Principal("team", **fields): ["token"]})}


@dataclass(frozen=True)
class Case:
    """What is asked of a gateway, and the status with which it refuses."""

    status: int
    body: Mapping[str, Any] = field(default_factory=dict)
    """Adds to a good one."""
    headers: Mapping[str, str] = field(default_factory=dict)
    providers: Mapping[str, Script] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    method: str = "POST"
    path: str = "/v1/chat/completions"
    content: Any = None
    """Replaces the body: bytes, or a function that gives it bit by bit."""

    async def ask(self, world: World) -> httpx.Response:
        body = self.content() if callable(self.content) else self.content
        if body is None:
            body = json.dumps({**GOOD, **self.body}).encode()
        return await world.client.request(self.method, self.path, content=body, headers={**JSON, **self.headers})


SHOWN: Mapping[str, Any] = {"status": True, "status_auth": allow_anyone}

BY_CODE = {
    "authentication_unavailable": Case(503, settings={"authenticate": unauthenticated}),
    "invalid_api_key": Case(401, settings={"authenticate": bearer_tokens(["another"])}),
    "provider_not_allowed": Case(
        403, headers={**BEARER, SEQUENCE: '["openai"]'}, settings=permitted(providers=frozenset({"vllm"}))
    ),
    "model_not_allowed": Case(403, headers=BEARER, settings=permitted(models=frozenset({"another"}))),
    "endpoint_not_allowed": Case(403, headers={"x-opengateway-vllm-endpoint": "http://10.0.0.7:8000"}),
    "invalid_header": Case(400, headers={"x-opengateway-timeout": "soon"}),
    "unsupported_media_type": Case(415, headers={TYPE: "text/plain"}),
    "invalid_body": Case(400, content=b"{"),
    "body_too_complex": Case(400, content=b"[" * 200),
    "body_too_large": Case(413, settings={"limits": Limits(body_bytes=10)}),
    "body_timeout": Case(408, settings={"timeouts": Timeouts(upload_stall_s=0.05)}, content=dripping),
    "missing_required_parameter": Case(400, content=b"{}"),
    "invalid_type": Case(400, {"messages": [{"role": 1}]}),
    "invalid_value": Case(400, {"temperature": 3}),
    "unknown_url": Case(404, path="/v1/embeddings"),
    "method_not_allowed": Case(405, method="PUT"),
    "loop_detected": Case(508, headers={"via": "1.1 ogw-0000000000000001, 1.1 ogw-0000000000000002, 1.1 ogw-3"}),
    "no_provider": Case(503, headers=BEARER, settings=permitted(providers=frozenset())),
    "model_not_found": Case(404, providers={"openai": error(404, code="model_not_found")}),
    "rate_limit_exceeded": Case(429, providers={"openai": error(429)}),
    "all_attempts_failed": Case(502, providers={"openai": error(500, code=7), "azure": error(401)}),
    "timeout": Case(504, headers={"x-opengateway-timeout": "30"}, providers={"openai": hang()}),
    "status_not_local": Case(403, method="GET", path="/_status", settings={"status": True}),
    "status_not_embeddable": Case(
        403, method="GET", path="/_status", headers={"sec-fetch-site": "cross-site"}, settings={"status": True}
    ),
    "not_acceptable": Case(406, method="GET", path="/_status", headers={"accept": "image/png"}, settings=SHOWN),
    "invalid_query": Case(400, method="GET", path="/_status/events?as=xml", settings=SHOWN),
}
IN_TESTS_OF_THEIR_OWN = {
    "gateway_closed",
    "gateway_overloaded",
    "principal_overloaded",
    "stream_interrupted",
    "too_many_denials",
    "too_many_viewers",
}
TO_NOBODY = {"client_disconnected"}


@pytest.mark.contract("6.envelope.shape")
@pytest.mark.parametrize(("code", "case"), [pytest.param(code, case, id=code) for code, case in BY_CODE.items()])
async def test_every_kind_of_refusal_is_openais_envelope(code: str, case: Case) -> None:
    replies = case.providers or {"openai": chat(), "vllm": chat()}
    providers: dict[str, Any] = {name: ScriptedUpstream(reply) for name, reply in replies.items()}
    async with gateway_of(**providers, **case.settings) as world:
        reply = await case.ask(world)
    assert (reply.status_code, reply.json()["error"]["code"]) == (case.status, code)
    check_envelope(reply.json())


def test_no_kind_of_refusal_is_left_out() -> None:
    sources = [path for path in Path(ogw_asgi.__file__).parent.rglob("*.py") if "testing" not in path.parts]
    literal = re.compile(r"\bcode(?:: str)? ?= ?\"([a-z_]+)\"|\"([a-z]+_not_allowed)\"")
    raised = {one or other for path in sources for one, other in literal.findall(path.read_text(encoding="utf-8"))}
    assert raised - BY_CODE.keys() - IN_TESTS_OF_THEIR_OWN - TO_NOBODY == set()
    assert len(raised) > 20


@pytest.mark.contract("4.stop.passed-on", "6.envelope.shape")
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Bad.", "type": "invalid_request_error", "param": "messages", "code": "invalid_value"}},
        {"error": {"message": "Bad.", "code": 400}},
        {"error": "Bad."},
        {"detail": [{"loc": ["body", "model"], "msg": "Bad."}]},
        {"object": "error", "message": "Bad.", "type": "BadRequestError", "param": None, "code": 400},
        [{"error": {"code": 400, "message": "Bad.", "status": "INVALID_ARGUMENT"}}],
    ],
    ids=["OpenAI", "a numeric code", "a bare string", "FastAPI", "an older vLLM", "Gemini"],
)
async def test_a_providers_refusal_is_passed_on_in_openais_envelope_whatever_its_shape_was(body: Any) -> None:
    content = json.dumps(body).encode()
    refusal = Reply(400, ((b"content-type", b"application/json"),), (content,))
    async with gateway_of(openai=ScriptedUpstream(refusal)) as world:
        reply = await world.post()
    assert reply.status_code == 400
    assert "Bad." in reply.json()["error"]["message"]
    check_envelope(reply.json())


async def test_a_closed_and_an_overloaded_gateway_speak_openais_envelope() -> None:
    release = SharedEvent()
    upstream = ScriptedUpstream(hold(chat(), until=release))
    limits, timeouts = Limits(concurrency=1), Timeouts(slot_wait_s=0.02)
    async with gateway_of(openai=upstream, limits=limits, timeouts=timeouts) as world:
        async with anyio.create_task_group() as group:
            group.start_soon(world.post)
            await upstream.wait_for_requests()
            overloaded = await world.post()
            release.set()
        await world.gateway.aclose()
        closed = await world.post()
    for reply, code in [(overloaded, "gateway_overloaded"), (closed, "gateway_closed")]:
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, code)
        check_envelope(reply.json())


@pytest.mark.contract("1.rate-limited.in-flight", "6.envelope.shape")
async def test_a_principals_own_limit_speaks_openais_envelope() -> None:
    release = SharedEvent()
    upstream = ScriptedUpstream(hold(chat(), until=release))
    async with gateway_of(openai=upstream, **permitted(in_flight=1)) as world:
        async with anyio.create_task_group() as group:
            group.start_soon(partial(world.post, headers=BEARER))
            await upstream.wait_for_requests()
            reply = await world.post(headers=BEARER)
            release.set()
    assert (reply.status_code, reply.json()["error"]["code"]) == (429, "principal_overloaded")
    check_envelope(reply.json())


async def test_being_denied_too_often_is_openais_envelope() -> None:
    async with gateway_of(vllm=ScriptedUpstream(chat())) as world:
        headers = {"x-opengateway-vllm-endpoint": "http://10.0.0.7"}
        replies = [await world.post(headers=headers) for _ in range(11)]
    assert (replies[-1].status_code, replies[-1].json()["error"]["code"]) == (429, "too_many_denials")
    check_envelope(replies[-1].json())


@pytest.mark.contract("5.error-event", "5.frame.no-other-fields")
@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(Break(), id="broken off"),
        pytest.param({"error": {"message": "engine died", "code": 500}}, id="an error event"),
        pytest.param(sse_event("no JSON"), id="not JSON"),
    ],
)
async def test_the_event_of_an_interruption_is_openais_envelope(ending: Any) -> None:
    received = b""
    async with gateway_of(openai=ScriptedUpstream(stream(["Hel", ending]))) as world, world.stream() as reply:
        try:
            async for chunk in reply.aiter_raw():
                received += chunk
        except httpx.RemoteProtocolError:
            pass
    last = received.removesuffix(b"\n\n").rpartition(b"\n\n")[2]
    assert last.startswith(b'data: {"error":')
    assert b"\n" not in last
    envelope = json.loads(last.removeprefix(b"data: "))
    check_envelope(envelope)
    assert (envelope["error"]["type"], envelope["error"]["code"]) == ("upstream_error", "stream_interrupted")


@pytest.mark.contract("6.models.listed")
@pytest.mark.parametrize("path", ["/models", "/v1/models"])
async def test_the_list_of_models_is_the_sdks_page_of_models(path: str) -> None:
    models = {"mapped": "served", "*": "rest"}
    async with gateway_of(openai=using(ScriptedUpstream(), models=models), models=["gpt-4o"]) as world:
        page = (await world.client.get(path)).json()
    by_sdk(SyncPage[Model], page)
    assert page["object"] == "list"
    assert [item["id"] for item in page["data"]] == ["gpt-4o", "mapped"]
    for item in page["data"]:
        by_sdk(Model, item)
        assert item["object"] == "model"


async def test_an_empty_list_of_models_is_a_page_too() -> None:
    async with Gateway(providers=[OpenAI(api_key="key")]) as gateway, asgi_client(gateway) as client:
        by_sdk(SyncPage[Model], (await client.get("/v1/models")).json())


@pytest.mark.parametrize(
    "reply",
    [
        answer("Hello"),
        answer(
            None,
            tool_calls=[{"id": "call_0", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
        ),
    ],
    ids=["text", "tool calls"],
)
def test_a_scripted_completion_is_openais(reply: Reply) -> None:
    (body,) = (step for step in reply.body if isinstance(step, bytes))
    by_schema("response", json.loads(body))
    by_sdk(ChatCompletion, json.loads(body))


def test_every_chunk_of_a_scripted_stream_is_openais() -> None:
    reply = stream(["Hel", "lo"], usage=tokens(3, 2))
    *events, done = (step for step in reply.body if isinstance(step, bytes))
    assert done == SSE_DONE
    assert len(events) == 5
    for event in events:
        chunk = json.loads(event.removeprefix(b"data: "))
        by_schema("chunk", chunk)
        by_sdk(ChatCompletionChunk, chunk)


def test_a_scripted_error_is_openais() -> None:
    (body,) = (step for step in error(429, code="rate_limit_exceeded").body if isinstance(step, bytes))
    check_envelope(json.loads(body))
