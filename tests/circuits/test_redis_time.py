"""Workers in time: what is heard later, probes, recovery, and clocks that are wrong. The loop's clock leaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from ogw_asgi import Breaker
from ogw_asgi.circuits import shared
from ogw_asgi.circuits.redis import AGAIN_S
from ogw_asgi.testing import chat, error, hang, hold

from .redis_server import RedisServer, redis_server
from .test_redis_faults import BREAKING, command, lines
from .workers import Clock, worker

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patient")]

LONG = Breaker(failures=1, open_s=60, open_max_s=60)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def anyio_backend(clock: Clock) -> Any:
    return clock.backend


@pytest.mark.contract("4.shared.heard")
async def test_what_others_find_out_is_heard_within_a_second(server: RedisServer, clock: Clock) -> None:
    async with worker(server.url, error(500)) as one, worker(server.url, chat("from a")) as two:
        assert await two.ask() == "a"
        assert await one.ask() == "b"
        clock.jump(1.1)
        assert await two.ask() == "b"
        assert two.calls == 1


@pytest.mark.contract("4.shared.heard")
async def test_one_worker_probes_and_both_are_glad(server: RedisServer, clock: Clock) -> None:
    async with worker(server.url, error(500), chat("from a")) as one, worker(server.url, chat("from a")) as two:
        assert [await one.ask(), await two.ask()] == ["b", "b"]
        clock.jump(6.3)
        server.clock_jumps(6.3)
        assert [await one.ask(), await one.ask()] == ["a", "a"], "two probes that succeed close it"
        assert one.changes == ["open", "half_open", "closed"]
        clock.jump(1.1)
        assert await two.ask() == "a"
        assert two.changes == ["open", "closed"]
        clock.jump(1.1)
        assert await two.ask() == "a", "and it stays so"
        assert two.changes == ["open", "closed"]


@pytest.mark.contract("4.shared.probe", "4.breaker.first")
async def test_of_two_workers_at_once_one_has_the_probe_and_the_other_asks_somebody_else(
    server: RedisServer, clock: Clock
) -> None:
    gate = anyio.Event()
    back = hold(chat("from a"), until=gate)
    async with worker(server.url, error(500), back) as one, worker(server.url, chat("from a")) as two:
        assert [await one.ask(), await two.ask()] == ["b", "b"]
        clock.jump(6.3)
        server.clock_jumps(6.3)
        await two.ask("b")  # two has heard that nobody probes, and will not hear anything for a second
        async with anyio.create_task_group() as group:
            group.start_soon(one.ask, "a")
            await one.a.wait_for_requests(2)
            assert await two.ask() == "b"
            assert two.calls == 0
            assert await two.ask("a") == "a", "the first attempt of a request always goes out"
            assert two.calls == 1
            gate.set()


@pytest.mark.contract("4.breaker.wakes", "4.shared.heard")
async def test_whoever_waits_at_a_provider_moves_on_when_another_worker_finds_it_dead(
    server: RedisServer, clock: Clock
) -> None:
    async with worker(server.url, error(500)) as one, worker(server.url, hang()) as two:
        answers: list[str] = []

        async def ask() -> None:
            answers.append(await two.ask())

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await two.a.wait_for_requests(1)
            assert await one.ask() == "b"
            clock.jump(1.1)
            assert await two.ask() == "b"
        assert answers == ["b"]


@pytest.mark.contract("4.shared.lease")
@pytest.mark.fault("P03")
async def test_the_lease_of_a_worker_that_says_nothing_more_runs_out(server: RedisServer, clock: Clock) -> None:
    async with worker(server.url, error(500), hang()) as one, worker(server.url, chat("from a")) as two:
        assert [await one.ask(), await two.ask()] == ["b", "b"]
        clock.jump(6.3)
        server.clock_jumps(6.3)
        async with anyio.create_task_group() as group:
            group.start_soon(one.ask)
            await one.a.wait_for_requests(2)
            clock.jump(1.1)
            assert [await two.ask(), two.calls] == ["b", 0]
            clock.jump(40)
            server.clock_jumps(40)
            assert [await two.ask(), two.calls] == ["a", 1]
            group.cancel_scope.cancel()


@pytest.mark.contract("4.shared.clock")
@pytest.mark.fault("P05")
@pytest.mark.parametrize("hours", [1, -1], ids=["an hour on", "an hour back"])
async def test_the_clock_of_redis_moves_no_breaker_and_no_cooldown(
    server: RedisServer, clock: Clock, hours: int
) -> None:
    async with worker(server.url, error(500)) as one, worker(server.url, chat("from a")) as two:
        assert [await one.ask(), await two.ask()] == ["b", "b"]
        (before,) = await two.store.read([("a", "some-model")], anyio.current_time())
        server.clock_jumps(3600 * hours)
        clock.jump(1.1)
        assert [await one.ask(), await two.ask(), two.calls] == ["b", "b", 0]
        (after,) = await two.store.read([("a", "some-model")], anyio.current_time())
        assert after.phase == "open"
        assert after.since_s + after.open_s <= before.since_s + before.open_s + 1.2
        # And they go on hearing each other.
        clock.jump(6.3)
        server.clock_jumps(6.3)
        assert [await two.ask(), await two.ask()] == ["a", "a"]
        clock.jump(1.1)
        assert await one.ask() == "b", "its own a still fails"
        assert one.changes[:2] == ["open", "closed"]


CURES: dict[str, Callable[[RedisServer], None]] = {
    "paused": RedisServer.go_on,
    "forbidden": command("ACL", "SETUSER", "default", "+evalsha", "+eval"),
    "full": command("CONFIG", "SET", "maxmemory", 0),
    "a replica": command("REPLICAOF", "NO", "ONE"),
    "another's": lambda server: server.ask("FLUSHALL"),
}


@pytest.mark.contract("4.shared.answered")
@pytest.mark.fault("P04")
@pytest.mark.parametrize("fault", CURES)
async def test_after_five_seconds_one_asks_and_when_redis_is_back_it_hears_what_it_has_missed(
    clock: Clock, fault: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "PATIENCE_S", 0.05)
    with redis_server() as server:
        async with worker(server.url, error(500), breaker=LONG) as one, worker(server.url, chat("from a")) as two:
            BREAKING[fault](server)
            for _ in range(3):
                assert await one.ask() == "b"
            asked = one.link.asked
            clock.jump(AGAIN_S + 0.1)
            for _ in range(3):
                assert await one.ask() == "b"
            assert one.link.asked == asked + 1, "once in five seconds"
            CURES[fault](server)
            monkeypatch.setattr(shared, "PATIENCE_S", 5.0)
            clock.jump(AGAIN_S + 0.1)
            for _ in range(3):
                assert await one.ask() == "b"
            said = lines(caplog)
            assert said[1:] == ["redis_back"], said
            assert [await two.ask(), two.calls] == ["b", 0]
