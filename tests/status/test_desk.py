"""What is told of all that may happen to requests, and of the gateway itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from ogw_asgi import VLLM, Breaker, Gateway, OpenAI, RequestRejected, Timeouts, allow_anyone, bearer_tokens
from ogw_asgi._front import desk_of
from ogw_asgi._status.desk import Desk
from ogw_asgi._status.recent import MOST_RECENT, MOST_TARGETS, Recent
from ogw_asgi._status.snapshot import Counts, Snapshot, Tile
from ogw_asgi._status.verdict import verdict
from ogw_asgi.telemetry.events import AttemptStarted, RequestEnded, RequestStarted
from ogw_asgi.testing import asgi_client, chat, error, hang, stream
from tests.asgi.hosts import QUESTION, STREAMED
from tests.canaries import found_in
from tests.telemetry.scenes import BREAKS, STALLS, World, busy, world

pytestmark = pytest.mark.anyio

WALL_S = 1_790_000_000.0


class Clock:
    """Stands still but when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Watched:
    """A gateway with a desk."""

    def __init__(self, world: World, desk: Desk, clock: Clock) -> None:
        self.world = world
        self.desk = desk
        self.clock = clock

    async def look(self, *, later_s: float = 1.0) -> Snapshot:
        """A new one."""
        self.clock.now_s += later_s
        return await self.desk.look()

    async def tile(self, provider: str) -> Tile:
        (found,) = [tile for tile in (await self.look()).targets if tile.provider == provider]
        return found


@asynccontextmanager
async def watched(**options: Any) -> AsyncIterator[Watched]:
    clock = Clock()
    recent = Recent(clock, lambda: WALL_S)
    async with world(recent, **options) as one:
        yield Watched(one, desk_of(one.gateway, recent), clock)


async def test_before_anybody_has_asked_each_provider_has_a_tile_that_says_so() -> None:
    async with watched() as one:
        found = await one.look()
        assert [(tile.provider, tile.kind, tile.model, tile.where, tile.health) for tile in found.targets] == [
            ("openai", "openai", None, "api.openai.com:443", "idle"),
            ("vllm", "vllm", None, "gpu.internal:8000", "idle"),
        ]
        assert all(tile.sparkline == (None,) * 24 for tile in found.targets)
        assert (found.requests.ended, found.requests.per_second, found.in_flight) == (0, 0.0, 0)
        assert (found.failovers, found.running, found.recent) == ((), (), ())
        assert (found.overhead.own, found.overhead.upstream) == (None, None)
        assert found.sharing == "own"
        assert found.uptime_s == 1.0


async def test_a_failover_is_told_on_both_tiles_between_them_and_as_a_request() -> None:
    async with watched() as one:
        assert await one.world.ask({**QUESTION, "stream": True}) == 201
        found = await one.look()
        failing, well = found.targets
        assert (failing.model, failing.health, failing.five_minutes) == ("gpt-4o", "cooling", Counts(server_error=1))
        assert failing.last_error is not None
        assert (failing.last_error.error_type, failing.last_error.outcome) == ("503", "overloaded")
        assert failing.last_error.age_s == 1.0
        assert (well.health, well.one_minute, well.last_error) == ("ok", Counts(ok=1), None)
        assert well.first_chunk is not None
        assert well.first_chunk.count == 1
        assert well.answer is None
        (edge,) = found.failovers
        assert (edge.before, edge.after, edge.count, edge.total) == ("openai", "vllm", 1, 1)
        assert edge.reasons == (("overloaded", 1),)
        (line,) = found.recent
        assert (line.outcome, line.status, line.provider, line.sequence) == ("ok", 201, "vllm", ("openai", "vllm"))
        assert (line.began_at_s, line.stream, line.model) == (WALL_S, True, "gpt-4o")
        assert [(part.provider, part.end, part.label, part.reason) for part in line.segments] == [
            ("openai", "failed", "503", "first"),
            ("vllm", "complete", "200", "failover"),
        ]
        assert line.segments[1].first_chunk_ms is not None
        assert (found.requests.ok, found.requests.after_failover, found.requests.ended) == (1, 1, 1)
        assert found.overhead.own is not None
        assert found.overhead.upstream is not None


