"""Limits that run out at the very moment at which what they wait for arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import anyio
import anyio.lowlevel
import pytest

from ogw_asgi._dispatch.answer import Answer
from ogw_asgi._dispatch.relay import Relay
from ogw_asgi._dispatch.slots import Slots
from ogw_asgi._dispatch.stream import ChatStream
from ogw_asgi._values import Header, Limits, Outcome, Target, Timeouts
from ogw_asgi._wire.masking import Mask
from ogw_asgi.testing import SSE_DONE, completion_chunk, sse_event

pytestmark = pytest.mark.anyio

HELLO = sse_event(completion_chunk({"content": "Hello"}))


class LateResponse:
    """Hands its one chunk out when the limit has already run out, as a read does that ends at the same moment."""

    status = 200
    headers: Sequence[Header] = ()
    at_end = False

    def __init__(self, chunk: bytes, late_s: float) -> None:
        self._chunk = chunk
        self._late_s = late_s

    def chunks(self) -> AsyncIterator[bytes]:
        return self

    def __aiter__(self) -> LateResponse:
        return self

    async def __anext__(self) -> bytes:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(self._late_s)
        return self._chunk

    async def aclose(self) -> None:
        pass


@pytest.mark.contract("5.no-done-after-break", "5.break.idle")
@pytest.mark.parametrize("late", [SSE_DONE, HELLO], ids=["done", "content"])
async def test_what_comes_as_the_idle_limit_runs_out_is_not_sent_half_way_into_a_break(late: bytes) -> None:
    with anyio.fail_after(5):
        response = LateResponse(late, late_s=0.05)
        slot = await Slots(1).acquire("one", 1)
        assert slot is not None
        answer = Answer(Target("one", "m", "m"), (), response, slot, Outcome("ok", "compatible"), 0.0, held=[HELLO])
        stream = ChatStream(response, 1, Limits())
        sent: list[bytes] = []
        finished: list[bytes] = []

        async def send(data: bytes) -> None:
            sent.append(data)
            await anyio.lowlevel.checkpoint()
            finished.append(data)

        broken = await Relay(answer, stream, Timeouts(idle_s=0.01), Mask()).run(send)
        assert broken is not None
        assert broken.cause == "idle"
        assert sent == finished == [HELLO]
