"""Every form in which a provider says how long to wait, and every form that says nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._values import Header
from ogw_asgi._wire.retry_after import DAY_S, read_retry_after

NOW = 1_795_593_600.0  # Wed, 25 Nov 2026 08:00:00 GMT


@pytest.mark.contract("C.ms")
@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ([(b"retry-after-ms", b"2000")], 2.0),
        ([(b"Retry-After-Ms", b" 12.5 ")], 0.0125),
        ([(b"retry-after-ms", b"0")], 0.0),
        ([(b"retry-after-ms", b"86400000")], DAY_S),
        ([(b"x-ms-retry-after-ms", b"300")], 0.3),
        ([(b"x-ms-retry-after-ms", b"300"), (b"retry-after-ms", b"400"), (b"retry-after", b"9")], 0.4),
        ([(b"retry-after", b"9"), (b"x-ms-retry-after-ms", b"300")], 0.3),
    ],
)
def test_milliseconds_win_over_every_other_form(headers: list[Header], wait_s: float) -> None:
    assert read_retry_after(headers, NOW) == pytest.approx(wait_s)


@pytest.mark.contract("C.seconds")
@pytest.mark.parametrize(
    ("value", "wait_s"),
    [(b"20", 20.0), (b"20.5", 20.5), (b" 0 ", 0.0), (b"0.25", 0.25), (b"3.", 3.0), (b"86400", DAY_S)],
)
def test_seconds_may_have_a_fraction(value: bytes, wait_s: float) -> None:
    assert read_retry_after([(b"Retry-After", value)], NOW) == wait_s


@pytest.mark.contract("C.date")
@pytest.mark.parametrize(
    ("value", "date", "wait_s"),
    [
        pytest.param(b"Wed, 25 Nov 2026 08:00:30 GMT", None, 30.0, id="our clock without theirs"),
        pytest.param(b"Wed, 25 Nov 2026 08:00:30 GMT", b"Wed, 25 Nov 2026 08:00:20 GMT", 10.0, id="their clock"),
        pytest.param(b"Wed, 25 Nov 2026 03:00:30 GMT", b"Wed, 25 Nov 2026 03:00:00 GMT", 30.0, id="a clock far off"),
        pytest.param(b"Wed, 25 Nov 2026 08:00:30 GMT", b"yesterday", 30.0, id="an unreadable Date"),
        pytest.param(b"Wed, 25 Nov 2026 07:59:00 GMT", None, 0.0, id="the past"),
        pytest.param(b"Wednesday, 25-Nov-26 08:00:30 GMT", None, 30.0, id="RFC 850"),
        pytest.param(b"Wed Nov 25 08:00:30 2026", None, 30.0, id="asctime, which is in UTC"),
        pytest.param(b"Wed, 25 Nov 2026 09:00:30 +0100", None, 30.0, id="another zone"),
        pytest.param(b"Wed, 25 Nov 2026 08:00:30", None, 30.0, id="no zone, which is UTC as well"),
    ],
)
def test_a_date_is_waited_for_by_the_servers_own_clock(value: bytes, date: bytes | None, wait_s: float) -> None:
    headers = [(b"retry-after", value)] + ([(b"date", date)] if date is not None else [])
    assert read_retry_after(headers, NOW) == wait_s


@pytest.mark.contract("C.ignored")
@pytest.mark.parametrize(
    "value",
    [
        b"", b" ", b"-1", b"-0.5", b"+5", b"nan", b"NaN", b"inf", b"Infinity", b"1e3", b"1_000", b"0x10",
        b"99999999", b"9" * 400, b"soon", b"20s", b"1, 2", b"\xff", "\u0663".encode(), b"1.2.3",
        b"Wed, 32 Nov 2026 08:00:30 GMT", b"Fri, 27 Nov 2026 08:00:00 GMT", b"Wed, 25 Nov 99999 08:00:30 GMT",
        b"Wed, 25 Nov 2026 08:00:30 +99999999999",
    ],
)  # fmt: skip
def test_what_is_negative_endless_or_garbage_gives_way_to_the_next_form(value: bytes) -> None:
    assert read_retry_after([(b"retry-after", value)], NOW) is None
    in_ms = b"86400001" if value.isdigit() else value
    both = [(b"retry-after-ms", in_ms), (b"x-ms-retry-after-ms", in_ms), (b"retry-after", b"7")]
    assert read_retry_after(both, NOW) == 7.0
    limited = [(b"retry-after", value), (b"x-ratelimit-reset-requests", b"3s")]
    assert read_retry_after(limited, NOW, limited=True) == 3.0


def test_without_any_header_nothing_is_said() -> None:
    assert read_retry_after([], NOW) is None
    assert read_retry_after([], NOW, limited=True) is None


@pytest.mark.contract("C.reset")
@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        (b"6ms", 0.006),
        (b"1m30s", 90.0),
        (b"12h", 43_200.0),
        (b"1h0m0.5s", 3600.5),
        (b"10", 10.0),
        (b"0", 0.0),
        (b"500us", 0.0005),
        ("500µs".encode(), 0.0005),
        (b"20ns", 2e-8),
        (b"24h0m0s", DAY_S),
    ],
)
def test_a_429_without_retry_after_is_read_by_its_rate_limit(value: bytes, wait_s: float) -> None:
    headers = [(b"X-RateLimit-Reset-Requests", value)]
    assert read_retry_after(headers, NOW, limited=True) == pytest.approx(wait_s)
    assert read_retry_after(headers, NOW) is None
    assert read_retry_after([*headers, (b"retry-after", b"7")], NOW, limited=True) == 7.0


@pytest.mark.contract("C.ignored")
@pytest.mark.parametrize("value", [b"", b"-1", b"-6ms", b"25h", b"114h18m0s", b"s", b"1x", b"1m 30s", b"1.s", b"ms5"])
def test_a_reset_that_is_no_duration_within_a_day_is_ignored(value: bytes) -> None:
    assert read_retry_after([(b"x-ratelimit-reset-tokens", value)], NOW, limited=True) is None


@pytest.mark.contract("C.reset")
@pytest.mark.parametrize(
    ("requests", "tokens", "wait_s"),
    [
        pytest.param((b"9s", b"0"), (b"5s", b"100"), 9.0, id="the limit that is used up"),
        pytest.param((b"5s", b"100"), (b"9s", b"0"), 9.0, id="or the other one"),
        pytest.param((b"9s", b"0"), (b"5s", b"0"), 9.0, id="the later one when both are"),
        pytest.param((b"9s", None), (b"5s", None), 5.0, id="the sooner one when nobody knows"),
        pytest.param((b"9s", None), (b"5s", b"3"), 9.0, id="the one that nobody knows about"),
        pytest.param((b"9s", b"-1"), (b"5s", None), 9.0, id="less than nothing left"),
        pytest.param((b"9s", b"1"), (b"5s", b"1"), None, id="none when something is left of both"),
        pytest.param((b"9s", b"?"), (None, b"0"), None, id="none when nothing is readable"),
    ],
)
def test_of_two_limits_the_one_that_is_used_up_counts(
    requests: tuple[bytes | None, bytes | None], tokens: tuple[bytes | None, bytes | None], wait_s: float | None
) -> None:
    headers = [
        (b"x-ratelimit-" + field + b"-" + kind, value)
        for kind, pair in ((b"requests", requests), (b"tokens", tokens))
        for field, value in zip((b"reset", b"remaining"), pair, strict=True)
        if value is not None
    ]
    assert read_retry_after(headers, NOW, limited=True) == wait_s


names = st.sampled_from(
    [b"retry-after", b"retry-after-ms", b"x-ms-retry-after-ms", b"date", b"x-ratelimit-reset-tokens"]
    + [b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-requests"]
)
garbage = st.binary(max_size=30) | st.text(alphabet="0123456789.,:-+ WedNovGMTmsh", max_size=32).map(str.encode)


@given(headers=st.lists(st.tuples(names, garbage), max_size=6), limited=st.booleans())
@settings(max_examples=200, deadline=None)
def test_whatever_the_headers_hold_the_wait_is_none_or_within_a_day(headers: list[Header], limited: bool) -> None:
    wait_s = read_retry_after(headers, NOW, limited=limited)
    assert wait_s is None or 0.0 <= wait_s <= DAY_S