async def test_answers_in_one_piece_are_told_apart_from_first_chunks() -> None:
    async with watched(scripts={"openai": chat()}) as one:
        await one.world.ask()
        tile = await one.tile("openai")
        assert tile.first_chunk is None
        assert tile.answer is not None
        assert tile.answer.count == 1
        assert [spark is not None for spark in tile.sparkline] == [False] * 23 + [True]
        await one.world.ask()
        assert (await one.tile("openai")).sparkline[-1] is not None
    async with watched(scripts={"openai": stream(["a"])}) as one:
        await one.world.ask(STREAMED)
        tile = await one.tile("openai")
        assert [spark is not None for spark in tile.sparkline] == [False] * 23 + [True], "both are in it"


FAILURES: list[tuple[Any, Counts, str]] = [
    (error(429), Counts(rate_limited=1), "429"),
    (error(500), Counts(server_error=1), "500"),
    (error(400), Counts(refused=1), ""),
    (error(401), Counts(other=1), "401"),
    (BREAKS, Counts(other=1), "stream_truncated"),
]


@pytest.mark.parametrize(("script", "counts", "error_type"), FAILURES)
async def test_each_failure_is_counted_for_what_it_is(script: Any, counts: Counts, error_type: str) -> None:
    async with watched(scripts={"openai": script}) as one:
        await one.world.ask(STREAMED)
        tile = await one.tile("openai")
        assert tile.five_minutes == counts
        assert (tile.last_error.error_type if tile.last_error else "") == error_type
        assert tile.in_flight == 0


async def test_nothing_in_time_and_silence_after_it_are_both_a_timeout() -> None:
    scripts = {"openai": hang(), "vllm": chat()}
    async with watched(scripts=scripts, timeouts=Timeouts(first_chunk_s=0.02)) as one:
        await one.world.ask(STREAMED)
        assert (await one.tile("openai")).five_minutes == Counts(timeout=1)
    async with watched(scripts={"openai": STALLS}, timeouts=Timeouts(idle_s=0.02)) as one:
        await one.world.ask(STREAMED)
        assert (await one.tile("openai")).five_minutes == Counts(timeout=1)


async def test_a_model_that_only_a_caller_knows_is_that_callers_mistake() -> None:
    unknown = error(404, code="model_not_found")
    async with watched(scripts={"openai": unknown}) as one:
        await one.world.ask({**QUESTION, "model": "gpt-99"})
        assert (await one.tile("openai")).five_minutes == Counts(refused=1)
    async with watched(scripts={"openai": unknown}) as one:
        await one.world.ask({**QUESTION, "model": "gpt-4o"})
        assert (await one.tile("openai")).five_minutes == Counts(other=1)


async def test_a_breaker_that_opens_says_when_it_is_probed_and_one_on_probation_that_it_is() -> None:
    script = {"openai": [error(500), hang()], "vllm": chat()}
    async with watched(scripts=script, breaker=Breaker(failures=1, open_s=0.01, open_max_s=0.01)) as one:
        await one.world.ask()
        tile = await one.tile("openai")
        assert (tile.health, tile.circuit, tile.circuit_of) == ("open", "open", "model")
        assert tile.probe_in_s is not None
        assert 0 <= tile.probe_in_s <= 0.0125
        while (await one.tile("openai")).probe_in_s:
            await anyio.lowlevel.checkpoint()
        async with anyio.create_task_group() as group:
            group.start_soon(one.world.ask)
            await one.world.upstreams["openai"].wait_for_requests(2)
            tile = await one.tile("openai")
            assert (tile.health, tile.circuit, tile.probe_in_s, tile.in_flight) == ("probing", "half_open", None, 1)
            group.cancel_scope.cancel()


