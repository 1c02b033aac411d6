"""Section 8: the defaults as a table, and settings that cannot work.

What each default does is shown where a request meets it: in the other files of this section, and of sections 1 and 2.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from ogw_asgi import Breaker, ConfigurationError, Gateway, Limits, OpenAICompatible, Timeouts
from ogw_asgi.testing import ScriptedUpstream, chat

from .checks import refusal
from .harness import gateway_of

KIB, MIB = 1 << 10, 1 << 20


@pytest.mark.contract("8.first-chunk", "8.answer", "8.connect", "8.idle-tail", "8.off", "8.retry", "8.concurrency")
@pytest.mark.contract("8.upstream-stream-time")
def test_the_times_out_of_the_box() -> None:
    assert asdict(Timeouts()) == {
        "first_chunk_s": 30,
        "answer_s": 600,
        "header_max_s": 3600,
        "connect_s": 3,
        "idle_s": 60,
        "tail_s": 5,
        "total_s": None,
        "hedge_after_s": None,
        "heartbeat_s": None,
        "send_s": 60,
        "retry_wait_max_s": 5,
        "slot_wait_s": 1,
        "upload_stall_s": 10,
        "stream_max_s": 3600,
        "authenticate_s": 10,
    }


@pytest.mark.contract("8.attempts", "8.concurrency", "8.body-limit", "8.header-limit", "8.messages-limit")
@pytest.mark.contract("8.structure-limit", "8.upstream-head", "8.upstream-event", "8.upstream-answer")
@pytest.mark.contract("8.upstream-stream-bytes", "8.in-flight")
def test_the_sizes_and_counts_out_of_the_box() -> None:
    assert asdict(Limits()) == {
        "attempts": 5,
        "sequence_items": 16,
        "concurrency": 1000,
        "in_flight": 10_000,
        "body_bytes": 16 * MIB,
        "upload_bytes_per_s": 16 * KIB,
        "header_bytes": 8 * KIB,
        "messages": 10_000,
        "json_depth": 128,
        "json_structure": 10**6,
        "upstream_head_bytes": 64 * KIB,
        "upstream_event_bytes": MIB,
        "upstream_answer_bytes": 32 * MIB,
        "upstream_stream_bytes": 256 * MIB,
        "held_events": 64,
        "held_bytes": 64 * KIB,
        "held_comment_bytes": 4 * KIB,
    }


@pytest.mark.contract("8.names")
@pytest.mark.anyio
@pytest.mark.parametrize("name", ["a", "0", "a_b.c-d", "groq", "x" * 64, "9lives"])
async def test_a_good_name_can_be_asked_for(name: str) -> None:
    upstreams: dict[str, Any] = {name: ScriptedUpstream(chat())}
    async with gateway_of(**upstreams) as world:
        reply = await world.post(headers={"x-opengateway-failover-sequence": f'["{name}"]'})
        assert (reply.status_code, reply.headers["x-opengateway-provider"]) == (201, name)


@pytest.mark.contract("8.names")
@pytest.mark.parametrize(
    "name", ["", "A", "openAI", "-a", "_a", ".a", "a/b", "a b", "a\n", "gr\u00fcn", "x" * 65, 'a"', "a,b"]
)
def test_a_bad_name_is_a_configuration_error(name: str) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        OpenAICompatible(name, base_url="http://up.test/v1")


@pytest.mark.contract("8.names")
def test_a_name_that_stands_twice_is_a_configuration_error() -> None:
    twice = [OpenAICompatible("groq", base_url="http://up.test/v1") for _ in range(2)]
    with pytest.raises(ConfigurationError, match="groq"):
        Gateway(providers=twice)


@pytest.mark.contract("8.breaker")
@pytest.mark.parametrize(
    ("breaker", "expected"),
    [
        (Breaker(failures=0), "failures: expected a positive integer"),
        (Breaker(failures=True), "failures: expected a positive integer"),
        (Breaker(open_s=0), "open_s: expected a positive number of seconds"),
        (Breaker(open_max_s=float("inf")), "open_max_s: expected a positive number of seconds"),
        (Breaker(open_s=30), "open_max_s: expected at least open_s"),
        ({"failures": 5}, r"expected Breaker\(...\)"),
    ],
)
def test_a_breaker_that_cannot_work_is_a_configuration_error(breaker: Any, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=f"breaker: {expected}"):
        Gateway(breaker=breaker)
    Gateway(breaker=Breaker(failures=1, open_s=20, open_max_s=20))


@pytest.mark.contract("2.hedge-after.hedges")
@pytest.mark.parametrize("hedge_after_s", ["95", "p100", "p49", "p9.5", "p95 ", "", 0, -1, True])
def test_a_time_to_hedge_is_seconds_or_a_quantile(hedge_after_s: Any) -> None:
    with pytest.raises(ConfigurationError, match="hedge_after_s: expected"):
        Gateway(timeouts=Timeouts(hedge_after_s=hedge_after_s))
    Gateway(timeouts=Timeouts(hedge_after_s="p95"))


@pytest.mark.contract("8.off")
@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/", "/status", "/health", "/metrics", "/opengateway", "/v1/status"])
async def test_there_is_no_status_page(path: str) -> None:
    async with gateway_of(openai=ScriptedUpstream(chat())) as world:
        assert refusal(await world.client.get(path), 404)["code"] == "unknown_url"
        assert world.calls() == []
