"""Request headers: what each may hold, and the 400 that names it otherwise."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._openapi import PARAMETERS
from ogw_asgi._values import CallOptions, Endpoint, Header, Limits, Secret, TargetName
from ogw_asgi._wire.headers import (
    _known_name,
    header_values,
    read_options,
    refuse_repeats,
    refuse_two_lengths,
    refuse_two_tokens,
)
from ogw_asgi.exceptions import RequestRejected

SEQUENCE = "x-opengateway-failover-sequence"
ENDPOINT = "x-opengateway-vllm-endpoint"
KEY = "x-opengateway-vllm-api-key"
TIMEOUT = "x-opengateway-timeout"
BREAK = "x-opengateway-on-stream-break"
STATUS = "x-opengateway-success-status"
HEDGE = "x-opengateway-hedge-after"
ALL = (SEQUENCE, ENDPOINT, KEY, TIMEOUT, BREAK, STATUS, HEDGE)


def options(*headers: tuple[str, str | bytes], limits: Limits | None = None) -> CallOptions:
    raw = [(name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in headers]
    return read_options(header_values(raw), request_id="r-1", limits=limits or Limits(), header_max_s=3600.0)


def refused(*headers: tuple[str, str | bytes], limits: Limits | None = None) -> RequestRejected:
    with pytest.raises(RequestRejected) as caught:
        options(*headers, limits=limits)
    assert caught.value.status == 400
    assert caught.value.type == "invalid_request_error"
    return caught.value


def test_a_request_without_gateway_headers_asks_for_the_defaults() -> None:
    assert options(("host", "a"), ("content-type", "application/json")) == CallOptions(request_id="r-1")


@pytest.mark.contract("2.sequence.default", "2.endpoint.configured", "2.vllm-key.configured", "2.on-stream-break.error")
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", ["", " ", "\t "])
def test_an_empty_header_is_an_absent_one(name: str, value: str) -> None:
    assert options((name, value)) == CallOptions(request_id="r-1")


@pytest.mark.contract("2.names.case")
def test_names_of_headers_are_case_insensitive() -> None:
    assert options(("X-OpenGateway-Timeout", "250")).first_chunk_s == 0.25


@pytest.mark.contract(
    "2.sequence.order",
    "2.endpoint.v1",
    "2.success-status.used",
    "2.hedge-after.zero",
    "2.on-stream-break.error",
    "2.limits.caller",
)
def test_every_header_at_once() -> None:
    assert options(
        (SEQUENCE, '["vllm"]'),
        (ENDPOINT, "http://10.0.0.7:8000/v1"),
        (KEY, "k-1"),
        (TIMEOUT, "1500"),
        (BREAK, "hold"),
        (STATUS, "200"),
        (HEDGE, "0"),
        ("x-stainless-read-timeout", "600"),
        ("idempotency-key", "i-1"),
        ("via", "1.1 ogw-3f2a"),
        ("traceparent", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"),
    ) == CallOptions(
        request_id="r-1",
        sequence=(TargetName("vllm"),),
        vllm_endpoint=Endpoint("http", "10.0.0.7", 8000),
        vllm_api_key=Secret("k-1"),
        first_chunk_s=1.5,
        on_stream_break="hold",
        success_status=200,
        hedge_after_s=0.0,
        caller_limit_s=600.0,
        idempotency_key="i-1",
        via=("3f2a",),
        trace_id="a" * 32,
        trace_flags="01",
    )


# --- one of its kind ------------------------------------------------------------------------------------------


@pytest.mark.contract("2.names.twice")
@pytest.mark.parametrize("name", [*ALL, "authorization", "content-type", "x-opengateway-unheard-of"])
def test_a_header_sent_twice_is_refused_by_name(name: str) -> None:
    headers: list[Header] = [(name.encode(), b"a"), (b"host", b"h"), (name.title().encode(), b"a")]
    with pytest.raises(RequestRejected) as caught:
        refuse_repeats(header_values(headers))
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "invalid_header", name)
    assert name in caught.value.message


def test_other_headers_may_be_sent_twice() -> None:
    headers: list[Header] = [(b"via", b"a"), (b"via", b"b"), (b"accept", b"c"), (b"accept", b"c")]
    refuse_repeats(header_values([*headers, *((name.encode(), b"") for name in ALL)]))
    assert options(*((name.decode(), value) for name, value in headers)) == CallOptions(request_id="r-1")


def test_two_tokens_are_refused_before_all_else_and_nothing_else_is() -> None:
    with pytest.raises(RequestRejected) as refused:
        refuse_two_tokens(header_values([(b"Authorization", b"Bearer a"), (b"authorization", b"Bearer a")]))
    assert (refused.value.status, refused.value.param) == (400, "authorization")
    refuse_two_tokens(header_values([]))
    refuse_two_tokens(
        header_values([(b"authorization", b"Bearer a, Bearer b"), *[(b"x-opengateway-timeout", b"1")] * 2])
    )


@pytest.mark.contract("2.names.unknown")
def test_an_unknown_gateway_header_is_refused_with_the_list_of_known_ones() -> None:
    error = refused(("x-opengateway-time-out", "1"))
    assert error.param == "x-opengateway-time-out"
    assert all(name in error.message for name in ALL)


@pytest.mark.contract("2.names.unknown")
@pytest.mark.parametrize("value", ["", "1"])
def test_an_unknown_gateway_header_is_refused_even_when_empty(value: str) -> None:
    assert refused(("x-opengateway-fallback", value)).param == "x-opengateway-fallback"


@pytest.mark.parametrize("tail", ["y" * 100, "a b", "ä", "a\nb"])
def test_an_unknown_name_that_is_no_token_is_not_repeated(tail: str) -> None:
    error = refused(("x-opengateway-" + tail, "1"))
    assert error.param == "x-opengateway-*"
    assert tail not in error.message


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "value",
    [b"1\r\nx: y", b"1\n", b"1\x00", b"\x001", b"\xe4", "é".encode(), b"1\x7f", b" 1", b"1 ", b"\t1", b"1\t"],
)
def test_a_value_that_is_not_printable_ascii_is_refused(name: str, value: bytes) -> None:
    error = refused((ENDPOINT, "http://a"), (name, value)) if name == KEY else refused((name, value))
    assert error.param == name


@pytest.mark.contract("8.header-limit")
@pytest.mark.parametrize("name", ALL)
def test_a_value_of_64_kib_is_refused(name: str) -> None:
    error = refused((name, "1" * (64 << 10)))
    assert error.param == name
    assert "8192 bytes" in error.message


@pytest.mark.contract("8.header-limit")
def test_a_value_may_have_exactly_as_many_bytes_as_the_limit_says() -> None:
    value = '["a"' + " " * 15 + "]"
    assert options((SEQUENCE, value), limits=Limits(header_bytes=20)).sequence == (TargetName("a"),)
    assert "at most 19 bytes" in refused((SEQUENCE, value), limits=Limits(header_bytes=19)).message


# --- failover sequence ----------------------------------------------------------------------------------------


@pytest.mark.contract("2.sequence.order", "2.sequence.target-model")
@pytest.mark.parametrize(
    ("value", "targets"),
    [
        ('["openai"]', [("openai", None)]),
        ('["openai","azure"]', [("openai", None), ("azure", None)]),
        ('[ "openai" ,\t"azure" ]', [("openai", None), ("azure", None)]),
        ('["openai","openai","azure"]', [("openai", None), ("openai", None), ("azure", None)]),
        ('["openai/gpt-4o"]', [("openai", "gpt-4o")]),
        ('["vllm/meta-llama/Llama-3.1-8B"]', [("vllm", "meta-llama/Llama-3.1-8B")]),
        ('["vllm//x"]', [("vllm", "/x")]),
        ('["never-heard-of"]', [("never-heard-of", None)]),
        ('["v/\\u00fc\\ud83d\\ude00"]', [("v", "ü😀")]),
        (json.dumps(["p"] * 16), [("p", None)] * 16),
    ],
)
def test_a_sequence_names_providers_and_models(value: str, targets: list[tuple[str, str | None]]) -> None:
    assert options((SEQUENCE, value)).sequence == tuple(TargetName(*target) for target in targets)


@pytest.mark.contract("2.sequence.not-json", "2.sequence.bad-items", "2.sequence.too-many")
@pytest.mark.parametrize(
    "value",
    [
        "openai",
        "openai,azure",
        '"openai"',
        "'openai'",
        "{}",
        '{"openai": 1}',
        "null",
        "true",
        "1",
        "NaN",
        "[]",
        "[ ]",
        "[",
        '["openai"',
        '["openai",]',
        '["openai"] x',
        '["openai"]["azure"]',
        "[1]",
        "[null]",
        "[true]",
        "[NaN]",
        '["openai", 1]',
        '[["openai"]]',
        '[{"provider": "openai"}]',
        "['openai']",
        '[""]',
        '["/"]',
        '["/gpt-4o"]',
        '["openai/"]',
        '["openai/gpt-4o", "azure/"]',
        '["openai/\\u0000"]',
        '["openai/\\u000a"]',
        '["openai/\\ud800"]',
        '["openai/' + "m" * 257 + '"]',
        '["openai\\x"]',
        '["open\tai"]',
        json.dumps(["p"] * 17),
        "[" * 8000,
        "[" * 4000 + "]" * 4000,
        '{"a":' * 1600,
        "[" + "9" * 5000 + "]",
        "[1e999]",
    ],
)
def test_a_sequence_that_is_no_array_of_1_to_16_targets_is_refused(value: str) -> None:
    error = refused((SEQUENCE, value))
    assert (error.param, error.code) == (SEQUENCE, "invalid_header")
    assert "JSON array of 1 to 16 strings" in error.message


# --- vLLM -----------------------------------------------------------------------------------------------------


@pytest.mark.contract("2.endpoint.bad", "2.endpoint.odd-host")
@pytest.mark.parametrize("value", ["localhost:8000", "http://u:sesame@h", "http://2130706433", "http://h/v2"])
def test_a_bad_endpoint_is_refused_without_repeating_it(value: str) -> None:
    error = refused((ENDPOINT, value))
    assert error.param == ENDPOINT
    assert value not in error.message
    assert "sesame" not in error.message


@pytest.mark.contract("2.vllm-key.bad", "6.envelope.no-secrets")
@pytest.mark.parametrize("value", ["sesame open", "sesame\topen", "sesame\x01", "sesame\xff", "sesame\r\n"])
def test_a_key_of_other_characters_is_refused_without_repeating_it(value: str) -> None:
    error = refused((ENDPOINT, "http://a"), (KEY, value.encode("latin-1")))
    assert error.param == KEY
    assert "sesame" not in error.message + repr(error) + str(error)


@pytest.mark.contract("2.vllm-key.without-endpoint")
@pytest.mark.parametrize("endpoint", [None, "", "  "])
def test_a_key_without_an_endpoint_is_refused(endpoint: str | None) -> None:
    headers = [(KEY, "sesame")] if endpoint is None else [(KEY, "sesame"), (ENDPOINT, endpoint)]
    error = refused(*headers)
    assert error.param == KEY
    assert ENDPOINT in error.message
    assert "sesame" not in error.message


# --- numbers and words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "first_chunk_s"),
    [("1", 0.001), ("250", 0.25), ("3600000", 3600.0), ("0005", 0.005)],
)
def test_a_timeout_is_read_as_milliseconds(value: str, first_chunk_s: float) -> None:
    assert options((TIMEOUT, value)).first_chunk_s == first_chunk_s


BAD_MILLISECONDS = (
    ["-1", "+5", "1e3", "1.5", "0x10", "1_000", "1 000", "5s", "5000ms", "ten", "inf", "nan", "3600001"]
    + ["1" + "0" * 12, "9" * 5000, "٣".encode(), "²".encode("latin-1"), "1,000", "'1'", '"1"', "[1]"]
)  # fmt: skip


@pytest.mark.contract("2.timeout.bad", "2.timeout.limit")
@pytest.mark.parametrize("value", ["0", "000", *BAD_MILLISECONDS])
def test_a_timeout_that_is_no_positive_decimal_integer_within_the_maximum_is_refused(
    value: str | bytes,
) -> None:
    assert refused((TIMEOUT, value)).param == TIMEOUT


@pytest.mark.contract("2.hedge-after.bad")
@pytest.mark.parametrize("value", BAD_MILLISECONDS)
def test_a_hedge_after_that_is_no_decimal_integer_is_refused(value: str | bytes) -> None:
    error = refused((HEDGE, value))
    assert (error.param, error.code) == (HEDGE, "invalid_header")


@pytest.mark.contract("2.hedge-after.zero")
@pytest.mark.parametrize("value", ["0", "00"])
def test_a_hedge_after_of_zero_is_off(value: str) -> None:
    assert options((HEDGE, value)) == CallOptions(request_id="r-1", hedge_after_s=0.0)


@pytest.mark.contract("2.hedge-after.hedges")
@pytest.mark.parametrize(("value", "hedge_after_s"), [("1", 0.001), ("250", 0.25), ("3600000", 3600.0), ("", None)])
def test_a_hedge_after_is_read_as_milliseconds(value: str, hedge_after_s: float | None) -> None:
    assert options((HEDGE, value)).hedge_after_s == hedge_after_s


@pytest.mark.contract("2.on-stream-break.error", "2.on-stream-break.hold", "2.on-stream-break.continue")
@pytest.mark.parametrize("value", ["error", "continue", "hold"])
def test_a_stream_break_policy_is_one_of_three(value: str) -> None:
    assert options((BREAK, value)).on_stream_break == value


@pytest.mark.contract("2.on-stream-break.bad")
@pytest.mark.parametrize("value", ["Error", "HOLD", "errors", "stop", "0", "error,hold", '"error"'])
def test_an_unknown_stream_break_policy_is_refused(value: str) -> None:
    error = refused((BREAK, value))
    assert (error.param, error.code) == (BREAK, "invalid_header")


@pytest.mark.contract("2.success-status.used")
@pytest.mark.parametrize("value", ["200", "201"])
def test_a_success_status_is_200_or_201(value: str) -> None:
    assert options((STATUS, value)).success_status == int(value)


@pytest.mark.contract("2.success-status.bad")
@pytest.mark.parametrize("value", ["202", "0200", "20", "2xx", "200.0", "OK", "200, 201", "-200", "+200"])
def test_another_success_status_is_refused(value: str) -> None:
    assert refused((STATUS, value)).param == STATUS


# --- any bytes ------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ALL), st.binary(max_size=40)), max_size=3))
def test_no_bytes_get_more_than_a_400_that_names_a_header(headers: list[tuple[str, bytes]]) -> None:
    found: CallOptions | RequestRejected
    try:
        found = options(*headers)
    except RequestRejected as error:
        found = error
    if isinstance(found, RequestRejected):
        assert (found.status, found.param in ALL) == (400, True)
    else:
        assert found.request_id == "r-1"


@pytest.mark.contract("2.hedge-after.hedges", "2.hedge-after.bad")
@pytest.mark.parametrize(("value", "valid"), [("0", True), ("3600000", True), ("3600001", False), ("-1", False)])
def test_the_schema_of_hedge_after_and_its_reader_agree(value: str, valid: bool) -> None:
    (schema,) = [one["schema"] for one in PARAMETERS if one["name"] == HEDGE]
    assert (schema["minimum"] <= int(value) <= schema["maximum"]) is valid
    if valid:
        assert options((HEDGE, value)).hedge_after_s == int(value) / 1000
    else:
        refused((HEDGE, value))


# --- where the body ends ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [b"0", b"5", b""])
@pytest.mark.parametrize("coding", [b"chunked", b"identity", b""])
def test_two_ways_to_say_where_the_body_ends_end_the_connection(length: bytes, coding: bytes) -> None:
    with pytest.raises(RequestRejected) as caught:
        refuse_two_lengths(header_values([(b"Content-Length", length), (b"Transfer-Encoding", coding)]))
    refusal = caught.value
    assert (refusal.status, refusal.code, refusal.param) == (400, "invalid_header", "content-length")
    assert refusal.close


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"5")], [(b"transfer-encoding", b"chunked")]])
def test_one_way_to_say_it_is_good(headers: list[Header]) -> None:
    refuse_two_lengths(header_values(headers))


def test_long_names_are_read_and_not_remembered() -> None:
    before = _known_name.cache_info().currsize
    long = b"X-" + b"Y" * 60_000
    assert list(header_values([(long, b"1"), (long.lower(), b"2")]).values()) == [[b"1", b"2"]]
    assert _known_name.cache_info().currsize == before