async def test_a_target_that_asks_for_patience_says_for_how_long() -> None:
    async with watched(scripts={"openai": error(429, headers=[(b"retry-after", b"30")]), "vllm": chat()}) as one:
        await one.world.ask()
        tile = await one.tile("openai")
        assert tile.health == "cooling"
        assert tile.cooling_s is not None
        assert 29 < tile.cooling_s <= 30
        await one.world.ask()
        (edge,) = (await one.look()).failovers
        assert edge.reasons == (("rate_limited", 1), ("cooling_down", 1))
        await one.world.ask()
        found = await one.look()
        assert found.requests.after_failover == 3
        (edge,) = found.failovers
        assert edge.reasons == (("cooling_down", 2), ("rate_limited", 1)), "the most frequent first"
        (edge,) = (await one.look(later_s=300)).failovers
        assert (edge.count, edge.total, edge.reasons) == (0, 3, ())


async def test_it_recovers_first_and_is_well_a_minute_later_and_forgotten_after_five() -> None:
    async with watched(scripts={"openai": [error(500), chat()]}) as one:
        await one.world.ask()
        assert (await one.tile("openai")).health == "failing"
        await one.world.ask()
        assert (await one.tile("openai")).health == "recovering"
        one.clock.now_s = 1058
        assert (await one.tile("openai")).one_minute == Counts(ok=1, server_error=1)
        one.clock.now_s += 3
        tile = await one.tile("openai")
        assert (tile.health, tile.one_minute.total, tile.five_minutes) == ("ok", 0, Counts(ok=1, server_error=1))
        one.clock.now_s += 240
        tile = await one.tile("openai")
        assert (tile.health, tile.five_minutes, tile.answer) == ("idle", Counts(), None)
        assert tile.last_error is not None
        found = await one.look()
        assert (found.requests.ended, len(found.recent)) == (0, 2)


async def test_what_is_under_way_is_told_while_it_is() -> None:
    async with watched(scripts={"openai": error(500), "vllm": hang()}) as one:
        async with anyio.create_task_group() as group:
            group.start_soon(one.world.ask)
            await one.world.upstreams["vllm"].wait_for_requests(1)
            found = await one.look(later_s=2)
            (line,) = found.running
            assert (line.outcome, line.status, line.duration_ms) == ("running", None, 2000)
            assert [(part.end, part.duration_ms) for part in line.segments] == [("failed", 0), ("running", 2000)]
            assert (found.in_flight, [tile.in_flight for tile in found.targets]) == (1, [0, 1])
            assert (found.targets[1].health, found.recent) == ("silent", ())
            assert found.requests.left == 0
            group.cancel_scope.cancel()
        await one.world.ended.wait()
        found = await one.look()
        assert (found.in_flight, found.running) == (0, ())
        assert [(line.outcome, line.segments[1].end) for line in found.recent] == [("left", "left")]
        assert (found.targets[1].health, found.targets[1].five_minutes) == ("silent", Counts(unfinished=1))
        assert (found.requests.left, found.requests.ended) == (1, 1)


async def test_of_many_under_way_the_ten_longest_are_shown_and_all_are_counted() -> None:
    recent = Recent(Clock(), lambda: WALL_S)
    async with Gateway(providers=[OpenAI(api_key="k")], authenticate=allow_anyone, sinks=[recent]) as gateway:
        for serial in range(12):
            recent.on_event(RequestStarted(str(serial), serial, "m", True, None, ("openai",), {}))
        found = await desk_of(gateway, recent).look()
    assert [line.request_id for line in found.running] == [str(serial) for serial in range(10)]
    assert found.in_flight == 12


