"""A gateway in front of the crash-test provider: streamed and plain, the caller gets the sixty words of every model."""

from __future__ import annotations

import json
from collections.abc import Mapping

import anyio
import httpx
import pytest

from ogw_asgi import VLLM, Gateway, OpenAI, Timeouts
from ogw_asgi.testing import CRASH_TEST_MODELS, SIXTY_WORDS, CrashTestProvider, asgi_client

pytestmark = pytest.mark.anyio

ANSWERED = [name for name in CRASH_TEST_MODELS if name != "content-policy-violation"]


def text_of(reply: httpx.Response, *, streamed: bool) -> str:
    if not streamed:
        return str(reply.json()["choices"][0]["message"]["content"])
    *events, done = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: ")]
    assert done == "[DONE]"
    choices = [choice for event in events for choice in json.loads(event)["choices"]]
    return "".join(choice["delta"].get("content", "") for choice in choices)


async def ask(provider: CrashTestProvider, model: str, body: Mapping[str, object]) -> httpx.Response:
    gateway = Gateway(
        providers=[OpenAI(api_key="sk-c4n4ry-test", base_url=provider.base_url), VLLM(endpoint=provider.url)],
        failover_sequence=["openai", "vllm/fallback-continues"],
        timeouts=Timeouts(first_chunk_s=0.6, answer_s=0.6),
        on_stream_break="continue",
    )
    question = {"model": model, "messages": [{"role": "user", "content": "hi"}], **body}
    async with gateway, asgi_client(gateway, timeout=None) as client:
        return await client.post("/chat/completions", json=question)


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "plain"])
@pytest.mark.parametrize("model", ANSWERED)
async def test_whatever_the_model_does_the_answer_is_whole(model: str, streamed: bool) -> None:
    with anyio.fail_after(20):
        async with CrashTestProvider(scale=0.05) as provider:
            reply = await ask(provider, model, {"stream": streamed})
            calls = provider.calls_to(model)
    assert reply.status_code == 201
    assert text_of(reply, streamed=streamed) == SIXTY_WORDS
    assert [call.streamed for call in calls] == [streamed] * len(calls)
    assert 1 <= len(calls) <= 2


async def test_a_refusal_for_its_content_is_not_asked_elsewhere() -> None:
    with anyio.fail_after(20):
        async with CrashTestProvider(scale=0.05) as provider:
            reply = await ask(provider, "content-policy-violation", {"stream": True})
            calls = list(provider.calls)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "content_policy_violation"
    assert [call.model for call in calls] == ["content-policy-violation"]
