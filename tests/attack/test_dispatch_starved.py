"""Targets that are left in a sequence are asked when their time has come, whatever hedges and probes did before."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from ogw_asgi import Limits, OpenAICompatible, Timeouts
from ogw_asgi.testing import ScriptedUpstream, chat, error, hang, hold

from ..contract.checks import Sleep, mock_clock, sequence
from ..contract.harness import World, gateway_of

pytestmark = pytest.mark.anyio

HOUR_S = 3600.0
HEDGE = "x-opengateway-hedge-after"
ANNOUNCED = "x-stainless-read-timeout"


@pytest.fixture
def anyio_backend() -> Any:
    return mock_clock()


async def open_breaker(world: World, name: str) -> None:
    for _ in range(5):
        await world.post(headers=sequence(name))


async def timed(world: World, *targets: str, **headers: str) -> tuple[str | None, float]:
    """Who answered, and how many seconds it took."""
    began_s = anyio.current_time()
    reply = await world.post(
        headers={**sequence(*targets), **{name.replace("_", "-"): value for name, value in headers.items()}}
    )
    return reply.headers.get("x-opengateway-provider"), round(anyio.current_time() - began_s, 3)


async def while_waiting_at_a(world: World, after_s: float, **headers: str) -> tuple[str | None, float]:
    """A request to a, then b, is under way when the breaker of a opens."""
    found: list[tuple[str | None, float]] = []

    async def wait() -> None:
        found.append(await timed(world, "a", "b", **headers))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(after_s)
        await open_breaker(world, "a")
    return found[0]


@pytest.mark.contract("4.breaker.wakes")
async def test_a_breaker_wakes_also_those_for_whom_no_hedge_was_left() -> None:
    a = ScriptedUpstream(*[hold(chat(), until=Sleep(1))] * 3, hang(), error(500))
    async with gateway_of(a=a, b=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        for _ in range(3):
            assert await timed(world, "a", "b", x_opengateway_hedge_after="500") == ("b", 0.5)
        assert await while_waiting_at_a(world, 2, x_opengateway_hedge_after="500") == ("b", 2.0)


@pytest.mark.contract("4.breaker.wakes")
async def test_a_breaker_wakes_also_those_whose_hedge_has_failed() -> None:
    a = ScriptedUpstream(hang(), error(500))
    b = ScriptedUpstream(error(500), chat())
    async with gateway_of(a=a, b=b, limit_s=HOUR_S) as world:
        found: list[tuple[str | None, float]] = []

        async def wait() -> None:
            found.append(await timed(world, "a", "b", "b/other", x_opengateway_hedge_after="500"))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.sleep(2)
            await open_breaker(world, "a")
        assert found == [("b", 2.0)]


@pytest.mark.contract("4.breaker.wakes")
async def test_a_hedge_that_fails_after_the_breaker_has_opened_is_followed_by_the_next() -> None:
    a = ScriptedUpstream(hang(), error(500))
    b = ScriptedUpstream(hold(error(500), until=Sleep(5)), chat())
    async with gateway_of(a=a, b=b, c=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        found: list[tuple[str | None, float]] = []

        async def wait() -> None:
            found.append(await timed(world, "a", "b", "c", x_opengateway_hedge_after="500"))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.sleep(2)
            await open_breaker(world, "a")
        assert found == [("c", 5.5)]


@pytest.mark.contract("4.breaker.probe-cost")
async def test_a_silent_probe_is_not_left_alone_with_its_caller_when_a_hedge_beside_it_fails() -> None:
    a = ScriptedUpstream(*[error(500)] * 5, hang())
    b = ScriptedUpstream(hold(error(500), until=Sleep(2)))
    c = ScriptedUpstream(hold(error(500), until=Sleep(2)))
    async with gateway_of(a=a, b=b, c=c, d=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        await open_breaker(world, "a")
        await anyio.sleep(10)
        # The probe at 0 s, b beside it at 1 s, c as its hedge at 1.5 s; b has failed at 3 s and c at 3.5 s.
        assert await timed(world, "a", "b", "c", "d", x_opengateway_hedge_after="500") == ("d", 3.5)


@pytest.mark.contract("2.retry.skip-final")
async def test_a_refusal_that_cannot_change_is_not_asked_for_again_after_a_hedge() -> None:
    a = ScriptedUpstream(hold(error(401), until=Sleep(1)), chat())
    b = ScriptedUpstream(hold(error(500), until=Sleep(1)))
    async with gateway_of(a=a, b=b, limit_s=HOUR_S) as world:
        await timed(world, "a", "a", "b", x_opengateway_hedge_after="500")
        assert world.calls() == ["a", "b"]


@pytest.mark.contract("2.retry.skip-long-wait")
async def test_a_target_that_named_a_long_wait_is_not_asked_again_after_a_hedge() -> None:
    limited = error(429, headers={"retry-after": "60"})
    a = ScriptedUpstream(hold(limited, until=Sleep(1)), chat())
    b = ScriptedUpstream(hold(error(500), until=Sleep(1)))
    async with gateway_of(a=a, b=b, limit_s=HOUR_S) as world:
        await timed(world, "a", "a", "b", x_opengateway_hedge_after="500")
        assert world.calls() == ["a", "b"]


@pytest.mark.contract("2.limits.total")
async def test_the_wait_for_a_slot_is_part_of_the_total() -> None:
    a = ScriptedUpstream(hold(chat(), until=Sleep(0.9)), hang())
    timeouts = Timeouts(total_s=2)
    async with gateway_of(a=a, timeouts=timeouts, limits=Limits(concurrency=1), limit_s=HOUR_S) as world:
        async with anyio.create_task_group() as group:
            group.start_soon(timed, world, "a")
            await anyio.wait_all_tasks_blocked()
            assert await timed(world, "a") == (None, 2.0)


@pytest.mark.contract("4.breaker.probes")
async def test_a_caller_with_little_time_in_all_does_not_take_the_probe_from_others() -> None:
    a = ScriptedUpstream(*[error(500)] * 5, hold(chat(), until=Sleep(0.9)))
    async with gateway_of(a=a, b=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        await open_breaker(world, "a")
        await anyio.sleep(10)

        async def hasty() -> None:
            for _ in range(40):
                await world.post(headers={**sequence("a"), ANNOUNCED: "0.5"})

        async with anyio.create_task_group() as group:
            group.start_soon(hasty)
            await anyio.sleep(0.25)
            answered = []
            for _ in range(3):
                answered.append((await timed(world, "a", "b"))[0])
                await anyio.sleep(1)
            group.cancel_scope.cancel()
        assert answered == ["a", "a", "a"]


TENANT: ContextVar[str] = ContextVar("tenant", default="nobody")


async def test_an_attempt_that_anothers_failure_brought_on_runs_in_its_own_context() -> None:
    """An `api_key` callable may look at the host's context variables, as tracing does."""
    asked: list[str] = []

    async def key() -> str:
        asked.append(TENANT.get())
        return "sk-c4n4ry-of-" + TENANT.get()

    b = ScriptedUpstream(chat())
    a = ScriptedUpstream(hang(), error(500))
    async with b.client() as client:
        provider = OpenAICompatible("b", base_url="http://b.test/v1", api_key=key, client=client)
        async with gateway_of(a=a, b=provider, limit_s=HOUR_S) as world:

            async def one(tenant: str, *targets: str) -> None:
                # In the task of the caller: the in-process client starts the app in a context of its own.
                TENANT.set(tenant)
                await in_process(world.gateway, *targets)

            async with anyio.create_task_group() as group:
                group.start_soon(one, "first", "a", "b")
                await anyio.wait_all_tasks_blocked()
                for _ in range(5):
                    group.start_soon(one, "second", "a")
    assert asked == ["first"]


async def in_process(gateway: Any, *targets: str) -> None:
    body = b'{"model": "some-model", "messages": [{"role": "user", "content": "Hi"}]}'
    headers = {"content-type": "application/json", **sequence(*targets)}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/chat/completions",
        "raw_path": b"/chat/completions",
        "query_string": b"",
        "root_path": "",
        "http_version": "1.1",
        "asgi": {"version": "3.0"},
        "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "extensions": {},
    }
    incoming = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if not incoming:
            await anyio.sleep_forever()
        return incoming.pop()

    async def send(message: Any) -> None:
        await anyio.lowlevel.checkpoint()

    await gateway(scope, receive, send)
