"""The clock that times are measured with, on each kind of loop."""

from __future__ import annotations

import anyio
import pytest

from ogw_asgi._dispatch.clock import fine_clock


async def passes_within_a_turn() -> None:
    clock_s = fine_clock()
    began_s = clock_s()
    for _ in range(1_000_000):
        if clock_s() > began_s:
            break
    assert 0 < clock_s() - began_s < 1


@pytest.mark.anyio
async def test_time_passes_within_a_turn_of_the_loop() -> None:
    await passes_within_a_turn()


def test_also_on_uvloop_whose_own_stands_still_there() -> None:
    anyio.run(passes_within_a_turn, backend_options={"use_uvloop": True})
