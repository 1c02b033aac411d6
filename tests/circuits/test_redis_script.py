"""What stands in Redis: how much, for how long, and what comes of anything else that somebody has put there."""

from __future__ import annotations

import json

import anyio
import pytest

from ogw_asgi._rules.circuit import Circuit, Cooled, Failed
from ogw_asgi._rules.standing import standing
from ogw_asgi.circuits._script import KEPT_MS, MOST
from ogw_asgi.testing import chat, error

from .redis_server import HASH, RedisServer
from .test_stores import A, sharing
from .workers import worker

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patient")]


async def seen(store_url: str, key: tuple[str, ...] = A) -> Circuit:
    """By somebody new."""
    (circuit,) = await sharing(store_url).read([key], anyio.current_time())
    return circuit


async def test_the_hash_is_bounded_and_everything_in_it_expires(server: RedisServer) -> None:
    store = sharing(server.url)
    for first in range(0, MOST + 100, 100):
        events = [((f"p{number}", "m"), Failed(1, for_s=30.0)) for number in range(first, first + 100)]
        await store.apply(events, anyio.current_time())
    assert len(server.fields()) == MOST
    assert (await seen(server.url, ("p1099", "m"))).phase == "open", "those that were said last are kept"
    assert KEPT_MS < server.ask("PTTL", HASH) <= 30_000 + KEPT_MS
    server.clock_jumps(30.1 + KEPT_MS / 1000)
    await seen(server.url)
    assert server.fields() == {}, "whoever comes by clears away what is over"


async def test_of_two_who_open_it_the_longer_time_counts_for_both(server: RedisServer) -> None:
    one, two = sharing(server.url), sharing(server.url)
    await one.apply([(A, Failed(1, for_s=60.0))], anyio.current_time())
    await two.apply([(A, Failed(1, for_s=20.0))], anyio.current_time())
    (longer,) = await two.read([A], anyio.current_time())
    assert 55 < longer.since_s + longer.open_s - anyio.current_time() <= 60
    third = await seen(server.url)
    assert 55 < third.since_s + third.open_s - anyio.current_time() <= 60


async def test_of_two_cooldowns_the_later_end_counts_for_both(server: RedisServer) -> None:
    one, two = sharing(server.url), sharing(server.url)
    await one.apply([(A, Cooled(60.0))], anyio.current_time())
    await two.apply([(A, Cooled(20.0))], anyio.current_time())
    for circuit in (*(await two.read([A], anyio.current_time())), await seen(server.url)):
        assert 55 < circuit.cooling_until_s - anyio.current_time() <= 60


async def test_what_was_found_out_while_redis_was_away_yields_to_what_others_found_out_later(
    server: RedisServer,
) -> None:
    late, other = sharing(server.url), sharing(server.url)
    now_s = anyio.current_time()
    late._note(A, now_s - 30)  # it opened half a minute ago, and nobody could be told
    late._memory.put(A, Circuit(phase="open", seen_s=now_s - 30, since_s=now_s - 30, open_s=60.0, trips=1))
    await other.apply([(A, Failed(1, for_s=20.0))], now_s)
    server.clock_jumps(10)
    await late.read([A], now_s)
    third = await seen(server.url)
    assert third.since_s + third.open_s - now_s < 15, "ten of twenty seconds are left, and not thirty"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "1 9999999999999 {}",
        "1 9999999999999 {",
        "1 9999999999999 []",
        "1 9999999999999 7",
        '1 9999999999999 {"phase": "ajar", "by": "x"}',
        '1 9999999999999 {"phase": "open", "open": "x", "by": "x"}',
        '1 9999999999999 {"phase": "open", "open": 1e300, "since": -1e300, "trips": 1e300, "by": "x"}',
        '9999999999998 9999999999999 {"phase": "half_open", "lease": 9999999999999, "holder": "x", "by": "x"}',
    ],
)
async def test_whatever_stands_in_the_hash_every_caller_is_answered(server: RedisServer, value: str) -> None:
    async with worker(server.url, error(500)) as one:
        await one.ask()
    for name in server.fields():
        server.ask("HSET", HASH, name, value)
    async with worker(server.url, error(500), chat("from a")) as two:
        assert [await two.ask(), await two.ask(), await two.ask("a", "b")] == ["b"] * 3


async def test_what_the_script_writes_is_read_by_those_who_look(server: RedisServer) -> None:
    await sharing(server.url).apply([(A, Failed(1, for_s=30.0))], anyio.current_time())
    ((name, value),) = server.fields().items()
    noted, dies, said = value.split(" ", 2)
    assert name.startswith("a:")
    assert int(dies) - int(noted) == 30_000 + KEPT_MS
    assert json.loads(said)["phase"] == "open"


FAR_MS = 99_999_999_999_999


def forge(server: RedisServer, said: object, *, noted: int | None = None) -> None:
    """Somebody writes of `A` what they like."""
    now_ms = int(server.ask("TIME")[0]) * 1000
    text = said if isinstance(said, str) else json.dumps(said)
    server.ask("HSET", HASH, sharing(server.url)._called(A), f"{now_ms if noted is None else noted} {FAR_MS} {text}")


@pytest.mark.parametrize(
    "said",
    [
        {"phase": "open", "open": FAR_MS},
        {"phase": "half_open", "holder": "somebody", "lease": FAR_MS},
        {"cool": FAR_MS},
        {"phase": "open", "open": FAR_MS, "at": FAR_MS, "since": FAR_MS, "trips": 1_000_000},
    ],
    ids=["open", "leased", "cooling", "from the future"],
)
async def test_nobody_who_can_write_there_keeps_a_target_out_for_longer_than_a_worker_could(
    server: RedisServer, said: object
) -> None:
    forge(server, said)
    circuit = await seen(server.url)
    assert standing([circuit], anyio.current_time()).state == "wait"
    assert 0 < server.ask("PTTL", HASH) <= 300_000 + KEPT_MS + 1000
    server.clock_jumps(200)
    await seen(server.url)
    server.clock_jumps(101)
    circuit = await seen(server.url)
    assert standing([circuit], anyio.current_time()).state != "wait", "counted from when it was written"
    server.clock_jumps(1 + KEPT_MS / 1000)
    await seen(server.url)
    assert server.fields() == {}


@pytest.mark.parametrize(
    "said",
    [
        {"at": "x"},
        {"open": {}},
        {"cool": "x"},
        '{"at": 1e400}',
        '{"open": null}',
        {"phase": 5},
        {"phase": "ajar"},
        {"holder": {}, "phase": "half_open", "lease": 1},
        {"trips": "x"},
        {"silent": True},
        {"since": -1},
        {"by": ["x"]},
    ],
)
async def test_what_no_worker_would_have_said_counts_as_nothing_and_harms_nobodys_word(
    server: RedisServer, said: object
) -> None:
    forge(server, said)
    one, two = sharing(server.url), sharing(server.url)
    (circuit,) = await one.read([A], anyio.current_time())
    assert circuit.phase == "closed"
    await one.apply([(A, Failed(1, for_s=60.0))], anyio.current_time())
    (heard,) = await two.read([A], anyio.current_time())
    assert heard.phase == "open", "both are still heard"
