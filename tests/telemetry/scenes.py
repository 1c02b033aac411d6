"""What may happen to a request, one scene each, for sinks to be told of it; and the callers that make it happen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import anyio
from httpx import RemoteProtocolError

from ogw_asgi import VLLM, Breaker, Gateway, OpenAI, OpenAICompatible, Timeouts
from ogw_asgi.telemetry import Event, RequestEnded
from ogw_asgi.testing import Break, Hang, ScriptedUpstream, asgi_client, chat, error, hang, stream
from ogw_asgi.testing.encoding import json_bytes
from tests.asgi.hosts import KEY, QUESTION, STREAMED, http_scope

BREAKS = stream(["Hel", Break()])
STALLS = stream(["Hel", Hang()])


class Ended:
    """A sink that knows how many requests have ended."""

    def __init__(self) -> None:
        self.count = 0
        self._rung = anyio.Event()

    def on_event(self, event: Event, /) -> None:
        if isinstance(event, RequestEnded):
            self.count += 1
            rung, self._rung = self._rung, anyio.Event()
            rung.set()

    async def wait(self, count: int = 1) -> None:
        while self.count < count:
            await self._rung.wait()


class World:
    """A gateway over `openai`, `vllm` and `groq`, whichever have a script, asked in that order."""

    def __init__(self, gateway: Gateway, client: Any, upstreams: Mapping[str, ScriptedUpstream], ended: Ended) -> None:
        self.gateway = gateway
        self.client = client
        self.upstreams = upstreams
        self.ended = ended

    async def ask(self, body: Mapping[str, Any] = QUESTION, headers: Mapping[str, str] | None = None) -> int:
        """The status, once all of the answer is here and the request is told to have ended."""
        before = self.ended.count
        async with self.client.stream("POST", "/chat/completions", json=body, headers=headers or {}) as reply:
            with suppress(RemoteProtocolError):  # a stream that is left visibly broken
                await reply.aread()
        if reply.headers.get("x-opengateway-attempts"):
            await self.ended.wait(before + 1)
        return int(reply.status_code)

    async def leave(self, *, asked: str = "openai") -> None:
        """A caller that is gone when the provider has been asked."""
        before, upstream = self.ended.count, self.upstreams[asked]
        count = len(upstream.requests)
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: self.client.post("/chat/completions", json=STREAMED))
            await upstream.wait_for_requests(count + 1)
            group.cancel_scope.cancel()
        await self.ended.wait(before + 1)

    async def leave_half_way(self) -> None:
        """A caller that is gone when it has something of the answer."""
        before = self.ended.count
        await call(self.gateway, anyio.Event(), leaves=True)
        await self.ended.wait(before + 1)


@asynccontextmanager
async def world(
    *sinks: Any, scripts: Mapping[str, Any] | None = None, host: Callable[[Any], Any] | None = None, **options: Any
) -> AsyncIterator[World]:
    """`scripts`: by provider, a reply or a list of them; by default `openai` answers 503, and `vllm` well. `host`: what
    is put around the gateway."""
    chosen = {"openai": error(503), "vllm": chat("Hello there, all")} if scripts is None else scripts
    upstreams = {
        name: ScriptedUpstream(*(replies if isinstance(replies, list) else [replies]))
        for name, replies in chosen.items()
    }
    ended = Ended()
    async with AsyncExitStack() as stack:
        clients = {name: await stack.enter_async_context(one.client()) for name, one in upstreams.items()}
        make: dict[str, Callable[[Any], Any]] = {
            "openai": lambda client: OpenAI(api_key=KEY, client=client),
            "vllm": lambda client: VLLM(endpoint="http://gpu.internal:8000", client=client),
            "groq": lambda client: OpenAICompatible("groq", base_url="https://api.groq.com/openai/v1", client=client),
        }
        gateway = Gateway(
            providers=[make[name](clients[name]) for name in upstreams],
            failover_sequence=list(upstreams),
            sinks=[*sinks, ended],
            **{"models": ["gpt-4o"], **options},
        )
        await stack.enter_async_context(gateway)
        client = await stack.enter_async_context(asgi_client(host(gateway) if host else gateway))
        with anyio.fail_after(10):
            yield World(gateway, client, upstreams, ended)


async def call(app: Callable[..., Awaitable[None]], begun: anyio.Event, *, leaves: bool = False) -> None:
    """A caller of the app itself, which tells when the answer has begun; and leaves then, or never."""
    bodies = [json_bytes(STREAMED)]

    async def receive() -> dict[str, Any]:
        if bodies:
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}
        await (begun.wait() if leaves else anyio.sleep_forever())
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message.get("body"):
            begun.set()

    await app(http_scope(), receive, send)


async def busy(*sinks: Any) -> None:
    """All of it: every event is told at least once."""
    usage = {**STREAMED, "stream_options": {"include_usage": True}}
    async with world(*sinks) as one:
        assert await one.ask(usage) == 201
        assert await one.ask({"model": "gpt-4o"}) == 400
        await one.ask({**QUESTION, "model": "of the caller's own choice"})
    async with world(*sinks, scripts={"openai": error(400), "vllm": chat()}) as one:
        assert await one.ask() == 400
    async with world(*sinks, scripts={"openai": error(500), "vllm": error(429)}, breaker=Breaker(failures=1)) as one:
        assert await one.ask() == 502
        assert await one.ask() == 502
    async with world(*sinks, scripts={"openai": BREAKS, "vllm": chat()}) as one:
        await one.ask(STREAMED)
    async with world(*sinks, scripts={"openai": BREAKS, "vllm": stream(["lo"])}, on_stream_break="continue") as one:
        assert await one.ask(STREAMED) == 201
    async with world(*sinks, scripts={"openai": hang(), "vllm": chat()}, timeouts=Timeouts(hedge_after_s=0.01)) as one:
        assert await one.ask() == 201
    async with world(*sinks, scripts={"openai": hang()}) as one:
        await one.leave()
