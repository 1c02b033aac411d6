"""`continue` on a real model: cut anywhere, at temperature 0, the text is that of the uncut stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anyio
import httpx
import pytest

from example_apps.local_llm import MODEL_NAME, local_llm
from ogw_asgi import VLLM, Gateway, OpenAI, OpenAICompatible
from ogw_asgi.testing import Break, ScriptedUpstream, asgi_client, raw

# One in flowing text, one with the line ends and blanks that templates strip.
STEPS = {"Write two sentences about a lighthouse keeper.": 4, "List three fruits, each with a short remark.": 11}
SEQUENCE = "x-opengateway-failover-sequence"


def body(question: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    return {"model": MODEL_NAME, "messages": messages, "temperature": 0, "max_tokens": 60, "stream": True}


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    with local_llm() as url:
        yield url


def text_of(events: list[str]) -> str:
    values = [json.loads(event) for event in events if event != "[DONE]"]
    return "".join(choice["delta"].get("content") or "" for value in values for choice in value["choices"])


def events_of(received: str) -> list[str]:
    return [line.removeprefix("data: ") for line in received.split("\n") if line.startswith("data: ")]


def uncut(url: str, question: str) -> list[str]:
    reply = httpx.post(f"{url}/v1/chat/completions", json=body(question), timeout=60)
    assert reply.status_code == 200
    return events_of(reply.text)


async def continued(url: str, question: str, sent: list[str], after: str) -> list[str]:
    first = ScriptedUpstream(raw(200, {"content-type": "text/event-stream"}, [*map(framed, sent), Break()]))
    async with first.client() as client:
        gateway = Gateway(
            providers=[
                OpenAI(api_key="sk-c4n4ry-k", client=client),
                VLLM(endpoint=url),
                OpenAICompatible("afresh", base_url=f"{url}/v1"),
            ],
            on_stream_break="continue",
        )
        async with gateway, asgi_client(gateway) as caller:
            headers = {SEQUENCE: json.dumps(["openai", after])}
            reply = await caller.post("/chat/completions", json=body(question), headers=headers, timeout=60)
            assert reply.status_code == 201, reply.text
            return events_of(reply.text)


def framed(event: str) -> bytes:
    return f"data: {event}\n\n".encode()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.contract("5.continue.one-stream", "5.continue.prefill", "5.continue.replay")
@pytest.mark.parametrize(("question", "step"), STEPS.items())
@pytest.mark.parametrize("after", ["vllm", "afresh"], ids=["by prefill", "by replay"])
def test_cut_behind_any_of_its_events_a_real_text_is_whole(llama: str, question: str, step: int, after: str) -> None:
    events = uncut(llama, question)
    whole = text_of(events)
    assert len(events) > 20
    for count in range(1, len(events), step):
        found = anyio.run(continued, llama, question, events[:count], after)
        assert text_of(found) == whole, f"cut behind event {count}"
        assert found.count("[DONE]") == 1
