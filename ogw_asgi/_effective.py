"""The settings of a gateway as they are in force, each with its source and without its secrets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ._values import Breaker, Limits, PublicHTTPS, Timeouts, written_authority
from .auth.anyone import allow_anyone
from .circuits.redis import RedisPlace
from .providers import VLLM, Azure, Provider
from .transports.choice import choose

if TYPE_CHECKING:
    from .gateway import Gateway

Shown = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it is in force. `name`: with dots, the group first. `source`: a variable, `code` or `default`."""

    name: str
    value: Shown
    source: str


def written(value: Shown) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


MASKED = "***"
REFUSED = "(refused)"


def effective(gateway: Gateway, *, refused: Collection[str] = ()) -> list[Setting]:
    """`refused`: variables whose value cannot work; the settings that they would set are shown as that."""
    return list(_Listing(gateway._sources, refused).of(gateway))


def origin_shown(provider: Provider) -> str:
    """Scheme, host and port: a path may hold an account or a token."""
    return provider.origins[0] if provider.origins else "named by callers"


def address_shown(place: RedisPlace) -> str:
    """Without who asks there."""
    if place.path is not None:
        return f"unix://{place.path}"
    return f"{'rediss' if place.tls else 'redis'}://{written_authority(place.host, place.port)}"


def place_shown(place: RedisPlace) -> str:
    scheme, _, rest = address_shown(place).partition("://")
    who = f"{MASKED}@" if place.username or place.password is not None else ""
    db = f"{'' if place.path is None else '?db='}{place.db}"
    return f"{scheme}://{who}{rest}{'/' if place.path is None else ''}{db}, namespace {place.namespace}"


class _Listing:
    def __init__(self, sources: Mapping[str, str], refused: Collection[str]) -> None:
        self._sources = sources
        self._refused = refused

    def of(self, gateway: Gateway) -> Iterator[Setting]:
        door = gateway.app.door
        for provider in gateway._providers.values():
            yield from self._provider(provider)
        yield from self._left_out(gateway)
        sequence = door.catalogue.default_sequence
        names = [item.provider + (f"/{item.model}" if item.model else "") for item in door.catalogue.default]
        yield self._one("failover_sequence", _listed(names), default=sequence is None)
        yield self._one("on_stream_break", gateway._on_stream_break, default=gateway._on_stream_break == "error")
        reasons = sorted(gateway._failover_on)
        yield self._one("failover_on", _listed(reasons), default=reasons == ["context_length"])
        yield self._one("success_status", gateway.success_status, default=gateway.success_status == 201)
        mapped = {name for provider in gateway._providers.values() for name in provider.models}
        models = [name for name in door.models if name not in mapped]
        yield self._one("models", _listed(models), default=not models)
        yield self._one("authenticate", _authentication(door.authenticator), default=door.authenticator is None)
        page = gateway.app.status
        yield self._one("status", "off" if page is None else f"on: {page.shown_to}", default=page is None)
        place = gateway._redis
        yield self._one("redis_url", "none" if place is None else place_shown(place), default=place is None)
        chosen, auto = gateway._engine.name, choose("auto").name
        yield self._one("engine", _why(auto) if chosen == auto else chosen, default=chosen == auto)
        sinks = [type(sink).__name__ for sink in gateway._observers._sinks if sink is not gateway._recent]
        yield self._one("sinks", _listed(sinks), default=not sinks)
        for group, value, usual in (
            ("timeouts", gateway._timeouts, Timeouts()),
            ("limits", gateway._limits, Limits()),
            ("breaker", gateway._breaker, Breaker()),
        ):
            for field in fields(value):
                held = getattr(value, field.name)
                yield self._one(f"{group}.{field.name}", held, default=held == getattr(usual, field.name))

    def _provider(self, provider: Provider) -> Iterator[Setting]:
        name = f"providers.{provider.name}"
        # What says that it is there, whatever the rest of it is.
        made = next((source for key, source in self._sources.items() if key.startswith(f"{name}.")), "code")
        yield Setting(f"{name}.kind", provider.kind, made)
        usual = provider.origins == ("https://api.openai.com",) or not provider.base_url
        yield self._one(f"{name}.base_url", origin_shown(provider), default=usual)
        key = "none" if provider._key is None else MASKED
        if provider._ask_key is not None:
            key = "asked of a callable before each attempt"
        yield self._one(f"{name}.api_key", key, default=key == "none")
        if isinstance(provider, Azure):
            surface = provider.api_version or "none: the v1 surface"
            yield self._one(f"{name}.api_version", surface, default=provider.api_version is None)
        if isinstance(provider, VLLM):
            entries = _listed(_entry(entry) for entry in provider.allowed_endpoints)
            yield self._one(f"{name}.allowed_endpoints", entries, default=not provider.allowed_endpoints)
        models = _listed(f"{asked} as {served}" for asked, served in provider.models.items())
        yield self._one(f"{name}.models", models, default=not provider.models)
        if provider.headers:
            headers = _listed(f"{header.decode('ascii')}: {MASKED}" for header, _ in provider.headers)
            yield Setting(f"{name}.headers", headers, "code")
        for attribute, what in (("client", "one of your own"), ("ssl_context", "one of your own")):
            if getattr(provider, attribute) is not None:
                yield Setting(f"{name}.{attribute}", what, "code")

    def _left_out(self, gateway: Gateway) -> Iterator[Setting]:
        """What is said of providers that could not be made."""
        for name, source in sorted(self._sources.items()):
            group, _, rest = name.partition(".")
            if group == "providers" and rest.rpartition(".")[0] not in gateway._providers:
                value = REFUSED if source in self._refused else MASKED if name.endswith(".api_key") else "set"
                yield Setting(name, value, source)

    def _one(self, name: str, value: Shown, *, default: bool) -> Setting:
        source = self._sources.get(name)
        if source is not None and source in self._refused:
            return Setting(name, REFUSED, source)
        return Setting(name, value, source or ("default" if default else "code"))


def _listed(items: Iterable[str]) -> str:
    return ", ".join(items) or "none"


def _entry(entry: str | PublicHTTPS) -> str:
    return f"https://*:{'/'.join(map(str, entry.ports))}" if isinstance(entry, PublicHTTPS) else entry


def _authentication(authenticator: Any) -> str:
    if authenticator is None:
        return "off: everybody who reaches it"
    if authenticator is allow_anyone:
        return "off on purpose: allow_anyone"
    principals = getattr(authenticator, "principals", None)
    if isinstance(principals, int):
        return f"on: tokens of {principals} principal{'' if principals == 1 else 's'}"
    return "on: a callable"


def _why(engine: str) -> str:
    """Why `auto` takes it."""
    return {
        "native": "native: httptools is there",
        "httpx2": "httpx2: no httptools",
        "httpx": "httpx: no httptools, httpx2",
    }[engine]
