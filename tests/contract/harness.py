"""A gateway between a caller and its providers, all in one process: what every contract test stands on.

    async with gateway_of(openai=ScriptedUpstream(error(503)), azure=ScriptedUpstream(chat("Hi"))) as world:
        reply = await world.post(stream=False)
    assert reply.status_code == 201
    assert len(world.upstreams["azure"].requests) == 1

The keywords are providers in their order, by name (`openai`, `azure`, `vllm`; any other name is an
`OpenAICompatible`), each played by one of

- a `ScriptedUpstream`, called in-process by a client that the provider was given;
- a `RawUpstream` (entered by the test), or a base URL such as `serve(...)` yields: real sockets, the gateway's pool;
- `using(upstream, models={...}, ...)`: any of these, with more arguments for the provider;
- a `Provider` made by the test.

Keywords that are arguments of `Gateway` go there (`timeouts`, `limits`, `authenticate`, ...).
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

from ogw_asgi import VLLM, Azure, Gateway, OpenAI, OpenAICompatible
from ogw_asgi.providers import Provider
from ogw_asgi.testing import RawUpstream, ScriptedUpstream, asgi_client

HeaderItems = Mapping[str, str] | Sequence[tuple[str, str]]

_GATEWAY = frozenset(inspect.signature(Gateway).parameters) - {"providers"}


@dataclass(frozen=True)
class using:  # noqa: N801 - reads as the verb it is where it is called
    """An upstream, and more arguments for the provider in front of it."""

    upstream: ScriptedUpstream | RawUpstream | str
    options: dict[str, Any]

    def __init__(self, upstream: ScriptedUpstream | RawUpstream | str, **options: Any) -> None:
        object.__setattr__(self, "upstream", upstream)
        object.__setattr__(self, "options", options)


@dataclass
class World:
    """A caller's side of an opened gateway, and the upstreams behind it by their providers' names."""

    gateway: Gateway
    client: httpx.AsyncClient
    upstreams: dict[str, Any] = field(default_factory=dict)
    """ScriptedUpstream or RawUpstream; both have `requests`."""

    async def post(
        self,
        path: str = "/chat/completions",
        *,
        headers: HeaderItems = (),
        content: bytes | None = None,
        **body: Any,
    ) -> httpx.Response:
        """The whole answer. `body` adds to a smallest good one; `content` replaces all of it."""
        return await self.client.post(path, **_request(headers, content, body))

    def stream(
        self,
        path: str = "/chat/completions",
        *,
        headers: HeaderItems = (),
        content: bytes | None = None,
        **body: Any,
    ) -> AbstractAsyncContextManager[httpx.Response]:
        """The head as soon as it is there, for reading the rest bit by bit; asks for `stream: true` unless told."""
        return self.client.stream("POST", path, **_request(headers, content, {"stream": True, **body}))

    def calls(self) -> list[str]:
        """How often each upstream was asked: `["openai", "openai", "azure"]`."""
        return [name for name, upstream in self.upstreams.items() for _ in upstream.requests]


@asynccontextmanager
async def gateway_of(*, limit_s: float = 5, **arguments: Any) -> AsyncIterator[World]:
    """Opens a gateway with the upstreams among `arguments` as its providers; see the module.

    All that happens in the block may take `limit_s`; give more where a mock clock runs through long limits.
    """
    settings = {name: value for name, value in arguments.items() if name in _GATEWAY}
    upstreams: dict[str, Any] = {}
    providers: list[Provider] = []
    with anyio.fail_after(limit_s):
        async with AsyncExitStack() as stack:
            for name, given in arguments.items():
                if name in settings:
                    continue
                if isinstance(given, Provider):
                    providers.append(given)
                    continue
                wanted = given if isinstance(given, using) else using(given)
                options = dict(wanted.options)
                url = f"http://{name}.test"
                if isinstance(wanted.upstream, ScriptedUpstream):
                    options.setdefault("client", await stack.enter_async_context(wanted.upstream.client()))
                else:
                    url = wanted.upstream if isinstance(wanted.upstream, str) else wanted.upstream.url
                if not isinstance(wanted.upstream, str):
                    upstreams[name] = wanted.upstream
                providers.append(_provider(name, url, options))
            gateway = await stack.enter_async_context(Gateway(providers=providers, **settings))
            client = await stack.enter_async_context(asgi_client(gateway))
            yield World(gateway, client, upstreams)


def key_of(name: str) -> str:
    """The configured key of the provider that `gateway_of` makes under this name."""
    return f"sk-c4n4ry-configured-for-{name}"


def _provider(name: str, url: str, options: dict[str, Any]) -> Provider:
    options.setdefault("api_key", key_of(name))
    match name:
        case "openai":
            return OpenAI(**{"base_url": f"{url}/v1", **options})
        case "azure":
            return Azure(**{"endpoint": url, **options})
        case "vllm":
            return VLLM(**{"endpoint": url, **options})
        case _:
            return OpenAICompatible(name, **{"base_url": f"{url}/v1", **options})


def _request(headers: HeaderItems, content: bytes | None, body: dict[str, Any]) -> dict[str, Any]:
    pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    if content is None:
        message = {"role": "user", "content": "Hi"}
        return {"headers": pairs, "json": {"model": "some-model", "messages": [message], **body}}
    if not any(name.lower() == "content-type" for name, _ in pairs):
        pairs.append(("content-type", "application/json"))
    return {"headers": pairs, "content": content}
