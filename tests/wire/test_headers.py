"""Request headers: what each may hold, and the 400 that names it otherwise."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._values import CallOptions, Endpoint, Header, Limits, Secret, TargetName
from ogw_asgi._wire.headers import (
    announced_length,
    read_options,
    read_request_id,
    refuse_media,
    refuse_repeats,
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
    return read_options(raw, request_id="r-1", limits=limits or Limits(), header_max_s=3600.0)


def refused(*headers: tuple[str, str | bytes], limits: Limits | None = None) -> RequestRejected:
    with pytest.raises(RequestRejected) as caught:
        options(*headers, limits=limits)
    assert caught.value.status == 400
    assert caught.value.type == "invalid_request_error"
    return caught.value


def test_a_request_without_gateway_headers_asks_for_the_defaults() -> None:
    assert options(("host", "a"), ("content-type", "application/json")) == CallOptions(request_id="r-1")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", ["", " ", "\t "])
def test_an_empty_header_is_an_absent_one(name: str, value: str) -> None:
    assert options((name, value)) == CallOptions(request_id="r-1")


def test_names_of_headers_are_case_insensitive() -> None:
    assert options(("X-OpenGateway-Timeout", "250")).first_chunk_s == 0.25


def test_every_header_at_once() -> None:
    assert options(
        (SEQUENCE, '["vllm"]'),
        (ENDPOINT, "http://10.0.0.7:8000/v1"),
        (KEY, "k-1"),
        (TIMEOUT, "1500"),
        (BREAK, "error"),
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
        success_status=200,
        caller_limit_s=600.0,
        idempotency_key="i-1",
        via=("3f2a",),
        trace_id="a" * 32,
        trace_flags="01",
    )


# --- one of its kind ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*ALL, "authorization", "content-type", "x-opengateway-unheard-of"])
def test_a_header_sent_twice_is_refused_by_name(name: str) -> None:
    headers: list[Header] = [(name.encode(), b"a"), (b"host", b"h"), (name.title().encode(), b"a")]
    with pytest.raises(RequestRejected) as caught:
        refuse_repeats(headers)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "invalid_header", name)
    assert name in caught.value.message


def test_other_headers_may_be_sent_twice() -> None:
    headers: list[Header] = [(b"via", b"a"), (b"via", b"b"), (b"accept", b"c"), (b"accept", b"c")]
    refuse_repeats([*headers, *((name.encode(), b"") for name in ALL)])
    assert options(*((name.decode(), value) for name, value in headers)) == CallOptions(request_id="r-1")


def test_an_unknown_gateway_header_is_refused_with_the_list_of_known_ones() -> None:
    error = refused(("x-opengateway-time-out", "1"))
    assert error.param == "x-opengateway-time-out"
    assert all(name in error.message for name in ALL)


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


@pytest.mark.parametrize("name", ALL)
def test_a_value_of_64_kib_is_refused(name: str) -> None:
    error = refused((name, "1" * (64 << 10)))
    assert error.param == name
    assert "8192 bytes" in error.message


def test_a_value_may_have_exactly_as_many_bytes_as_the_limit_says() -> None:
    value = '["a"' + " " * 15 + "]"
    assert options((SEQUENCE, value), limits=Limits(header_bytes=20)).sequence == (TargetName("a"),)
    assert "at most 19 bytes" in refused((SEQUENCE, value), limits=Limits(header_bytes=19)).message


# --- failover sequence ----------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("value", ["localhost:8000", "http://u:sesame@h", "http://2130706433", "http://h/v2"])
def test_a_bad_endpoint_is_refused_without_repeating_it(value: str) -> None:
    error = refused((ENDPOINT, value))
    assert error.param == ENDPOINT
    assert value not in error.message
    assert "sesame" not in error.message


@pytest.mark.parametrize("value", ["sesame open", "sesame\topen", "sesame\x01", "sesame\xff", "sesame\r\n"])
def test_a_key_of_other_characters_is_refused_without_repeating_it(value: str) -> None:
    error = refused((ENDPOINT, "http://a"), (KEY, value.encode("latin-1")))
    assert error.param == KEY
    assert "sesame" not in error.message + repr(error) + str(error)


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


@pytest.mark.parametrize("value", ["0", "000", *BAD_MILLISECONDS])
def test_a_timeout_that_is_no_positive_decimal_integer_within_the_maximum_is_refused(
    value: str | bytes,
) -> None:
    assert refused((TIMEOUT, value)).param == TIMEOUT


@pytest.mark.parametrize("value", BAD_MILLISECONDS)
def test_a_hedge_after_that_is_no_decimal_integer_is_refused(value: str | bytes) -> None:
    error = refused((HEDGE, value))
    assert (error.param, error.code) == (HEDGE, "invalid_header")


@pytest.mark.parametrize("value", ["0", "00"])
def test_a_hedge_after_of_zero_is_off(value: str) -> None:
    assert options((HEDGE, value)) == CallOptions(request_id="r-1")


@pytest.mark.parametrize(
    ("name", "value"), [(HEDGE, "1"), (HEDGE, "3600000"), (BREAK, "continue"), (BREAK, "hold")]
)
def test_what_comes_with_a_later_release_is_refused_as_such(name: str, value: str) -> None:
    error = refused((name, value))
    assert (error.param, error.code) == (name, "not_supported_yet")
    assert "later release" in error.message


@pytest.mark.parametrize("value", ["Error", "errors", "stop", "0", "error,hold", '"error"'])
def test_an_unknown_stream_break_policy_is_refused(value: str) -> None:
    error = refused((BREAK, value))
    assert (error.param, error.code) == (BREAK, "invalid_header")


@pytest.mark.parametrize("value", ["200", "201"])
def test_a_success_status_is_200_or_201(value: str) -> None:
    assert options((STATUS, value)).success_status == int(value)


@pytest.mark.parametrize("value", ["202", "0200", "20", "2xx", "200.0", "OK", "200, 201", "-200", "+200"])
def test_another_success_status_is_refused(value: str) -> None:
    assert refused((STATUS, value)).param == STATUS


# --- headers that only help -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "caller_limit_s"),
    [
        ([("x-stainless-read-timeout", "600")], 600.0),
        ([("x-stainless-read-timeout", "600.5")], 600.5),
        ([("x-stainless-timeout", "30")], 30.0),
        ([("x-stainless-timeout", "1e-2")], 0.01),
        ([("x-stainless-read-timeout", "600"), ("x-stainless-timeout", "30")], 30.0),
        ([("x-stainless-read-timeout", "20"), ("x-stainless-timeout", "30")], 20.0),
        ([("x-stainless-read-timeout", "None"), ("x-stainless-timeout", "30")], 30.0),
        ([("x-stainless-timeout", "40"), ("x-stainless-timeout", "30")], 30.0),
        *([([("x-stainless-timeout", value)], None) for value in ("", "None", "nan", "NaN", "inf", "-inf")]),
        *([([("x-stainless-timeout", value)], None) for value in ("0", "0.0", "-1", "+1", "1e999", "1_0")]),
        *([([("x-stainless-timeout", value)], None) for value in (" 1", "1s", "0x1", ".5", "1e", "²")]),
    ],
)
def test_the_sdks_own_limit_is_read_in_seconds_and_nonsense_ignored(
    headers: list[tuple[str, str]], caller_limit_s: float | None
) -> None:
    assert options(*headers).caller_limit_s == caller_limit_s


@pytest.mark.parametrize("value", ["a", "!~", "i" * 256])
def test_an_idempotency_key_is_kept(value: str) -> None:
    assert options(("idempotency-key", value)).idempotency_key == value


@pytest.mark.parametrize("value", ["", "i" * 257, "a b", "a\n", "ä", "a\x7f"])
def test_an_idempotency_key_that_could_not_be_sent_on_is_dropped(value: str) -> None:
    assert options(("idempotency-key", value)).idempotency_key is None


def test_two_idempotency_keys_are_none() -> None:
    assert options(("idempotency-key", "a"), ("idempotency-key", "b")).idempotency_key is None


@pytest.mark.parametrize(
    ("values", "via"),
    [
        (["1.1 ogw-3f2a"], ("3f2a",)),
        (["1.1 ogw-3f2a, 1.1 nginx"], ("3f2a",)),
        (["1.1 nginx,1.1 ogw-a,  HTTP/1.1\togw-b (a comment)"], ("a", "b")),
        (["1.1 ogw-a", "1.0 proxy", "2 ogw-b"], ("a", "b")),
        (["1.1 ogw-a, 1.1 ogw-a"], ("a", "a")),
        (["1.1 ogw-" + "z" * 64], ("z" * 64,)),
        (["1.1 ogw-" + "z" * 65], ()),
        (["", ",", " , ", "1.1", "ogw-a", "1.1 ogw-", "1.1 ogw-A", "1.1 ogw-a_b", "1.1 ogw-ä"], ()),
        (["1.1 nginx ogw-a", "1.1 xogw-a", "1.1 OGW-a", "1.1 ogw-a:80"], ()),
    ],
)
def test_gateways_that_the_request_came_through_are_read_from_via(
    values: list[str], via: tuple[str, ...]
) -> None:
    assert options(*(("via", value) for value in values)).via == via


TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_traceparent_gives_its_trace() -> None:
    found = options(("traceparent", f"00-{TRACE}-{SPAN}-01"))
    assert (found.trace_id, found.trace_flags) == (TRACE, "01")


@pytest.mark.parametrize(
    "values",
    [
        [""],
        [f"00-{'0' * 32}-{SPAN}-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        [f"ff-{TRACE}-{SPAN}-01"],
        [f"01-{TRACE}-{SPAN}-01"],
        [f"00-{TRACE.upper()}-{SPAN}-01"],
        [f"00-{TRACE}-{SPAN}"],
        [f"00-{TRACE}-{SPAN}-01-x"],
        [f"00-{TRACE}-{SPAN}-01\n"],
        [f"00-{TRACE}-{SPAN}-0g"],
        [f"00-{TRACE[1:]}-{SPAN}-01"],
        [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01"],
    ],
)
def test_an_invalid_traceparent_is_none(values: list[str]) -> None:
    found = options(*(("traceparent", value) for value in values))
    assert (found.trace_id, found.trace_flags) == (None, "00")


@pytest.mark.parametrize(
    ("values", "request_id"),
    [
        (["r"], "r"),
        (["~" * 128], "~" * 128),
        ([], None),
        ([""], None),
        (["r" * 129], None),
        (["a b"], None),
        (["a\r\nb"], None),
        (["a\n"], None),
        (["ä"], None),
        (["a", "b"], None),
    ],
)
def test_a_callers_request_id_is_used_if_it_is_visible_ascii(
    values: list[str], request_id: str | None
) -> None:
    assert read_request_id([(b"X-Request-ID", value.encode()) for value in values]) == request_id


# --- media ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "application/json ; x=y",
        " application/json",
    ],
)
@pytest.mark.parametrize("coding", [None, "", "identity", "Identity", " identity "])
def test_json_is_read(value: str, coding: str | None) -> None:
    headers: list[Header] = [(b"Content-Type", value.encode())]
    if coding is not None:
        headers.append((b"Content-Encoding", coding.encode()))
    assert refuse_media(headers) is None  # type: ignore[func-returns-value]  # it returns at all


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        ";",
        "text/plain",
        "text/json",
        "application/jsonx",
        "application/x-ndjson",
        "application/json, text/plain",
        "multipart/form-data; boundary=application/json",
        "application/x-www-form-urlencoded",
        "application/problem+json",
    ],
)
def test_another_content_type_is_a_415_that_says_what_was_expected(value: str | None) -> None:
    with pytest.raises(RequestRejected) as caught:
        refuse_media([] if value is None else [(b"content-type", value.encode())])
    error = caught.value
    assert (error.status, error.code, error.param) == (415, "unsupported_media_type", "content-type")
    assert "expected application/json" in error.message


@pytest.mark.parametrize("codings", [["gzip"], ["zstd"], ["identity, gzip"], ["identity", "br"], ["x"]])
def test_a_compressed_body_is_a_415_that_names_the_header(codings: list[str]) -> None:
    headers: list[Header] = [(b"content-encoding", coding.encode()) for coding in codings]
    with pytest.raises(RequestRejected) as caught:
        refuse_media([(b"content-type", b"application/json"), *headers])
    error = caught.value
    assert (error.status, error.code, error.param) == (415, "unsupported_media_type", "content-encoding")
    assert "content-encoding" in error.message


@pytest.mark.parametrize(
    ("values", "length"),
    [
        (["0"], 0),
        (["16777217"], 16777217),
        (["9" * 20], 10**20 - 1),
        (["9" * 21], None),
        ([], None),
        ([""], None),
        (["-1"], None),
        (["+5"], None),
        (["0x10"], None),
        (["0_2"], None),
        (["1 "], None),
        (["1.0"], None),
        (["٣"], None),
        (["1", "1"], None),
    ],
)
def test_the_announced_length_is_digits_or_none(values: list[str], length: int | None) -> None:
    assert announced_length([(b"Content-Length", value.encode()) for value in values]) == length


# --- any bytes ------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ALL), st.binary(max_size=40)), max_size=3))
def test_no_bytes_get_more_than_a_400_that_names_a_header(headers: list[tuple[str, bytes]]) -> None:
    try:
        found = options(*headers)
    except RequestRejected as error:
        assert error.status == 400
        assert error.param in ALL
    else:
        assert found.request_id == "r-1"
