"""Over a unix socket: what arrives, what does not fit, who goes, and what arrives in the turn of a cancellation."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from ogw_asgi.circuits._unix import UnixStream

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "s")


@asynccontextmanager
async def both_ends(path: str) -> AsyncIterator[tuple[UnixStream, socket.socket]]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        async with await UnixStream.connect(path) as stream:
            peer, _ = listener.accept()
            with peer:
                yield stream, peer


async def test_what_one_side_says_the_other_hears_until_it_ends(path: str) -> None:
    async with both_ends(path) as (stream, peer):
        peer.sendall(b"hello")
        assert await stream.receive(3) == b"hel"
        assert await stream.receive() == b"lo"
        await stream.send(b"bye")
        await stream.send_eof()
        assert (peer.recv(9), peer.recv(9)) == (b"bye", b"")
        peer.close()
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
        with pytest.raises(anyio.BrokenResourceError):
            await stream.send(b"?")
    for done in (stream.receive, stream.send_eof, lambda: stream.send(b"?")):
        with pytest.raises(anyio.ClosedResourceError):
            await done()


async def test_what_does_not_fit_waits_until_there_is_room(path: str) -> None:
    said = bytes(range(256)) * 8192
    heard = bytearray()

    async def listen() -> None:
        peer.setblocking(False)
        while len(heard) < len(said):
            await anyio.wait_readable(peer)
            heard.extend(peer.recv(65536))

    async with both_ends(path) as (stream, peer), anyio.create_task_group() as group:
        group.start_soon(listen)
        await stream.send(said)
    assert heard == said


@pytest.mark.parametrize("turns", range(4))
async def test_an_answer_in_the_same_turn_as_a_cancellation_raises_nothing_into_the_loop(path: str, turns: int) -> None:
    async with both_ends(path) as (stream, peer), anyio.create_task_group() as group:
        group.start_soon(stream.receive)
        await anyio.wait_all_tasks_blocked()
        peer.sendall(b"x")
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()


async def test_where_nobody_listens_or_as_many_wait_as_may_nobody_waits(path: str) -> None:
    with pytest.raises(OSError):
        await UnixStream.connect(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(path)
            with pytest.raises(OSError):
                await UnixStream.connect(path)
