"""What is read of an answer before httpcore reads it: a table, however the bytes are cut."""

from __future__ import annotations

import pytest

from ogw_asgi.transports._arrived import UNREAD_BYTES, Arrived
from ogw_asgi.transports.base import FailureKind

BEGINNINGS: dict[bytes, tuple[int, FailureKind | None]] = {
    b"HTTP/1.1 200 OK\r\n": (200, None),
    b"HTTP/1.0 404 \r\n": (404, None),
    b"HTTP/1.1 999 ?\r\n": (999, None),
    b"HTTP/1.1 100 Continue\r\n": (0, None),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 Too Large\r\n": (413, None),
    b"HTTP/1.1 103 \r\nlink: </x>\r\n\r\nHTTP/1.1 103 \r\nlink: </y>\r\n\r\nHTTP/1.1 200 \r\n": (200, None),
    b"HTTP/1.1 103 \r\nlink: </x>\r\n\r\nnonsense\r\n": (0, "protocol"),
    b"HTTP/1.1 103 Early Hints\r\n": (0, None),
    b"HTTP/1.1 20": (0, None),
    b"HTTP/1.1 two": (0, None),
    b"HTTP/2 200 OK\r\n": (0, None),
    b"HTT": (0, None),
    b"http/1.1 200 OK\r\n": (0, "protocol"),
    b"SSH-2.0-OpenSSH_9.6\r\n": (0, "protocol"),
    b"\r\nHTTP/1.1 200 OK\r\n": (0, "protocol"),
    b"P/1.1 200 OK\r\n": (0, "protocol"),
}


@pytest.mark.parametrize(("beginning", "expected"), BEGINNINGS.items())
def test_a_final_status_is_seen_wherever_it_is_cut(beginning: bytes, expected: tuple[int, FailureKind | None]) -> None:
    for cut in range(len(beginning)):
        arrived = Arrived(kept=False)
        for piece in (beginning[:cut], memoryview(beginning)[cut:]):
            arrived.feed(piece)
        assert (arrived.status, arrived.failure) == expected
        assert arrived.received_bytes == len(beginning)
        if arrived.failure is None:
            assert (arrived.take(), arrived.unread, arrived.take()) == (beginning, False, b"")


@pytest.mark.parametrize(
    ("ends", "failure"), [([True], None), ([False], "reset"), ([True, False], None), ([False, True], "reset")]
)
def test_a_clean_end_stays_one(ends: list[bool], failure: FailureKind | None) -> None:
    arrived = Arrived(kept=True)
    arrived.feed(b"HTTP/1.1 200 OK\r\n\r\nhello")
    for clean in ends:
        arrived.end(clean=clean)
    assert (arrived.at_end, arrived.failure) == (True, failure)
    assert arrived.take().endswith(b"hello"), "what came before the end is read, whichever end it was"


def test_what_nobody_takes_is_not_kept_for_ever() -> None:
    arrived = Arrived(kept=False)
    arrived.feed(b"HTTP/1.1 100 Continue\r\n\r\n")
    taken = 0
    while arrived.failure is None:
        arrived.feed(b"x" * 65536)
        taken += 65536
        assert taken <= UNREAD_BYTES + 65536
    assert arrived.failure == "protocol"
    held = len(arrived.take())
    assert held <= UNREAD_BYTES + 65536


def test_what_is_taken_may_be_of_any_length() -> None:
    arrived = Arrived(kept=False)
    arrived.feed(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(100):
        arrived.feed(b"x" * 65536)
        assert arrived.take()
    assert arrived.failure is None


def test_what_came_too_early_ends_a_kept_connection_as_if_nothing_had_come() -> None:
    arrived = Arrived(kept=True)
    assert not arrived.refuse_early()
    arrived.feed(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert arrived.refuse_early()
    assert (arrived.received_bytes, arrived.failure, arrived.take()) == (0, "reset", b"")
