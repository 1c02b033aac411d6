"""Two workers and one Redis: what one of them finds out, the other one knows."""

from __future__ import annotations

import pytest

from ogw_asgi.testing import chat, error

from .redis_server import RedisServer
from .workers import worker

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patient")]

LIMITED = error(429, headers=[("retry-after", "60")])


@pytest.mark.parametrize("way", ["url", "socket_url"])
async def test_nobody_calls_a_provider_that_another_worker_found_dead(server: RedisServer, way: str) -> None:
    url = getattr(server, way)
    async with worker(url, error(500)) as one, worker(url, chat("from a")) as two:
        assert [await one.ask(), await one.ask()] == ["b", "b"]
        assert await two.ask() == "b"
        assert (one.calls, two.calls) == (1, 0)
        assert (one.changes, two.changes) == (["open"], ["open"])


async def test_a_cooldown_holds_for_all_workers(server: RedisServer) -> None:
    async with worker(server.url, LIMITED) as one, worker(server.url, chat("from a")) as two:
        assert [await one.ask(), await two.ask()] == ["b", "b"]
        assert two.calls == 0


async def test_a_cooldown_says_nothing_of_a_breaker_that_is_open(server: RedisServer) -> None:
    async with worker(server.url, error(500)) as one, worker(server.url, LIMITED) as two:
        await two.ask("b")  # two has heard all there is
        assert await one.ask() == "b"
        assert await two.ask() == "b"
        async with worker(server.url, chat("from a")) as three:
            assert await three.ask() == "b"
            assert three.changes == ["open"]


async def test_what_goes_well_is_nobody_elses_business(server: RedisServer) -> None:
    async with worker(server.url, chat("from a")) as one:
        for _ in range(20):
            assert await one.ask() == "a"
        assert one.link.asked == server.calls() <= 3, "once a second, and no oftener"
        assert server.fields() == {}


async def test_workers_that_have_but_the_names_of_their_providers_in_common_do_not_meet(server: RedisServer) -> None:
    async with worker(f"{server.url}?namespace=red", error(500)) as one:
        await one.ask()
        async with worker(f"{server.url}?namespace=blue", chat("from a")) as two:
            assert await two.ask() == "a"
        async with worker(f"{server.url}?namespace=red", chat("from a")) as three:
            assert await three.ask() == "b"
    assert server.fields("ogw:{red}:circuits:1")
    assert not server.fields("ogw:{blue}:circuits:1")
