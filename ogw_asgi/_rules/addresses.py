"""What kind of place is an address? The table of the egress policy (contract, section 7).

A table of our own, because `ipaddress.is_global` is no guard: it is true for the metadata servers of Oracle and Azure,
for addresses that wrap a private one, for multicast, and it changes from one Python to the next. Sources: the IANA
special-purpose registries (RFC 6890 and what came after it) and the cloud providers' manuals.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Literal, NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

Kind = Literal["never", "loopback", "private", "global"]


class Place(NamedTuple):
    """Attributes:
    kind: `never` is for no entry to allow; `loopback` and `private` are for an entry that says so.
    within: the range that makes it so; of a wrapped address, that of the wrapper. None for what is just global.
    inner: the IPv4 address that an IPv6 address wraps; `kind` is that address's.
    """

    kind: Kind
    within: Network | None = None
    inner: IPv4Address | None = None


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(map(ip_network, texts))


_NEVER = _networks(
    # Link-local: the metadata servers of AWS, Azure, Google, Oracle, Tencent, Scaleway, and what ECS and EKS add.
    "169.254.0.0/16",
    "fe80::/10",
    # Metadata and host agents elsewhere.
    "100.100.100.200/32",  # Alibaba
    "168.63.129.16/32",  # Azure's WireServer
    "fd00:ec2::/32",  # AWS
    "fd20:ce::254/128",  # Google
    "fd00:42::42/128",  # Scaleway
    # Nobody's, everybody's, or only on paper.
    "0.0.0.0/8",
    "192.0.0.0/24",  # IETF protocol assignments; Oracle's metadata server is 192.0.0.192
    "192.0.2.0/24",
    "192.88.99.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",  # with the broadcast address
    "::/128",
    "100::/64",
    "100:0:0:1::/64",
    "64:ff9b:1::/48",  # wraps addresses in a place that only its network knows
    "2001::/23",  # Teredo among them: it wraps an address, and its relays are gone
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "fec0::/10",
    "ff00::/8",
)
_LOOPBACK = _networks("127.0.0.0/8", "::1/128")
_PRIVATE = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
_ASSIGNED = IPv6Network("2000::/3")
"""What of IPv6 is anybody's yet, besides the ranges above."""

# Where in its bits each of them holds an IPv4 address: so many bits from the right.
_WRAPPERS = (
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (IPv6Network("::/96"), 0),  # IPv4-compatible
    (IPv6Network("2002::/16"), 80),  # 6to4
)


def place_of(address: Address) -> Place:
    """The kind of place that `address` is, whatever it wraps being looked at instead."""
    within = _holding(_NEVER, address)
    if within is not None:
        return Place("never", within)
    within = _holding(_LOOPBACK, address)  # before what it wraps: ::1 looks like 0.0.0.1 in IPv4-compatible form
    if within is not None:
        return Place("loopback", within)
    if isinstance(address, IPv6Address):
        for wrapper, shift in _WRAPPERS:
            if address in wrapper:
                inner = IPv4Address((int(address) >> shift) & 0xFFFFFFFF)
                return Place(place_of(inner).kind, wrapper, inner)
    within = _holding(_PRIVATE, address)
    if within is not None:
        return Place("private", within)
    if isinstance(address, IPv6Address) and address not in _ASSIGNED:
        return Place("never")
    return Place("global")


def _holding(ranges: tuple[Network, ...], address: Address) -> Network | None:
    return next((found for found in ranges if address in found), None)


def lies_within(inner: Network, outer: Network) -> bool:
    """Whether all of `inner` is in `outer`."""
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def is_never(network: Network) -> bool:
    """Whether nothing in `network` could ever be called, so that to list it is a mistake."""
    return any(lies_within(network, found) for found in _NEVER)
