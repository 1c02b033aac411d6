"""A status that has come stands, whatever becomes of its body; a provider class of one's own may fail like any."""

from __future__ import annotations

from typing import Any

import pytest

from ogw_asgi import OpenAICompatible
from ogw_asgi.testing import Fin, Hang, RawUpstream, ScriptedUpstream, chat, error, http_head

from .harness import gateway_of
from .schema import error_of

pytestmark = pytest.mark.anyio
LIMIT = {"x-opengateway-timeout": "150"}


@pytest.mark.contract("4.stop.blamed")
async def test_a_refusal_whose_body_stalls_is_a_refusal_and_no_timeout() -> None:
    head = http_head(422, {"content-type": "application/json", "content-length": "99"})
    async with RawUpstream([head, b'{"error":{"message":"no such field"', Hang()]) as upstream:
        async with gateway_of(openai=upstream, azure=ScriptedUpstream()) as world:
            reply = await world.post(headers={**LIMIT, "x-opengateway-failover-sequence": '["openai","azure"]'})
            await upstream.peer_closed(1)
    assert reply.status_code == 400
    assert error_of(reply)["attempts"][0]["status"] == 422
    assert reply.headers["server-timing"].endswith('desc="422"')


@pytest.mark.contract("4.next.reset")
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_is_cut_before_its_first_chunk_is_a_reset_plain_or_streamed(stream: bool) -> None:
    head = http_head(
        200, {"content-type": "text/event-stream" if stream else "application/json", "content-length": "9"}
    )
    async with RawUpstream([head, b":", Fin()]) as upstream:
        async with gateway_of(openai=upstream) as world:
            reply = await world.post(stream=stream)
    assert error_of(reply)["attempts"][0]["outcome"] == "reset"
    assert reply.headers["server-timing"].endswith('desc="reset"')


class Broken(OpenAICompatible):
    """Fails in one of the methods that a provider of one's own may override."""

    method = "url"

    def url(self, target: Any) -> str:
        if self.method == "url":
            raise KeyError("sk-c4n4ry-secret-key")
        return super().url(target)

    def read_error(self, status: int, headers: Any, body: bytes) -> Any:
        raise KeyError("sk-c4n4ry-secret-key")


@pytest.mark.contract("4.next.misconfigured")
@pytest.mark.parametrize("method", ["url", "read_error"])
async def test_a_provider_class_that_raises_moves_on_and_says_where(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with ScriptedUpstream(error(503)).client() as client:
        broken = Broken("own", base_url="http://own.test", client=client)
        broken.method = method
        async with gateway_of(own=broken, openai=ScriptedUpstream(chat("Hi"))) as world:
            reply = await world.post(headers={"x-opengateway-failover-sequence": '["own","openai"]'})
    assert reply.status_code == 201
    assert reply.headers["x-opengateway-provider"] == "openai"
    assert "provider_failed provider=own error=KeyError at test_section_4_words.py:" in caplog.text
    assert "sk-c4n4ry-secret-key" not in caplog.text
