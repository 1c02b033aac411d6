"""Payloads mutated by a seed: flips, deletions, repeats, tokens put in, splices. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from .golden import MOUNTS
from .payloads import MOUNT, PAYLOADS

LONGEST = 4_000
"""What is longer costs time and says nothing new when it is mutated."""

SEEDS: Sequence[bytes] = [payload.sent for payload in PAYLOADS if len(payload.sent) <= LONGEST]

TOKENS: Sequence[bytes] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\x00",
    b"\x0b",
    b"\x80",
    b"\xff",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"0",
    b"0\r\n\r\n",
    b"-1",
    b"+",
    b"0x",
    b"99999999999999999999",
    b"ffffffffffffffff",
    b"chunked",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 57\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive, upgrade\r\n",
    b"Upgrade: h2c\r\n",
    b"Expect: 100-continue\r\n",
    b"x-opengateway-timeout: 1000\r\n",
    b"x-opengateway-failover-sequence: []\r\n",
    b"x-request-id: ",
    b"Via: 1.1 ogw-a\r\n",
    b"Host: a\r\n",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"GET /native/models HTTP/1.1\r\n\r\n",
    b"POST ",
    b'"stream":true,',
    b'"model":"a\\r\\nb",',
    b"{",
    b"}",
    b'"',
    b"\\u0000",
    b"%0d%0a",
    b"../",
]


def mutated(seed: int) -> bytes:
    """The same for the same seed, always."""
    choose = random.Random(seed)
    data = bytearray(choose.choice(SEEDS))
    for _ in range(choose.choice((1, 1, 2, 3, 5))):
        _mutate(data, choose)
    mount = choose.choice(list(MOUNTS))
    return bytes(data[: 2 * LONGEST]).replace(f"{MOUNT}/".encode(), f"{mount}/".encode())


def _mutate(data: bytearray, choose: random.Random) -> None:
    at = choose.randrange(len(data) + 1)
    end = min(len(data), at + choose.choice((1, 1, 2, 4, 16, 100)))
    match choose.randrange(7):
        case 0 if at < len(data):
            data[at] ^= 1 << choose.randrange(8)
        case 1:
            del data[at:end]
        case 2:
            data[at:at] = data[at:end] * choose.choice((1, 1, 2, 10))
        case 3 | 4:
            data[at:at] = choose.choice(TOKENS)
        case 5:
            data[at:end] = choose.choice(TOKENS)
        case _:
            other = choose.choice(SEEDS)
            data[at:] = other[choose.randrange(len(other)) :]


def mutations(count: int, seed: int) -> Iterator[tuple[int, bytes]]:
    for number in range(seed * 10_000_000, seed * 10_000_000 + count):
        yield number, mutated(number)
