"""Keeps keys and the addresses of providers out of what a caller sees (contract, section 4).

A mask knows strings, nothing of where they came from, and shows none of them itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

MASK = "***"
SHORTEST_SECRET = 6
"""Shorter keys are placeholders (`none`, `EMPTY`): masking them would protect nothing and wreck texts."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Mask:
    """Replaces secrets (exactly as they are) and URLs (in any case) by three asterisks.

    Of a URL are masked: itself, its origin, host and port together, and its host alone if that has a dot or
    is an address. A bare name such as `vllm` is an ordinary word and stays.
    """

    __slots__ = ("_secrets", "_shortest", "_urls")

    def __init__(self, secrets: Iterable[str] = (), urls: Iterable[str] = ()) -> None:
        needles = {needle.lower() for url in urls for needle in _needles(url)}
        self._urls = _any_of(needles)
        self._shortest = min(map(len, needles), default=SHORTEST_SECRET)
        self._secrets: tuple[str, ...] = ()
        self._add(secrets)

    def plus(self, secrets: Iterable[str]) -> Mask:
        """This mask with more secrets, such as the caller's key. Compiles nothing: it runs per request."""
        new = [secret for secret in secrets if secret not in self._secrets and len(secret) >= SHORTEST_SECRET]
        if not new:
            return self
        mask = Mask.__new__(Mask)
        mask._urls, mask._shortest, mask._secrets = self._urls, self._shortest, self._secrets
        mask._add(new)
        return mask

    def text(self, text: str) -> str:
        """`text` with every secret and URL replaced, a secret's beginning at its end included."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
            # What is long was cut, perhaps within a secret.
            for size in range(len(secret) - 1, SHORTEST_SECRET - 1, -1):
                if text.endswith(secret[:size]):
                    text = text[:-size] + MASK
                    break
        return text if self._urls is None else self._urls.sub(MASK, text)

    def holds(self, value: bytes) -> bool:
        """Does a header's value hold a secret or a URL?"""
        if len(value) < self._shortest:
            return False
        text = value.decode("latin-1")
        for secret in self._secrets:
            if secret in text:
                return True
        return self._urls is not None and self._urls.search(text) is not None

    def __repr__(self) -> str:
        return f"Mask({MASK})"

    def _add(self, secrets: Iterable[str]) -> None:
        long_enough = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        # Longest first: of two keys, one of which begins with the other, no tail may stay behind.
        self._secrets = tuple(sorted(long_enough.union(self._secrets), key=len, reverse=True))
        self._shortest = min(self._shortest, SHORTEST_SECRET)


def _any_of(needles: Iterable[str]) -> re.Pattern[str] | None:
    alternatives = "|".join(re.escape(needle) for needle in sorted(needles, key=len, reverse=True))
    return re.compile(alternatives, re.IGNORECASE) if alternatives else None


def _needles(url: str) -> Iterator[str]:
    if url:
        yield url
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return
    if not host:
        return
    yield url.rstrip("/")
    name = f"[{host}]" if ":" in host else host
    default = _DEFAULT_PORTS.get(parts.scheme)
    if port in (None, default):
        yield f"{parts.scheme}://{name}"
        # Servers and proxies name the port even where the URL need not.
        port = default
    if port is not None:
        yield f"{parts.scheme}://{name}:{port}"
        yield f"{name}:{port}"
    if "." in host or _is_address(host):
        yield host


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
