"""Names to addresses: who asks the system, how often, in whose threads, and what is remembered."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
import trio
from anyio.lowlevel import EventLoopToken, current_token

from ogw_asgi.transports import _resolver
from ogw_asgi.transports._resolver import Address, Resolver
from ogw_asgi.transports.base import TransportFailure

pytestmark = pytest.mark.anyio

Answer = Sequence[tuple[Any, ...]] | Exception
THREAD = "ogw_asgi-resolver"


def v4(ip: str) -> tuple[Any, ...]:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0))


def v6(ip: str, flow_info: int = 0, scope_id: int = 0) -> tuple[Any, ...]:
    return (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (ip, 0, flow_info, scope_id))


FOUND = [v4("192.0.2.1")]
ADDRESSES = (Address(socket.AF_INET, "192.0.2.1"),)


class System:
    """Stands in for the system's resolver: tells the loop who asked, and answers when it is let."""

    def __init__(self, answers: Mapping[str, Answer] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[str] = []
        self.crowded = False
        """Whether more than four were ever asking at once."""
        self.gates: dict[str, threading.Event] = {}
        self._loop: EventLoopToken | None = None
        self._asked = anyio.Event()
        self._inside = threading.Semaphore(4)

    def hang(self, *hosts: str) -> None:
        self.gates.update((host, threading.Event()) for host in hosts)

    def release(self, *hosts: str) -> None:
        for host in hosts or self.gates:
            self.gates[host].set()

    def getaddrinfo(self, host: str, *_: Any, **__: Any) -> Sequence[tuple[Any, ...]]:
        if not self._inside.acquire(blocking=False):
            self.crowded = True
        try:
            anyio.from_thread.run_sync(self._note, host, token=self._loop)
            if host in self.gates:
                assert self.gates[host].wait(5)
            answer = self.answers.get(host, FOUND)
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self._inside.release()

    def _note(self, host: str) -> None:
        self.asked.append(host)
        self._asked.set()
        self._asked = anyio.Event()

    async def until_asked(self, times: int) -> None:
        while len(self.asked) < times:
            await self._asked.wait()

    def replace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._loop = current_token()
        monkeypatch.setattr(socket, "getaddrinfo", self.getaddrinfo)


class Clock:
    """`time` for the resolver: it passes when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_resolver, "time", clock)
    return clock


@pytest.fixture
async def system(monkeypatch: pytest.MonkeyPatch, anyio_backend: Any) -> Any:
    system = System()
    system.replace(monkeypatch)
    yield system
    system.release()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join(5)
            assert not thread.is_alive()


async def kind_of(resolver: Resolver, host: str) -> str:
    with pytest.raises(TransportFailure) as caught:
        await resolver.resolve(host)
    return caught.value.kind


# --- addresses that need no look-up ---


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", Address(socket.AF_INET, "127.0.0.1")),
        ("::1", Address(socket.AF_INET6, "::1", (0, 0))),
        ("2001:DB8::0:1", Address(socket.AF_INET6, "2001:db8::1", (0, 0))),
        ("fe80::1%7", Address(socket.AF_INET6, "fe80::1", (0, 7))),
    ],
)
async def test_a_numeric_host_is_its_own_address(system: System, host: str, address: Address) -> None:
    assert await Resolver().resolve(host) == (address,)
    assert not system.asked


async def test_a_zone_may_be_the_name_of_an_interface(system: System) -> None:
    index, name = socket.if_nameindex()[0]
    assert await Resolver().resolve(f"fe80::1%{name}") == (Address(socket.AF_INET6, "fe80::1", (0, index)),)
    assert not system.asked


async def test_a_zone_that_is_none_of_this_machine_is_a_failure(system: System) -> None:
    assert await kind_of(Resolver(), "fe80::1%no-such-zone") == "dns"
    assert not system.asked


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "010.0.0.1", "1.2.3.4.5"])
async def test_what_only_looks_numeric_is_a_name(system: System, host: str) -> None:
    await Resolver().resolve(host)
    assert system.asked == [host]


# --- answers ---


async def test_addresses_keep_their_order_and_what_ipv6_adds_to_them(system: System) -> None:
    system.answers = {"a.test": [v6("fe80::1", 5, 7), v4("192.0.2.1"), v6("fe80::1", 5, 7), v4("192.0.2.2")]}
    answer = await Resolver().resolve("a.test")
    assert [address.with_port(443) for address in answer] == [
        ("fe80::1", 443, 5, 7),
        ("192.0.2.1", 443),
        ("192.0.2.2", 443),
    ]


async def test_at_most_sixteen_addresses_are_kept(system: System) -> None:
    system.answers = {"a.test": [v4(f"192.0.2.{last}") for last in range(40)]}
    assert [address.ip for address in await Resolver().resolve("a.test")] == [f"192.0.2.{last}" for last in range(16)]


@pytest.mark.parametrize(
    "answer",
    [
        socket.gaierror(socket.EAI_NONAME, "secret.test"),
        UnicodeError("secret.test"),
        ValueError("embedded null character"),
        [],
    ],
    ids=["gaierror", "UnicodeError", "ValueError", "empty"],
)
async def test_no_answer_is_a_failure_that_tells_nothing(system: System, answer: Answer) -> None:
    system.answers = {"secret.test": answer}
    with pytest.raises(TransportFailure) as caught:
        await Resolver().resolve("secret.test")
    assert (caught.value.kind, str(caught.value)) == ("dns", "dns")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


MOMENTARY = {
    "too many open files": socket.gaierror(socket.EAI_SYSTEM, "secret.test"),
    "no memory": socket.gaierror(socket.EAI_MEMORY, "secret.test"),
    "an error of the system": OSError("secret.test"),
    "an interrupt": KeyboardInterrupt(),
}


@pytest.mark.parametrize("fault", MOMENTARY.values(), ids=MOMENTARY)
async def test_a_fault_of_our_own_system_is_not_remembered_and_costs_no_place(system: System, fault: Any) -> None:
    resolver = Resolver()
    with anyio.fail_after(5):
        for _ in range(6):  # more than look-ups at once
            system.answers = {"a.test": fault}
            assert await kind_of(resolver, "a.test") == "exhausted"
        system.answers = {}
        assert await resolver.resolve("a.test") == ADDRESSES


ZONES = {
    "fe80::1%nowhere": None,
    "fe80::1%a\0b": None,
    "fe80::1%" + "9" * 5000: None,
    "fe80::1%7": 7,
    "fe80::1%257": 7,
}


@pytest.mark.parametrize(("host", "scope"), ZONES.items(), ids=["no zone", "NUL", "5,000 digits", "7", "7 in a URL"])
async def test_an_address_with_a_zone_is_scoped_or_is_none(system: System, host: str, scope: int | None) -> None:
    resolver = Resolver()
    if scope is None:
        assert await kind_of(resolver, host) == "dns"
    else:
        (address,) = await resolver.resolve(host)
        assert address.with_port(80) == ("fe80::1", 80, 0, scope)
    assert system.asked == []


async def test_a_thread_that_cannot_be_started_is_a_failure_and_not_remembered(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as poor, anyio.fail_after(5):
        poor.setattr(threading.Thread, "start", refuse)
        assert await kind_of(resolver, "a.test") == "exhausted"
    with anyio.fail_after(5):
        assert await resolver.resolve("a.test") == ADDRESSES


# --- one look-up for all who want the same ---


async def test_twenty_requests_for_a_name_are_one_look_up(system: System) -> None:
    system.hang("a.test")
    resolver, answers = Resolver(), []

    async def ask() -> None:
        answers.append(await resolver.resolve("a.test"))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            system.release()
    assert answers == [ADDRESSES] * 20
    assert system.asked == ["a.test"]


async def test_requests_that_share_a_failure_do_not_share_its_exception(system: System) -> None:
    system.hang("a.test")
    system.answers = {"a.test": []}
    resolver, failures = Resolver(), []

    async def ask() -> None:
        with pytest.raises(TransportFailure) as caught:
            await resolver.resolve("a.test")
        failures.append(caught.value)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
            await system.until_asked(1)
            system.release()
    assert len({id(failure) for failure in failures}) == 3


async def test_the_others_get_the_answer_when_the_first_leaves(system: System) -> None:
    system.hang("a.test")
    resolver, answers = Resolver(), []

    async def ask() -> None:
        answers.append(await resolver.resolve("a.test"))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as others:
            async with anyio.create_task_group() as first:
                first.start_soon(ask)
                await system.until_asked(1)
                others.start_soon(ask)
                others.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                first.cancel_scope.cancel()
            assert not answers
            system.release()
    assert answers == [ADDRESSES] * 2
    assert system.asked == ["a.test"]


async def leave_hanging(system: System, resolver: Resolver, *hosts: str) -> None:
    """Requests that ask for `hosts` and are cancelled when each has its thread."""
    system.hang(*hosts)
    asked = len(system.asked) + len(hosts)
    async with anyio.create_task_group() as group:
        for host in hosts:
            group.start_soon(resolver.resolve, host)
        await system.until_asked(asked)
        group.cancel_scope.cancel()


async def test_a_look_up_that_all_have_left_is_joined_by_the_next(system: System) -> None:
    resolver = Resolver()
    with anyio.fail_after(5):
        await leave_hanging(system, resolver, "a.test")
        async with anyio.create_task_group() as group:
            group.start_soon(resolver.resolve, "a.test")
            await anyio.wait_all_tasks_blocked()
            system.release()
        assert await resolver.resolve("a.test") == ADDRESSES
    assert system.asked == ["a.test"]


# --- four threads, and nobody else's ---

FOUR = ("a.test", "b.test", "c.test", "d.test")


async def test_look_ups_that_hang_hold_their_threads_although_all_have_left(system: System) -> None:
    resolver, answers = Resolver(), []

    async def ask() -> None:
        answers.append(await resolver.resolve("e.test"))

    with anyio.fail_after(5):
        await leave_hanging(system, resolver, *FOUR)
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            assert "e.test" not in system.asked
            assert sum(thread.name == THREAD for thread in threading.enumerate()) == 4
            system.release("c.test")
    assert answers == [ADDRESSES]
    assert system.asked[4:] == ["e.test"]


async def test_a_look_up_that_nobody_waits_for_any_more_gets_no_thread(system: System) -> None:
    resolver = Resolver()
    with anyio.fail_after(5):
        await leave_hanging(system, resolver, *FOUR)
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(resolver.resolve, "dropped.test")
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        system.release()
        await resolver.resolve("e.test")
    assert system.asked[4:] == ["e.test"]


async def test_many_names_go_through_four_threads(system: System) -> None:
    names = [f"n{number}.test" for number in range(40)]
    resolver = Resolver()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for name in names:
                group.start_soon(resolver.resolve, name)
    assert sorted(system.asked) == sorted(names)
    assert not system.crowded


async def test_a_resolver_that_hangs_leaves_the_threads_of_the_host_app_free(
    system: System, anyio_backend_name: str
) -> None:
    with anyio.fail_after(5):
        await leave_hanging(system, Resolver(), *FOUR)
        assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        # Both have as many threads as they ever had, so as many calls can be in them at once.
        if anyio_backend_name == "trio":
            assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        else:
            loop = asyncio.get_running_loop()
            meeting = threading.Barrier(5)
            await asyncio.gather(*[loop.run_in_executor(None, meeting.wait, 5) for _ in range(5)])


@pytest.mark.parametrize("released", ["after the loop's end", "never"])
def test_a_loop_that_ends_while_a_look_up_hangs_harms_nothing(
    monkeypatch: pytest.MonkeyPatch, anyio_backend: Any, released: str
) -> None:
    name, options = anyio_backend
    systems = []
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)

    async def leave() -> None:
        systems.append(System())
        systems[-1].replace(monkeypatch)
        await leave_hanging(systems[-1], Resolver(), *FOUR)

    async def resolve() -> Sequence[Address]:
        System().replace(monkeypatch)
        with anyio.fail_after(5):
            return await Resolver().resolve("a.test")

    anyio.run(leave, backend=name, backend_options=options)
    if released != "never":
        systems[0].release()
    assert anyio.run(resolve, backend=name, backend_options=options) == ADDRESSES
    systems[0].release()
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join(5)
    assert not raised


# --- what is remembered ---


@pytest.mark.parametrize(("answer", "kept_s"), [(FOUND, 30.0), ([], 5.0)], ids=["found", "not found"])
async def test_an_answer_is_kept_for_its_time(system: System, clock: Clock, answer: Answer, kept_s: float) -> None:
    system.answers = {"a.test": answer}
    resolver = Resolver()

    async def ask() -> None:
        try:
            assert await resolver.resolve("a.test") == ADDRESSES
            assert answer
        except TransportFailure:
            assert not answer

    with anyio.fail_after(5):
        await ask()
        clock.now_s += kept_s - 0.001
        await ask()
        assert len(system.asked) == 1
        clock.now_s += 0.001
        await ask()
        await ask()
        assert len(system.asked) == 2


async def test_the_answer_of_a_look_up_that_all_have_left_is_kept(system: System, clock: Clock) -> None:
    resolver = Resolver()
    with anyio.fail_after(5):
        await leave_hanging(system, resolver, "a.test")
        system.release()
        await resolver.resolve("b.test")
        await resolver.resolve("a.test")
    assert system.asked.count("a.test") == 1


async def test_what_is_forgotten_is_looked_up_anew(system: System) -> None:
    resolver = Resolver()
    with anyio.fail_after(5):
        await resolver.resolve("a.test")
        resolver.forget("a.test")
        resolver.forget("unknown.test")
        system.answers = {"a.test": [v4("192.0.2.2")]}
        assert (await resolver.resolve("a.test"))[0].ip == "192.0.2.2"
    assert len(system.asked) == 2


async def test_the_name_that_was_used_longest_ago_makes_room(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _resolver.NAMES_KEPT == 1000
    monkeypatch.setattr(_resolver, "NAMES_KEPT", 3)
    resolver = Resolver()
    with anyio.fail_after(5):
        for host in ("a.test", "b.test", "c.test", "a.test", "d.test"):
            await resolver.resolve(host)
        assert system.asked == ["a.test", "b.test", "c.test", "d.test"]
        for host in ("a.test", "c.test", "d.test"):
            await resolver.resolve(host)
        assert len(system.asked) == 4
        await resolver.resolve("b.test")
        assert len(system.asked) == 5


async def test_a_cached_answer_is_still_a_place_to_be_cancelled_at(system: System) -> None:
    resolver = Resolver()
    with anyio.fail_after(5):
        await resolver.resolve("a.test")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await resolver.resolve("a.test")
    assert scope.cancelled_caught
