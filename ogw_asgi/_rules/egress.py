"""May this caller-named endpoint be called? The operator's list says so (contract, section 7).

Two questions, both pure. Of the URL: does an entry name this scheme, host and port? Without one nothing is looked up.
And of each address that the name resolves to: may it be called for this name? The second is a `Guard`, which goes with
the request to where connections are made. Addresses that nobody may name (`addresses.py`) are beyond any entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Literal

from .._values import Endpoint, Principal, PublicHTTPS
from ..exceptions import ConfigurationError
from .addresses import Address, Network, Place, is_never, lies_within, place_of

Read = Callable[[str], Endpoint]
"""The strict reader of callers' endpoints, raising ValueError: one syntax for both sides."""

MOST_LISTS = 256
"""So many principals' lists are remembered."""

_entry = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[^\]]*\]|[^/:\[\]]*(?:/\d+(?![^:]))?)"
    r"(?::(?P<port>\d+)(?:-(?P<last>\d+))?)?(?P<path>(?:/v1)?/?)(?:\s+in\s+(?P<networks>\S.*))?",
    re.IGNORECASE,
).fullmatch

_prefixed = re.compile(r"[0-9A-Fa-f.:]+(?:/\d{1,3})?").fullmatch

_FORMS = (
    "expected an origin (http://gpu-7.internal:8000), a wildcard with its networks (http://*.gpu.internal:8000 in"
    " 10.20.0.0/16), a network of addresses (http://10.20.0.0/16:8000), each with a port or a range of ports"
    " (8000-8010), or https://* for any public server"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list.

    Attributes:
        form: how `host` is read: a `name`, what follows the asterisk of a `wildcard` with its dot, an `address`, any
            address in a `network`, or anything at all (`public`).
        networks: where addresses must be; empty: wherever the form lets them.
    """

    form: Literal["name", "wildcard", "address", "network", "public"]
    scheme: str
    host: str
    first_port: int
    last_port: int
    networks: tuple[Network, ...] = ()

    def names(self, endpoint: Endpoint) -> bool:
        """Is this endpoint one of those that the entry stands for?"""
        if endpoint.scheme != self.scheme or not self.first_port <= endpoint.port <= self.last_port:
            return False
        match self.form:
            case "public":
                return True
            case "network":
                address = _address(endpoint.host)
                return address is not None and any(address in network for network in self.networks)
            case "wildcard":
                return endpoint.host.endswith(self.host) and len(endpoint.host) > len(self.host)
            case _:
                return endpoint.host == self.host

    def permits(self, address: Address) -> bool:
        """May an endpoint that the entry stands for be called at this address?"""
        place = place_of(address)
        if place.kind == "never":
            return False
        if self.networks:
            return any(_says(network, address, place, self.networks) for network in self.networks)
        match self.form:
            case "address":
                return _address(self.host) == address
            case "name":
                return place.inner is None and place.kind in ("private", "global")
            case _:
                return place.inner is None and place.kind == "global"


def _says(network: Network, address: Address, place: Place, networks: Sequence[Network]) -> bool:
    """Does `network` allow this address, and not only happen to contain it? 0.0.0.0/0 says nothing of loopback."""
    if address not in network:
        return False
    if place.within is not None and not lies_within(network, place.within):
        return False
    if place.inner is None or place.kind == "global":
        return True
    inner, at = place.inner, place_of(place.inner)
    return any(_says(other, inner, at, networks) for other in networks)


@dataclass(frozen=True, slots=True)
class Guard:
    """May this address be connected to? Every one of `lists` must have an entry that permits it.

    `keyed`: the caller's key would go there in plain text, so no public address will do.
    """

    lists: tuple[tuple[Entry, ...], ...]
    keyed: bool = False

    def __call__(self, ip: str) -> bool:
        """`ip`: as a resolver writes it. What is no address may not be connected to."""
        address = _address(ip)
        if address is None or (self.keyed and place_of(address).kind == "global"):
            return False
        return all(any(entry.permits(address) for entry in entries) for entries in self.lists)


@dataclass(frozen=True, slots=True)
class AllowList:
    """The endpoints that callers may name. An empty list allows nothing."""

    read: Read
    entries: tuple[Entry, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str | PublicHTTPS], read: Read) -> AllowList:
        """Raises ConfigurationError, which names an entry by its place: its text may hold a password."""
        if isinstance(entries, str):
            raise ConfigurationError("allowed_endpoints: expected a list of URLs, not one string")
        parsed: list[Entry] = []
        for place, entry in enumerate(entries, 1):
            try:
                parsed += _parse(entry, read)
            except ValueError as error:
                raise ConfigurationError(f"allowed_endpoints, entry {place}: {error}") from None
        return cls(read, tuple(parsed))

    def guard(self, endpoint: Endpoint, principal: Principal | None, *, keyed: bool) -> Guard | None:
        """The guard that goes with a call to `endpoint`; None: it may not be called.

        `keyed`: the caller's own key goes with it. A principal may narrow the list; what its own list would add to it
        does not count. Raises ConfigurationError for a principal's list that cannot be read.
        """
        lists = [self.entries]
        if principal is not None and principal.endpoints is not True:
            lists.append(_entries_of(principal.endpoints, self.read) if principal.endpoints else ())
        named = tuple(tuple(entry for entry in entries if entry.names(endpoint)) for entries in lists)
        return Guard(named, keyed and endpoint.scheme == "http") if all(named) else None


@lru_cache(maxsize=MOST_LISTS)
def _entries_of(listed: tuple[str, ...], read: Read) -> tuple[Entry, ...]:
    return AllowList.parse(listed, read).entries


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _parse(entry: object, read: Read) -> list[Entry]:
    if isinstance(entry, PublicHTTPS):
        return [Entry("public", "https", "", port, port) for port in entry.ports]
    if not isinstance(entry, str):
        raise ValueError("expected a URL as a string, or PublicHTTPS()")
    found = _entry(entry.strip())
    if found is None:
        raise ValueError(_FORMS)
    scheme, host, path = found["scheme"].lower(), found["host"].lower(), found["path"]
    networks = tuple(map(_network, (found["networks"] or "").split()))
    form: Literal["name", "wildcard", "address", "network", "public"] = "name"
    name = host
    if host == "*":
        if scheme != "https" or networks:
            raise ValueError("expected https://*, with nothing behind it, for any public server")
        form, name = "public", "any.public"
    elif host.startswith("*."):
        form, name = "wildcard", f"any{host[1:]}"
        if host.count(".") < 2:
            raise ValueError("expected a wildcard for the names below a domain of its own, as in *.gpu.internal")
    elif "*" in host:
        raise ValueError("expected the asterisk of a wildcard in front of a dot, as in *.gpu.internal")
    elif "/" in host:
        form, held = "network", _network(host.strip("[]"))
        if networks:
            raise ValueError("expected no 'in' behind a network: addresses stand for themselves")
        networks = (held,)
        name = f"[{held[0]}]" if held.version == 6 else str(held[0])
    ports = [_read(f"{scheme}://{name}{_port(port)}{path}", read) for port in (found["port"], found["last"])]
    first, last = ports[0], ports[-1] if found["last"] else ports[0]
    if last.port < first.port:
        raise ValueError("expected a range of ports from the lower to the higher")
    if form == "name" and (address := _address(first.host)) is not None:
        form = "address"
        if networks:
            raise ValueError("expected no 'in' behind an address: it stands for itself")
        if place_of(address).kind == "never":
            raise ValueError(_NEVER)
    host = {"name": first.host, "address": first.host, "wildcard": first.host.removeprefix("any")}.get(form, "")
    return [Entry(form, scheme, host, first.port, last.port, networks)]


_NEVER = "expected addresses that may be called for callers; these (link-local, metadata, multicast, ...) never are"


def _port(port: str | None) -> str:
    return "" if port is None else f":{port}"


def _read(url: str, read: Read) -> Endpoint:
    try:
        return read(url)
    except ValueError as error:
        raise ValueError(f"expected {error}") from None


def _network(text: str) -> Network:
    try:
        if not _prefixed(text):
            raise ValueError
        network = ip_network(text)
    except ValueError:
        raise ValueError("expected networks such as 10.20.0.0/16, with no bits set behind the prefix") from None
    if is_never(network):
        raise ValueError(_NEVER)
    return network
