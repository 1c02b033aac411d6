"""Where a URL of the operator's leads. (What callers name is read by `endpoint.py`, and far more strictly.)"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit

from .._values import written_origin

REMEMBERED = 1024


@lru_cache(maxsize=REMEMBERED)
def origin_of(url: str) -> str:
    """Scheme, host and port as `Endpoint.origin` writes them. Raises ValueError for what is no absolute http(s) URL."""
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("not an absolute http(s) URL")
    return written_origin(parts.scheme, host, port)
