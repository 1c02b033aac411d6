"""Whatever becomes of a request, and wherever it is cut off: nothing is shown as under way that is not."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import anyio
import pytest

from ogw_asgi import Timeouts
from ogw_asgi._status.recent import Recent
from ogw_asgi.testing import Break, chat, error, hang, stream
from ogw_asgi.testing.encoding import json_bytes
from tests.asgi.hosts import QUESTION, STREAMED, http_scope
from tests.telemetry.scenes import BREAKS, World, world
from tests.transports.cancelling import Cancellation, Moment, means_here, until

pytestmark = pytest.mark.anyio

SCENES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "answered": (QUESTION, {"openai": chat()}, {}),
    "after failover": (STREAMED, {"openai": error(503), "vllm": stream(["a", "b"])}, {}),
    "exhausted": (QUESTION, {"openai": error(500), "vllm": error(429)}, {}),
    "broken off": (STREAMED, {"openai": BREAKS}, {}),
    "continued": (STREAMED, {"openai": BREAKS, "vllm": stream(["lo"])}, {"on_stream_break": "continue"}),
    "continued in vain": (
        STREAMED,
        {"openai": BREAKS, "vllm": stream(["l", Break()]), "groq": error(500)},
        {"on_stream_break": "continue"},
    ),
    "held": (STREAMED, {"openai": BREAKS, "vllm": stream(["all"])}, {"on_stream_break": "hold"}),
    "hedged": (STREAMED, {"openai": hang(), "vllm": stream(["x"])}, {"timeouts": Timeouts(hedge_after_s=0.002)}),
    "hedged, both answer": (
        STREAMED,
        {"openai": stream(["y"]), "vllm": stream(["x"])},
        {"timeouts": Timeouts(hedge_after_s=1e-6)},
    ),
}


def nobody_is_asked(recent: Recent) -> bool:
    return not recent.running and all((one.in_flight, one.streaming) == (0, 0) for one in recent.targets.values())


async def ask(one: World, body: Any) -> None:
    bodies = [json_bytes(body)]

    async def receive() -> dict[str, Any]:
        if not bodies:
            await anyio.sleep_forever()
        return {"type": "http.request", "body": bodies.pop(), "more_body": False}

    async def send(message: Any) -> None:
        await anyio.lowlevel.checkpoint()

    await one.gateway(http_scope(), receive, send)


@pytest.mark.parametrize("moment", ["blocked", "resuming"])
@pytest.mark.parametrize("scene", SCENES)
async def test_wherever_a_request_is_cancelled_its_targets_are_let_go_of(scene: str, moment: Moment) -> None:
    body, scripts, options = SCENES[scene]
    cancelled = 0
    for means in means_here():
        n = 0 if means == "scope" else 1
        while True:
            recent, cancellation = Recent(time.monotonic, time.time), Cancellation(n, moment, means)
            # One of its own each, since hedges are rationed.
            async with world(recent, scripts=scripts, **options) as one:
                await cancellation.run(partial(ask, one, body))
                await until(partial(nobody_is_asked, recent), partial(str, cancellation))
            n += 1
            cancelled += cancellation.begun
            if not cancellation.begun:
                break
    assert cancelled > 5
    assert len(recent.targets) == len(scripts), "the last one was not cut off, and has asked them all"