async def test_tiles_are_in_the_order_of_the_settings_and_of_their_models_and_callers_endpoints_come_last() -> None:
    recent = Recent(Clock(), lambda: WALL_S)
    vllm = VLLM(endpoint="http://127.0.0.1:1", allowed_endpoints=["http://127.0.0.1:2"])
    async with Gateway(providers=[OpenAI(api_key="k"), vllm], authenticate=allow_anyone, sinks=[recent]) as gateway:
        recent.on_event(RequestStarted("id", 1, "m", True, None, ("vllm", "openai"), {}))
        asked = [("vllm", "x", True), ("vllm", "b", False), ("openai", "m", False), ("vllm", "a", False)]
        for number, (provider, model, named) in enumerate(asked, 1):
            started = AttemptStarted("id", 1, number, provider, provider, model, "first", "h", 1, False, named)
            recent.on_event(started)
        found = await desk_of(gateway, recent).look()
    assert [(tile.provider, tile.model, tile.named) for tile in found.targets] == [
        ("openai", "m", False),
        ("vllm", "a", False),
        ("vllm", "b", False),
        ("vllm", None, True),
    ]


async def test_a_server_that_cannot_be_reached_is_open_for_every_model_asked_or_not() -> None:
    gone = OpenAI(api_key="k", base_url="http://127.0.0.1:1/v1")
    recent, unasked = Recent(Clock(), lambda: WALL_S), Recent(Clock(), lambda: WALL_S)
    gateway = Gateway(providers=[gone], breaker=Breaker(failures=1), authenticate=allow_anyone, sinks=[recent])
    async with gateway, asgi_client(gateway) as client:
        assert (await client.post("/chat/completions", json=QUESTION)).status_code == 502
        for told in (recent, unasked):
            (tile,) = (await desk_of(gateway, told).look()).targets
            assert (tile.health, tile.circuit, tile.circuit_of) == ("open", "open", "origin")
            assert tile.probe_in_s is not None


async def test_of_endpoints_that_callers_name_nothing_is_said_of_circuits() -> None:
    recent = Recent(Clock(), lambda: WALL_S)
    vllm = VLLM(endpoint="http://127.0.0.1:1", allowed_endpoints=["http://127.0.0.1:2"])
    gateway = Gateway(providers=[vllm], breaker=Breaker(failures=1), authenticate=allow_anyone, sinks=[recent])
    async with gateway, asgi_client(gateway) as client:
        await client.post("/chat/completions", json=QUESTION)
        recent.on_event(RequestStarted("id", -1, "m", True, None, ("vllm",), {}))
        recent.on_event(AttemptStarted("id", -1, 1, "vllm", "vllm", "m", "first", "127.0.0.1", 2, False, True))
        own, named = (await desk_of(gateway, recent).look()).targets
        assert (own.named, own.circuit) == (False, "open")
        assert (named.named, named.circuit, named.circuit_of, named.health) == (True, "closed", None, "silent")


async def test_the_gateways_own_time_is_told_apart_from_the_providers() -> None:
    recent = Recent(Clock(), lambda: WALL_S)
    async with Gateway(providers=[OpenAI(api_key="k")], authenticate=allow_anyone, sinks=[recent]) as gateway:
        recent.on_event(RequestStarted("id", 1, "m", True, None, ("openai",), {}))
        recent.on_event(RequestEnded("id", 1, "m", "ok", 201, "openai", (), 1000, True, None, overhead_s=0.01))
        found = (await desk_of(gateway, recent).look()).overhead
    assert found.own is not None
    assert found.upstream is not None
    assert found.own.p50_s == pytest.approx(0.01, rel=0.1)
    assert found.upstream.p50_s == pytest.approx(0.99, rel=0.1)


async def test_who_is_refused_at_the_door_counts_as_that_alone() -> None:
    async with watched() as one:
        assert await one.world.ask({"model": "gpt-4o"}) == 400
        found = await one.look()
        assert (found.requests.rejected, found.requests.ended, found.recent) == (1, 0, ())
        assert found.requests.per_second == 1.0


