"""A gateway on a loopback port, with providers on loopback ports behind it: what every end-to-end test stands on.

    async with gateway_served(openai=ScriptedUpstream(error(503)), azure=ScriptedUpstream(chat("Hi"))) as served:
        ...  # point a client at served.url; gateway_served is a fixture

The keywords are providers in their order, by name (`openai`, `azure`, `vllm`; any other name is an
`OpenAICompatible`), each played by one of

- a `ScriptedUpstream`: one uvicorn serves those of the whole session, each below a path of its own;
- a `RawUpstream` (entered by the test), or a base URL.

Keywords that are arguments of `Gateway` go there (`timeouts`, `engine`, ...). The gateway has a thread and a loop of
its own, so that a synchronous client may block the test's.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

import anyio

from ogw_asgi import VLLM, Azure, Gateway, OpenAI, OpenAICompatible
from ogw_asgi.providers import Provider
from ogw_asgi.telemetry.events import Event, RequestEnded
from ogw_asgi.testing import RawUpstream, ScriptedUpstream, serve
from ogw_asgi.testing._signals import Bell

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
    """Scripted providers as one served app, told apart by the first segment of the path."""

    def __init__(self) -> None:
        self.url = ""
        self._upstreams: dict[str, ScriptedUpstream] = {}

    def add(self, upstream: ScriptedUpstream) -> str:
        """The base URL of the upstream from now on; no other ever has the same."""
        segment = f"provider-{len(self._upstreams)}"
        self._upstreams[segment] = upstream
        return f"{self.url}/{segment}"

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        await self._upstreams[scope["path"].split("/")[1]](scope, receive, send)


class Endings:
    """The ends of all requests, as the gateway tells them: what a request held has been given back by then."""

    def __init__(self) -> None:
        self.seen: list[RequestEnded] = []
        self._bell = Bell()

    def on_event(self, event: Event, /) -> None:
        if isinstance(event, RequestEnded):
            self.seen.append(event)
            self._bell.ring()

    async def wait_for(self, count: int) -> list[str]:
        """Waits until that many requests have ended, and returns the outcomes of all."""
        await self._bell.wait_until(lambda: len(self.seen) >= count)
        return [ending.outcome for ending in self.seen]


@dataclass
class Served:
    """The caller's side of a served gateway, and the upstreams behind it by their providers' names."""

    url: str
    gateway: Gateway
    arrivals: list[Arrival]
    endings: Endings
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


_Serving: TypeAlias = AbstractAsyncContextManager[Served]


class ServeGateway(Protocol):
    """`serve_gateway` without its first argument."""

    def __call__(self, **arguments: Any) -> _Serving: ...


@asynccontextmanager
async def serve_gateway(
    fleet: Fleet, *, http: str = "auto", limit_s: float = 5, **arguments: Any
) -> AsyncIterator[Served]:
    """Serves a gateway in front of the upstreams among `arguments`; see the module.

    All that happens in the block may take `limit_s`. `http` is the implementation that uvicorn uses.
    """
    endings = Endings()
    gateway, upstreams = make_gateway(fleet, {"sinks": [endings], **arguments})
    counted = Arrivals(gateway)
    with anyio.fail_after(limit_s):
        async with serve(counted, http=http) as url:
            yield Served(url, gateway, counted.requests, endings, upstreams)


def make_gateway(fleet: Fleet, arguments: Mapping[str, Any]) -> tuple[Gateway, dict[str, Any]]:
    """The gateway that the arguments describe, and its upstreams by their providers' names."""
    settings = {name: value for name, value in arguments.items() if name in _GATEWAY}
    places = {name: value for name, value in arguments.items() if name not in settings}
    providers = [_provider(name, _url(place, fleet)) for name, place in places.items()]
    upstreams = {name: place for name, place in places.items() if not isinstance(place, str)}
    return Gateway(providers=providers, **settings), upstreams


def key_of(name: str) -> str:
    """The configured key of the provider of this name."""
    return f"sk-c4n4ry-configured-for-{name}"


def _url(place: ScriptedUpstream | RawUpstream | str, fleet: Fleet) -> str:
    if isinstance(place, ScriptedUpstream):
        return fleet.add(place)
    return place if isinstance(place, str) else place.url


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _provider(name: str, url: str) -> Provider:
    key = key_of(name)
    match name:
        case "openai":
            return OpenAI(base_url=f"{url}/v1", api_key=key)
        case "azure":
            return Azure(endpoint=url, api_key=key)
        case "vllm":
            return VLLM(endpoint=url, api_key=key, allowed_endpoints=[_origin(url)])
        case _:
            return OpenAICompatible(name, base_url=f"{url}/v1", api_key=key)
