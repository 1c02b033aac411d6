"""Section 2, retry in place: when a target that follows itself is asked again, to the millisecond.

The clock is trio's mock, which jumps over every wait: nothing but the gateway's own sleeping moves it, so differences
are exact. Both real loops are in `test_section_2_real_time.py`.
"""

from __future__ import annotations

from typing import Any

import pytest

from ogw_asgi import Timeouts
from ogw_asgi.testing import Reply, chat, error, hang

from .checks import TIMEOUT, Diary, mock_clock, outcomes, sequence
from .harness import gateway_of

pytestmark = pytest.mark.anyio

HOUR_S = 3600.0


@pytest.fixture
def anyio_backend() -> Any:
    return mock_clock()


async def ask(
    *targets: str, failure: Reply, timeouts: Timeouts | None = None, headers: dict[str, str] | None = None
) -> tuple[list[tuple[str, float]], int]:
    """Who was asked when, with an openai that always fails and an azure that always answers; and the status."""
    diary = Diary()
    openai, azure = diary.upstream("openai", failure), diary.upstream("azure", chat())
    async with gateway_of(openai=openai, azure=azure, timeouts=timeouts, limit_s=HOUR_S) as world:
        reply = await world.post(headers={**sequence(*targets), **(headers or {})})
    return diary.lines, reply.status_code


def named(status: int, wait: str) -> Reply:
    return error(status, headers={"retry-after": wait})


@pytest.mark.contract("2.retry.in-place", "2.retry.named-wait", "8.retry")
@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize(
    ("header", "value", "wait_s"),
    [("retry-after", "1", 1.0), ("retry-after", "5", 5.0), ("retry-after-ms", "1500", 1.5)],
)
async def test_a_repeat_waits_exactly_what_the_provider_named(
    status: int, header: str, value: str, wait_s: float
) -> None:
    lines, answered = await ask("openai", "openai", "azure", failure=error(status, headers={header: value}))
    assert lines == [("openai", 0.0), ("openai", wait_s), ("azure", wait_s)]
    assert answered == 201


@pytest.mark.contract("2.retry.in-place")
async def test_a_repeat_that_answers_is_the_answer() -> None:
    diary = Diary()
    openai, azure = diary.upstream("openai", named(503, "2"), chat()), diary.upstream("azure", chat())
    async with gateway_of(openai=openai, azure=azure, limit_s=HOUR_S) as world:
        reply = await world.post(headers=sequence("openai", "openai", "azure"))
        assert reply.headers["x-opengateway-provider"] == "openai"
    assert diary.lines == [("openai", 0.0), ("openai", 2.0)]


@pytest.mark.contract("2.retry.in-place")
async def test_the_same_target_further_back_or_for_another_model_is_no_repeat() -> None:
    lines, _ = await ask("openai", "openai/other", "openai", "azure", failure=error(500))
    assert lines == [("openai", 0.0), ("openai", 0.0), ("openai", 0.0), ("azure", 0.0)]


@pytest.mark.contract("2.retry.backoff", "8.retry")
async def test_an_unnamed_wait_is_jittered_and_doubles_per_repeat() -> None:
    firsts = set()
    for _ in range(5):
        lines, status = await ask(*["openai"] * 4, "azure", failure=error(500))
        assert status == 201
        (_, start), (_, first), (_, second), (_, third), (last, end) = lines
        assert 0.25 <= first - start <= 0.5
        assert 0.5 <= second - first <= 1.0
        assert 1.0 <= third - second <= 2.0
        assert (last, end) == ("azure", third)
        firsts.add(first)
    assert len(firsts) > 1


@pytest.mark.contract("2.retry.skip-long-wait", "8.retry")
@pytest.mark.parametrize(("wait", "timeouts"), [("6", None), ("60", None), ("2", Timeouts(retry_wait_max_s=1))])
@pytest.mark.parametrize("status", [429, 503])
async def test_a_repeat_whose_named_wait_is_longer_is_skipped(
    wait: str, timeouts: Timeouts | None, status: int
) -> None:
    lines, answered = await ask("openai", "openai", "azure", failure=named(status, wait), timeouts=timeouts)
    assert lines == [("openai", 0.0), ("azure", 0.0)]
    assert answered == 201


@pytest.mark.contract("2.retry.skip-timeout")
async def test_a_silent_target_is_not_asked_again_while_another_is_left() -> None:
    lines, status = await ask("openai", "openai", "azure", failure=hang(), headers={TIMEOUT: "1000"})
    assert lines == [("openai", 0.0), ("azure", 1.0)]
    assert status == 201


@pytest.mark.contract("2.retry.skip-timeout")
async def test_a_silent_target_is_asked_again_when_no_other_is_left() -> None:
    lines, status = await ask("openai", "openai", failure=hang(), headers={TIMEOUT: "1000"})
    assert [name for name, _ in lines] == ["openai", "openai"]
    assert 1.25 <= lines[1][1] <= 1.5
    assert status == 504


@pytest.mark.contract("2.retry.skip-final")
@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(error(401), id="auth"),
        pytest.param(error(403), id="forbidden"),
        pytest.param(error(404), id="not found"),
        pytest.param(error(404, code="model_not_found"), id="model not found"),
        pytest.param(error(400, code="context_length_exceeded"), id="context length"),
        pytest.param(error(402), id="money"),
        pytest.param(error(429, type="insufficient_quota", code="insufficient_quota"), id="quota"),
    ],
)
async def test_a_refusal_that_cannot_change_is_not_asked_for_again(failure: Reply) -> None:
    lines, status = await ask("openai", "openai", "openai", "azure", failure=failure)
    assert lines == [("openai", 0.0), ("azure", 0.0)]
    assert status == 201


@pytest.mark.contract("2.retry.skip-final")
async def test_it_is_not_asked_for_again_even_when_nobody_else_is_left() -> None:
    lines, status = await ask("openai", "openai", failure=error(401))
    assert (lines, status) == ([("openai", 0.0)], 502)


@pytest.mark.contract("2.retry.in-place")
async def test_the_trail_shows_a_repeat_as_an_attempt_of_its_own() -> None:
    diary = Diary()
    async with gateway_of(openai=diary.upstream("openai", named(503, "1")), limit_s=HOUR_S) as world:
        reply = await world.post(headers=sequence("openai", "openai"))
        assert reply.headers["x-opengateway-attempts"] == "2"
        assert outcomes(reply) == ["overloaded", "overloaded"]
