"""Section 4 on the wire: what is no HTTP answer is the next provider's turn, on every engine, plain and streamed."""

from __future__ import annotations

import anyio
import pytest

from ogw_asgi.testing import (
    Fin,
    Hang,
    RawScript,
    RawUpstream,
    Reset,
    ScriptedUpstream,
    chat,
    chunked,
    http_head,
    http_response,
)
from ogw_asgi.transports.choice import EngineName

from .harness import gateway_of

pytestmark = pytest.mark.anyio

ENGINES: list[EngineName] = ["native", "httpx2", "httpx"]
OK = http_response(200, b'{"choices": []}', {"content-type": "application/json"})
CHUNKED = {"content-type": "application/json", "transfer-encoding": "chunked"}
PIECES = chunked(b'{"choices": [', last=False)

NO_ANSWER: dict[str, tuple[RawScript, str | None]] = {
    # F27
    "status 099": ([OK.replace(b"200", b"099")], None),
    "status 600": ([OK.replace(b"200", b"600")], None),
    "status 999": ([OK.replace(b"200", b"999")], None),
    "a switch of protocols": ([http_head(101, {"upgrade": "h2c", "connection": "upgrade"}), Hang()], None),
    "no content": ([http_head(204)], None),
    "nothing": ([Fin()], "reset"),
    # F28
    "two lengths": ([OK.replace(b"content-length", b"content-length: 3\r\ncontent-length")], "protocol"),
    "a length with a plus": ([OK.replace(b"content-length: ", b"content-length: +")], "protocol"),
    "a length of 20 digits": ([http_head(200, {"content-length": "9" * 20}), b"{}", Fin()], None),
    "transfer-encoding: xchunked": ([http_head(200, {"transfer-encoding": "xchunked"}), b"{}", Fin()], "protocol"),
    "a chunk size that is none": ([http_head(200, CHUNKED), PIECES, b"zz\r\n", Hang()], "reset"),
    "no end of a chunk": ([http_head(200, CHUNKED), PIECES, b"1\r\nab\r\n", Hang()], "reset"),
    "HTTP/0.9": ([b"<html>Bad Gateway</html>\r\n\r\n", Fin()], "protocol"),
    "NUL in a header": ([OK.replace(b"content-type", b"x: \0\r\ncontent-type")], "protocol"),
    "a bare CR in a header": ([OK.replace(b"content-type", b"x: a\rb\r\ncontent-type")], None),
    # F29
    "a header line without end": ([b"HTTP/1.1 200 OK\r\nx: ", b"a" * (1 << 20), Hang()], "protocol"),
    "a list of headers without end": ([b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * (1 << 17), Hang()], "protocol"),
    "a chunk extension without end": ([http_head(200, CHUNKED), PIECES, b"5;", b"a" * (1 << 20), Hang()], "reset"),
    "trailers without end": ([http_head(200, CHUNKED), PIECES, b"0\r\n", b"x: y\r\n" * (1 << 18), Hang()], "reset"),
    # F08, F24, F41
    "a reset": ([Reset()], "reset"),
    "an end within a length": ([http_head(200, {"content-length": "99"}), b'{"choices": [', Fin()], None),
    "an end within chunks": ([http_head(200, CHUNKED), PIECES, Fin()], "reset"),
    "a reset within chunks": ([http_head(200, CHUNKED), PIECES, Reset()], "reset"),
}


@pytest.mark.contract("4.next.protocol", "4.next.reset")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("script", "told"), NO_ANSWER.values(), ids=NO_ANSWER)
async def test_what_is_no_answer_is_the_next_providers_turn_at_once(
    script: RawScript, told: str | None, engine: EngineName, stream: bool
) -> None:
    with anyio.fail_after(5):
        async with RawUpstream(script) as one:
            async with gateway_of(one=one, two=ScriptedUpstream(chat("second")), engine=engine) as world:
                reply = await world.post(stream=stream)
                assert (reply.status_code, reply.headers["x-opengateway-provider"]) == (201, "two")
                assert reply.headers["x-opengateway-attempts"] == "2"
                if told is not None and not stream:  # a stream may be judged by its media type before
                    assert "one;dur=" in reply.headers["server-timing"]
                    assert f'desc="{told}"' in reply.headers["server-timing"].split(",")[0]
                assert "second" in reply.text
                assert len(one.requests) == 1, "on a fresh connection nothing is sent twice"
            if Reset() not in script:  # which closes by itself
                await one.peer_closed()
