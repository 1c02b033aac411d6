"""Request headers that only help or describe the body: read when well-formed, dropped or a 415 when not."""

from __future__ import annotations

import pytest

from ogw_asgi._values import CallOptions, Header, Limits
from ogw_asgi._wire.headers import (
    announced_length,
    header_values,
    read_options,
    read_request_id,
    refuse_media,
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


# --- headers that only help -----------------------------------------------------------------------------------


@pytest.mark.contract("2.limits.caller")
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
def test_gateways_that_the_request_came_through_are_read_from_via(values: list[str], via: tuple[str, ...]) -> None:
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


@pytest.mark.contract("6.request-id.kept")
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
def test_a_callers_request_id_is_used_if_it_is_visible_ascii(values: list[str], request_id: str | None) -> None:
    assert read_request_id(header_values([(b"X-Request-ID", value.encode()) for value in values])) == request_id


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
    assert refuse_media(header_values(headers)) is None  # type: ignore[func-returns-value]  # it returns at all


@pytest.mark.contract("1.content-type")
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
        refuse_media(header_values([] if value is None else [(b"content-type", value.encode())]))
    error = caught.value
    assert (error.status, error.code, error.param) == (415, "unsupported_media_type", "content-type")
    assert "expected application/json" in error.message


@pytest.mark.contract("1.content-encoding")
@pytest.mark.parametrize("codings", [["gzip"], ["zstd"], ["identity, gzip"], ["identity", "br"], ["x"]])
def test_a_compressed_body_is_a_415_that_names_the_header(codings: list[str]) -> None:
    headers: list[Header] = [(b"content-encoding", coding.encode()) for coding in codings]
    with pytest.raises(RequestRejected) as caught:
        refuse_media(header_values([(b"content-type", b"application/json"), *headers]))
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
    assert announced_length(header_values([(b"Content-Length", value.encode()) for value in values])) == length
