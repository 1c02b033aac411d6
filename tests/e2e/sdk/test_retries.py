"""The SDK's own retries (two, out of the box): kept away where they are pointless, and told when to come where not."""

from __future__ import annotations

from itertools import pairwise

import openai
import pytest

from ogw_asgi.testing import Break, Script, ScriptedUpstream, chat, error, stream

from ..served import Served, ServeGateway
from .clients import Make, complete, listen, raised, sdk

pytestmark = pytest.mark.anyio

DEFAULT = openai.DEFAULT_MAX_RETRIES

HOPELESS: dict[str, dict[str, Script]] = {
    "a wrong key everywhere": {"openai": error(401, "Bad key."), "azure": error(401, "Bad key.")},
    "no money": {"openai": error(429, "Pay.", type="insufficient_quota", code="insufficient_quota")},
    "a request too large for the rate": {"openai": error(429, "Request too large for gpt-4o", type="tokens")},
    "a wait of minutes": {"openai": error(429, code="rate_limit_exceeded", headers={"retry-after": "600"})},
    "a moved address": {"openai": error(308, "Moved.")},
}


@pytest.mark.contract("6.envelope.should-retry")
@pytest.mark.parametrize("replies", [pytest.param(replies, id=name) for name, replies in HOPELESS.items()])
async def test_the_sdk_does_not_repeat_what_no_retry_cures(
    gateway_served: ServeGateway, make: Make, replies: dict[str, Script]
) -> None:
    providers = {name: ScriptedUpstream(reply) for name, reply in replies.items()}
    async with gateway_served(**providers) as served, sdk(make, served, max_retries=DEFAULT) as client:
        for arrivals, streamed in [(1, False), (2, True)]:
            failure = await raised(complete(client, stream=streamed))
            assert failure.status_code in (429, 502)
            assert failure.response.headers["x-should-retry"] == "false"
            assert len(served.arrivals) == arrivals
    assert sorted(served.calls()) == sorted([*replies, *replies])


@pytest.mark.contract("6.retry-after.ms", "1.rate-limited.soonest")
async def test_the_sdk_comes_back_at_the_soonest_time_that_a_provider_named(
    gateway_served: ServeGateway, make: Make
) -> None:
    first = ScriptedUpstream(error(429, headers={"retry-after-ms": "700"}), chat("second time"))
    second = ScriptedUpstream(error(429, headers={"retry-after": "7"}))
    async with gateway_served(openai=first, azure=second) as served, sdk(make, served, max_retries=DEFAULT) as client:
        heard = await listen(client)
    assert heard.text == "second time"
    (wait_s,) = waits_s(served)
    # Without our header the SDK would wait for 375 to 500 ms; the other provider asked for 7 s.
    assert 0.7 <= wait_s < 7
    assert [arrival.headers[b"x-stainless-retry-count"] for arrival in served.arrivals] == [b"0", b"1"]


@pytest.mark.contract("1.rate-limited")
async def test_a_rate_limit_that_lasts_is_raised_after_the_sdks_retries(
    gateway_served: ServeGateway, make: Make
) -> None:
    provider = ScriptedUpstream(error(429, code="rate_limit_exceeded", headers={"retry-after-ms": "20"}))
    async with gateway_served(openai=provider) as served, sdk(make, served, max_retries=DEFAULT) as client:
        failure = await raised(complete(client))
    assert isinstance(failure, openai.RateLimitError)
    assert failure.response.headers["retry-after-ms"] == "20"
    assert failure.response.headers["retry-after"] == "1"
    assert len(provider.requests) == 1 + DEFAULT
    assert all(wait_s >= 0.02 for wait_s in waits_s(served))


async def test_an_outage_of_all_is_repeated_by_the_sdk_and_cured_by_the_repetition(
    gateway_served: ServeGateway, make: Make
) -> None:
    first, second = ScriptedUpstream(error(503), chat("back")), ScriptedUpstream(error(500))
    async with gateway_served(openai=first, azure=second) as served, sdk(make, served, max_retries=DEFAULT) as client:
        assert (await complete(client)).parse().choices[0].message.content == "back"
        assert len(served.arrivals) == 2
    # The second time the first one is cooling down, so it is asked last.
    assert served.calls() == ["openai", "openai", "azure", "azure"]


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422])
async def test_a_refusal_of_the_request_is_not_repeated(gateway_served: ServeGateway, make: Make, status: int) -> None:
    code = {401: "invalid_api_key", 404: "model_not_found"}.get(status)
    provider = ScriptedUpstream(error(status, "No.", code=code))
    async with gateway_served(openai=provider) as served, sdk(make, served, max_retries=DEFAULT) as client:
        await raised(complete(client))
        assert len(served.arrivals) == 1
    assert len(provider.requests) == 1


async def test_failover_spares_the_sdk_every_retry(gateway_served: ServeGateway, make: Make) -> None:
    down = ScriptedUpstream(error(429, headers={"retry-after": "30"}), stream([Break()]))
    async with gateway_served(openai=down, azure=ScriptedUpstream(chat("at once"))) as served:
        async with sdk(make, served, max_retries=DEFAULT) as client:
            plain = (await complete(client)).parse().choices[0].message.content
            streamed = (await listen(client)).text
        assert len(served.arrivals) == 2
    assert plain == streamed == "at once"


def waits_s(served: Served) -> list[float]:
    """The times between what arrived at the gateway."""
    return [second.at_s - first.at_s for first, second in pairwise(served.arrivals)]
