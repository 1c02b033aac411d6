"""Redis refuses, hangs, is slow, fails, forgets, is full: every caller is answered, and hardly later (P04)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

from ogw_asgi._rules.circuit import Cooled
from ogw_asgi.circuits import shared
from ogw_asgi.circuits.redis import AGAIN_S
from ogw_asgi.testing import chat, error

from .redis_server import HASH, RedisServer, Slow, redis_server
from .workers import Worker, worker

pytestmark = pytest.mark.anyio

CALLERS = 20


def command(*words: str | int) -> Callable[[RedisServer], None]:
    def give(server: RedisServer) -> None:
        assert server.ask(*words) == "OK"

    return give


BREAKING: dict[str, Callable[[RedisServer], None]] = {
    "refused": RedisServer.stop,
    "paused": RedisServer.pause,
    "forbidden": command("ACL", "SETUSER", "default", "-evalsha", "-eval"),
    "password": command("CONFIG", "SET", "requirepass", "c4n4ry"),
    "full": command("CONFIG", "SET", "maxmemory", "1"),
    "a replica": command("REPLICAOF", "127.0.0.1", 1),
    "another's": command("SET", HASH, "x"),
}


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """One that a test may break."""
    with redis_server() as server:
        yield server


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said of Redis, and anything that coredis said."""
    records = [record for record in caplog.records if record.levelno >= logging.INFO]
    words = [record.getMessage().split(":")[0] for record in records if record.name in ("ogw_asgi", "coredis")]
    return [word for word in words if word.startswith("redis_") or "onnection" in word]


async def everybody(one: Worker) -> None:
    """Many at once, and then one after the other: a is dead, and each of them is answered by b."""
    answers: list[str] = []

    async def ask() -> None:
        answers.append(await one.ask())

    async with anyio.create_task_group() as group:
        for _ in range(CALLERS):
            group.start_soon(ask)
    for _ in range(5):
        await ask()
    assert answers == ["b"] * (CALLERS + 5)


@pytest.mark.contract("4.shared.answered")
@pytest.mark.fault("P04")
@pytest.mark.parametrize("fault", BREAKING)
async def test_whatever_redis_does_every_caller_is_answered_and_one_line_says_so(
    server: RedisServer, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with worker(server.url, error(500), limit_s=15) as one:
        assert await one.ask("b") == "b"
        BREAKING[fault](server)
        asked = one.link.asked
        began_s = anyio.current_time()
        await everybody(one)
        took_s = anyio.current_time() - began_s
        # The one who finds out; and those who were asking at the same time, one after the other, until it was known.
        assert one.link.asked - asked <= 2
        assert took_s < AGAIN_S, "and nobody asked again"
        said = lines(caplog)
        assert len(said) == 1, said
        assert said[0].startswith("redis_lost cause=")
        assert "c4n4ry" not in caplog.text


@pytest.mark.fault("P04")
async def test_a_redis_that_takes_a_second_is_waited_for_by_nobody(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with anyio.create_task_group() as group:
        slow = Slow(server, 1.0)
        await group.start(slow.serve)
        async with worker(slow.url, error(500), limit_s=15) as one:
            await everybody(one)
            assert one.link.asked <= 2
            assert lines(caplog) == ["redis_lost cause=timeout"]
        group.cancel_scope.cancel()


@pytest.mark.fault("P04")
async def test_a_server_that_is_no_redis_is_waited_for_by_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def speak(connection: anyio.abc.SocketStream) -> None:
        async with connection:
            await connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, speak)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with worker(f"redis://127.0.0.1:{port}", error(500), limit_s=15) as one:
            await everybody(one)
            assert one.link.asked <= 2
            assert len(lines(caplog)) == 1
        group.cancel_scope.cancel()


@pytest.mark.fault("P04")
async def test_scripts_that_redis_has_forgotten_are_sent_again(
    server: RedisServer, caplog: pytest.LogCaptureFixture, patient: None
) -> None:
    async with worker(server.url, error(500)) as one, worker(server.url, chat("from a")) as two:
        assert await one.ask("b") == "b"
        assert server.ask("SCRIPT", "FLUSH") == "OK"
        assert [await one.ask(), await two.ask(), two.calls] == ["b", "b", 0]
        assert lines(caplog) == []


async def test_a_caller_who_leaves_while_redis_is_waited_for_is_gone_at_once_and_the_next_one_asks(
    server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "PATIENCE_S", 10.0)
    async with worker(server.url, chat("from a"), limit_s=8) as one:
        server.pause()
        async with anyio.create_task_group() as group:
            group.start_soon(one.store.read, [("a",)], anyio.current_time())
            while not one.link.asked:
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        assert lines(caplog) == [], "it says nothing of Redis"
        server.go_on()
        assert await one.ask() == "a"
        assert (one.link.asked, lines(caplog)) == (2, [])


@pytest.mark.contract("4.shared.patience")
async def test_a_request_waits_for_redis_no_longer_in_all_than_it_may(server: RedisServer) -> None:
    """Each exchange takes three fifths of that, so there is one for each request, though there is much to say."""
    async with anyio.create_task_group() as group:
        slow = Slow(server, 0.6 * shared.PATIENCE_S / 2)  # an answer to HELLO, and one to the script
        await group.start(slow.serve)
        async with worker(slow.url, error(500), limit_s=15) as one:
            key = ("a", "some-model")
            shared.begin_patience()
            for ticket in range(10):
                await one.store.apply([(key, Cooled(10.0 + ticket))], anyio.current_time())
            assert one.link.asked == 1
            shared.begin_patience()
            await one.store.apply([(key, Cooled(60.0))], anyio.current_time())
            assert one.link.asked <= 2
        group.cancel_scope.cancel()
