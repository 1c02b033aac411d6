"""What a gateway's arguments come to."""

from __future__ import annotations

import ssl

import httpx
import pytest

from ogw_asgi import VLLM, Azure, OpenAI, OpenAICompatible
from ogw_asgi._assembly import asks_over_tls, by_name
from ogw_asgi.providers import Provider

OWN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
NEAR, FAR = "http://10.0.0.7:8000", "https://far.test"


class Mine(Provider):
    """It may ask anywhere."""


@pytest.mark.parametrize(
    ("providers", "needed"),
    [
        ([], False),
        ([OpenAI(api_key="sk-c4n4ry-k")], True),
        ([OpenAI(api_key="sk-c4n4ry-k", base_url=NEAR)], False),
        ([OpenAI(api_key="sk-c4n4ry-k", base_url="HTTPS://far.test")], True),
        ([VLLM(endpoint=NEAR), Azure(endpoint=FAR, api_key="sk-c4n4ry-k")], True),
        ([VLLM(endpoint=FAR)], True),
        ([VLLM(endpoint=FAR, ssl_context=OWN)], False),
        ([VLLM(endpoint=NEAR, allowed_endpoints=[NEAR])], False),
        ([VLLM(endpoint=NEAR, allowed_endpoints=[NEAR, FAR])], True),
        ([VLLM(endpoint=NEAR, allowed_endpoints=[FAR], ssl_context=OWN)], False),
        ([VLLM(allowed_endpoints=[FAR], client=httpx.AsyncClient())], True),
        ([OpenAICompatible("c", base_url=FAR, client=httpx.AsyncClient())], False),
        ([Mine(name="mine", base_url=NEAR)], True),
        ([Mine(name="mine", base_url=NEAR, ssl_context=OWN)], False),
    ],
)
def test_the_public_authorities_are_read_where_somebody_may_be_asked_over_https(
    providers: list[Provider], needed: bool
) -> None:
    assert asks_over_tls(by_name(providers)) is needed
