"""Whether a target may be asked in its turn: what its circuits say together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._rules.circuit import CLOSED, Admitted, Circuit, Lease, transition
from ogw_asgi._rules.standing import READY, Standing, standing, uncooled
from ogw_asgi._values import Breaker

NEVER_S = float("-inf")
HOUR_S = 3600.0

OPEN = Circuit(phase="open", since_s=0.0, open_s=5.0, trips=1)
OPEN_LONGER = Circuit(phase="open", since_s=0.0, open_s=20.0, trips=3)
PROBING = Circuit(phase="half_open", lease=Lease(1, 40.0), trips=1)
FREE = Circuit(phase="half_open", trips=1)
COOLING = Circuit(cooling_until_s=8.0)
OPEN_AND_COOLING = Circuit(phase="open", since_s=0.0, open_s=5.0, trips=1, cooling_until_s=8.0)
FREE_AND_COOLING = Circuit(phase="half_open", trips=1, cooling_until_s=8.0)


def waits(
    until_s: float, cooling_until_s: float = NEVER_S, *, is_open: bool = True, half_open: bool = False
) -> Standing:
    return Standing("wait", until_s, cooling_until_s, open=is_open, half_open=half_open)


PROBE = Standing("probe", open=True)


def test_ready_is_free_of_breakers_and_cooldowns() -> None:
    assert Standing("ready", NEVER_S, NEVER_S, open=False) == READY


def test_without_its_cooldown_it_is_what_its_breaker_says() -> None:
    for circuit in (COOLING, OPEN_AND_COOLING, FREE_AND_COOLING):
        warm = replace(circuit, cooling_until_s=NEVER_S)
        assert uncooled(standing([circuit], 6.0)) == standing([warm], 6.0)


@pytest.mark.parametrize(
    ("circuits", "now_s", "expected"),
    [
        # one circuit
        pytest.param([], 0.0, READY, id="none"),
        pytest.param([CLOSED], 0.0, READY, id="closed"),
        pytest.param([OPEN], 4.999, waits(5.0), id="open"),
        pytest.param([OPEN], 5.0, PROBE, id="open-due"),
        pytest.param([PROBING], 6.0, waits(6.0), id="probing"),
        pytest.param([PROBING], 39.999, waits(39.999), id="probing-nearly-run-out"),
        pytest.param([PROBING], 40.0, PROBE, id="probing-run-out"),
        pytest.param([FREE], 6.0, PROBE, id="half-open"),
        pytest.param([COOLING], 7.999, waits(8.0, 8.0, is_open=False), id="cooling"),
        pytest.param([COOLING], 8.0, READY, id="cooled"),
        pytest.param([OPEN_AND_COOLING], 4.0, waits(8.0, 8.0), id="open-and-cooling"),
        pytest.param([OPEN_AND_COOLING], 5.0, waits(8.0, 8.0, is_open=False, half_open=True), id="due-and-cooling"),
        pytest.param([OPEN_AND_COOLING], 8.0, PROBE, id="due-and-cooled"),
        pytest.param(
            [FREE_AND_COOLING], 6.0, waits(8.0, 8.0, is_open=False, half_open=True), id="half-open-and-cooling"
        ),
        pytest.param([FREE_AND_COOLING], 8.0, PROBE, id="half-open-and-cooled"),
        # two: the strictest speaks, whichever comes first
        pytest.param([CLOSED, CLOSED], 0.0, READY, id="closed-closed"),
        pytest.param([CLOSED, OPEN], 4.0, waits(5.0), id="closed-open"),
        pytest.param([CLOSED, OPEN], 5.0, PROBE, id="closed-due"),
        pytest.param([OPEN, OPEN_LONGER], 4.0, waits(20.0), id="open-open"),
        pytest.param([OPEN, OPEN_LONGER], 5.0, waits(20.0), id="due-open"),
        pytest.param([OPEN, OPEN_LONGER], 20.0, PROBE, id="due-due"),
        pytest.param([OPEN, PROBING], 6.0, waits(6.0), id="due-probing"),
        pytest.param([OPEN_LONGER, PROBING], 6.0, waits(20.0), id="open-probing"),
        pytest.param([FREE, PROBING], 6.0, waits(6.0), id="half-open-probing"),
        pytest.param([CLOSED, COOLING], 6.0, waits(8.0, 8.0, is_open=False), id="closed-cooling"),
        pytest.param([OPEN, COOLING], 4.0, waits(8.0, 8.0), id="open-cooling"),
        pytest.param([OPEN, COOLING], 6.0, waits(8.0, 8.0, is_open=False, half_open=True), id="due-cooling"),
        pytest.param([OPEN_LONGER, COOLING], 6.0, waits(20.0, 8.0), id="open-longer-than-cooling"),
        pytest.param([OPEN_LONGER, COOLING], 8.0, waits(20.0), id="open-and-just-cooled"),
        pytest.param([OPEN_LONGER, COOLING], 9.0, waits(20.0), id="open-and-cooled"),
        pytest.param([PROBING, COOLING], 6.0, waits(8.0, 8.0), id="probing-cooling"),
        pytest.param(
            [COOLING, Circuit(cooling_until_s=30.0)], 6.0, waits(30.0, 30.0, is_open=False), id="cooling-twice"
        ),
    ],
)
def test_the_strictest_circuit_speaks(circuits: list[Circuit], now_s: float, expected: Standing) -> None:
    assert standing(circuits, now_s) == expected
    assert standing(reversed(circuits), now_s) == expected


_INSTANTS = st.sampled_from([NEVER_S, 0.0, 4.0, 5.0, 6.0, 30.0])
_CIRCUITS = st.builds(
    Circuit,
    phase=st.sampled_from(["closed", "open", "half_open"]),
    seen_s=st.just(NEVER_S),
    since_s=st.sampled_from([0.0, 3.0]),
    open_s=st.sampled_from([5.0, 20.0]),
    lease=st.none() | st.builds(Lease, st.just(1), st.sampled_from([4.0, 30.0])),
    cooling_until_s=_INSTANTS,
)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(_CIRCUITS, _CIRCUITS, st.sampled_from([0.0, 4.0, 5.0, 10.0, 50.0]))
def test_a_second_circuit_never_makes_it_better(one: Circuit, other: Circuit, now_s: float) -> None:
    order = ["ready", "probe", "wait"]
    alone, both = standing([one], now_s), standing([one, other], now_s)
    assert order.index(both.state) == max(order.index(alone.state), order.index(standing([other], now_s).state))
    assert both.until_s >= alone.until_s
    assert both.cooling_until_s >= alone.cooling_until_s
    assert both.open >= alone.open or both.state == "wait"


@settings(derandomize=True, max_examples=300, deadline=None)
@given(_CIRCUITS, st.sampled_from([0.0, 4.0, 5.0, 10.0, 24.0, 50.0]))
def test_it_promises_a_probe_exactly_when_a_lease_is_given(circuit: Circuit, now_s: float) -> None:
    if circuit.phase != "half_open" and circuit.lease is not None:
        return  # no such circuit
    lease = transition(circuit, Admitted(99, 35.0), now_s, Breaker()).lease
    given_ = lease is not None and lease.ticket == 99
    cooling = circuit.cooling_until_s > now_s
    state = standing([circuit], now_s).state
    assert (state == "probe") == (given_ and not cooling)
    assert not (given_ and state == "ready")


def test_times_are_told_on_the_clock_as_it_is_now_though_it_went_back() -> None:
    seen = Circuit(phase="open", seen_s=HOUR_S, since_s=HOUR_S, open_s=5.0, trips=1, cooling_until_s=HOUR_S + 9.0)
    assert standing([seen], HOUR_S) == waits(HOUR_S + 9.0, HOUR_S + 9.0)
    assert standing([seen], 0.0) == waits(9.0, 9.0)
