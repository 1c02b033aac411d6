"""The SDK's two clients behind one face, so that a test is written once: the synchronous one runs in a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import anyio.to_thread
from openai import APIError, AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk

from ..served import Served

Client: TypeAlias = OpenAI | AsyncOpenAI
Make: TypeAlias = type[OpenAI] | type[AsyncOpenAI]

CLIENTS: dict[str, Make] = {"sync": OpenAI, "async": AsyncOpenAI}
ENGINES = ("native", "httpx2", "httpx")

MESSAGES: list[Any] = [{"role": "user", "content": "Say hello."}]
QUESTION: dict[str, Any] = {"model": "some-model", "messages": MESSAGES}

PROVIDER = "x-opengateway-provider"
ATTEMPTS = "x-opengateway-attempts"


@asynccontextmanager
async def sdk(make: Make, served: Served, *, max_retries: int = 0, **options: Any) -> AsyncIterator[Client]:
    """A client as its users make it, pointed at the gateway."""
    options = {
        "api_key": "sk-c4n4ry-token-of-the-caller",
        "base_url": f"{served.url}/v1",
        "max_retries": max_retries,
        **options,
    }
    client: Any = make(**options)
    try:
        yield client
    finally:
        if isinstance(client, AsyncOpenAI):
            await client.close()
        else:
            client.close()


async def ask(client: Client, call: Callable[[Any], Any]) -> Any:
    """What `call(client)` gives: `await ask(client, lambda c: c.models.list())`."""
    if isinstance(client, AsyncOpenAI):
        return await call(client)
    return await anyio.to_thread.run_sync(call, client, abandon_on_cancel=True)


async def complete(client: Client, **request: Any) -> Any:
    """The raw response to a plain call, its headers not yet parsed away; `.parse()` gives the completion."""
    return await ask(client, lambda c: c.chat.completions.with_raw_response.create(**{**QUESTION, **request}))


@dataclass
class Heard:
    """What a client made of a stream: its chunks, and the error that ended it."""

    chunks: list[ChatCompletionChunk] = field(default_factory=list)
    failure: APIError | None = None

    @property
    def text(self) -> str:
        return text_of(self.chunks)


def text_of(chunks: Iterable[ChatCompletionChunk]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


async def listen(
    client: Client, on_chunk: Callable[[ChatCompletionChunk], object] = lambda chunk: None, **request: Any
) -> Heard:
    """Streams to the end, or to the error in the middle; an error before the stream is raised."""
    heard = Heard()

    def hear(chunk: ChatCompletionChunk) -> None:
        heard.chunks.append(chunk)
        on_chunk(chunk)

    def listen_here(client: OpenAI) -> None:
        stream = client.chat.completions.create(**{**QUESTION, **request}, stream=True)
        try:
            for chunk in stream:
                hear(chunk)
        except APIError as failure:
            heard.failure = failure

    if isinstance(client, OpenAI):
        await anyio.to_thread.run_sync(listen_here, client, abandon_on_cancel=True)
        return heard
    stream = await client.chat.completions.create(**{**QUESTION, **request}, stream=True)
    try:
        async for chunk in stream:
            hear(chunk)
    except APIError as failure:
        heard.failure = failure
    return heard


async def raised(call: Any) -> Any:
    """The SDK's error that awaiting `call` raises."""
    try:
        await call
    except APIError as error:
        return error
    raise AssertionError("the SDK raised nothing")
