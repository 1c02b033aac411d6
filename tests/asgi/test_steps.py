"""A step of a stream costs what it reads, however a read is cut into frames."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from ogw_asgi import Limits
from ogw_asgi._dispatch.stream import ChatStream, How

FLOOD = 256 << 10


class NoBody:
    """A response of which nothing comes: what is fed is given by the test."""

    status = 200
    headers: Sequence[tuple[bytes, bytes]] = ()
    at_end = False

    async def chunks(self) -> AsyncIterator[bytes]:
        return
        yield b""

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize("how", ["first", "as they came", "frames"])
@pytest.mark.parametrize("odd", [b":\n\n", b"data:\n\n", b"\n\n", b"id: 1\n\n", b": c\n\ndata: [DONE]\n\n"])
@pytest.mark.parametrize("before", [b"", b'data: {"choices":[]}\n\n', b"data: {", b"\xef"])
def test_a_read_full_of_what_is_no_chunk_takes_a_few_steps(how: How, odd: bytes, before: bytes) -> None:
    stream = ChatStream(NoBody(), 1, Limits())
    stream.feed(before + odd * (FLOOD // len(odd)), how)
    steps = 1
    while stream.at_hand:
        stream.take(how)
        steps += 1
    assert steps <= 4


def test_a_read_of_nothing_is_no_sign_of_life() -> None:
    stream = ChatStream(NoBody(), 1, Limits())
    stream.feed(b'data: {"choices":[]}\n\n', "first")
    assert stream.passes(b'data: {"choices":[]}\n\n')
    assert not stream.passes(b"")
    assert stream.feed(b"", "as they came") == []
