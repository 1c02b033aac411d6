"""Section 2: limits and repeats on both event loops, in real time and over real sockets, with short values.

The same to the millisecond, and with the defaults, is in `test_section_2_limits.py` and `test_section_2_retry.py`.
"""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from ogw_asgi import Gateway
from ogw_asgi.testing import (
    LAST_CHUNK,
    SSE_DONE,
    Hang,
    OnHead,
    RawUpstream,
    ScriptedUpstream,
    asgi_client,
    chat,
    chunked,
    completion_chunk,
    error,
    hang,
    http_head,
    sse_event,
)

from .checks import MESSAGES, SEQUENCE, TIMEOUT, asked, pause, said, sequence
from .harness import gateway_of

pytestmark = pytest.mark.anyio

SSE = {"content-type": "text/event-stream"}
HELLO = completion_chunk({"content": "Hello"})


@pytest.mark.contract("2.first-chunk.absolute")
@pytest.mark.parametrize("interim", [http_head(103, {"link": "</x>"}), http_head(102), http_head(100)])
async def test_interim_answers_do_not_reset_the_limit(interim: bytes) -> None:
    drip: list[Any] = [OnHead(), *(step for _ in range(30) for step in (interim, pause(0.05))), Hang()]
    async with RawUpstream(drip) as one, gateway_of(one=one, two=ScriptedUpstream(chat())) as world:
        started_s = anyio.current_time()
        reply = await world.post(headers={TIMEOUT: "150"}, stream=True)
        assert reply.headers["x-opengateway-provider"] == "two"
        assert 0.15 <= anyio.current_time() - started_s < 1.4


@pytest.mark.contract("2.timeout.each-attempt")
async def test_on_either_loop_a_limit_bounds_each_attempt() -> None:
    upstreams: dict[str, Any] = {name: ScriptedUpstream(hang()) for name in ("one", "two")}
    async with gateway_of(**upstreams, three=ScriptedUpstream(chat())) as world:
        started_s = anyio.current_time()
        assert (await world.post(headers={TIMEOUT: "150"})).status_code == 201
        assert asked(world) == ["one", "two", "three"]
        assert 0.3 <= anyio.current_time() - started_s < 1.4
        for name in upstreams:
            await world.upstreams[name].requests[0].closed.wait()


@pytest.mark.contract("2.retry.in-place")
async def test_on_either_loop_a_repeat_asks_once_more_before_moving_on() -> None:
    busy = error(503, headers={"retry-after-ms": "260"})
    async with gateway_of(openai=ScriptedUpstream(busy), azure=ScriptedUpstream(chat())) as world:
        reply = await world.post(headers=sequence("openai", "openai", "azure"))
        assert (reply.status_code, asked(world)) == (201, ["openai", "openai", "azure"])


@pytest.mark.contract("2.limits.configured")
async def test_ogw_timeout_ms_replaces_the_limit_of_a_stream_while_a_target_is_left_and_no_other() -> None:
    event = chunked(sse_event(HELLO), SSE_DONE) + LAST_CHUNK
    late = pause(0.15)
    slow: list[Any] = [late, http_head(200, {**SSE, "transfer-encoding": "chunked"}), event]
    plain = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"late"}}]}'
    answer: list[Any] = [
        late,
        http_head(200, {"content-type": "application/json", "content-length": str(len(plain))}),
        plain,
    ]
    async with RawUpstream([Hang()], answer) as one, RawUpstream(slow) as two:
        gateway = Gateway.from_env(
            {
                "OPENAI_API_KEY": "k",
                "OPENAI_BASE_URL": f"{one.url}/v1",
                "OGW_PROVIDERS": json.dumps({"two": {"base_url": f"{two.url}/v1"}}),
                "OGW_FAILOVER_SEQUENCE": '["openai","two"]',
                "OGW_TIMEOUT_MS": "100",
            }
        )
        with anyio.fail_after(5):
            async with gateway, asgi_client(gateway) as client:
                body = {"model": "m", "messages": MESSAGES}
                reply = await client.post("/chat/completions", json={**body, "stream": True}, headers={SEQUENCE: ""})
                assert (reply.headers["x-opengateway-provider"], said(reply.text)) == ("two", "Hello")
                reply = await client.post("/chat/completions", json=body)
                assert (reply.headers["x-opengateway-provider"], reply.content) == ("openai", plain)
