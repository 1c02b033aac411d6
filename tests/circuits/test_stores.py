"""What every `CircuitStore` promises. A new store is one more entry in `STORES`; it is given a Redis of its own."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from ogw_asgi._rules.budget import RETRIES
from ogw_asgi._rules.circuit import CLOSED, Admitted, Cooled, Failed, Succeeded, transition
from ogw_asgi._values import Breaker
from ogw_asgi.circuits.base import CircuitStore
from ogw_asgi.circuits.memory import MOST, MemoryCircuits
from ogw_asgi.circuits.redis import RedisLink, read_place
from ogw_asgi.circuits.shared import SharedCircuits
from ogw_asgi.transports.dial import Dialer

from .redis_server import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patient")]

BREAKER = Breaker()


def memory() -> MemoryCircuits:
    return MemoryCircuits(BREAKER, jitter=lambda: 0.5)


def sharing(url: str) -> SharedCircuits:
    link = RedisLink(read_place(url, "redis_url"), Dialer().dial)
    return SharedCircuits(memory(), link, BREAKER, places={}, longest_lease_s=35.0)


STORES: dict[str, Callable[[RedisServer], CircuitStore]] = {
    "memory": lambda server: memory(),
    "shared": lambda server: sharing(server.url),
    "shared by nobody": lambda server: sharing("redis://127.0.0.1:1"),
}

A, B = ("a", "m"), ("b", "m")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, server: RedisServer) -> CircuitStore:
    return STORES[request.param](server)


async def trip(store: CircuitStore, key: tuple[str, ...], now_s: float = 0.0) -> None:
    await store.apply([(key, Failed(ticket)) for ticket in range(BREAKER.failures)], now_s)


async def test_what_was_never_heard_of_is_closed(store: CircuitStore) -> None:
    assert list(await store.read([A, B], 0.0)) == [CLOSED, CLOSED]


async def test_events_are_applied_in_order_and_the_states_before_and_after_come_back(store: CircuitStore) -> None:
    changes = await store.apply([(A, Failed(1)), (B, Cooled(3.0)), (A, Failed(2))], 10.0)
    one = transition(CLOSED, Failed(1), 10.0, BREAKER)
    two = transition(one, Failed(2), 10.0, BREAKER)
    cooled = transition(CLOSED, Cooled(3.0), 10.0, BREAKER)
    assert list(changes) == [(CLOSED, one), (CLOSED, cooled), (one, two)]
    assert list(await store.read([B, A], 10.0)) == [cooled, two]


async def test_what_is_known_may_be_looked_at(store: CircuitStore) -> None:
    assert dict(await store.known((), 0.0)) == {}
    await trip(store, A)
    seen = await store.known((), 0.0)
    assert list(seen) == [A]
    assert list(seen.values()) == list(await store.read([A], 0.0))
    await trip(store, B)
    assert list(seen) == [A], "as it was when it was looked at"


async def test_keys_do_not_meet(store: CircuitStore) -> None:
    await trip(store, A)
    assert [circuit.phase for circuit in await store.read([A, B, ("a",), ("a", "m", "more")], 0.0)] == [
        "open",
        "closed",
        "closed",
        "closed",
    ]


async def test_of_many_who_ask_at_once_one_is_the_probe(store: CircuitStore, server: RedisServer) -> None:
    await trip(store, A)
    server.clock_jumps(6.0)
    holders: list[int] = []

    async def ask(ticket: int) -> None:
        ((_, after),) = await store.apply([(A, Admitted(ticket, 35.0))], 6.0)
        if after.lease is not None and after.lease.ticket == ticket:
            holders.append(ticket)

    async with anyio.create_task_group() as group:
        for ticket in range(100, 150):
            group.start_soon(ask, ticket)
    assert len(holders) == 1


async def test_a_target_draws_on_its_own_bucket_and_on_the_gateways(store: CircuitStore) -> None:
    spent = [await store.draw(A, 0.0, spend=True) for _ in range(int(RETRIES.most) + 5)]
    assert spent == [True] * int(RETRIES.most) + [False] * 5
    assert not await store.draw(B, 0.0, spend=True), "the gateway's is empty, too"
    assert await store.draw(B, 0.5, spend=True), "3 a second"
    assert not await store.draw(B, 0.5, spend=True)


async def test_each_request_brings_a_tenth_of_a_token(store: CircuitStore) -> None:
    for _ in range(int(RETRIES.most)):
        await store.draw(A, 0.0, spend=True)
    assert [await store.draw(A, 0.0, spend=False) for _ in range(11)] == [True] * 11
    assert await store.draw(A, 0.0, spend=True)
    assert not await store.draw(A, 0.0, spend=True)


async def test_what_was_refused_costs_nothing(store: CircuitStore) -> None:
    for _ in range(int(RETRIES.most)):
        await store.draw(A, 0.0, spend=True)
    for _ in range(100):
        assert not await store.draw(B, 0.0, spend=True)
    assert await store.draw(B, 0.4, spend=True), "its own bucket is still full"


async def test_a_store_is_bounded_and_forgets_what_nobody_has_looked_at(store: CircuitStore) -> None:
    await trip(store, A)
    await trip(store, B)
    for number in range(MOST - 1):
        await store.apply([(("junk", str(number)), Failed(1))], 1.0)
        await store.draw(("junk", str(number)), 1.0, spend=False)
        await store.read([A], 1.0)
    assert [circuit.phase for circuit in await store.read([A, B], 1.0)] == ["open", "closed"]


async def test_memory_holds_at_most_so_many_of_each() -> None:
    store = MemoryCircuits(BREAKER, most=10)
    for number in range(100):
        await store.apply([((str(number), "m"), Succeeded(number, 0.0))], 1.0)
        await store.draw((str(number), "m"), 1.0, spend=False)
    assert len(store) == 20


async def test_a_clock_that_goes_back_takes_the_circuits_with_it(store: CircuitStore) -> None:
    await trip(store, A, 10_000.0)
    (opened,) = await store.read([A], 10_000.0)
    (seen,) = await store.read([A], 6_400.0)
    assert seen.since_s == pytest.approx(6_400.0, abs=1.0)
    assert seen.open_s == opened.open_s
    (later,) = await store.read([A], 6_403.0)
    assert later.since_s == seen.since_s, "once, and not with every look"
