"""Whatever a server sends, however it is cut: an outcome, never an exception of another kind, never a hang."""

from __future__ import annotations

from typing import get_args

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ogw_asgi.testing import Fin, RawUpstream, Reset, http_response
from ogw_asgi.transports.base import FailureKind

from .answers import RECORDED, cuts, mutants
from .engines import OK, Engine, outcome, request_to

pytestmark = pytest.mark.anyio

KINDS = get_args(FailureKind)
FEW = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@FEW
@given(data=st.data())
async def test_an_answer_is_the_same_in_any_segments(engine: Engine, data: st.DataObject) -> None:
    recorded = RECORDED[data.draw(st.sampled_from(sorted(RECORDED)))]
    pieces = data.draw(cuts(recorded.wire))
    transport = engine.make()
    with anyio.fail_after(5):
        async with RawUpstream([*pieces, *([Fin()] if recorded.ends else [])], [OK]) as server:
            assert await outcome(transport, request_to(server.url)) == (recorded.status, recorded.body)
            assert await outcome(transport, request_to(server.url)) == (200, b"hello")
        await transport.aclose()


@FEW
@given(wire=mutants(), data=st.data(), end=st.sampled_from([Fin(), Reset()]))
async def test_a_mutated_answer_is_an_outcome_and_no_other_request_gets_any_of_it(
    engine: Engine, wire: bytes, data: st.DataObject, end: Fin | Reset
) -> None:
    pieces = data.draw(cuts(wire))
    own = http_response(200, b"own answer")
    transport = engine.make()
    with anyio.fail_after(5):
        async with RawUpstream([*pieces, end], [own]) as server:
            came_to = await outcome(transport, request_to(server.url))
            assert came_to in KINDS or isinstance(came_to, tuple)
            # The rest of a mutant may come when the next request has been sent already: that one fails, at worst.
            assert await outcome(transport, request_to(server.url)) in ((200, b"own answer"), *KINDS)
            assert await outcome(transport, request_to(server.url)) == (200, b"own answer")
        await transport.aclose()
