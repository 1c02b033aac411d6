"""Why attempts were made, from whom a request moved on and why, what was used, and whose the time was."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

import anyio
import pytest

from ogw_asgi import Breaker, Limits, Timeouts
from ogw_asgi._usage import Usage
from ogw_asgi.telemetry.events import (
    AttemptEnded,
    AttemptStarted,
    CircuitChanged,
    Event,
    FailedOver,
    FirstChunk,
    GatewayOpened,
    Hedged,
    RequestEnded,
    RequestRefused,
    RequestStarted,
    StreamContinued,
)
from ogw_asgi.testing import Break, Hang, ScriptedUpstream, chat, error, hang, hold, stream
from tests.contract.checks import Sleep, mock_clock, pause, sequence
from tests.contract.harness import World, gateway_of, using

from .order import assert_in_order

pytestmark = pytest.mark.anyio

Kind = TypeVar("Kind")
COUNTED = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
USAGE = Usage(input_tokens=7, output_tokens=5)
WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Both loops; and trio's clock is a mock where a test is long."""
    return mock_clock()


class Told:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.began, self.ended = anyio.Event(), anyio.Event()

    def on_event(self, event: Event, /) -> None:
        self.events.append(event)
        if isinstance(event, FirstChunk):
            self.began.set()
        if isinstance(event, RequestEnded):
            self.ended.set()

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def why(self) -> list[tuple[str, str]]:
        return [(one.provider, one.reason) for one in self.of(AttemptStarted)]

    @property
    def moves(self) -> list[tuple[str, str, str]]:
        return [(one.before, one.provider, one.reason) for one in self.of(FailedOver)]

    @property
    def ends(self) -> list[tuple[str, str]]:
        return [(one.attempt.provider, one.end) for one in self.of(AttemptEnded)]


def scripted(*replies: Any) -> ScriptedUpstream:
    return ScriptedUpstream(*replies)


async def asked(told: Told, *order: str, body: Any = None, headers: Any = None, times: int = 1, **world: Any) -> World:
    async with gateway_of(sinks=[told], limit_s=1000, **world) as opened:
        for _ in range(times):
            await opened.post(headers={**sequence(*order), **(headers or {})}, **(body or {}))
        await told.ended.wait()
    assert_in_order(told.events)
    return opened


# --- why --------------------------------------------------------------------------------------------------------------


async def test_the_same_target_once_more_is_a_retry_and_another_model_of_it_a_failover() -> None:
    told = Told()
    replies = [error(500), error(500), chat()]
    await asked(told, "openai", "openai", "openai/mini", openai=scripted(*replies))
    assert told.why == [("openai", "first"), ("openai", "retry"), ("openai", "failover")]
    assert told.moves == [("openai", "openai", "server_error")]
    assert [one.model for one in told.of(AttemptStarted)] == ["some-model", "some-model", "mini"]


async def test_a_hedge_is_told_with_its_wait_and_its_loser_is_cancelled() -> None:
    told = Told()
    await asked(
        told,
        "openai",
        "azure",
        openai=scripted(hold(chat(), until=Sleep(9))),
        azure=scripted(chat()),
        headers={"x-opengateway-hedge-after": "500"},
    )
    assert told.why == [("openai", "first"), ("azure", "hedge")]
    assert told.moves == []
    (hedged,) = told.of(Hedged)
    assert (hedged.before, hedged.provider) == ("openai", "azure")
    assert hedged.after_s == pytest.approx(0.5)
    assert sorted(told.ends) == [("azure", "complete"), ("openai", "cancelled")]


async def test_a_target_that_is_passed_over_is_moved_on_from() -> None:
    told = Told()
    down, up = scripted(error(500)), scripted(chat())
    await asked(told, "openai", "azure", openai=down, azure=up, times=3, breaker=Breaker(failures=2))
    assert told.moves == [
        ("openai", "azure", "server_error"),
        ("openai", "azure", "server_error"),
        ("openai", "azure", "circuit_open"),
    ]
    assert told.why[-1] == ("azure", "first"), "it was the first that was asked"
    (opened,) = told.of(CircuitChanged)
    assert (opened.provider, opened.model, opened.state, opened.named) == ("openai", "some-model", "open", False)


async def test_one_that_cools_down_is_moved_on_from_too() -> None:
    told = Told()
    limited = scripted(error(429, headers={"retry-after": "60"}))
    await asked(told, "openai", "azure", openai=limited, azure=scripted(chat()), times=2)
    assert told.moves == [("openai", "azure", "rate_limited"), ("openai", "azure", "cooling_down")]


