"""Keeps keys and the addresses of providers out of what a caller sees (contract, section 4).

A mask knows strings, nothing of where they came from, and shows none of them itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import NoReturn
from urllib.parse import urlsplit

from .spellings import MASK, codes, odd, shortest_code, unescaped, without_codes, without_cut, without_hints

SHORTEST_SECRET = 6
"""Shorter keys are placeholders (`none`, `EMPTY`): masking them would protect nothing and wreck texts."""

LONG_PATH_PART = 12
"""A part of a URL's path that is so long may be an account or a token; `deployments` is not."""

_SHORT = 64
_REMEMBERED = 256

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LAYERS = 3
"""An escape of an escape of an escape; more are nobody's accident, and each costs time."""


class Mask:
    """Replaces secrets and URLs (in any case) by three asterisks, however they are spelled (see spellings.py).

    Of a URL are masked: itself, its origin, host and port together, its host alone if that has a dot or is an address,
    and each long part of its path. A bare name such as `vllm` is an ordinary word and stays.
    """

    __slots__ = ("_codes", "_harmless", "_secrets", "_shortest", "_shortest_code", "_urls")

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
        text = self._plainly(text)
        plain = text
        for _ in range(_LAYERS):
            undone = unescaped(plain)
            if undone == plain:
                break
            plain = self._plainly(undone)
            if plain != undone:
                text = plain
        return text

    def holds(self, value: bytes) -> bool:
        """Does a header's value hold a secret or a URL?"""
        if len(value) < self._shortest or value in self._harmless:
            return False
        if self._finds(value.decode("latin-1")):
            return True
        if len(value) <= _SHORT:  # servers say the same again and again
            if len(self._harmless) >= _REMEMBERED:
                self._harmless.clear()
            self._harmless.add(value)
        return False

    def _finds(self, text: str) -> bool:
        for secret in self._secrets:
            if secret in text:
                return True
        if self._urls is not None and self._urls.search(text) is not None:
            return True
        if len(text) >= self._shortest_code and any(code in text for code in self._all_codes()):
            return True
        # Most headers of limits are a number, in which nothing can be spelled.
        return not text.isdigit() and odd(text) and self.text(text) != text

    def __repr__(self) -> str:
        return f"Mask({MASK})"

    def __copy__(self) -> Mask:
        return self

    def __deepcopy__(self, memo: object) -> Mask:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a mask is not pickled: it holds keys")

    def __getstate__(self) -> None:
        return None

    def _add(self, secrets: Iterable[str]) -> None:
        long_enough = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        # Longest first: of two keys, one of which begins with the other, no tail may stay behind.
        self._secrets = tuple(sorted(long_enough.union(self._secrets), key=len, reverse=True))
        self._shortest = min(self._shortest, SHORTEST_SECRET)
        self._shortest_code = shortest_code(self._secrets[-1]) if self._secrets else 0
        self._codes: tuple[str, ...] | None = None
        self._harmless: set[bytes] = set()
        """Values in which nothing has been found."""

    def _all_codes(self) -> tuple[str, ...]:
        if self._codes is None:  # most masks are never asked
            found = {code for secret in self._secrets for code in codes(secret)}
            self._codes = tuple(sorted(found, key=len, reverse=True))
        return self._codes

    def _plainly(self, text: str) -> str:
        for secret in self._secrets:
            text = without_cut(text.replace(secret, MASK), secret, SHORTEST_SECRET)
        text = without_hints(without_codes(text, self._all_codes()), self._secrets)
        return text if self._urls is None else self._urls.sub(MASK, text)


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
    # Servers name the path alone in their errors.
    yield from (part for part in parts.path.split("/") if len(part) >= LONG_PATH_PART)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
