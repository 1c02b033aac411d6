"""One request over HTTP, and exactly what came back: a missing end, and how long nothing came, included."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import anyio
import httpx

from .answer import Answer, Received, read

MESSAGES = [{"role": "user", "content": "What is a gateway good for?"}]


async def ask(url: str, model: str, headers: Mapping[str, str], *, streamed: bool, patience_s: float) -> Answer:
    """A connection of its own, as callers come; never raises for what the other side does."""
    body: dict[str, Any] = {"model": model, "messages": MESSAGES, "stream": streamed}
    if streamed:
        body["stream_options"] = {"include_usage": True}
    status, ended, in_time = 0, False, False
    pieces: list[bytes] = []
    start_s = last_s = time.monotonic()
    longest_pause_s = 0.0
    with anyio.move_on_after(patience_s):
        try:
            async with httpx.AsyncClient(base_url=url, timeout=None, trust_env=False) as client:
                content = json.dumps(body).encode("utf-8")
                fields = {"content-type": "application/json", **headers}
                async with client.stream("POST", "/v1/chat/completions", content=content, headers=fields) as response:
                    status = response.status_code
                    async for piece in response.aiter_raw():
                        now_s = time.monotonic()
                        if pieces:
                            longest_pause_s = max(longest_pause_s, now_s - last_s)
                        last_s = now_s
                        pieces.append(piece)
                    ended = True
        except httpx.HTTPError:
            pass  # without its end: `answer` tells what that means
        in_time = True
    received = Received(
        status=status,
        body=b"".join(pieces),
        ended=ended,
        in_time=in_time,
        start_s=start_s,
        end_s=time.monotonic(),
        longest_pause_s=longest_pause_s,
    )
    return read(received, streamed=streamed)
