"""The body's way in: its limits in size and in time, and callers who leave half-way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from ogw_asgi import Gateway, Limits, RequestRejected, Timeouts
from ogw_asgi._asgi.receive import receive_body, too_slow
from ogw_asgi._dispatch.limit import limited
from tests.asgi.hosts import http_scope, in_process

pytestmark = pytest.mark.anyio

SKIPPING_CLOCK = ("trio", {"clock": MockClock(autojump_threshold=0)})
LIMITS = Limits(body_bytes=10)


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def received(receive: Any, announced: int | None, limits: Limits, stall_s: float) -> bytes:
    """As the endpoint asks for it."""
    with limited() as limit:
        return await receive_body(receive, announced, limits, stall_s, limit)
    raise too_slow(limits, stall_s)


def script(*messages: dict[str, Any] | float) -> Callable[[], Awaitable[dict[str, Any]]]:
    """A receive() that plays messages and, for numbers, waits that many seconds; and then waits for ever."""
    left = list(messages)

    async def receive() -> dict[str, Any]:
        while left:
            step = left.pop(0)
            if isinstance(step, dict):
                return step
            await anyio.sleep(step)
        await anyio.sleep_forever()
        raise AssertionError("unreachable")

    return receive


@pytest.mark.parametrize(
    ("messages", "body"),
    [
        ([part(b"whole", more=False)], b"whole"),
        ([part(b"in "), part(b"two", more=False)], b"in two"),
        ([part(b"late end"), part(b"", more=False)], b"late end"),
        ([part(b""), part(b""), part(b"x"), part(b"", more=False)], b"x"),
        ([part(b"", more=False)], b""),
        ([{"type": "http.request"}], b""),
        ([part(b"0123456789", more=False)], b"0123456789"),
    ],
)
async def test_the_body_is_what_came_in_however_many_messages(messages: list[Any], body: bytes) -> None:
    with anyio.fail_after(5):
        assert await received(script(*messages), None, LIMITS, 10) == body


@pytest.mark.contract("1.too-large.counted")
@pytest.mark.parametrize("messages", [[part(b"0123456789a", more=False)], [part(b"01234567"), part(b"89a")]])
@pytest.mark.parametrize("announced", [None, 3])
async def test_a_body_over_the_limit_is_refused_while_it_is_counted(messages: list[Any], announced: int | None) -> None:
    with anyio.fail_after(5), pytest.raises(RequestRejected) as refused:
        await received(script(*messages), announced, LIMITS, 10)
    assert (refused.value.status, refused.value.code, refused.value.close) == (413, "body_too_large", True)


@pytest.mark.contract("1.too-large.declared")
async def test_an_announced_length_over_the_limit_is_refused_unread() -> None:
    async def receive() -> Any:
        raise AssertionError("read")

    with pytest.raises(RequestRejected) as refused:
        await received(receive, 11, LIMITS, 10)
    assert refused.value.status == 413


@pytest.mark.parametrize("anyio_backend", [SKIPPING_CLOCK])
@pytest.mark.contract("1.upload-stall", "1.upload-slow")
@pytest.mark.parametrize(
    ("messages", "after_s"),
    [
        pytest.param([], 10, id="not one byte"),
        pytest.param([part(b"x" * 100_000), 9.0, part(b"y" * 100_000)], 19, id="silent from the second part on"),
        pytest.param([part(b"x" * 200_000)], 10, id="silent in mid-body"),
        pytest.param([part(b""), 5.0, part(b""), 4.0, part(b"")], 10, id="empty messages are no bytes"),
        pytest.param([step for _ in range(99) for step in (1.0, part(b"x"))], 10, id="a byte each second"),
        pytest.param([step for _ in range(99) for step in (1.0, part(b"x" * 8192))], 19, id="8 KiB each second"),
    ],
)
async def test_an_upload_that_stalls_or_creeps_is_a_408(messages: list[Any], after_s: float) -> None:
    started_s = anyio.current_time()
    with pytest.raises(RequestRejected) as refused:
        await received(script(*messages), None, Limits(), 10)
    assert (refused.value.status, refused.value.code, refused.value.close) == (408, "body_timeout", True)
    assert anyio.current_time() - started_s == pytest.approx(after_s, abs=0.01)


@pytest.mark.parametrize("anyio_backend", [SKIPPING_CLOCK])
@pytest.mark.parametrize("rate", [16 << 10, 20_000])
async def test_an_upload_of_minutes_at_the_least_allowed_rate_passes(rate: int) -> None:
    messages = [step for _ in range(100) for step in (1.0, part(b"x" * rate))]
    body = await received(script(*messages, part(b"", more=False)), None, Limits(), 10)
    assert len(body) == 100 * rate


async def test_a_caller_who_leaves_in_mid_upload_is_a_400() -> None:
    with anyio.fail_after(5), pytest.raises(RequestRejected) as refused:
        await received(script(part(b"x"), {"type": "http.disconnect"}), None, LIMITS, 10)
    assert (refused.value.status, refused.value.code) == (400, "client_disconnected")


async def test_a_cancelled_host_is_no_timeout() -> None:
    with anyio.move_on_after(0.01) as scope:
        await received(script(), None, LIMITS, 10)
    assert scope.cancelled_caught


# --- the same through the door ---


async def post(gateway: Gateway, receive: Any, headers: list[tuple[bytes, bytes]] | None = None) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = http_scope(headers=[(b"content-type", b"application/json"), *(headers or [])])
    with anyio.fail_after(5):
        await gateway(scope, receive, send)
    return sent


async def test_the_400_for_a_caller_who_left_in_mid_upload_is_sent_all_the_same() -> None:
    async with in_process() as (gateway, upstream), gateway:
        sent = await post(gateway, script(part(b'{"model"'), {"type": "http.disconnect"}))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 400
    assert upstream.requests == []


@pytest.mark.contract("1.upload-stall")
async def test_the_408_reaches_the_caller_and_the_connection_is_closed() -> None:
    async with in_process(timeouts=Timeouts(upload_stall_s=0.05)) as (gateway, _), gateway:
        sent = await post(gateway, script(part(b'{"model"')))
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert b'"body_timeout"' in sent[1]["body"]


@pytest.mark.contract("1.too-large.declared")
async def test_the_413_for_an_announced_length_comes_before_a_byte_is_read() -> None:
    async def receive() -> Any:
        raise AssertionError("read")

    async with in_process(limits=Limits(body_bytes=10)) as (gateway, _), gateway:
        sent = await post(gateway, receive, [(b"content-length", b"11")])
    assert sent[0]["status"] == 413
    assert (b"connection", b"close") in sent[0]["headers"]
