"""F17 to F23: providers that answer, and refuse."""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import formatdate

import pytest

from ogw_asgi.testing import RawUpstream, http_response

from .expect import alerts, assert_alone, assert_failed, assert_moved_on
from .selection import Case
from .wire import JSON, good, refusal
from .world import Good, OpenWorld

pytestmark = pytest.mark.anyio

KEPT = ("one", "two")
"""An error that came whole leaves its connection as good as new."""

SERVER_ERRORS = {500: "server_error", 502: "server_error", 504: "server_error", 520: "server_error"} | {
    598: "server_error",
    555: "server_error",
    503: "overloaded",
    529: "overloaded",
}


@pytest.mark.fault("F17")
@pytest.mark.parametrize(("status", "outcome"), SERVER_ERRORS.items())
async def test_a_server_error_is_the_next_providers_turn(open_world: OpenWorld, status: int, outcome: str) -> None:
    async with open_world(one=RawUpstream([refusal(status)]), two=Good(), idle=KEPT) as world:
        assert_moved_on(world, await world.ask(), str(status))
        assert world.calls() == {"one": 1, "two": 1}
        assert_alone(await world.ask("one"), outcome, label=str(status))
        assert alerts(world) == []


HTTP_DATE = [("date", formatdate(1_700_000_000, usegmt=True)), ("retry-after", formatdate(1_700_000_030, usegmt=True))]
RETRY_AFTER: dict[str, tuple[Sequence[tuple[str, str]], str]] = {
    "2": ([("retry-after", "2")], "2"),
    "0.5": ([("retry-after", "0.5")], "1"),
    "milliseconds": ([("retry-after-ms", "1500"), ("retry-after", "9")], "2"),
    "an HTTP date": (HTTP_DATE, "30"),
    "86400": ([("retry-after", "86400")], "60"),
    "-1": ([("retry-after", "-1")], "5"),
    "NaN": ([("retry-after", "NaN")], "5"),
    "soon": ([("retry-after", "soon")], "5"),
    "none": ([], "5"),
}
"""What a provider names, and what a caller is told when there is nobody else."""


@pytest.mark.fault("F18")
@pytest.mark.parametrize(("named", "told"), RETRY_AFTER.values(), ids=RETRY_AFTER)
async def test_a_rate_limit_is_the_next_providers_turn_and_the_callers_when_there_is_none(
    open_world: OpenWorld, named: Sequence[tuple[str, str]], told: str
) -> None:
    async with open_world(one=RawUpstream([refusal(429, headers=named)]), two=Good(), idle=KEPT) as world:
        reply = await world.ask()
        assert_moved_on(world, reply, "429")
        assert reply.header("retry-after") is None
        alone = await world.ask("one")
        assert_failed(alone, 429, "rate_limit_exceeded", "rate_limited", labels=("429",))
        assert alone.header("retry-after") == told
        assert alone.header("x-should-retry") == ("false" if told == "60" else None)
        assert alerts(world) == []


@pytest.mark.fault("F18")
async def test_of_several_rate_limits_the_caller_is_told_the_soonest(open_world: OpenWorld) -> None:
    limits = {
        name: RawUpstream([refusal(429, headers=[("retry-after", after)])])
        for name, after in (("one", "20"), ("two", "3"), ("three", "soon"))
    }
    async with open_world(**limits, idle=["one", "two", "three"]) as world:
        reply = await world.ask()
        assert_failed(reply, 429, "rate_limit_exceeded", *["rate_limited"] * 3, labels=("429",) * 3)
        assert reply.header("retry-after") == "3"


MONEY = {
    "429 insufficient_quota": (429, {"message": "You exceeded your quota.", "code": "insufficient_quota"}),
    "429 billing_not_active": (429, {"message": "Not active.", "type": "billing_not_active"}),
    "402": (402, {"message": "Payment required."}),
}


@pytest.mark.fault("F19")
@pytest.mark.parametrize(("status", "error"), MONEY.values(), ids=MONEY)
async def test_an_empty_account_is_the_next_providers_turn_and_the_operators_business(
    open_world: OpenWorld, status: int, error: dict[str, str]
) -> None:
    async with open_world(one=RawUpstream([refusal(status, error)]), two=Good(), idle=KEPT) as world:
        assert_moved_on(world, await world.ask(), str(status))
        assert alerts(world) == ["quota"]
        alone = await world.ask("one")
        assert_alone(alone, "quota", label=str(status))
        assert alone.header("x-should-retry") == "false"