async def test_when_everybody_fails_that_is_counted() -> None:
    async with watched(scripts={"openai": error(500), "vllm": error(500)}) as one:
        await one.world.ask()
        found = (await one.look()).requests
        assert (found.exhausted, found.ok, found.ended, found.after_failover) == (1, 0, 1, 0)


@pytest.mark.parametrize(("script", "field"), [(error(400), "refused"), (BREAKS, "broken")])
async def test_how_a_request_ended_is_counted_for_what_it_is(script: Any, field: str) -> None:
    async with watched(scripts={"openai": script}) as one:
        await one.world.ask(STREAMED)
        found = (await one.look()).requests
        counts = {name: getattr(found, name) for name in ("ok", "exhausted", "broken", "refused", "left", "rejected")}
        assert {name: count for name, count in counts.items() if count} == {field: 1}
        assert found.ended == 1


async def test_how_many_come_in_is_told_of_the_last_seconds_and_at_first_of_the_first() -> None:
    async with watched(scripts={"openai": chat()}) as one:
        for _ in range(2):
            await one.world.ask()
        assert (await one.look(later_s=0)).requests.per_second == 2.0
        assert (await one.look(later_s=4)).requests.per_second == 0.5
        one.clock.now_s = 1100
        for _ in range(6):
            await one.world.ask()
        assert (await one.look(later_s=2)).requests.per_second == 6 / 12
        assert (await one.look(later_s=13)).requests.per_second == 0


async def test_a_stream_that_another_one_goes_on_with_is_a_failover() -> None:
    scripts = {"openai": BREAKS, "vllm": stream(["lo"])}
    async with watched(scripts=scripts, on_stream_break="continue") as one:
        assert await one.world.ask(STREAMED) == 201
        found = await one.look()
        (edge,) = found.failovers
        assert edge.reasons == (("stream_truncated", 1),)
        assert [part.end for part in found.recent[0].segments] == ["broken", "complete"]
        assert found.requests.after_failover == 1


async def test_tokens_are_told_where_a_provider_told_them() -> None:
    async with watched(scripts={"openai": chat("Hello there, all")}) as one:
        await one.world.ask()
        (line,) = (await one.look()).recent
        assert line.input_tokens is not None
        assert line.output_tokens == 3


async def test_whatever_happens_nothing_stays_under_way_and_all_is_counted_once() -> None:
    recent = Recent(Clock(), lambda: WALL_S)
    await busy(recent)
    assert not recent.running
    assert all(target.in_flight == 0 for target in recent.targets.values())
    attempts = sum(sum(target.window.sums(200)[:7]) for target in recent.targets.values())
    assert attempts == sum(len(line.segments) for line in recent.ended)
    assert sum(recent.requests.sums(200)[:5]) == len(recent.ended)
    assert all(part.end != "running" for line in recent.ended for part in line.segments)


async def test_viewers_share_one_snapshot_for_a_second() -> None:
    async with watched() as one:
        first = await one.look()
        one.clock.now_s += 0.99
        assert await one.desk.look() is first
        one.clock.now_s += 0.01
        second = await one.desk.look()
        assert (first.number, second.number) == (1, 2)
        assert second.settings is first.settings, "which cannot change"


async def test_models_that_callers_think_of_push_out_no_target_that_answers() -> None:
    scripts = {"openai": chat(), "vllm": error(404, code="model_not_found")}
    async with watched(scripts=scripts) as one:
        await one.world.ask({**QUESTION, "model": "a real one"})
        one.clock.now_s += 1
        alone = {"x-opengateway-failover-sequence": '["vllm"]'}
        for number in range(2 * MOST_TARGETS):
            await one.world.ask({**QUESTION, "model": f"thought of {number}"}, alone)
        found = await one.look()
        assert len(found.targets) == MOST_TARGETS
        assert ("openai", "a real one") in [(tile.provider, tile.model) for tile in found.targets]
        assert len(found.recent) == MOST_RECENT
        assert found.recent[0].model == f"thought of {2 * MOST_TARGETS - 1}"


