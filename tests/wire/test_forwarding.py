"""The allow-lists of headers in both directions."""

from __future__ import annotations

import pytest

from ogw_asgi._values import AttemptRecord, CallOptions, Endpoint, Header, Secret, TargetName
from ogw_asgi._wire.forwarding import downstream_headers, server_timing, traceparent, upstream_headers
from ogw_asgi._wire.masking import Mask

KEY = "sk-c4n4ry-secret-123456"


def upstream(options: CallOptions, *, stream: bool = False, traceparent: str | None = None) -> dict[bytes, bytes]:
    headers = upstream_headers(options, gateway_id="own", version="1.2.3", stream=stream, traceparent=traceparent)
    assert len(dict(headers)) == len(headers)
    return dict(headers)


@pytest.mark.contract("2.upstream.request-id", "2.upstream.user-agent", "2.upstream.via")
def test_a_provider_gets_these_headers_and_no_others() -> None:
    assert upstream(CallOptions("req-1")) == {
        b"content-type": b"application/json",
        b"accept": b"application/json",
        b"accept-encoding": b"identity",
        b"user-agent": b"ogw_asgi/1.2.3",
        b"x-request-id": b"req-1",
        b"via": b"1.1 ogw-own",
    }


@pytest.mark.contract("2.upstream.no-gateway-headers", "2.upstream.no-caller-headers")
def test_what_the_caller_told_the_gateway_stays_here() -> None:
    options = CallOptions(
        "req-1",
        sequence=(TargetName("vllm", "m"),),
        vllm_endpoint=Endpoint("http", "vllm", 8000),
        vllm_api_key=Secret(KEY),
        first_chunk_s=1.5,
        success_status=200,
        caller_limit_s=600.0,
        trace_id="0" * 31 + "1",
    )
    assert upstream(options) == upstream(CallOptions("req-1"))


def test_a_stream_is_asked_for_as_one() -> None:
    assert upstream(CallOptions("r"), stream=True)[b"accept"] == b"text/event-stream"


@pytest.mark.contract("2.upstream.idempotency-key")
def test_an_idempotency_key_goes_along() -> None:
    assert upstream(CallOptions("r", idempotency_key="once"))[b"idempotency-key"] == b"once"


@pytest.mark.contract("2.upstream.traceparent")
def test_a_traceparent_goes_along_where_there_is_one() -> None:
    value = traceparent("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "01")
    assert value == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert upstream(CallOptions("r"), traceparent=value)[b"traceparent"] == value.encode()


@pytest.mark.contract("2.upstream.via")
def test_the_gateways_behind_us_stand_before_our_own_entry() -> None:
    assert upstream(CallOptions("r", via=("a", "b")))[b"via"] == b"1.1 ogw-a, 1.1 ogw-b, 1.1 ogw-own"


@pytest.mark.contract("6.relayed.rate-limit")
@pytest.mark.parametrize(
    "name",
    [
        b"x-ratelimit-limit-requests",
        b"x-ratelimit-remaining-tokens",
        b"x-ratelimit-reset-requests",
        b"ratelimit",
        b"ratelimit-policy",
        b"anthropic-ratelimit-tokens-reset",
        b"retry-after",
        b"retry-after-ms",
        b"x-ms-retry-after-ms",
        b"openai-processing-ms",
        b"openai-version",
        b"openai-model",
        b"apim-request-id",
        b"x-ms-region",
        b"x-generation-id",
    ],
)
def test_limits_and_traces_of_a_provider_reach_the_caller(name: bytes) -> None:
    assert downstream_headers([(name.title(), b" 17 ")], Mask()) == [(name, b"17")]


@pytest.mark.contract("6.relayed.not-others")
@pytest.mark.parametrize(
    "name",
    [
        b"set-cookie", b"server", b"date", b"content-length", b"content-encoding", b"transfer-encoding", b"connection",
        b"keep-alive", b"alt-svc", b"cf-ray", b"x-request-id", b"openai-organization", b"openai-project", b"location",
        b"access-control-allow-origin", b"x-opengateway-provider", b"server-timing", b"www-authenticate",
        b"x-ratelimit", b"x-should-retry", b"ratelimit\r\nx", b"x-ratelimit-a b", b"x-ratelimit-\n", b"retry-after ",
    ],
)  # fmt: skip
def test_nothing_else_of_a_provider_does(name: bytes) -> None:
    assert downstream_headers([(name, b"1")], Mask()) == []


def test_repeated_headers_stay_repeated_and_in_order() -> None:
    raw: list[Header] = [(b"RateLimit", b"a"), (b"server", b"x"), (b"retry-after", b"1"), (b"ratelimit", b"b")]
    assert downstream_headers(raw, Mask()) == [(b"ratelimit", b"a"), (b"retry-after", b"1"), (b"ratelimit", b"b")]


@pytest.mark.parametrize("value", [b"1\r\nset-cookie: x", b"1\n", b"1\r", b"\x001", b"1\x7f", b"1\x01"])
def test_a_value_that_could_split_a_response_is_dropped(value: bytes) -> None:
    assert downstream_headers([(b"retry-after", value), (b"ratelimit", b"a\tb\xe9")], Mask()) == [
        (b"ratelimit", b"a\tb\xe9")
    ]


@pytest.mark.contract("4.masked-header")
@pytest.mark.parametrize(
    "value", [b"key " + KEY.encode(), b"https://acme.openai.azure.com/x", b"ACME.openai.azure.com"]
)
def test_a_value_that_holds_a_key_or_a_url_is_dropped_whole(value: bytes) -> None:
    mask = Mask([KEY], ["https://acme.openai.azure.com/openai/v1"])
    assert downstream_headers([(b"x-ms-region", value), (b"openai-version", b"2020-10-01")], mask) == [
        (b"openai-version", b"2020-10-01")
    ]


@pytest.mark.contract("6.header.server-timing")
def test_server_timing_names_each_attempt_with_its_status_or_else_its_outcome() -> None:
    records = [
        AttemptRecord("openai", "timeout", None, None, 5001, "m"),
        AttemptRecord("azure", "ok", 200, None, 420, "m"),
        AttemptRecord("groq", "status", 429, "rate_limit_exceeded", 0, "m"),
    ]
    assert server_timing(records) == (
        b'openai;dur=5001;desc="timeout", azure;dur=420;desc="200", groq;dur=0;desc="429"'
    )
    assert server_timing([]) == b""