OURS = {401: "auth", 403: "auth", 404: "not_found"}


@pytest.mark.fault("F20")
@pytest.mark.parametrize(("status", "outcome"), OURS.items())
async def test_our_own_key_or_url_at_fault_is_the_next_providers_turn_and_the_operators_business(
    open_world: OpenWorld, status: int, outcome: str
) -> None:
    async with open_world(one=RawUpstream([refusal(status)]), two=Good(), idle=KEPT) as world:
        assert_moved_on(world, await world.ask(), str(status))
        assert alerts(world) == [outcome]
        assert_alone(await world.ask("one"), outcome, label=str(status))


@pytest.mark.fault("F20")
@pytest.mark.parametrize("status", [401, 403])
async def test_the_callers_own_vllm_key_at_fault_is_the_callers_401_and_nobody_elses_turn(
    open_world: OpenWorld, status: int
) -> None:
    refusing = RawUpstream([refusal(status, {"message": "Wrong key.", "code": "invalid_api_key"})])
    async with open_world(vllm=refusing, two=Good(), idle=["two"]) as world:
        key = world.plant("vllm-caller")
        mine = {"x-opengateway-vllm-endpoint": refusing.url, "x-opengateway-vllm-api-key": key}
        reply = await world.ask(headers=mine)
        assert (reply.status, reply.error["code"]) == (401, "invalid_api_key"), reply.body
        assert reply.error["message"] == "Wrong key."
        assert reply.header("x-opengateway-attempts") == "1"
        assert reply.header("x-opengateway-provider") == "vllm"
        assert world.calls() == {"vllm": 1, "two": 0}
        assert alerts(world) == []


@pytest.mark.fault("F21")
@pytest.mark.parametrize("status", [400, 422])
async def test_a_fault_of_the_callers_is_the_callers_400(open_world: OpenWorld, status: int) -> None:
    error = {"message": "Bad messages.", "type": "invalid_request_error", "param": "messages", "code": "bad"}
    async with open_world(one=RawUpstream([refusal(status, error)]), two=Good(), idle=KEPT) as world:
        reply = await world.ask()
        assert reply.status == 400
        assert reply.error.items() >= error.items()
        assert reply.header("x-opengateway-attempts") == "1"
        assert reply.header("x-opengateway-provider") == "one"
        assert [timed.label for timed in reply.timings] == [str(status)]
        assert world.calls() == {"one": 1, "two": 0}
        assert alerts(world) == []


@pytest.mark.fault("F21")
async def test_faults_of_callers_never_move_the_provider_back(open_world: OpenWorld, case: Case) -> None:
    answers = [[refusal(400)] for _ in range(10)]
    async with open_world(one=RawUpstream(*answers, [good(case.mode)]), two=Good(), idle=KEPT) as world:
        for _ in answers:
            assert (await world.ask()).status == 400
        assert (await world.ask()).header("x-opengateway-provider") == "one"
        assert world.calls() == {"one": 11, "two": 0}


PROXIES = {
    "empty": http_response(400),
    "HTML": http_response(400, b"<html><body>Bad Request</body></html>", {"content-type": "text/html"}),
    "HTML that says JSON": http_response(400, b"<!doctype html><p>Bad Request</p>", JSON),
}


@pytest.mark.fault("F22")
@pytest.mark.parametrize("answer", PROXIES.values(), ids=PROXIES)
async def test_a_400_of_a_proxy_in_front_is_the_next_providers_turn(open_world: OpenWorld, answer: bytes) -> None:
    async with open_world(one=RawUpstream([answer]), two=Good(), idle=KEPT) as world:
        assert_moved_on(world, await world.ask(), "400")
        alone = await world.ask("one")
        assert_alone(alone, "invalid_answer", label="400")
        assert b"html" not in alone.body


@pytest.mark.fault("F23")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_never_followed(open_world: OpenWorld, status: int, case: Case) -> None:
    async with RawUpstream([good(case.mode)]) as canary:
        for location in (f"{canary.url}/v1/chat/completions", "http://169.254.169.254/latest/meta-data/"):
            redirecting = RawUpstream([http_response(status, b"", {"location": location})])
            async with open_world(one=redirecting, two=Good(), idle=KEPT) as world:
                reply = await world.ask()
                assert_moved_on(world, reply, str(status))
                assert reply.header("location") is None
                assert alerts(world) == ["redirect"]
                assert_alone(await world.ask("one"), "redirect", label=str(status))
                assert len(redirecting.requests) == 2
        assert canary.connections == 0
