"""F36, F37 and F49: bytes that one side does not take."""

from __future__ import annotations

import anyio
import pytest

from ogw_asgi.testing import Fin, OnHead, RawScript, RawUpstream, Reset, chunked
from ogw_asgi.testing.encoding import json_bytes
from tests.transports.servers import mute_listener

from .expect import assert_moved_on, assert_timed_out
from .faults import Endless
from .memory import held_bytes, traced
from .selection import Case
from .wire import SSE_HEAD, delta, refusal
from .world import Good, OpenWorld

pytestmark = pytest.mark.anyio

MIB = 1 << 20


def large_body(case: Case, size_bytes: int) -> bytes:
    message = {"role": "user", "content": "x" * size_bytes}
    return json_bytes({"model": "m", "messages": [message], "stream": case.stream})


TOO_LARGE = refusal(413, {"message": "Too large.", "type": "invalid_request_error", "param": None, "code": None})
EARLY: dict[str, RawScript] = {
    "FIN": [OnHead(), TOO_LARGE, Fin()],
    "RST": [OnHead(), TOO_LARGE, Reset()],
    "RST, nothing said": [OnHead(), Reset()],
}


@pytest.mark.fault("F36")
@pytest.mark.parametrize("script", EARLY.values(), ids=EARLY)
async def test_an_early_413_during_a_large_upload_is_the_callers_or_else_the_next_providers_turn(
    open_world: OpenWorld, case: Case, script: RawScript
) -> None:
    async with open_world(one=RawUpstream(script), two=Good()) as world:
        reply = await world.ask(content=large_body(case, 8 * MIB))
        if reply.status == 413:
            assert reply.error["message"] == "Too large."
            assert reply.header("x-opengateway-provider") == "one"
            assert reply.header("x-opengateway-attempts") == "1"
            assert [timed.label for timed in reply.timings] == ["413"]
            assert world.calls() == {"one": 1, "two": 0}
        else:
            assert_moved_on(world, reply, "reset")
            assert world.calls() == {"one": 1, "two": 1}


@pytest.mark.fault("F37")
async def test_a_provider_that_never_reads_the_body_is_left_at_the_limit(open_world: OpenWorld, case: Case) -> None:
    body = large_body(case, 8 * MIB)
    with mute_listener() as (url, _):
        async with open_world(one=url, two=Good()) as world:
            reply = await world.ask(content=body, timeout_ms=200)
            assert_moved_on(world, reply, "timeout")
            assert 200 <= reply.timings[0].duration_ms < 1000
            assert world.upstreams["two"].requests[0].body == body, "the next one gets all of it"
            assert_timed_out(await world.ask("one", content=body, timeout_ms=200))


class Counted(Endless):
    """Counts how often its last step has been taken up."""

    taken = 0

    def __getitem__(self, index: int) -> bytes:  # type: ignore[override]
        self.taken = max(self.taken, index)
        step = super().__getitem__(index)
        assert isinstance(step, bytes)
        return step

    async def still(self) -> None:
        """Until it has not gone on for a tenth of a second: what is held up then, nothing but reading sets going."""
        before = -1
        while before != self.taken:
            before = self.taken
            with anyio.move_on_after(0.1):
                await anyio.sleep_forever()


@pytest.mark.fault("F49", mode="sse")
async def test_a_caller_who_reads_slowly_slows_the_source_and_fills_no_memory(open_world: OpenWorld) -> None:
    event = delta("x" * 10_000)
    source = Counted(SSE_HEAD, chunked(event))
    async with open_world(one=RawUpstream(source), two=Good(), limit_s=10) as world:
        await world.ask("two")  # what is imported and made for good is none of the stream's
        with traced(frames=6):
            async with world.asking() as exchange:
                await exchange.head()
                await source.still()
                assert held_bytes() <= 256 << 10
                assert source.taken * len(event) < 20 * MIB, "more than the kernel's buffers hold"
                for _ in range(10):  # 10 KiB more of the caller's, and as little of the source's
                    await exchange.read_some()
                await source.still()
                assert source.taken * len(event) < 21 * MIB
