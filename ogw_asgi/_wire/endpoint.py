"""One URL that a caller names, read strictly: a server's origin, or a ValueError.

No URL library takes part. Each of them repairs what it reads (backslashes, `0x7f.1`, trailing dots, IDN),
each in its own way, and two that disagree about the host are a hole in the egress policy. So nothing is
normalised here but the case of letters and the spelling of IPv6 addresses; what is odd is refused (contract,
section 7). Whether the origin may be called is decided elsewhere.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from .._values import Endpoint

_LONGEST = 2048
_LONGEST_HOST = 253

_url = re.compile(r"(https?)://([^/]*)(/.*)?", re.IGNORECASE).fullmatch
_authority = re.compile(r"(?:\[([0-9A-Fa-f:.]*)\]|([^:\[\]]*))(?::(.*))?").fullmatch
_port = re.compile(r"[1-9][0-9]{0,4}").fullmatch
# Underscores are no LDH, but container platforms put them into names of services.
_label = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?").fullmatch
# The URL standard's "ends in a number": resolvers take such names for addresses, in a dozen spellings.
_number = re.compile(r"[0-9]+|0x[0-9a-f]*").fullmatch

_FORBIDDEN = {
    "@": "a URL without user or password",
    "?": "a URL without a query",
    "#": "a URL without a fragment",
    "%": "a URL without percent-encoding",
    "\\": "a URL without backslashes",
}


def read_endpoint(value: str) -> Endpoint:
    """The origin that `value` names.

    Raises ValueError; its text completes "expected ..." and never holds the value (a password may be in it).
    """
    if len(value) > _LONGEST or not all("!" <= char <= "~" for char in value):
        raise ValueError(f"at most {_LONGEST} visible ASCII characters")
    for char, expected in _FORBIDDEN.items():
        if char in value:
            raise ValueError(expected)
    parts = _url(value)
    if parts is None:
        raise ValueError("an absolute http or https URL")
    scheme, authority, path = parts.groups(default="")
    if path not in ("", "/", "/v1", "/v1/"):
        raise ValueError("a URL whose path is empty, / or /v1")
    secure = scheme.lower() == "https"
    host_and_port = _authority(authority)
    if host_and_port is None:
        raise ValueError("a URL with a host name or address, and a port if need be")
    address, name, port = host_and_port.groups()
    host = _read_name(name) if address is None else _read_ipv6(address)
    kind: Literal["http", "https"] = "https" if secure else "http"
    return Endpoint(kind, host, _read_port(port, 443 if secure else 80))


def _read_port(port: str | None, default: int) -> int:
    if port is None:
        return default
    if not _port(port) or int(port) > 65535:
        raise ValueError("a port from 1 to 65535 after the colon")
    return int(port)


def _read_ipv6(address: str) -> str:
    try:
        return IPv6Address(address).compressed
    except ValueError:
        raise ValueError("an IPv6 address in the brackets") from None


def _read_name(name: str) -> str:
    host = name.lower()
    labels = host.split(".")
    if len(host) > _LONGEST_HOST or not all(map(_label, labels)):
        raise ValueError("a host name of letters, digits, hyphens and underscores, without a dot at its end")
    if _number(labels[-1]):
        try:
            IPv4Address(host)
        except ValueError:
            raise ValueError("an IPv4 address as four decimal numbers") from None
    return host
