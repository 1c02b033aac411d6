"""Which engine serves the providers that bring no client of their own."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import certifi

from ..exceptions import ConfigurationError
from ._httpcore import OwnHTTPXTransport
from .base import Transport
from .dial import Dialer
from .httpx import load_library, make_ssl_context, preferred_library

EngineName = Literal["auto", "native", "httpx2", "httpx"]


class Make(Protocol):
    def __call__(
        self, tls: ssl.SSLContext, /, *, head_bytes: int, keepalive: bool = True, dialer: Dialer
    ) -> Transport: ...


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that can be had here.

    Attributes:
        name: as it is written in `engine=`.
        make: one transport over it; the Dialer is shared.
        make_ssl_context: whom it trusts by itself: the public authorities, with names verified, and nothing of the
            environment. Takes 20 ms, so once per opening.
    """

    name: str
    make: Make
    make_ssl_context: Callable[[], ssl.SSLContext]


def choose(name: EngineName) -> Engine:
    """The engine of that name; `auto` is native where httptools is installed, else httpx2, else httpx.

    Raises ConfigurationError, naming the package to install.
    """
    if name in ("auto", "native"):
        # Nobody has tried it on Windows: there it is taken by name alone.
        if _has_httptools() and (name == "native" or os.name == "posix"):
            from .native import NativeTransport

            return Engine("native", NativeTransport, _trust_the_public_authorities)
        if name == "native":
            raise ConfigurationError("engine 'native' needs httptools 0.6.4 or later: pip install \"ogw_asgi[fast]\"")
    library = preferred_library() if name == "auto" else load_library(name)

    def make(tls: ssl.SSLContext, /, *, head_bytes: int, keepalive: bool = True, dialer: Dialer) -> Transport:
        return OwnHTTPXTransport(library, tls, head_bytes=head_bytes, keepalive=keepalive, dialer=dialer)

    return Engine(library.__name__, make, partial(make_ssl_context, library))


def _has_httptools() -> bool:
    try:
        import httptools
    except ImportError:
        return False
    # What came before takes folded headers. A version that is not numbers is somebody's own, and newer.
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", httptools.__version__)
    return numbers is None or tuple(map(int, numbers.groups())) >= (0, 6, 4)


def _trust_the_public_authorities() -> ssl.SSLContext:
    # Those that httpx trusts. To import httpx, or httpx2, for them takes longer than all the rest of a start.
    context = ssl.create_default_context(cafile=certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    # Else SSLKEYLOGFILE in the environment would have the secrets of every connection.
    context.keylog_filename = None  # type: ignore[assignment]
    return context
