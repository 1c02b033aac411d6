"""Nothing is left of thousands of streams, a third of them abandoned, and those who leave hold nobody up."""

from __future__ import annotations

import anyio
import pytest

from .limits import MIDDLE, SMALL, Limits, missed_by_drops, missed_by_storm, missed_by_streams
from .measure import measure
from .storms import cancel_storm, drop_large_streams

pytestmark = pytest.mark.anyio

each_size = pytest.mark.parametrize(
    "limits",
    [
        pytest.param(SMALL, id="small"),
        pytest.param(MIDDLE, id="middle", marks=[pytest.mark.long, pytest.mark.timeout(300)]),
    ],
)


@each_size
async def test_streams_of_whom_a_third_is_abandoned_leave_nothing_behind(engine: str, limits: Limits) -> None:
    with anyio.fail_after(limits.total_s):
        numbers = await measure(engine, limits.first, limits.rest)
        if list(missed_by_streams(numbers, limits)) and limits is SMALL:
            # Once may be a process that did something for the first time; what each stream leaves is left again.
            numbers = await measure(engine, limits.first, limits.rest)
    assert list(missed_by_streams(numbers, limits)) == []
    assert len(numbers.delays_s) > numbers.streams / 10


async def test_thirty_callers_who_drop_large_streams_at_once_do_not_hold_the_loop(engine: str) -> None:
    with anyio.fail_after(SMALL.total_s):
        lag, longest_s = await drop_large_streams(engine)
    assert list(missed_by_drops(lag, longest_s, SMALL)) == []


@each_size
async def test_a_storm_of_cancellations_on_a_contended_target_leaves_it_usable(engine: str, limits: Limits) -> None:
    with anyio.fail_after(limits.total_s):
        held, served = await cancel_storm(engine, limits.storm)
    assert list(missed_by_storm(held, served)) == []
