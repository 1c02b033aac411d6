"""What a hostile or broken provider floods us with costs neither memory nor the turn of other requests."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from ogw_asgi._wire.answer import read_answer
from ogw_asgi._wire.chunks import read_chunk
from ogw_asgi._wire.envelope import READ_MEMBERS
from ogw_asgi.testing import LAST_CHUNK, SSE_DONE, RawUpstream, chunked, completion_chunk, http_head, sse_event
from ogw_asgi.transports.choice import EngineName
from tests.contract.harness import gateway_of

pytestmark = pytest.mark.anyio

HEAD = http_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
HELLO = sse_event(completion_chunk({"content": "Hello"}))
STOP = sse_event(completion_chunk({}, finish_reason="stop"))


@pytest.mark.contract("2.first-chunk.comments")
@pytest.mark.parametrize("comment", [b":\n\n", b":x\n\n"], ids=["empty", "one-letter"])
async def test_comments_without_text_count_towards_what_is_held(comment: bytes) -> None:
    flood = chunked(comment * 50_000)
    async with RawUpstream([HEAD, flood, chunked(HELLO, STOP, SSE_DONE), LAST_CHUNK]) as one:
        async with gateway_of(one=one) as world:
            reply = await world.post(stream=True)
    assert reply.status_code == 201
    in_front, _, rest = reply.content.partition(HELLO)
    assert 0 < len(in_front) <= 4096
    assert set(in_front.split(b"\n\n")) == {comment.strip(), b""}
    assert rest == STOP + SSE_DONE


AT_ONCE = {"native": 64 << 10, "httpx2": 64 * len(chunked(b" ")), "httpx": 64 * len(chunked(b" "))}
"""How many bytes of tiny chunks an engine may read before others get their turn: one read, or 64 chunks of h11's."""


@pytest.mark.parametrize("engine", AT_ONCE)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_a_flood_of_tiny_chunks_leaves_others_their_turn(stream: bool, engine: EngineName) -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    media = "text/event-stream" if stream else "application/json"
    head = http_head(200, {"content-type": media, "transfer-encoding": "chunked"})
    flood = chunked(*[b" "] * (200_000 if engine == "native" else 20_000))
    async with RawUpstream([head, flood, LAST_CHUNK]) as one, gateway_of(one=one, engine=engine) as world:
        async with anyio.create_task_group() as group:
            group.start_soon(count_turns)
            reply = await world.post(stream=stream)
            group.cancel_scope.cancel()
    assert reply.status_code == 502
    assert turns > len(flood) // AT_ONCE[engine]


def test_a_flood_of_members_is_not_read_one_by_one_for_a_null_error() -> None:
    flood = b'{"error":null,"choices":[{"index":0,"delta":{"content":"x"}}]' + b',"a":1' * READ_MEMBERS + b"}"
    assert read_chunk(flood).kind == "broken"
    assert read_answer(flood).no_answer == "not_json"
    without = flood.replace(b'"error":null,', b"")
    assert read_chunk(without).kind == "data"
    assert read_answer(without).body == without
