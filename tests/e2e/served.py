"""A gateway on a loopback port, with providers on loopback ports behind it: what every end-to-end test stands on.

    async with gateway_served(openai=ScriptedUpstream(error(503)), azure=ScriptedUpstream(chat("Hi"))) as served:
        ...  # point a client at served.url

The keywords are providers in their order, by name (`openai`, `azure`, `vllm`; any other name is an
`OpenAICompatible`), each played by one of

- a `ScriptedUpstream`: one uvicorn serves all of them, each below a path of its own;
- a `RawUpstream` (entered by the test), or a base URL.

Keywords that are arguments of `Gateway` go there (`timeouts`, `engine`, ...). The gateway has a thread and a loop of
its own, so that a synchronous client may block the test's.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from ogw_asgi import VLLM, Azure, Gateway, OpenAI, OpenAICompatible
from ogw_asgi.providers import Provider
from ogw_asgi.testing import RawUpstream, ScriptedUpstream, serve

_GATEWAY = frozenset(inspect.signature(Gateway).parameters) - {"providers"}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as it came in: where from, when by `time.monotonic()`, and its headers."""

    connection: tuple[str, int]
    at_s: float
    headers: Mapping[bytes, bytes] = field(repr=False)


class Arrivals:
    """Counts what arrives at an app; a client that repeats itself cannot be seen from the client's side."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.requests: list[Arrival] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.requests.append(Arrival(tuple(scope["client"]), time.monotonic(), dict(scope["headers"])))
        await self._app(scope, receive, send)


class Fleet:
    """Several scripted providers as one app, told apart by the first segment of the path."""

    def __init__(self, upstreams: Mapping[str, ScriptedUpstream]) -> None:
        self._upstreams = upstreams

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        await self._upstreams[scope["path"].split("/")[1]](scope, receive, send)


@dataclass
class Served:
    """The caller's side of a served gateway, and the upstreams behind it by their providers' names."""

    url: str
    gateway: Gateway
    arrivals: list[Arrival]
    upstreams: dict[str, Any]
    """ScriptedUpstream or RawUpstream; both have `requests`."""

    def calls(self) -> list[str]:
        """How often each upstream was asked: `["openai", "openai", "azure"]`."""
        return [name for name, upstream in self.upstreams.items() for _ in upstream.requests]

    def in_flight(self) -> int:
        """How many slots of providers are taken."""
        opened = self.gateway._opened
        assert opened is not None
        return opened.dispatcher.slots.in_flight()

    async def idle(self) -> None:
        """Waits until no slot is taken: a client may have its answer a moment before the gateway has tidied up."""
        while self.in_flight():
            await anyio.sleep(0.001)


@asynccontextmanager
async def gateway_served(*, http: str = "auto", limit_s: float = 5, **arguments: Any) -> AsyncIterator[Served]:
    """Serves a gateway in front of the upstreams among `arguments`; see the module.

    All that happens in the block may take `limit_s`. `http` is the implementation that uvicorn uses.
    """
    with anyio.fail_after(limit_s):
        async with providers_served(arguments) as (providers, upstreams, settings):
            gateway = Gateway(providers=providers, **settings)
            counted = Arrivals(gateway)
            async with serve(counted, http=http) as url:
                yield Served(url, gateway, counted.requests, upstreams)


@asynccontextmanager
async def providers_served(
    arguments: Mapping[str, Any],
) -> AsyncIterator[tuple[list[Provider], dict[str, Any], dict[str, Any]]]:
    """Providers and upstreams as the module says, by name, and the arguments that are the gateway's own."""
    settings = {name: value for name, value in arguments.items() if name in _GATEWAY}
    places = {name: value for name, value in arguments.items() if name not in settings}
    scripted = {name: place for name, place in places.items() if isinstance(place, ScriptedUpstream)}
    async with serve(Fleet(scripted), lifespan="off") as fleet:
        providers = [_provider(name, _url(name, place, fleet)) for name, place in places.items()]
        upstreams = {name: place for name, place in places.items() if not isinstance(place, str)}
        yield providers, upstreams, settings


def key_of(name: str) -> str:
    """The configured key of the provider of this name."""
    return f"sk-configured-for-{name}"


def _url(name: str, place: ScriptedUpstream | RawUpstream | str, fleet: str) -> str:
    if isinstance(place, ScriptedUpstream):
        return f"{fleet}/{name}"
    return place if isinstance(place, str) else place.url


def _provider(name: str, url: str) -> Provider:
    key = key_of(name)
    match name:
        case "openai":
            return OpenAI(base_url=f"{url}/v1", api_key=key)
        case "azure":
            return Azure(endpoint=url, api_key=key)
        case "vllm":
            return VLLM(endpoint=url, api_key=key, allowed_endpoints=[url])
        case _:
            return OpenAICompatible(name, base_url=f"{url}/v1", api_key=key)
