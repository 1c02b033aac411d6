"""How long does a provider ask us to wait? Reads every form seen in the wild, clamps nothing, knows no clock.

The forms in the order of their precision (wire facts, section 11); one that is unreadable, negative or longer
than a day is a server's bug and gives way to the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from .._values import Header

DAY_S = 86_400.0

_number = re.compile(rb"[0-9]{1,15}(?:\.[0-9]{0,15})?").fullmatch
# Go's time.Duration: `6ms`, `1m30s`, `1h0m0.5s`.
_duration = re.compile(rb"(?:[0-9]{1,15}(?:\.[0-9]{1,15})?(?:ms|us|\xc2\xb5s|ns|h|m|s))+").fullmatch
_duration_part = re.compile(rb"([0-9.]+)([a-z\xc2\xb5]+)").findall
_UNITS_S = {b"h": 3600.0, b"m": 60.0, b"s": 1.0, b"ms": 1e-3, b"us": 1e-6, b"\xc2\xb5s": 1e-6, b"ns": 1e-9}
_KINDS = (b"requests", b"tokens")


def read_retry_after(headers: Iterable[Header], now_epoch_s: float, *, limited: bool = False) -> float | None:
    """The seconds to wait, or None. `limited`: the answer is a 429, so its rate-limit headers may say it."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found.setdefault(name.lower(), value.strip())
    for name in (b"retry-after-ms", b"x-ms-retry-after-ms"):
        milliseconds = _read_number(found.get(name, b""))
        if milliseconds is not None and milliseconds <= DAY_S * 1000:
            return milliseconds / 1000
    wait_s = _read_seconds_or_date(found, now_epoch_s)
    if wait_s is None and limited:
        wait_s = _until_reset(found)
    return wait_s


def _read_number(value: bytes) -> float | None:
    # float() alone would take `nan`, `1_000` and `1e3`, too.
    return float(value) if _number(value) else None


def _at_most_a_day(wait_s: float | None) -> float | None:
    return None if wait_s is None or wait_s > DAY_S else wait_s


def _read_seconds_or_date(found: Mapping[bytes, bytes], now_epoch_s: float) -> float | None:
    value = found.get(b"retry-after", b"")
    seconds = _read_number(value)
    if seconds is not None:
        return _at_most_a_day(seconds)
    at_epoch_s = _read_date(value)
    if at_epoch_s is None:
        return None
    # The server's own Date, where it sent one: its clock and ours need not agree.
    sent_epoch_s = _read_date(found.get(b"date", b""))
    return _at_most_a_day(max(0.0, at_epoch_s - (now_epoch_s if sent_epoch_s is None else sent_epoch_s)))


def _read_date(value: bytes) -> float | None:
    """Any of RFC 9110's three forms of a date; one without a zone is in UTC."""
    try:
        date = parsedate_to_datetime(value.decode("latin-1"))
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):  # all that the parser raises
        return None


def _until_reset(found: Mapping[bytes, bytes]) -> float | None:
    """The limit that is used up says when it ends: the later one if both are.

    Without `remaining` headers nobody knows which limit it was; then the sooner end, and a second 429 if that
    was wrong. Limits that have something left did not cause the 429.
    """
    spent: list[float] = []
    unknown: list[float] = []
    for kind in _KINDS:
        reset_s = _at_most_a_day(_read_duration(found.get(b"x-ratelimit-reset-" + kind, b"")))
        if reset_s is None:
            continue
        remaining = found.get(b"x-ratelimit-remaining-" + kind)
        if remaining is None:
            unknown.append(reset_s)
        elif remaining.startswith(b"-") or _read_number(remaining) == 0:
            spent.append(reset_s)
    return max(spent) if spent else min(unknown, default=None)


def _read_duration(value: bytes) -> float | None:
    if _duration(value):
        return sum(float(amount) * _UNITS_S[unit] for amount, unit in _duration_part(value))
    return _read_number(value)  # Azure: plain seconds
