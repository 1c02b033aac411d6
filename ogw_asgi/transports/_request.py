"""The head of a request: what every request to one URL shares, and what is its own. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from .._values import Header, written_origin
from .base import OWN_HEADERS, TransportFailure

_URL = re.compile(r"[!-~]+")
_HEADERS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t\x20-\x7e\x80-\xff]*\r\n)*")

URLS = 256
"""So many an engine remembers the parts of; classic Azure deployments are named by callers."""

Origin = tuple[str, str, int]
"""Scheme, host and port."""


class Route(NamedTuple):
    """Where a URL leads, and how every head of a request that is posted there begins.

    `shown`: the origin as it is written, the default port left out; `netloc` and `target`: what it is called in a
    request.
    """

    origin: Origin
    prefix: bytes
    shown: str
    netloc: str
    target: str


def read_url(url: str) -> Route:
    """Raises TransportFailure("connect") for anything but an absolute http(s) URL without userinfo."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        raise TransportFailure("connect") from None
    if scheme not in ("http", "https") or not host or port == 0 or "@" in parts.netloc or not _URL.fullmatch(url):
        raise TransportFailure("connect")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    default = 443 if scheme == "https" else 80
    shown = f"[{host.partition('%')[0]}]" if ":" in host else host  # a zone is nobody else's business (RFC 6874)
    netloc = shown if port in (None, default) else f"{shown}:{port}"
    prefix = f"POST {target} HTTP/1.1\r\nhost: {netloc}\r\n".encode()
    return Route((scheme, host, port or default), prefix, written_origin(scheme, host, port), netloc, target)


def write_head(route: Route, headers: Sequence[Header], length: int) -> bytes:
    """Raises what `refuse_headers` raises."""
    return b"%b%bcontent-length: %d\r\n\r\n" % (route.prefix, refuse_headers(headers), length)


def write_question(route: Route, headers: Sequence[Header]) -> bytes:
    """The head of a GET. Raises what `refuse_headers` raises."""
    return b"GET%b%b\r\n" % (route.prefix.removeprefix(b"POST"), refuse_headers(headers))


def refuse_headers(headers: Sequence[Header]) -> bytes:
    """The lines of these headers. Raises TransportFailure("protocol") for what would end a line or the head, or
    contradict what is an engine's to say."""
    try:
        block = b"".join([b"%b: %b\r\n" % header for header in headers])
    except TypeError:  # str, from a provider class of somebody's own
        raise TransportFailure("protocol") from None
    if (
        block.count(b"\n") != len(headers)
        or not _HEADERS.fullmatch(block)
        or not OWN_HEADERS.isdisjoint([name.lower() for name, _ in headers])
    ):
        raise TransportFailure("protocol")
    return block
