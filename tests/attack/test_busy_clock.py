"""Time that passes while the gateway works: each look at the clock is later than the one before it."""

from __future__ import annotations

import pytest
import trio.abc

from ogw_asgi.testing import ScriptedUpstream, error

from ..contract.checks import asked, sequence
from ..contract.harness import gateway_of

TICK_S = 0.005


class Busy(trio.abc.Clock):
    """A slow machine's clock, on which nobody has to wait."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        self._now_s += TICK_S
        return self._now_s

    def deadline_to_sleep_time(self, deadline: float) -> float:
        if deadline < float("inf"):
            self._now_s = max(self._now_s, deadline)
            return 0.0
        return 60.0


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": Busy()})])
@pytest.mark.parametrize("status", [429, 503])
async def test_a_cooldown_of_the_requests_own_does_not_push_its_repeat_back(status: int) -> None:
    limited = error(status, headers={"retry-after-ms": "400"})
    async with gateway_of(limit_s=600, openai=ScriptedUpstream(limited), azure=ScriptedUpstream(error(500))) as world:
        reply = await world.post(headers=sequence("openai", "openai", "azure"))
        assert asked(world) == ["openai", "openai", "azure"]
    assert reply.headers["x-opengateway-attempts"] == "3"
