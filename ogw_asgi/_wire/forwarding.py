"""Which headers go up to a provider, and which of the provider's come down to the caller: two allow-lists.

Nothing of the caller's request reaches a provider but what `upstream_headers` names (contract, section 2);
the provider's own authentication is added by the provider, `host` and lengths by the transport.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from .._values import AttemptRecord, CallOptions, Header
from .masking import Mask

# Not `openai-organization`: it names the operator's account. `x-request-id` is ours; cookies belong to nobody
# here.
_allowed = re.compile(
    rb"(?:x-ratelimit-|anthropic-ratelimit-|ratelimit)[a-z0-9_-]*"
    rb"|retry-after|retry-after-ms|x-ms-retry-after-ms"
    rb"|openai-(?:processing-ms|version|model)|apim-request-id|x-ms-region|x-generation-id"
).fullmatch
_control = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search


def upstream_headers(
    options: CallOptions, *, gateway_id: str, version: str, stream: bool, traceparent: str | None
) -> list[Header]:
    """What every provider gets. Identity is asked for because answers are relayed as bytes, never decoded."""
    headers = [
        *_same_for_all(options.via, gateway_id, version, stream),
        (b"x-request-id", options.request_id.encode("latin-1")),
    ]
    if options.idempotency_key is not None:
        headers.append((b"idempotency-key", options.idempotency_key.encode("latin-1")))
    if traceparent is not None:
        headers.append((b"traceparent", traceparent.encode("latin-1")))
    return headers


@lru_cache(maxsize=64)
def _same_for_all(via: tuple[str, ...], gateway_id: str, version: str, stream: bool) -> tuple[Header, ...]:
    return (
        (b"content-type", b"application/json"),
        (b"accept", b"text/event-stream" if stream else b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", f"ogw_asgi/{version}".encode("latin-1")),
        (b"via", ", ".join(f"1.1 ogw-{gateway}" for gateway in (*via, gateway_id)).encode("latin-1")),
    )


def downstream_headers(raw: Iterable[Header], mask: Mask) -> list[Header]:
    """What of an answer's headers the caller gets: limits and traces, in their order, repeats kept.

    A value that no server may send (control characters) or that holds a key or a provider's URL is dropped
    whole.
    """
    headers: list[Header] = []
    for raw_name, raw_value in raw:
        name = _downstream(raw_name)
        if name is not None:
            value = raw_value.strip(b" \t")
            if not _control(value) and not mask.holds(value):
                headers.append((name, value))
    return headers


@lru_cache(maxsize=512)
def _downstream(name: bytes) -> bytes | None:
    """The name in lower case if the caller gets such a header. Servers send the same dozen names again and again."""
    name = name.lower()
    return name if _allowed(name) else None


def server_timing(records: Sequence[AttemptRecord]) -> bytes:
    """One metric per attempt, in order, described by its label."""
    metrics = [f'{record.provider};dur={record.duration_ms};desc="{record.label}"' for record in records]
    return ", ".join(metrics).encode("latin-1")


def traceparent(trace_id: str, span_id: str, flags: str = "00") -> str:
    """The W3C header of version 00."""
    return f"00-{trace_id}-{span_id}-{flags}"
