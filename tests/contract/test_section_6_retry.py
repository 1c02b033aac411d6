"""Contract section 6: when, and whether, a client should come back after an error."""

from __future__ import annotations

import pytest

from ogw_asgi.testing import Reply, ScriptedUpstream, error, hang

from .harness import gateway_of

pytestmark = pytest.mark.anyio


@pytest.mark.contract("6.retry-after.range", "6.retry-after.ms")
@pytest.mark.parametrize(
    ("named", "seconds", "milliseconds"),
    [
        ({}, 5, 5000),
        ({"retry-after": "0"}, 1, 1),
        ({"retry-after": "1"}, 1, 1000),
        ({"retry-after": "20.5"}, 21, 20500),
        ({"retry-after-ms": "40"}, 1, 40),
        ({"retry-after": "60"}, 60, 60000),
        ({"retry-after": "61"}, 60, 60000),
        ({"retry-after": "86400"}, 60, 60000),
        ({"retry-after": "-3"}, 5, 5000),
        ({"retry-after": "nan"}, 5, 5000),
    ],
)
async def test_what_a_429_names_is_a_whole_number_of_seconds_with_the_milliseconds_beside_it(
    named: dict[str, str], seconds: int, milliseconds: int
) -> None:
    async with gateway_of(openai=ScriptedUpstream(error(429, headers=named))) as world:
        reply = await world.post()
    assert reply.status_code == 429
    assert reply.headers.get_list("retry-after") == [str(seconds)]
    assert reply.headers.get_list("retry-after-ms") == [str(milliseconds)]


@pytest.mark.contract("6.envelope.should-retry")
@pytest.mark.parametrize(
    ("openai", "azure", "status", "should_retry"),
    [
        # Passes within seconds, so SDKs decide for themselves.
        (error(500), error(500), 502, None),
        (error(401), error(500), 502, None),
        (hang(), hang(), 504, None),
        (error(429, headers={"retry-after": "60"}), error(429, headers={"retry-after": "90"}), 429, None),
        # Does not.
        (error(401), error(401), 502, "false"),
        (error(402), error(404), 502, "false"),
        (error(429, code="insufficient_quota"), error(403), 502, "false"),
        (error(429, headers={"retry-after": "61"}), error(429, headers={"retry-after": "3600"}), 429, "false"),
        (error(508, code="loop_detected"), error(500), 508, "false"),
        (error(404, code="model_not_found"), error(404, code="DeploymentNotFound"), 404, "false"),
    ],
)
async def test_clients_are_told_not_to_retry_what_will_not_pass(
    openai: Reply, azure: Reply, status: int, should_retry: str | None
) -> None:
    async with gateway_of(openai=ScriptedUpstream(openai), azure=ScriptedUpstream(azure)) as world:
        # Only silence needs a short limit; what says something is read to its end, however busy the machine is.
        limit = {"x-opengateway-timeout": "20"} if status == 504 else {}
        reply = await world.post(headers=limit)
    assert (reply.status_code, reply.headers.get("x-should-retry")) == (status, should_retry)


@pytest.mark.contract("6.envelope.should-retry")
async def test_without_a_provider_there_is_no_use_in_retrying() -> None:
    async with gateway_of() as world:
        reply = await world.post()
    assert (reply.status_code, reply.headers["x-should-retry"]) == (503, "false")
