"""Section 4, cooldowns: a provider that asks for time is asked again when it is over, and meanwhile only at the end.

The clock is trio's mock, so that a second is exactly a second.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import pytest

from ogw_asgi.testing import Reply, ScriptedUpstream, chat, error

from .checks import mock_clock, sequence
from .harness import World, gateway_of

pytestmark = pytest.mark.anyio

HOUR_S = 3600.0


@pytest.fixture
def anyio_backend() -> Any:
    return mock_clock()


async def provider_of(world: World, **body: Any) -> str | None:
    provider: str | None = (await world.post(**body)).headers.get("x-opengateway-provider")
    return provider


async def first_answer_of_one(world: World) -> float:
    """The seconds until a request is answered by the target `one` again.

    One is sent every quarter of a second, but every five where no test expects an end: between half a minute and the
    last seconds of the longest cooldown.
    """
    began_s = anyio.current_time()
    for _ in range(2000):
        if await provider_of(world) == "one":
            return anyio.current_time() - began_s
        await anyio.sleep(5.0 if 30.0 <= anyio.current_time() - began_s < 290.0 else 0.25)
    raise AssertionError("it never was")


async def cools_for(*replies: Reply) -> float:
    """For how many seconds, to a quarter of one, nobody asks a target that has given these replies."""
    upstream = ScriptedUpstream(*replies, chat())
    async with gateway_of(one=upstream, two=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        for _ in replies:
            await world.post()
        return await first_answer_of_one(world)


def limited(status: int = 429, *, sent: str | None = None, **headers: str) -> Reply:
    pairs = {name.replace("_", "-"): value for name, value in headers.items()}
    return error(status, headers={**pairs, **({"date": sent} if sent else {})})


@pytest.mark.contract("4.cooldown.retry-after", "4.cooldown.rate", "8.cooldown")
@pytest.mark.parametrize("status", [429, 503, 529])
@pytest.mark.parametrize(
    ("headers", "cooled_s"),
    [
        ({"retry_after": "2"}, 2.0),
        ({"retry_after": "2.5"}, 2.5),
        ({"retry_after": "7", "retry_after_ms": "1500"}, 1.5),
        ({"retry_after": "0.5"}, 1.0),
        ({"retry_after": "0"}, 1.0),
        ({"retry_after_ms": "20"}, 1.0),
        ({"retry_after": "86400"}, 300.0),
        ({"retry_after": "90000"}, 5.0),  # over a day: a bug, not a wish
        ({"retry_after": "-1"}, 5.0),
        ({"retry_after": "NaN"}, 5.0),
        ({"retry_after": "inf"}, 5.0),
        ({"retry_after": "soon"}, 5.0),
        ({"retry_after": ""}, 5.0),
        ({}, 5.0),
    ],
)
async def test_a_target_cools_down_for_what_it_named_within_bounds(
    status: int, headers: dict[str, str], cooled_s: float
) -> None:
    assert await cools_for(limited(status, **headers)) == pytest.approx(cooled_s, abs=0.26)


@pytest.mark.contract("4.cooldown.retry-after")
async def test_a_date_is_read_by_the_servers_own_clock() -> None:
    there = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    until = format_datetime(there + timedelta(seconds=20), usegmt=True)
    limits = limited(sent=format_datetime(there, usegmt=True), retry_after=until)
    assert await cools_for(limits) == pytest.approx(20.0, abs=0.26)


@pytest.mark.contract("4.cooldown.default", "8.cooldown")
async def test_an_overloaded_server_that_names_no_time_is_left_alone_for_5_s() -> None:
    assert await cools_for(error(503)) == pytest.approx(5.0, abs=0.26)


@pytest.mark.contract("4.cooldown.money", "8.cooldown")
@pytest.mark.parametrize(
    "reply", [error(402), error(429, code="insufficient_quota"), error(429, type="billing_not_active")]
)
async def test_a_target_out_of_money_is_left_alone_for_5_minutes_after_one_answer(reply: Reply) -> None:
    assert await cools_for(reply) == pytest.approx(300.0, abs=0.26)


@pytest.mark.contract("4.cooldown.money")
async def test_after_that_one_probe_asks_whether_the_bill_was_paid() -> None:
    broke = error(429, code="insufficient_quota")
    upstream = ScriptedUpstream(broke)
    async with gateway_of(one=upstream, two=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        await world.post()
        await anyio.sleep(300.1)
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(world.post)
        assert len(upstream.requests) == 2
        await anyio.sleep(250)
        assert await provider_of(world) == "two"
        assert len(upstream.requests) == 2
        await anyio.sleep(51)
        upstream.script(chat())
        assert [await provider_of(world) for _ in range(3)] == ["one"] * 3


@pytest.mark.contract("4.cooldown.not-too-large")
@pytest.mark.parametrize(
    "reply",
    [
        error(429, "Request too large for gpt-4o", headers={"retry-after": "60"}),
        error(413, code="rate_limit_exceeded"),
    ],
)
async def test_one_request_that_is_too_large_cools_nothing(reply: Reply) -> None:
    assert await cools_for(reply) == 0.0


@pytest.mark.contract("4.cooldown.later-end")
@pytest.mark.parametrize("named", [("20", "3"), ("3", "20")])
async def test_of_two_cooldowns_the_later_end_counts(named: tuple[str, str]) -> None:
    first, second = named
    upstream = ScriptedUpstream(limited(retry_after=first), limited(retry_after=second), chat())
    async with gateway_of(one=upstream, two=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        async with anyio.create_task_group() as group:  # both go out before either has answered
            group.start_soon(world.post)
            group.start_soon(world.post)
        assert len(upstream.requests) == 2
        assert await first_answer_of_one(world) == pytest.approx(20.0, abs=0.26)


@pytest.mark.contract("4.cooldown.rate")
async def test_a_cooldown_is_the_models_and_not_the_origins() -> None:
    def by_model(request: Any) -> Any:
        return limited(retry_after="60") if b'"full"' in request.body else chat()

    async with gateway_of(one=ScriptedUpstream(by_model), two=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        assert await provider_of(world, model="full") == "two"
        assert await provider_of(world, model="free") == "one"
        assert (await world.post(model="full")).headers["x-opengateway-attempts"] == "1"


@pytest.mark.contract("2.retry.own-cooldown")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_the_cooldown_that_an_answer_sets_does_not_push_its_own_repeat_back(stream: bool) -> None:
    upstream = ScriptedUpstream(limited(retry_after="2"), chat())
    async with gateway_of(one=upstream, two=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        began_s = anyio.current_time()
        replies = []

        async def repeat() -> None:
            replies.append(await world.post(headers=sequence("one", "one", "two"), stream=stream))

        async with anyio.create_task_group() as group:
            group.start_soon(repeat)
            await anyio.sleep(1)
            assert await provider_of(world) == "two", "others leave it alone meanwhile"
        assert replies[0].headers["x-opengateway-provider"] == "one"
        assert anyio.current_time() - began_s == pytest.approx(2.0, abs=0.01)


@pytest.mark.contract("2.retry.own-cooldown")
async def test_a_longer_cooldown_that_another_answer_set_does_push_a_repeat_back() -> None:
    upstream = ScriptedUpstream(limited(retry_after="2"), limited(retry_after="60"), chat())
    async with gateway_of(one=upstream, two=ScriptedUpstream(chat()), limit_s=HOUR_S) as world:
        answered: list[str] = []

        async def ask(*names: str) -> None:
            reply = await world.post(headers=sequence(*names))
            answered.append(reply.headers["x-opengateway-provider"])

        async with anyio.create_task_group() as group:
            group.start_soon(ask, "one", "one", "two")
            group.start_soon(ask, "one", "two")
        assert answered.count("two") + answered.count("one") == 2
        assert len(upstream.requests) in (2, 3)
        asked_in_time = len(upstream.requests) == 3
        assert asked_in_time is ("one" in answered)
