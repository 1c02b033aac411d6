"""Section 4, breakers: when a target is left for last, when it is probed, and what that costs whom.

The clock is trio's mock: it jumps over every wait, so that who was asked when is exact. Both real loops and real
sockets are in `tests/matrix`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import anyio
import httpx
import pytest

from ogw_asgi import VLLM, Breaker, Limits, Principal, Timeouts
from ogw_asgi.telemetry.events import CircuitChanged, Event
from ogw_asgi.testing import (
    Break,
    RawScript,
    RawUpstream,
    Reply,
    Reset,
    ScriptedUpstream,
    chat,
    dead_port,
    error,
    hang,
    hold,
    http_response,
    raw,
    stream,
)

from .checks import TIMEOUT, Sleep, mock_clock, sequence
from .harness import World, gateway_of, using

pytestmark = pytest.mark.anyio

HOUR_S = 3600.0
GONE = error(500)


@pytest.fixture
def anyio_backend() -> Any:
    return mock_clock()


class Changes:
    """What the breakers did, as a sink sees it."""

    def __init__(self) -> None:
        self.seen: list[CircuitChanged] = []

    def on_event(self, event: Event, /) -> None:
        if isinstance(event, CircuitChanged):
            self.seen.append(event)

    @property
    def states(self) -> list[str]:
        return [change.state for change in self.seen]


async def provider_of(world: World, **body: Any) -> str | None:
    provider: str | None = (await world.post(**body)).headers.get("x-opengateway-provider")
    return provider


async def attempts_of(world: World, **body: Any) -> int:
    return int((await world.post(**body)).headers["x-opengateway-attempts"])


async def fail(world: World, times: int = 5, **body: Any) -> None:
    for _ in range(times):
        assert await attempts_of(world, **body) == 2


@pytest.mark.contract("4.breaker.opens", "8.breaker")
@pytest.mark.parametrize("body", [{}, {"stream": True}], ids=["plain", "stream"])
@pytest.mark.parametrize("failure", [GONE, error(503), error(401), stream(finish_reason=None, done=False, pieces=())])
async def test_after_five_failures_in_a_row_a_target_is_asked_after_the_others(failure: Reply, body: Any) -> None:
    async with gateway_of(openai=ScriptedUpstream(failure), azure=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        for number in range(5):
            if failure.status == 503:
                await anyio.sleep(5.1)  # it cools down after each
            assert await attempts_of(world, **body) == 2, number
        assert await attempts_of(world, **body) == 1
        assert len(world.upstreams["openai"].requests) == 5


@pytest.mark.contract("4.breaker.opens", "8.breaker")
async def test_half_of_the_last_attempts_open_it_too_and_not_fewer_than_five() -> None:
    flapping = ScriptedUpstream(*[GONE, chat()] * 3)
    async with gateway_of(openai=flapping, azure=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        made = [await attempts_of(world) for _ in range(7)]
    assert made == [2, 1, 2, 1, 2, 1, 1]
    assert len(flapping.requests) == 5, "two successes among five, and nobody asks any more"


@pytest.mark.contract("8.breaker")
async def test_what_is_older_than_thirty_seconds_is_no_share_of_anything() -> None:
    upstream = ScriptedUpstream(GONE, chat(), GONE, chat(), GONE, chat())
    async with gateway_of(openai=upstream, azure=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        for _ in range(2):
            await world.post()
        await anyio.sleep(30.1)
        for _ in range(4):
            await world.post()
        assert len(upstream.requests) == 6


@pytest.mark.contract("4.breaker.probes", "8.breaker")
async def test_an_open_target_is_probed_after_5_s_and_the_time_doubles_to_20_s() -> None:
    changes = Changes()
    world_of = gateway_of(
        openai=ScriptedUpstream(GONE), azure=ScriptedUpstream(chat()), sinks=[changes], limit_s=HOUR_S
    )
    async with world_of as world:
        await fail(world)
        opened_s = [anyio.current_time()]
        for _ in range(4):
            while len(changes.seen) == 2 * len(opened_s) - 1:
                await anyio.sleep(0.05)
                await world.post()
            opened_s.append(anyio.current_time())
    waits_s = [later - sooner for sooner, later in zip(opened_s, opened_s[1:], strict=False)]
    for wait_s, nominal_s in zip(waits_s, [5, 10, 20, 20], strict=True):
        assert 0.75 * nominal_s <= wait_s <= 1.25 * nominal_s + 0.1
    assert changes.states == ["open", *["half_open", "open"] * 4]
    assert (changes.seen[0].provider, changes.seen[0].model) == ("openai", "some-model")
    assert abs(changes.seen[0].open_ms / 1000 - waits_s[0]) < 0.1


@pytest.mark.contract("8.breaker")
async def test_the_settings_say_how_many_failures_and_how_long() -> None:
    settings = Breaker(failures=2, open_s=40, open_max_s=40)
    upstream = ScriptedUpstream(GONE)
    world_of = gateway_of(openai=upstream, azure=ScriptedUpstream(chat()), breaker=settings, limit_s=HOUR_S)
    async with world_of as world:
        await fail(world, 2)
        assert await attempts_of(world) == 1
        await anyio.sleep(29)
        assert await attempts_of(world) == 1
        await anyio.sleep(22)
        assert await attempts_of(world) == 2


@pytest.mark.contract("4.breaker.closes", "4.breaker.probes")
async def test_two_probes_that_succeed_close_it() -> None:
    changes = Changes()
    upstream = ScriptedUpstream(*[GONE] * 5, chat())
    world_of = gateway_of(openai=upstream, azure=ScriptedUpstream(chat()), sinks=[changes], limit_s=HOUR_S)
    async with world_of as world:
        await fail(world)
        await anyio.sleep(6.3)
        assert [await provider_of(world) for _ in range(3)] == ["openai"] * 3
    assert changes.states == ["open", "half_open", "closed"]


@pytest.mark.contract("4.breaker.probes")
async def test_one_probe_at_a_time_goes_out_and_the_other_requests_do_not_wait_for_it() -> None:
    upstream = ScriptedUpstream(*[GONE] * 5, hold(chat(), until=Sleep(0.9)))
    async with gateway_of(openai=upstream, azure=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        await fail(world)
        await anyio.sleep(6.3)
        answered: list[tuple[float, str | None]] = []

        async def ask() -> None:
            began_s = anyio.current_time()
            provider = await provider_of(world)
            answered.append((round(anyio.current_time() - began_s, 3), provider))

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(ask)
    assert sorted(answered) == [(0.0, "azure")] * 9 + [(0.9, "openai")]
    assert len(upstream.requests) == 6


@pytest.mark.contract("4.breaker.probe-cost")
@pytest.mark.parametrize("body", [{}, {"stream": True}], ids=["plain", "stream"])
async def test_a_silent_probe_costs_its_caller_one_second(body: Any) -> None:
    upstream = ScriptedUpstream(*[GONE] * 5, hang())
    async with gateway_of(openai=upstream, azure=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        await fail(world)
        await anyio.sleep(6.3)
        began_s = anyio.current_time()
        reply = await world.post(**body)
        assert anyio.current_time() - began_s == pytest.approx(1.0, abs=0.01)
        assert (reply.headers["x-opengateway-provider"], reply.headers["x-opengateway-attempts"]) == ("azure", "2")
        assert 'openai;dur=1000;desc="cancelled"' in reply.headers["server-timing"]


@pytest.mark.contract("4.breaker.probe-cost")
async def test_a_target_that_was_silent_and_still_is_costs_one_caller_in_an_open_time_one_second() -> None:
    upstream = ScriptedUpstream(hang())
    world_of = gateway_of(
        openai=upstream, azure=ScriptedUpstream(chat()), timeouts=Timeouts(first_chunk_s=2), limit_s=HOUR_S
    )
    async with world_of as world:
        await fail(world, stream=True)
        slow: list[float] = []
        for _ in range(200):
            began_s = anyio.current_time()
            assert await provider_of(world, stream=True) == "azure"
            took_s = anyio.current_time() - began_s
            if took_s:
                slow.append(took_s)
            await anyio.sleep(0.5)
        assert all(took_s == pytest.approx(1.0, abs=0.01) for took_s in slow)
        assert 5 <= len(slow) <= 8, "100 s: open for 5, 10, then 20 s at a time, +-25 %"


@pytest.mark.contract("4.breaker.closes", "4.breaker.probe-cost")
async def test_a_slow_model_that_had_failed_with_errors_comes_back_although_a_quicker_one_outruns_its_probes() -> None:
    upstream = ScriptedUpstream(*[GONE] * 5, hold(chat(), until=Sleep(8)))
    async with gateway_of(openai=upstream, azure=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        await fail(world, stream=True)
        await anyio.sleep(6.3)
        providers = [await provider_of(world, stream=True) for _ in range(3)]
    assert providers == ["azure", "azure", "openai"]


@pytest.mark.contract("4.breaker.probes")
async def test_a_probe_whose_answer_takes_minutes_keeps_others_from_probing_for_the_first_chunk_limit_and_5_s() -> None:
    upstream = ScriptedUpstream(*[GONE] * 5, hold(chat(), until=Sleep(500)), chat())
    async with gateway_of(openai=upstream, azure=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        await fail(world)
        await anyio.sleep(6.3)
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: world.post(headers=sequence("openai")))
            await anyio.sleep(34.9)
            assert await provider_of(world) == "azure"
            await anyio.sleep(0.2)
            assert await provider_of(world) == "openai"
            group.cancel_scope.cancel()


@pytest.mark.contract("4.breaker.neutral")
async def test_a_limit_too_short_to_tell_anything_takes_no_probe() -> None:
    upstream = ScriptedUpstream(*[GONE] * 5, hang())
    async with gateway_of(openai=upstream, azure=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        await fail(world)
        await anyio.sleep(6.3)
        reply = await world.post(headers={TIMEOUT: "900"})
        assert reply.headers["x-opengateway-attempts"] == "1"
        upstream.script(hold(chat(), until=Sleep(0.5)))
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: world.post(headers={TIMEOUT: "900", **sequence("openai")}))  # nobody else to ask
            await anyio.sleep(0.1)
            assert await provider_of(world) == "openai", "the probe is still to be had"


@pytest.mark.contract("4.breaker.model")
async def test_what_a_server_says_counts_for_the_model_alone() -> None:
    def by_model(request: Any) -> Any:
        return GONE if b'"bad"' in request.body else chat()

    async with gateway_of(openai=ScriptedUpstream(by_model), azure=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        await fail(world, model="bad")
        assert await attempts_of(world, model="bad") == 1
        assert await provider_of(world, model="good") == "openai"


@pytest.mark.contract("4.breaker.origin")
@pytest.mark.parametrize("fault", ["refused", "reset"])
async def test_what_the_network_says_counts_for_every_model_of_the_origin(fault: str) -> None:
    with dead_port() as port:
        async with RawUpstream([Reset()]) as resetting:
            url = f"http://127.0.0.1:{port}" if fault == "refused" else resetting.url
            async with gateway_of(openai=url, azure=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
                for number in range(5):
                    assert await attempts_of(world, model=f"model-{number}") == 2
                assert await attempts_of(world, model="another") == 1


@pytest.mark.contract("4.breaker.origin", "4.breaker.model")
async def test_a_server_that_answers_has_a_network_that_works() -> None:
    scripts: list[RawScript] = [[Reset()]] * 4 + [[http_response(500, b"{}")], [Reset()]]
    async with RawUpstream(*scripts) as upstream:
        async with gateway_of(openai=upstream, azure=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
            for number in range(4):
                assert await attempts_of(world, model=f"model-{number}") == 2
            assert await attempts_of(world, model="that-fails") == 2
            assert await attempts_of(world, model="model-5") == 2, "four in a row, an answer, one more"


NEUTRAL: dict[str, tuple[Any, dict[str, str]]] = {
    "the caller's fault": (error(400), {}),
    "a prompt that is too long": (error(400, code="context_length_exceeded"), {}),
    "a request too large": (error(429, "Request too large for gpt"), {}),
    "an error event that blames the request": (
        raw(200, {"content-type": "text/event-stream"}, [b'data: {"error": {"message": "no", "code": 400}}\n\n']),
        {},
    ),
    "an error in a 200 that blames the request": (
        raw(200, {"content-type": "application/json"}, [b'{"error": {"message": "no", "code": "content_filter"}}']),
        {},
    ),
    "a filter in mid-stream": (
        stream(["Hel", {"error": {"message": "no", "code": "content_filter"}}], finish_reason=None, done=False),
        {},
    ),
    "a caller's short limit": (hang(), {TIMEOUT: "50"}),
}


ONE_MODE = {
    "an error event that blames the request": "stream",
    "an error in a 200 that blames the request": "plain",
    "a filter in mid-stream": "stream",
}


@pytest.mark.contract("4.breaker.neutral", "4.cooldown.not-too-large")
@pytest.mark.parametrize(
    ("reply", "headers", "body"),
    [
        pytest.param(reply, headers, body, id=f"{name}-{mode}")
        for name, (reply, headers) in NEUTRAL.items()
        for mode, body in (("plain", {}), ("stream", {"stream": True}))
        if name not in ONE_MODE or ONE_MODE[name] == mode
    ],
)
async def test_what_is_not_the_providers_fault_moves_no_breaker(reply: Any, headers: Any, body: Any) -> None:
    upstream = ScriptedUpstream(*[reply] * 30, chat())
    async with gateway_of(openai=upstream, azure=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        for _ in range(30):
            with suppress(httpx.RemoteProtocolError):
                await world.post(headers=headers, **body)
        assert await provider_of(world, **body) == "openai"


@pytest.mark.contract("4.breaker.opens", "2.limits.caller")
@pytest.mark.parametrize("body", [{}, {"stream": True}], ids=["plain", "stream"])
@pytest.mark.parametrize(
    ("timeouts", "headers"),
    [
        (Timeouts(), {"x-stainless-read-timeout": "600"}),  # as openai-python announces it
        (Timeouts(first_chunk_s=10, total_s=120), {}),
        (Timeouts(first_chunk_s=10, total_s=120), {"x-stainless-read-timeout": "600"}),
        (Timeouts(total_s=40), {}),
    ],
)
async def test_a_silent_target_opens_its_breaker_under_an_sdks_or_the_operators_own_limits(
    timeouts: Timeouts, headers: dict[str, str], body: Any
) -> None:
    upstreams = {"openai": ScriptedUpstream(hang()), "azure": ScriptedUpstream(chat())}
    async with gateway_of(**upstreams, timeouts=timeouts, limit_s=10 * HOUR_S) as world:
        for _ in range(5):
            assert await attempts_of(world, headers=headers, **body) == 2
        assert await attempts_of(world, headers=headers, **body) == 1


@pytest.mark.contract("4.breaker.neutral")
async def test_an_announced_limit_under_a_second_takes_no_probe() -> None:
    upstream = ScriptedUpstream(*[GONE] * 5, hang())
    async with gateway_of(openai=upstream, azure=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        await fail(world)
        await anyio.sleep(6.3)
        reply = await world.post(headers={"x-stainless-read-timeout": "0.5"})
        assert (reply.headers["x-opengateway-provider"], reply.headers["x-opengateway-attempts"]) == ("azure", "1")


@pytest.mark.contract("4.breaker.neutral")
async def test_a_wait_for_a_slot_of_ours_is_no_lateness_of_theirs() -> None:
    upstream = ScriptedUpstream(*[chat()] * 20, hold(chat(), until=Sleep(15)), chat())
    changes = Changes()
    world_of = gateway_of(
        openai=upstream,
        azure=ScriptedUpstream(chat()),
        limits=Limits(concurrency=1),
        timeouts=Timeouts(slot_wait_s=20),
        sinks=[changes],
        limit_s=HOUR_S,
    )
    async with world_of as world:
        for _ in range(20):
            await world.post(stream=True)
        async with anyio.create_task_group() as group:
            for _ in range(12):
                group.start_soon(lambda: world.post(stream=True))
                await anyio.sleep(1)
    assert changes.seen == []


@pytest.mark.contract("8.breaker")
async def test_more_failures_than_five_may_be_asked_for() -> None:
    upstream = ScriptedUpstream(GONE)
    world_of = gateway_of(openai=upstream, azure=ScriptedUpstream(chat()), breaker=Breaker(failures=12), limit_s=HOUR_S)
    async with world_of as world:
        await fail(world, 12)
        assert await attempts_of(world) == 1


@pytest.mark.contract("4.breaker.wakes", "2.hedge-after.hedges")
@pytest.mark.parametrize("hedged", [True, False], ids=["its hedge had failed", "no hedge was left"])
async def test_a_breaker_that_opens_also_wakes_those_whose_hedge_came_to_nothing(hedged: bool) -> None:
    replies: list[Any] = [hang(), *[GONE] * 5]
    upstreams = {"one": ScriptedUpstream(*replies), "two": ScriptedUpstream(GONE), "three": ScriptedUpstream(chat())}
    async with gateway_of(**upstreams, limit_s=HOUR_S) as world:
        opened = world.gateway._opened
        assert opened is not None
        if not hedged:
            for _ in range(3):
                opened.dispatcher.circuits.take_hedge()
        took: list[float] = []

        async def ask() -> None:
            began_s = anyio.current_time()
            reply = await world.post(stream=True, headers={"x-opengateway-hedge-after": "500"})
            assert reply.headers["x-opengateway-provider"] == "three"
            took.append(anyio.current_time() - began_s)

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.sleep(2)
            for _ in range(5):
                await world.post(headers=sequence("one", "three"))
        assert took == [pytest.approx(2.0, abs=0.01)]


@pytest.mark.contract("4.breaker.neutral")
async def test_callers_who_leave_move_no_breaker_and_take_no_probe_with_them() -> None:
    upstream = ScriptedUpstream(hang())
    async with gateway_of(openai=upstream, azure=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:

        async def leave(after_s: float) -> None:
            with anyio.move_on_after(after_s):
                await world.post(stream=True)
            await anyio.wait_all_tasks_blocked()  # until the gateway knows

        for _ in range(20):
            await leave(20)
        upstream.script(*[GONE] * 5, hang())
        await fail(world, stream=True)
        await anyio.sleep(6.3)
        for _ in range(3):
            await leave(0.5)  # each is the probe, and gives it back
        upstream.script(chat())
        assert await provider_of(world, stream=True) == "openai"
        opened = world.gateway._opened
        assert opened is not None
        assert opened.dispatcher.circuits.in_flight() == 0


@pytest.mark.contract("4.breaker.closes")
async def test_a_probe_that_is_outrun_before_its_second_has_shown_nothing() -> None:
    """Three targets: the request waits at the second, whose breaker opens; the first, a probe, gets no second."""
    upstream = ScriptedUpstream(*[GONE] * 5, hang())
    waiting = ScriptedUpstream(hold(chat("second"), until=Sleep(1.0)), *[GONE] * 5)
    changes = Changes()
    world_of = gateway_of(one=upstream, two=waiting, three=ScriptedUpstream(chat()), sinks=[changes], limit_s=HOUR_S)
    async with world_of as world:
        for _ in range(5):
            await world.post(headers=sequence("one", "three"))
        await anyio.sleep(6.3)
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: world.post(headers=sequence("two", "one")))
            await anyio.sleep(0.5)
            for _ in range(5):
                await world.post(headers=sequence("two", "three"))
            await anyio.sleep(0.1)
            assert world.calls().count("one") == 6, "it was woken"
        assert [change.state for change in changes.seen if change.provider == "one"] == ["open", "half_open"]


@pytest.mark.contract("4.breaker.late", "8.slow-after")
async def test_a_target_that_falls_silent_is_left_once_nearly_all_are_late_by_its_own_measure() -> None:
    upstream = ScriptedUpstream(*[hold(chat(), until=Sleep(0.4))] * 20, hang())
    changes = Changes()
    world_of = gateway_of(openai=upstream, azure=ScriptedUpstream(chat()), sinks=[changes], limit_s=HOUR_S)
    async with world_of as world:
        for _ in range(20):
            await world.post(stream=True)
            await anyio.sleep(2)  # so that few of the good ones are remembered
        took: list[float] = []

        async def ask() -> None:
            began_s = anyio.current_time()
            assert await provider_of(world, stream=True) == "azure"
            took.append(round(anyio.current_time() - began_s, 3))

        await anyio.sleep(30)
        async with anyio.create_task_group() as group:
            for _ in range(60):
                group.start_soon(ask)
                await anyio.sleep(0.1)
    assert changes.states[0] == "open"
    assert max(took) <= 3.0 + 0.5 + 0.1, "3 s is its measure, and four more must be late, too"
    assert min(took) == 0.0, "those who came after that did not wait at all"


@pytest.mark.contract("4.breaker.late")
async def test_a_slow_model_is_slow_and_not_down() -> None:
    upstream = ScriptedUpstream(hold(chat(), until=Sleep(25)))
    async with gateway_of(openai=upstream, azure=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        providers: list[str | None] = []

        async def ask() -> None:
            providers.append(await provider_of(world, stream=True))

        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(ask)
                await anyio.sleep(1)
        assert providers == ["openai"] * 100


@pytest.mark.contract("4.breaker.wakes")
async def test_when_a_breaker_opens_those_who_wait_there_ask_their_next_target_at_once() -> None:
    replies: list[Any] = [hang(), hang(), hang(), *[GONE] * 5]
    async with gateway_of(openai=ScriptedUpstream(*replies), azure=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        answered: list[tuple[str | None, float]] = []

        async def ask() -> None:
            answered.append((await provider_of(world, stream=True), anyio.current_time()))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
            await anyio.sleep(1)
            assert answered == []
            await fail(world)
            opened_s = anyio.current_time()
        assert answered == [("azure", opened_s)] * 3


@pytest.mark.contract("4.breaker.first", "4.breaker.budget")
@pytest.mark.timeout(120)  # 1,205 requests: work, not waiting
async def test_when_every_breaker_is_open_each_request_still_goes_out_and_more_only_within_the_budget() -> None:
    one, two, three = (ScriptedUpstream(GONE) for _ in range(3))
    world_of = gateway_of(
        one=one, two=two, three=three, breaker=Breaker(open_s=1000, open_max_s=1000), limit_s=10 * HOUR_S
    )
    async with world_of as world:
        for _ in range(5):
            await world.post()

        def asked() -> int:
            return sum(len(upstream.requests) for upstream in (one, two, three))

        assert asked() == 15
        for _ in range(200):  # what was saved before is spent
            await world.post()
        before = asked()
        for _ in range(1000):
            reply = await world.post()
            assert reply.status_code == 502
            assert int(reply.headers["x-opengateway-attempts"]) >= 1
            await anyio.sleep(1 / 50)
        made = asked() - before
        assert 1000 <= made <= 1000 * 1.10 + 3 * 20 + 1


@pytest.mark.contract("4.breaker.first")
async def test_the_first_attempt_goes_to_whoever_is_soonest_to_recover() -> None:
    one, two = (
        ScriptedUpstream(error(429, headers={"retry-after": "60"})),
        ScriptedUpstream(error(429, headers={"retry-after": "30"})),
    )
    async with gateway_of(one=one, two=two, limits=Limits(attempts=1), limit_s=HOUR_S) as world:
        await world.post(headers=sequence("one"))
        await world.post(headers=sequence("two"))
        await world.post()
        assert world.calls() == ["one", "two", "two"]


@pytest.mark.contract("4.breaker.budget")
async def test_further_attempts_at_targets_whose_breaker_is_closed_are_free() -> None:
    async with gateway_of(one=ScriptedUpstream(*[GONE, chat()] * 500), two=ScriptedUpstream(chat())) as world:
        for _ in range(200):  # far beyond any budget, in no time
            assert (await world.post(model="m")).status_code == 201


@pytest.mark.contract("4.breaker.one-free")
async def test_whoever_is_failed_by_closed_targets_is_not_refused_before_an_open_one_has_been_asked() -> None:
    world_of = gateway_of(
        one=ScriptedUpstream(*[GONE, chat(), chat()] * 200),
        two=ScriptedUpstream(GONE),
        breaker=Breaker(open_s=1000, open_max_s=1000),
    )
    async with world_of as world:
        for _ in range(5):
            assert (await world.post(model="m", headers=sequence("two"))).status_code == 502
        replies = [await world.post(model="m") for _ in range(600)]  # far beyond any budget, in no time
        assert {int(reply.headers["x-opengateway-attempts"]) for reply in replies if reply.status_code == 502} == {2}
        assert sum(reply.status_code == 502 for reply in replies) >= 100


@pytest.mark.contract("4.breaker.broken-stream")
async def test_a_provider_that_breaks_its_streams_is_left_for_last() -> None:
    cut = stream(["Hel", Break()])
    async with gateway_of(openai=ScriptedUpstream(cut), azure=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        asked = []
        for _ in range(8):
            async with world.stream() as reply:
                asked.append(reply.headers["x-opengateway-provider"])
                with suppress(httpx.RemoteProtocolError):
                    await reply.aread()
    assert asked[0] == "openai"
    assert asked[-1] == "azure"
    assert asked.count("openai") <= 4


@pytest.mark.contract("4.breaker.endpoint")
async def test_a_named_endpoint_has_breakers_of_its_own_for_each_principal() -> None:
    def who(connection: Any) -> Principal:
        return Principal(connection.headers["x-who"])

    async with RawUpstream([http_response(500, b"{}")]) as bad:
        vllm = VLLM(endpoint=bad.url, allowed_endpoints=[bad.url], name="vllm")
        world_of = gateway_of(vllm=vllm, azure=ScriptedUpstream(chat()), authenticate=who, limit_s=HOUR_S)
        async with world_of as world:
            named = {"x-opengateway-vllm-endpoint": bad.url, **sequence("vllm", "azure")}

            async def attempts(**headers: str) -> int:
                return int((await world.post(headers=headers)).headers["x-opengateway-attempts"])

            for _ in range(5):
                assert await attempts(**named, **{"x-who": "eve"}) == 2
            assert await attempts(**named, **{"x-who": "eve"}) == 1
            assert await attempts(**named, **{"x-who": "bob"}) == 2
            assert await attempts(**{**sequence("vllm", "azure"), "x-who": "eve"}) == 2, "the configured one is another"


async def test_a_reopened_gateway_knows_nothing_of_what_was() -> None:
    upstream = ScriptedUpstream(GONE)
    async with gateway_of(one=using(upstream), two=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        await fail(world)
        assert await attempts_of(world) == 1
        await world.gateway.aclose()
        async with world.gateway:
            assert await attempts_of(world) == 2
