"""Who stands behind the gateway in a row: healthy or scripted upstreams, and the providers in front of them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from ogw_asgi import VLLM, Azure, OpenAICompatible
from ogw_asgi.providers import Provider
from ogw_asgi.testing import RawUpstream

from .selection import Case
from .standing import canary
from .wire import good


@dataclass(frozen=True, slots=True)
class Good:
    """A healthy provider that says this."""

    text: str = "Hello"


class Place:
    """An upstream, and more arguments for the provider in front of it; `scheme` and `host` replace those of its URL."""

    def __init__(
        self, upstream: Good | RawUpstream | str, *, scheme: str = "http", host: str = "127.0.0.1", **options: Any
    ) -> None:
        self.upstream = upstream
        self.scheme = scheme
        self.host = host
        self.options = options


Spot: TypeAlias = Good | RawUpstream | Place | Provider | str


class Cast:
    """The providers of a world, the upstreams behind them, and their keys, by the providers' names."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.providers: list[Provider] = []
        self.upstreams: dict[str, RawUpstream] = {}
        self.texts: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.ports: dict[str, int] = {}

    async def add(self, name: str, spot: Spot, stack: AsyncExitStack) -> None:
        if isinstance(spot, Provider):
            self.providers.append(spot)
            return
        place = spot if isinstance(spot, Place) else Place(spot)
        upstream = place.upstream
        if isinstance(upstream, Good):
            self.texts[name] = upstream.text
            upstream = RawUpstream([good(self._case.mode, upstream.text)])
        if isinstance(upstream, RawUpstream):
            self.upstreams[name] = await stack.enter_async_context(upstream)
            url = f"{place.scheme}://{place.host}:{upstream.port}"
        else:
            url = upstream
        self.ports[name] = urlsplit(url).port or 0
        self.keys[name] = canary(name)
        self.providers.append(_provider(name, url, {"api_key": self.keys[name], **place.options}))


def _provider(name: str, url: str, options: dict[str, Any]) -> Provider:
    match name:
        case "azure":
            return Azure(**{"endpoint": url, **options})
        case "vllm":
            return VLLM(**{"endpoint": url, "allowed_endpoints": [url], **options})
        case _:
            return OpenAICompatible(name, **{"base_url": f"{url}/v1", **options})
