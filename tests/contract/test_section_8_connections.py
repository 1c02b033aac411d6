"""Section 8: how long connections are kept."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ogw_asgi.testing import RawUpstream, ScriptedUpstream, chat, http_response

from .checks import sequence
from .harness import gateway_of, using

pytestmark = pytest.mark.anyio

COMPLETION = b'{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"}}]}'
ANSWER = [http_response(200, COMPLETION, {"content-type": "application/json"})]


@pytest.mark.contract("8.keep-alive")
@pytest.mark.parametrize(("idle_s", "connections"), [(0.0, 1), (3.5, 1), (4.5, 2)])
async def test_an_idle_connection_to_a_provider_is_kept_for_4_s(
    idle_s: float, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RawUpstream(ANSWER) as server, gateway_of(openai=server, limit_s=30) as world:
        assert (await world.post()).status_code == 201
        # The pool reads this clock; moving it forward is what waiting would do, and takes no time.
        clock = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: clock() + idle_s)
        assert (await world.post()).status_code == 201
        assert server.connections == connections
        assert server.reused == 2 - connections


@pytest.mark.contract("8.no-keep-alive")
async def test_a_connection_to_a_server_that_a_caller_named_is_never_kept() -> None:
    async with RawUpstream(ANSWER) as server:
        vllm: Any = using(ScriptedUpstream(chat()), allowed_endpoints=[server.url])
        async with gateway_of(vllm=vllm) as world:
            headers = {**sequence("vllm"), "x-opengateway-vllm-endpoint": server.url}
            for count in (1, 2):
                assert (await world.post(headers=headers)).status_code == 201
                await server.peer_closed(count)
            assert (server.connections, server.reused) == (2, 0)
