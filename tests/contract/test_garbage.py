"""What a request held is free when it is over, prompt included, and does not wait for the garbage collector.

A collection of everything takes tens of milliseconds of everybody's loop, and comes the sooner the more waits for it.
What httpx itself leaves to it (a failed exchange, and our adapter with it) is not looked at.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import anyio
import pytest

from ogw_asgi._values import ChatCall
from ogw_asgi.telemetry import Event
from ogw_asgi.testing import Break, Hang, ScriptedUpstream, chat, error, stream

from .harness import gateway_of

pytestmark = pytest.mark.anyio

HELLO = [{"role": "user", "content": "Hi"}]


class Listening:
    def on_event(self, event: Event, /) -> None:
        pass


@contextmanager
def nothing_waits_for_the_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        waited = [type(one) for one in gc.garbage]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    ours = [one.__qualname__ for one in waited if one.__module__.startswith("ogw_asgi._")]
    assert ours == []


@pytest.mark.parametrize("body", [{}, {"stream": True}], ids=["plain", "stream"])
@pytest.mark.parametrize(
    "replies",
    [
        pytest.param([chat(), stream()], id="answered"),
        pytest.param([error(503), error(503)], id="failed over"),
        pytest.param([error(400), error(400)], id="refused"),
    ],
)
@pytest.mark.parametrize("policy", ["error", "hold", "continue"])
@pytest.mark.parametrize("sinks", [[], [Listening()]], ids=["unheard", "heard"])
async def test_a_request_leaves_nothing_that_only_the_collector_frees(
    sinks: Any, policy: Any, replies: Any, body: Any
) -> None:
    first = replies[bool(body)]
    good = stream() if body else chat()
    upstreams: dict[str, Any] = {"one": ScriptedUpstream(first), "two": ScriptedUpstream(good)}
    world_of = gateway_of(**upstreams, on_stream_break=policy, sinks=sinks)
    async with world_of as world:
        await world.post(messages=HELLO, **body)
        with nothing_waits_for_the_collector():
            for _ in range(3):
                await world.post(messages=HELLO, **body)


async def test_nor_does_a_stream_that_changed_hands() -> None:
    upstreams: dict[str, Any] = {
        "one": ScriptedUpstream(stream(["Hel", Break()])),
        "two": ScriptedUpstream(stream(["Hel", "lo"])),
    }
    async with gateway_of(**upstreams, on_stream_break="continue") as world:
        await world.post(messages=HELLO, stream=True)
        with nothing_waits_for_the_collector():
            for _ in range(3):
                await world.post(messages=HELLO, stream=True)


@pytest.mark.parametrize("policy", ["error", "continue"])
async def test_a_stream_that_nobody_could_go_on_with_keeps_no_prompt(policy: Any) -> None:
    prompt = "x" * 100_000
    async with gateway_of(one=ScriptedUpstream(stream(["Hel", Hang()])), on_stream_break=policy) as world:
        async with anyio.create_task_group() as group:
            request = partial(world.post, messages=[{"role": "user", "content": prompt}], stream=True)
            group.start_soon(request)
            await world.upstreams["one"].wait_for_requests(1)
            await anyio.wait_all_tasks_blocked()
            kept = [len(one.body) for one in gc.get_objects() if type(one) is ChatCall and len(one.body) > len(prompt)]
            assert bool(kept) == (policy == "continue")
            group.cancel_scope.cancel()