async def test_a_probe_that_keeps_its_caller_waiting_is_moved_on_from_while_it_is_under_way() -> None:
    told = Told()
    down = scripted(error(500), hold(chat(), until=Sleep(9)))
    async with gateway_of(
        sinks=[told], limit_s=1000, openai=down, azure=scripted(chat()), breaker=Breaker(failures=1, open_s=1)
    ) as world:
        await world.post(headers=sequence("openai", "azure"))
        await anyio.sleep(2)
        await world.post(headers=sequence("openai", "azure"))
    assert_in_order(told.events)
    assert told.moves == [("openai", "azure", "server_error"), ("openai", "azure", "overdue")]
    assert told.ends[2:] == [("openai", "cancelled"), ("azure", "complete")] or told.ends[2:] == [
        ("azure", "complete"),
        ("openai", "cancelled"),
    ]


async def test_who_goes_on_with_a_stream_is_asked_to_continue() -> None:
    told = Told()
    await asked(
        told,
        "openai",
        "azure",
        openai=scripted(stream(["Hel", Break()])),
        azure=scripted(stream(["Hel", "lo"])),
        body={"stream": True},
        on_stream_break="continue",
    )
    assert told.why == [("openai", "first"), ("azure", "continue")]
    assert told.ends == [("openai", "broken"), ("azure", "complete")]
    (continued,) = told.of(StreamContinued)
    assert continued.serial == told.of(RequestStarted)[0].serial
    assert [one.provider for one in told.of(FirstChunk)] == ["openai", "azure"]


async def test_a_target_that_cannot_be_asked_has_an_attempt_all_the_same() -> None:
    told = Told()

    def no_key() -> str:
        raise OSError("no vault")

    await asked(told, "openai", "azure", openai=using(scripted(), api_key=no_key), azure=scripted(chat()))
    assert told.moves == [("openai", "azure", "key_unavailable")]
    first, _ = told.of(AttemptEnded)
    assert (first.end, first.misconfigured, first.duration_s) == ("failed", True, 0.0)


# --- what -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["error", "hold", "continue"])
@pytest.mark.parametrize("body", [{}, WITH_USAGE], ids=["plain", "stream"])
async def test_usage_is_told_where_it_was_seen(body: Any, policy: Any) -> None:
    told = Told()
    await asked(told, "openai", openai=scripted(chat(usage=COUNTED)), body=body, on_stream_break=policy)
    (ended,) = told.of(AttemptEnded)
    assert (ended.usage, ended.attempt.usage, ended.end) == (USAGE, USAGE, "complete")
    assert ended.finish_reasons == ("stop",)
    assert ended.response_id is not None
    assert ended.response_model is not None
    (request,) = told.of(RequestEnded)
    assert [one.usage for one in request.attempts] == [USAGE]


async def test_usage_is_never_asked_for_and_unknown_is_not_zero() -> None:
    told = Told()
    world = await asked(told, "openai", openai=scripted(chat()), body={"stream": True})
    assert [one.usage for one in told.of(AttemptEnded)] == [None]
    assert [one.usage for one in told.of(RequestEnded)[0].attempts] == [None]
    assert b"include_usage" not in world.upstreams["openai"].requests[0].body


async def test_of_several_attempts_each_has_its_own_usage() -> None:
    told = Told()
    first, second = scripted(error(500)), scripted(chat(usage=COUNTED))
    await asked(told, "openai", "azure", openai=first, azure=second)
    assert [one.usage for one in told.of(RequestEnded)[0].attempts] == [None, USAGE]


async def test_a_request_tells_its_numbers_and_none_of_its_words() -> None:
    told = Told()
    numbers = {"temperature": 0.5, "max_tokens": 9, "seed": 1}
    await asked(told, "openai", openai=scripted(chat()), body={**numbers, "stop": "STOP", "top_p": None})
    (started,) = told.of(RequestStarted)
    assert started.parameters == numbers


async def test_two_requests_of_one_id_are_told_apart() -> None:
    told = Told()
    await asked(told, "openai", openai=scripted(chat()), headers={"x-request-id": "same"}, times=2)
    assert [one.request_id for one in told.of(RequestStarted)] == ["same"] * 2
    assert len({one.serial for one in told.of(RequestStarted)}) == 2


