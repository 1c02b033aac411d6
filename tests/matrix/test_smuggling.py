"""F60: whatever a caller writes on its connection, the provider gets the honest requests and not one byte else.

The table of what each server makes of each payload is tests/fuzz_raw/outcomes.py, shown in docs/servers.md.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.fuzz_raw.caller import LIMIT_S, converse
from tests.fuzz_raw.document import DOCUMENT, current
from tests.fuzz_raw.golden import MOUNTS
from tests.fuzz_raw.outcomes import OUTCOMES
from tests.fuzz_raw.payloads import BODY, CHUNKED, HOST, INNER, JSON, LINE, MOUNT, PAYLOADS, Payload, framed, post, raw
from tests.fuzz_raw.run import stand
from tests.fuzz_raw.servers import SERVERS

from .selection import FULL_VARIABLE

ALL_ENGINES = {"Headers that are passed on", "The model as a deployment of Azure's, and so in the URL"}
"""Where the engine's part is tried. In the other groups it is the server's, and two engines are enough."""


@pytest.fixture
def anyio_backend() -> Any:
    return "asyncio"  # of the test alone: the gateway is in another process


def mounts_for(payload: Payload, number: int, outcome: str) -> list[str]:
    native, *others = MOUNTS
    if "201" not in outcome and "reached" not in outcome:
        return [native]
    if payload.group in ALL_ENGINES or os.environ.get(FULL_VARIABLE) == "full":
        return [native, *others]
    return [native, others[number % 2]]


@pytest.mark.anyio
@pytest.mark.fault("F60")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("server", SERVERS)
async def test_no_payload_adds_a_byte_to_what_the_provider_gets(server: str) -> None:
    column = list(SERVERS).index(server)
    other: list[str] = []
    async with stand(server) as at:
        for number, payload in enumerate(PAYLOADS):
            expected = OUTCOMES[payload.group][payload.name][column]
            for mount in mounts_for(payload, number, expected):
                try:
                    outcome = await at.try_payload(payload, mount, expected)
                except (AssertionError, TimeoutError) as error:
                    outcome = repr(error)
                if outcome != expected:
                    other.append(f"{mount}: {payload.group}: {payload.name}: {outcome}, not {expected}")
            if number % 5 == 0:  # the next payload is on a new connection, too, and often enough it is a good request
                await at.ask_honestly(list(MOUNTS)[number % len(MOUNTS)])
        assert not other, "\n".join(other)
        await at.assert_unharmed()
    assert sum(len(rows) for rows in OUTCOMES.values()) == len(PAYLOADS)


def test_the_table_of_the_servers_is_not_stale() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == current(), "python -m tests.fuzz_raw --table writes it anew"


# --- what servers do that an app has to live with ---------------------------------------------------------------------

HALF = {
    "of its length": post(length=str(len(BODY) + 10)),
    "in chunks": post(CHUNKED, chunks=framed(BODY, end=b"")),
}
H2C = ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__")
BROKEN_H2C = raw(LINE, HOST, JSON, *H2C, body=BODY + INNER)
HEARD = {"granian", "hypercorn"}
"""Where a caller that has only half-closed still hears us; granian would say 500 by itself, if the app said nothing."""


@pytest.mark.anyio
@pytest.mark.fault("F60")
@pytest.mark.parametrize("server", SERVERS)
async def test_a_caller_who_leaves_in_mid_upload_or_sends_garbage_is_no_error_of_ours_on_any_server(
    server: str,
) -> None:
    async with stand(server) as at:
        for sent in HALF.values():
            conversation = await converse(at.process.port, sent, lambda answers: True, after_s=LIMIT_S - 1)
            words = [answer.word for answer in conversation.answers]
            assert words == ["400 client_disconnected"] * (server in HEARD) or (server, words) == ("hypercorn", ["400"])
        assert at.upstream.requests == []
        for mount in MOUNTS:  # uvicorn ends the connection, and the send() of the answer raises
            await converse(at.process.port, post().replace(MOUNT.encode(), mount.encode()) + b"garbage\r\n\r\n", bool)
            assert len(at.upstream.requests) <= 1
            at.upstream.requests.clear()
        await at.ask_honestly("/native")
        await at.assert_unharmed()
        assert (await at.settled())["complaints"] == []


@pytest.mark.anyio
@pytest.mark.fault("F60")
async def test_a_send_that_hypercorn_never_returns_from_holds_no_place_beyond_the_limit() -> None:
    """After an upgrade to HTTP/2 that is none its `send()` waits for ever, though the connection has gone."""
    async with stand("hypercorn") as at:
        for _ in range(3):
            conversation = await converse(at.process.port, BROKEN_H2C, lambda answers: True, after_s=LIMIT_S - 1)
            assert [answer.word for answer in conversation.answers] == ["101"]
        state = await at.settled()
        assert state["raised"] == []
        assert not [line for line in state["complaints"] if not line.startswith("server: ")], "hypercorn's own"
        await at.ask_honestly("/native")
        assert at.upstream.requests[:-1] == []
