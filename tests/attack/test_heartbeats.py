"""A heartbeat that falls into the wait of another message, of a server or a middleware that takes its time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio
import pytest

from ogw_asgi import Timeouts
from ogw_asgi.testing import Break, Reply, ScriptedUpstream, raw, stream
from tests.contract.checks import mock_clock, pause
from tests.contract.harness import gateway_of

pytestmark = pytest.mark.anyio
without_waiting = pytest.mark.parametrize("anyio_backend", [mock_clock()])

Message = MutableMapping[str, Any]

BODY = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}'
SCOPE = {
    "type": "http",
    "http_version": "1.1",
    "method": "POST",
    "path": "/chat/completions",
    "root_path": "",
    "query_string": b"",
    "headers": [(b"content-type", b"application/json")],
}
ANSWERS: dict[str, Reply] = {
    "complete": stream([pause(1.05), "Hel", "lo"]),
    "complete, with a pause": stream(["Hel", pause(3.5), "lo"]),
    "broken": stream([pause(1.05), "Hel", Break()]),
    "refused": raw(400, {"content-type": "application/json"}, [pause(1.05), b'{"error":{"message":"no"}}']),
}
SLOW: dict[str, Callable[[Message], bool]] = {
    "head": lambda message: message["type"] == "http.response.start",
    "last message": lambda message: b"stream_interrupted" in message.get("body", b"") or not more(message),
    "every message": lambda _: True,
}


def more(message: Message) -> bool:
    return message["type"] == "http.response.start" or bool(message.get("more_body"))


async def messages_of(
    app: Callable[..., Awaitable[None]], slow: Callable[[Message], bool], slow_s: float
) -> list[Message]:
    """What a caller is sent over a server that waits in `send`."""
    requests = [{"type": "http.request", "body": BODY, "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        if requests:
            return requests.pop()
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)
        await anyio.sleep(slow_s if slow(message) else 0)

    await app(dict(SCOPE), receive, send)
    return sent


@without_waiting
@pytest.mark.parametrize("slow", SLOW)
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("slow_s", [0.5, 1.7, 5])
async def test_there_is_one_head_and_nothing_after_the_end_however_long_a_send_takes(
    answer: str, slow: str, slow_s: float
) -> None:
    one = ScriptedUpstream(ANSWERS[answer])
    async with gateway_of(limit_s=200, one=one, timeouts=Timeouts(heartbeat_s=1)) as world:
        sent = await messages_of(world.gateway, SLOW[slow], slow_s)
    assert [message["type"] for message in sent].count("http.response.start") == 1
    assert sent[0]["type"] == "http.response.start"
    assert all(more(message) for message in sent[:-1])
    if answer in ("broken", "refused") and sent[0]["status"] == 201:
        assert b"stream_interrupted" in sent[-1]["body"]
    else:
        assert not more(sent[-1])


@without_waiting
async def test_what_a_beat_waited_for_was_no_silence() -> None:
    one = ScriptedUpstream(stream(["Hel", pause(0.5), "lo", pause(0.5), "!"]))
    async with gateway_of(limit_s=200, one=one, timeouts=Timeouts(heartbeat_s=1)) as world:
        sent = await messages_of(world.gateway, lambda message: b"Hel" in message.get("body", b""), 1.7)
    assert b": keep-alive\n\n" not in [message.get("body") for message in sent]


async def test_a_beat_whose_time_passes_while_it_is_worked_out_ends_nothing() -> None:
    one = ScriptedUpstream(stream(["Hello"] * 1000))
    async with gateway_of(one=one, timeouts=Timeouts(heartbeat_s=1e-5)) as world, world.stream() as reply:
        assert b"data: [DONE]\n\n" in await reply.aread()
