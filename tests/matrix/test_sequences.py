"""F63, F64, F65, F69 and F72: who is asked again, who is not, and how the time is shared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
import pytest

from ogw_asgi.telemetry.events import AttemptEnded, AttemptStarted
from ogw_asgi.testing import (
    SSE_DONE,
    Hang,
    RawScript,
    RawUpstream,
    Reset,
    SharedEvent,
    Wait,
    chunked,
    completion_chunk,
    sse_event,
)

from .expect import assert_answered, assert_failed, assert_moved_on
from .faults import Endless, Pause
from .selection import Case
from .watching import Heard, assert_unmoved, sized
from .wire import ROLE, SSE_HEAD, STOP, delta, good, refusal
from .world import Good, OpenWorld

pytestmark = pytest.mark.anyio

KEPT = ("one", "two", "three")
LEAST_WAIT_S = 0.25
"""The shortest wait before the same target is asked again; whoever else is asked "at once" is asked sooner."""
SLACK_S = 0.03
"""A failure is told a moment after the wait has begun, a longer one on a busy machine."""


# --- F63 --------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("F63")
async def test_a_name_that_is_listed_16_times_is_asked_5_times_at_most(open_world: OpenWorld) -> None:
    # The least wait that can be named: between repeats it is still 250 ms.
    failing = RawUpstream([refusal(500, headers=[("retry-after-ms", "1")])])
    heard = Heard()
    async with open_world(one=failing, two=Good(), idle=KEPT, sinks=[heard]) as world:
        assert_failed(
            await world.ask(*["one"] * 16), 502, "all_attempts_failed", *["server_error"] * 5, labels=("500",) * 5
        )
        assert world.calls() == {"one": 5, "two": 0}
        assert all(wait_s >= LEAST_WAIT_S - SLACK_S for wait_s in waits_s(heard))


@pytest.mark.fault("F63")
async def test_names_in_turn_are_asked_5_times_at_most_all_together(open_world: OpenWorld) -> None:
    async with open_world(one=RawUpstream([refusal(500)]), two=RawUpstream([refusal(502)]), idle=KEPT) as world:
        reply = await world.ask(*["one", "two"] * 8)
        labels = ("500", "502", "500", "502", "500")
        assert_failed(reply, 502, "all_attempts_failed", *["server_error"] * 5, labels=labels)
        assert world.calls() == {"one": 3, "two": 2}


def waits_s(heard: Heard) -> list[float]:
    """How long after each failure the next attempt began."""
    ended_s, started_s = heard.times_s(AttemptEnded), heard.times_s(AttemptStarted)[1:]
    return [later_s - sooner_s for sooner_s, later_s in zip(ended_s, started_s, strict=False)]


# --- F64 --------------------------------------------------------------------------------------------------------------


def too_long(who: str) -> bytes:
    return refusal(400, {"message": f"Too long for {who}.", "type": "t", "code": "context_length_exceeded"})


@pytest.mark.fault("F64")
async def test_a_prompt_too_long_for_one_is_another_ones_turn_and_never_the_same_ones(open_world: OpenWorld) -> None:
    async with open_world(one=RawUpstream([too_long("one")]), two=Good(), idle=KEPT) as world:
        assert_moved_on(world, await world.ask("one", "one", "two", "one"), "400")
        assert world.calls() == {"one": 1, "two": 1}
        assert_unmoved(world)


@pytest.mark.fault("F64")
async def test_a_prompt_too_long_for_all_is_the_first_refusal_as_it_was(open_world: OpenWorld) -> None:
    names = ("one", "two", "three")
    async with open_world(**{name: RawUpstream([too_long(name)]) for name in names}, idle=KEPT) as world:
        reply = await world.ask("one", "one", "two", "three", "one")
        assert (reply.status, reply.ended) == (400, True)
        assert reply.error["message"] == "Too long for one."
        assert reply.error["code"] == "context_length_exceeded"
        assert reply.header("x-opengateway-provider") == "one"
        assert reply.header("x-opengateway-attempts") == "3"
        assert [timed.label for timed in reply.timings] == ["400"] * 3
        assert world.calls() == {"one": 1, "two": 1, "three": 1}
        assert_unmoved(world)


# --- F65 --------------------------------------------------------------------------------------------------------------

NAMED_MS = sized(400, 2000)
AT_ONCE = (0.0, LEAST_WAIT_S)
NAMED = (NAMED_MS / 1000, NAMED_MS / 1000 + 0.5)
BACKOFF = (LEAST_WAIT_S, 1.0)
"""250 to 500 ms, and what a busy machine adds."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """What `one` does in `[one, one, two]`; the labels that follow, and the wait in seconds before each but the first.

    The last label is the answer's.
    """

    scripts: Sequence[RawScript]
    labels: tuple[str, ...]
    waits: tuple[tuple[float, float], ...]

    @property
    def ones(self) -> int:
        """How often `one` is asked."""
        return sum(label != "200" for label in self.labels) + (self.answers == "one")

    @property
    def answers(self) -> str:
        return "one" if len(self.scripts) > 1 else "two"


GOOD: RawScript = ["good"]  # type: ignore[list-item]
"""Stands for a good answer in the mode of the case."""

LIMITED: RawScript = [refusal(429, headers=[("retry-after-ms", str(NAMED_MS))])]
REPEATS = {
    "429 once": Repeat([LIMITED, GOOD], ("429", "200"), (NAMED,)),
    "429 always": Repeat([LIMITED], ("429", "429", "200"), (NAMED, AT_ONCE)),
    "500 once": Repeat([[refusal(500)], GOOD], ("500", "200"), (BACKOFF,)),
    "503 always": Repeat([[refusal(503)]], ("503", "503", "200"), (BACKOFF, AT_ONCE)),
    "RST once": Repeat([[Reset()], GOOD], ("reset", "200"), (BACKOFF,)),
    "silence": Repeat([[Hang()]], ("timeout", "200"), (AT_ONCE,)),
    "401": Repeat([[refusal(401)]], ("401", "200"), (AT_ONCE,)),
}


@pytest.mark.fault("F65")
@pytest.mark.parametrize("repeat", REPEATS.values(), ids=REPEATS)
async def test_a_target_that_follows_itself_is_asked_again_in_its_time_or_not_at_all(
    open_world: OpenWorld, case: Case, repeat: Repeat
) -> None:
    scripts = [[good(case.mode)] if script is GOOD else script for script in repeat.scripts]
    heard = Heard()
    async with open_world(
        one=RawUpstream(*scripts), two=Good("from two"), idle=KEPT, sinks=[heard], limit_s=10
    ) as world:
        reply = await world.ask("one", "one", "two", timeout_ms=1000 if repeat.labels[0] != "timeout" else 150)
        text = "Hello" if repeat.answers == "one" else "from two"
        assert_answered(world, reply, repeat.answers, attempts=len(repeat.labels), text=text)
        assert tuple(timed.label for timed in reply.timings) == repeat.labels
        assert world.calls() == {"one": repeat.ones, "two": int(repeat.answers == "two")}
        for wait_s, (least_s, most_s) in zip(waits_s(heard), repeat.waits, strict=True):
            assert least_s - SLACK_S <= wait_s <= most_s


# --- F69 --------------------------------------------------------------------------------------------------------------

EMPTY = sse_event(completion_chunk({"content": ""}))


@pytest.mark.fault("F69", mode="sse")
@pytest.mark.parametrize("event", [ROLE, EMPTY], ids=["role only", "empty"])
async def test_events_without_substance_for_ever_do_not_move_the_limit(open_world: OpenWorld, event: bytes) -> None:
    class Paced(Endless):
        def __getitem__(self, index: int) -> bytes | Wait:  # type: ignore[override]
            return (SSE_HEAD, chunked(event), Wait(Pause(0.02)))[index if index < 2 else 1 + index % 2]

    async with open_world(one=RawUpstream(Paced()), two=Good()) as world:
        reply = await world.ask(timeout_ms=200)
        assert_moved_on(world, reply, "timeout")
        assert 200 <= reply.timings[0].duration_ms < 1000


@pytest.mark.fault("F69", mode="sse")
@pytest.mark.parametrize("before", [0, 1, 63])
async def test_an_error_event_behind_the_role_is_the_next_providers_turn_and_not_seen(
    open_world: OpenWorld, before: int
) -> None:
    error = sse_event({"error": {"message": "Overloaded.", "type": "t", "code": None}})
    failing = RawUpstream([SSE_HEAD, chunked(ROLE * before, error, SSE_DONE, last=True)])
    async with open_world(one=failing, two=Good("from two"), idle=KEPT) as world:
        reply = await world.ask()
        assert reply.status == 201
        assert_answered(world, reply, "two", attempts=2)
        assert re.fullmatch("invalid_answer|error_event", reply.timings[0].label)
        assert b"Overloaded" not in reply.raw


@pytest.mark.fault("F69", mode="sse")
async def test_after_64_events_without_substance_the_stream_is_committed(open_world: OpenWorld) -> None:
    gate, more = SharedEvent(), SharedEvent()
    script: RawScript = [
        *(SSE_HEAD, chunked(EMPTY * 63), Wait(more), chunked(EMPTY), Wait(gate)),
        chunked(EMPTY, delta("late"), STOP, SSE_DONE, last=True),
    ]
    async with open_world(one=RawUpstream(script), two=Good(), idle=KEPT) as world:
        async with world.asking() as exchange:
            await Pause(0.05).wait()
            assert not exchange.raw, "63 are held"
            more.set()
            assert await exchange.head() == 201
            await exchange.read_until(EMPTY * 64)
            gate.set()
            reply = await exchange.rest()
        assert reply.body == EMPTY * 65 + delta("late") + STOP + SSE_DONE
        assert (reply.header("x-opengateway-provider"), reply.ended) == ("one", True)
        assert world.calls() == {"one": 1, "two": 0}


# --- F72 --------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("F72")
async def test_of_a_callers_limit_each_target_gets_a_share_and_the_last_answers_inside_it(
    open_world: OpenWorld,
) -> None:
    limit_s = sized(0.6, 6)
    silent = {name: RawUpstream([Hang()]) for name in ("one", "two")}
    async with open_world(**silent, three=Good(), limit_s=10) as world:
        reply = await world.ask(headers={"x-stainless-read-timeout": str(limit_s)})
        assert_answered(world, reply, "three", attempts=3)
        assert [timed.label for timed in reply.timings[:2]] == ["timeout"] * 2
        for timed in reply.timings[:2]:
            assert limit_s / 3 * 1000 - 25 <= timed.duration_ms < limit_s / 2 * 1000
        assert world.calls() == {"one": 1, "two": 1, "three": 1}


@pytest.mark.fault("F72")
async def test_a_callers_limit_that_runs_out_is_a_504(open_world: OpenWorld) -> None:
    silent = {name: RawUpstream([Hang()]) for name in ("one", "two", "three")}
    async with open_world(**silent) as world:
        began_s = anyio.current_time()
        reply = await world.ask(headers={"x-stainless-read-timeout": "0.3"})
        # All of it was used; what lies between two attempts is part of it.
        assert anyio.current_time() - began_s >= 0.3 - 0.003
        attempts = assert_failed(reply, 504, "timeout", *["timeout"] * 3)
        assert [attempt["provider"] for attempt in attempts] == ["one", "two", "three"]
