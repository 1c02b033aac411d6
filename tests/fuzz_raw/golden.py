"""What the app of this folder may send to its providers, byte for byte, and what is its own in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ogw_asgi import __version__

MOUNTS: Mapping[str, str] = {"/native": "native", "/httpx1": "httpx", "/httpx2": "httpx2"}
"""Mount -> engine. Of one length, so that a request can be sent to another one without a length to be put right."""

KEYS = {"openai": "sk-of-openai", "azure": "key-of-azure", "vllm": "sk-of-vllm"}
API_VERSION = "2024-10-21"
STALL_S = 0.5
"""Of an upload, and then it is a 408; of an answer that nobody takes, and then the caller is gone."""


@dataclass(frozen=True)
class Asked:
    """A request that a caller honestly made: its body, whom it asks, and what of its headers goes on.

    Attributes:
        labels: `x-request-id` and `idempotency-key`, as far as the caller's are passed on.
        via: the gateways before this one.
        trace: the caller's trace id, which goes to self-hosted providers.
    """

    body: bytes
    provider: str = "openai"
    deployment: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    via: Sequence[str] = ()
    trace: str = ""


def head_of(asked: Asked, engine: str, port: int) -> re.Pattern[bytes]:
    """The one head that there may be. Open are only ids that the gateway makes: its own, a request's, a span's."""
    path = "/v1/chat/completions"
    if asked.provider == "azure":
        path = f"/openai/deployments/{asked.deployment}/chat/completions?api-version={API_VERSION}"
    host, length = ("host", "content-length") if engine == "native" else ("Host", "Content-Length")
    lines = [f"POST {path} HTTP/1.1", f"{host}: 127.0.0.1:{port}"]
    rest = [
        "content-type: application/json",
        "accept: " + ("text/event-stream" if b'"stream":true' in asked.body else "application/json"),
        "accept-encoding: identity",
        f"user-agent: ogw_asgi/{__version__}",
        "via: " + "".join(f"1.1 ogw-{gateway}, " for gateway in asked.via) + "1.1 ogw-<16>",
        f"x-request-id: {asked.labels.get('x-request-id', '<32>')}",
    ]
    if "idempotency-key" in asked.labels:
        rest.append(f"idempotency-key: {asked.labels['idempotency-key']}")
    if asked.provider == "vllm":
        rest.append(f"traceparent: 00-{asked.trace or '<32>'}-<16>-" + ("01" if asked.trace else "00"))
    key = KEYS[asked.provider]
    rest.append(f"api-key: {key}" if asked.provider == "azure" else f"authorization: Bearer {key}")
    rest.append(f"{length}: {len(asked.body)}")
    literal = re.escape("\r\n".join([*lines, *rest, "", ""]))
    return re.compile(re.sub(r"<(\d+)>", r"[0-9a-f]{\1}", literal).encode("latin-1"))
