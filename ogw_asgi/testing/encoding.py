"""Bytes as a provider puts them on the wire; pure functions, for scripts and for what tests expect."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

HeaderPairs = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]
"""Headers as a test likes to write them: a mapping, or pairs where a name repeats or bytes matter."""

SSE_DONE = b"data: [DONE]\n\n"
LAST_CHUNK = b"0\r\n\r\n"


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")


def header_pairs(headers: HeaderPairs) -> tuple[tuple[bytes, bytes], ...]:
    """The headers as pairs of bytes, spelt as given."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return tuple((_bytes(name), _bytes(value)) for name, value in pairs)


def json_bytes(value: object) -> bytes:
    """Compact UTF-8 JSON, as the providers send it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def sse_event(data: Mapping[str, Any] | str | bytes) -> bytes:
    """One server-sent event; a mapping becomes JSON, text and bytes are taken as the data they are."""
    if isinstance(data, str):
        data = data.encode()
    return b"data: " + (data if isinstance(data, bytes) else json_bytes(data)) + b"\n\n"


def http_head(status: int, headers: HeaderPairs = (), *, reason: str | None = None) -> bytes:
    """An HTTP/1.1 response head, its blank line included; headers are sent as given and none is added."""
    if reason is None:
        reason = HTTPStatus(status).phrase if status in {s.value for s in HTTPStatus} else ""
    lines = [f"HTTP/1.1 {status} {reason}".encode("latin-1")]
    lines += [name + b": " + value for name, value in header_pairs(headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def http_response(status: int, body: bytes = b"", headers: HeaderPairs = ()) -> bytes:
    """A whole response with its content-length; the connection may be used again after it."""
    return http_head(status, [*header_pairs(headers), (b"content-length", str(len(body)).encode())]) + body


def chunked(*parts: bytes, last: bool = False) -> bytes:
    """Each part as one chunk of a `transfer-encoding: chunked` body; `last=True` adds the end of the body."""
    # An empty chunk is the end of the body (RFC 9112, 7.1), so an empty part must not become one.
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part)
    return framed + (LAST_CHUNK if last else b"")