async def test_a_callers_limit_of_a_millisecond_makes_no_target_look_ill() -> None:
    async with watched(scripts={"openai": [chat(), hang()]}) as one:
        await one.world.ask()
        assert await one.world.ask(STREAMED, {"x-opengateway-timeout": "1"}) == 504
        tile = await one.tile("openai")
        assert (tile.health, tile.five_minutes, tile.last_error) == ("ok", Counts(ok=1, unfinished=1), None)


async def test_a_model_that_a_caller_thinks_of_is_no_alarm_however_often_it_is_asked_for() -> None:
    async with watched(scripts={"openai": [chat(), *[error(404, code="model_not_found")] * 5]}) as one:
        await one.world.ask()
        for _ in range(5):
            await one.world.ask({**QUESTION, "model": "thought of"})
        found = await one.look()
        assert [(tile.model, tile.health) for tile in found.targets] == [("gpt-4o", "ok"), ("thought of", "open")]
        assert (verdict(found).troubled, verdict(found).title) == ((), "ok - ogw_asgi")


async def test_a_model_that_has_never_answered_and_fails_is_one() -> None:
    async with watched(scripts={"openai": [chat(), *[error(500)] * 5]}) as one:
        await one.world.ask()
        for _ in range(5):
            await one.world.ask({**QUESTION, "model": "new"})
        assert verdict(await one.look()).troubled == (1,)


async def test_a_target_that_is_passed_over_has_a_tile_though_nobody_here_has_asked_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ogw_asgi._status.recent.MOST_TARGETS", 1)
    alone = {"x-opengateway-failover-sequence": '["openai"]'}
    scripts = {"openai": [error(500), chat()], "vllm": chat()}
    async with watched(scripts=scripts, breaker=Breaker(failures=1, open_s=60, open_max_s=60)) as one:
        await one.world.ask({**QUESTION, "model": "down"}, alone)
        for model in ("up", "up, too"):
            await one.world.ask({**QUESTION, "model": model}, alone)
        found = [(tile.provider, tile.model, tile.health) for tile in (await one.look()).targets]
        assert found == [("openai", "up, too", "ok"), ("openai", "down", "open"), ("vllm", None, "idle")]


async def test_endpoints_that_callers_name_share_one_tile() -> None:
    recent = Recent(Clock(), lambda: WALL_S)
    gateway = Gateway(
        providers=[VLLM(allowed_endpoints=["http://127.0.0.1:1"])], authenticate=allow_anyone, sinks=[recent]
    )
    desk = desk_of(gateway, recent)
    async with gateway:
        (tile,) = (await desk.look()).targets
        assert (tile.named, tile.where, tile.model) == (True, None, None)


async def test_the_gateway_itself_is_told_without_its_secrets() -> None:
    async with watched(authenticate=bearer_tokens(["c4n4ry" * 8])) as one:
        found = await one.look()
        assert (found.loop in ("asyncio", "trio"), bool(found.version), bool(found.engine)) == (True, True, True)
        assert found.process > 0
        settings = {setting.name: (setting.value, setting.source) for setting in found.settings}
        assert settings["providers.openai.api_key"] == ("***", "code")
        assert settings["timeouts.total_s"] == ("none", "default")
        assert settings["timeouts.first_chunk_s"] == (f"{Timeouts().first_chunk_s:g}", "default")
        assert found_in(str(asdict(found))) is None


async def test_a_closed_gateway_has_nothing_to_show() -> None:
    async with watched() as one:
        await one.world.gateway.aclose()
        with pytest.raises(RequestRejected) as refused:
            await one.look()
        assert refused.value.code == "gateway_closed"