async def test_an_opened_gateway_says_what_it_is() -> None:
    told = Told()
    provider = using(scripted(chat()), models={"gpt-4o": "served", "*": "other"})
    async with gateway_of(sinks=[told], openai=provider, models=["listed"], failover_sequence=["openai/written"]):
        pass
    (opened,) = told.of(GatewayOpened)
    assert (opened.loop, dict(opened.providers)) == ("trio", {"openai": "openai"})
    assert opened.models == {"gpt-4o", "served", "other", "listed", "written"}


async def test_where_there_is_no_room_a_refusal_is_told() -> None:
    told = Told()
    under_way = scripted(hang())
    async with gateway_of(sinks=[told], openai=under_way, limits=Limits(in_flight=1)) as world:
        async with anyio.create_task_group() as group:
            group.start_soon(world.post)
            await under_way.wait_for_requests()
            assert (await world.post()).status_code == 503
            group.cancel_scope.cancel()
    assert [(one.status, one.code) for one in told.of(RequestRefused)] == [(503, "gateway_overloaded")]


# --- when -------------------------------------------------------------------------------------------------------------


async def test_times_are_the_providers_and_overhead_is_not() -> None:
    told = Told()
    down, up = scripted(hold(error(500), until=Sleep(2))), scripted(hold(chat(), until=Sleep(3)))
    await asked(told, "openai", "azure", openai=down, azure=up)
    first, second = told.of(AttemptEnded)
    assert [first.duration_s, second.duration_s] == pytest.approx([2, 3])
    (request,) = told.of(RequestEnded)
    assert request.duration_ms == 5000
    assert request.overhead_s == pytest.approx(0)


async def test_the_wait_before_a_retry_is_not_the_gateways_own() -> None:
    told = Told()
    replies = scripted(error(500, headers={"retry-after": "4"}), chat())
    await asked(told, "openai", "openai", openai=replies)
    (request,) = told.of(RequestEnded)
    assert request.duration_ms == 4000
    assert request.overhead_s == pytest.approx(0)


async def test_a_streams_times_are_to_its_first_chunk_between_arrivals_and_to_its_last_byte() -> None:
    told = Told()
    waits = scripted(stream([pause(2), "a", pause(3), "b", pause(4), "c"]))
    await asked(told, "openai", openai=waits, body={"stream": True}, timeouts=Timeouts(idle_s=60))
    (chunk,) = told.of(FirstChunk)
    assert chunk.took_s == pytest.approx(2)
    (ended,) = told.of(AttemptEnded)
    assert [ended.first_chunk_s, ended.duration_s] == pytest.approx([2, 9])
    assert sum(ended.gaps_s) == pytest.approx(7)
    assert [gap for gap in ended.gaps_s if gap > 0] == [pytest.approx(3), pytest.approx(4)]


async def test_the_wait_for_a_key_is_no_time_of_the_providers() -> None:
    async def slow_key() -> str:
        await anyio.sleep(5)
        return "sk-c4n4ry-0123456789"

    told = Told()
    provider = using(scripted(stream([pause(2), "a"])), api_key=slow_key)
    await asked(told, "openai", openai=provider, body={"stream": True})
    (ended,) = told.of(AttemptEnded)
    assert [ended.first_chunk_s, ended.duration_s] == pytest.approx([2, 2])
    assert told.of(RequestEnded)[0].overhead_s == pytest.approx(5)


async def test_a_wait_for_a_stream_that_says_nothing_of_substance_is_no_overhead() -> None:
    told = Told()
    mute = scripted(stream(["", Hang()]))
    headers = {"x-opengateway-timeout": "7000"}
    await asked(told, "openai", "azure", openai=mute, azure=scripted(chat()), headers=headers, body={"stream": True})
    assert told.moves == [("openai", "azure", "timeout")]
    assert told.of(AttemptEnded)[0].duration_s == pytest.approx(7)
    assert told.of(RequestEnded)[0].overhead_s == pytest.approx(0)


@pytest.mark.parametrize("begun", [False, True], ids=["before the head", "in the stream"])
async def test_a_caller_who_leaves_ends_every_attempt(begun: bool) -> None:
    told, upstream = Told(), scripted(stream(["Hel", Hang()]) if begun else hang())
    async with gateway_of(sinks=[told], openai=upstream) as world:
        async with anyio.create_task_group() as group:
            group.start_soon(partial(world.post, stream=True))
            await (told.began.wait() if begun else upstream.wait_for_requests())
            group.cancel_scope.cancel()
        await told.ended.wait()
    assert_in_order(told.events)
    assert told.ends == [("openai", "left")]
    assert [one.overhead_s is None for one in told.of(RequestEnded)] == [not begun]
