"""Servers that callers name: the headers that do it, what the servers answer and got, and the refusal."""

from __future__ import annotations

import json

import httpx

from ogw_asgi.testing import (
    RawRequest,
    chunked,
    completion_chunk,
    http_head,
    http_response,
    sse_event,
)

from .harness import World
from .schema import error_of

SEQUENCE = "x-opengateway-failover-sequence"
ENDPOINT = "x-opengateway-vllm-endpoint"
KEY = "x-opengateway-vllm-api-key"

COMPLETION = json.dumps({"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}).encode()
ANSWER = http_response(200, COMPLETION, {"content-type": "application/json"})
STREAM = http_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}) + chunked(
    sse_event(completion_chunk({"content": "Hi"}, finish_reason="stop")), sse_event("[DONE]"), last=True
)


def headers_of(request: RawRequest) -> dict[str, str]:
    lines = request.head.decode("latin-1").split("\r\n")[1:-2]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def naming(endpoint: str, sequence: str = '["vllm"]', *, key: str | None = None) -> dict[str, str]:
    return {ENDPOINT: endpoint, SEQUENCE: sequence, **({} if key is None else {KEY: key})}


def refused(reply: httpx.Response, world: World) -> None:
    found = error_of(reply)
    assert (reply.status_code, found["code"], found["param"]) == (403, "endpoint_not_allowed", ENDPOINT)
    assert world.calls() == []
