"""Inputs from seeds: cut, flipped, doubled, spliced, made deep and long. Seeded, so that a run can be repeated."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from zlib import crc32

LONGEST = (64 << 10) - 1

ODD = [
    *(bytes([byte]) for byte in b"\0\t\n\r \x1f\"'#%&,-./0:;<=>?@[\\]^_`{|}~\x7f\x80\xa0\xad\xbf\xc0\xff"),
    *(b"\r\n", b"\n\n", b"\r\n\r\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"),
    *("ü\u2028\u3002\u0130\u00a0①😀".encode(), "\u0661".encode(), b"\xc3", b"\xe2\x80", b"\xf0\x9f\x98"),
    *(b"-1", b"+5", b"1e999", b"-0", b"1_000", b"0x1f", b"NaN", b"Infinity", b"2147483648", b"9223372036854775808"),
    *(b"99999999999999999999", b"9" * 5000, b"0.1", b"1E400", b"256", b"65536", b"1e-400"),
    *(b"null", b"true", b"[]", b"{}", b'""', b'"a"', b"[[", b"}}", b"\\u0000", b"\\ud83d", b"\\udc00", b'\\"', b"\\\\"),
    *(b"%00", b"%0d%0a", b"../", b"<!--", b"${x}", b"'--", b"*/"),
]
"""What has made some parser stumble, somewhere."""

NESTS = [(b"[", b"]"), (b'{"a":', b"}"), (b"[{", b"}]"), (b"(", b")"), (b"[" * 9 + b"1,", b"]"), (b'[{"a":[', b"]}]")]
RUNS = [b"[],", b"{}", b'"a":1,', b"a", b" ", b"\n", b"\r", b"data:\n", b":\n", b"\\", b'"', b"\\u0061", b"0", b"1,"]
RUNS += [
    b"\xf0\x9f\x98\x80",
    b"\xff",
    b"\x00",
    b"x: y\r\n",
    b"\\ud83d\\ude00",
    b'\\"',
    b",",
    b"-",
    b".",
    b"1m",
    b"\r\n",
]
RUNS += [
    b'"error"',
    b'"finish_reason"',
    b'"finish_reason":null,',
    b"data: {}\n\n",
    b"data: {",
    b"}}",
    b"/",
    b"::",
    b"@",
]


def mutants(seeds: Sequence[bytes], tokens: Sequence[bytes], seed: str) -> Iterator[bytes]:
    """Inputs without end, none longer than `LONGEST`; the same ones for the same seed."""
    mutator = _Mutator(seeds, tokens, seed)
    while True:
        yield mutator.next()


class _Mutator:
    def __init__(self, seeds: Sequence[bytes], tokens: Sequence[bytes], seed: str) -> None:
        self._seeds = seeds
        self._tokens = [*tokens, *ODD]
        self._rng = random.Random(seed)
        self._ways: list[Callable[[bytearray], None]] = [
            self._flip,
            self._delete,
            self._insert,
            self._insert_at_seam,
            self._insert_at_seam,
            self._repeat,
            self._splice,
            self._swap,
            self._cut,
        ]

    def next(self) -> bytes:
        """The next one."""
        rng = self._rng
        data = bytearray(rng.choice(self._seeds))
        kind = rng.random()
        if kind < 0.02:  # as it is: what is good must stay so
            return bytes(data)
        if kind < 0.03:
            self._long(data)
        for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 3, 8))):
            rng.choice(self._ways)(data)
        return bytes(data[:LONGEST])

    def _span(self, data: bytearray) -> tuple[int, int]:
        start = int(self._rng.random() * (len(data) + 1))
        return start, start + int(2 ** (self._rng.random() * 6))

    def _flip(self, data: bytearray) -> None:
        if data:
            at = int(self._rng.random() * len(data))
            data[at] = (
                data[at] ^ 1 << self._rng.getrandbits(3) if self._rng.getrandbits(1) else self._rng.getrandbits(8)
            )

    def _delete(self, data: bytearray) -> None:
        start, end = self._span(data)
        del data[start:end]

    def _insert(self, data: bytearray) -> None:
        at, _ = self._span(data)
        data[at:at] = self._rng.choice(self._tokens)

    def _insert_at_seam(self, data: bytearray) -> None:
        # Where one thing ends and another begins, more of what is inserted makes sense.
        seam = self._rng.choice((b",", b"}", b"]", b":", b"{", b"[", b"\n", b";", b'"'))
        at = data.find(seam, self._span(data)[0])
        if at >= 0:
            at += self._rng.getrandbits(1)
            data[at:at] = self._rng.choice(self._tokens)

    def _repeat(self, data: bytearray) -> None:
        start, end = self._span(data)
        data[end:end] = data[start:end]

    def _splice(self, data: bytearray) -> None:
        other = self._rng.choice(self._seeds)
        start, end = sorted((int(self._rng.random() * (len(other) + 1)), int(self._rng.random() * (len(other) + 1))))
        at, until = self._span(data)
        data[at : until if self._rng.getrandbits(1) else at] = other[start:end]

    def _swap(self, data: bytearray) -> None:
        start, end = self._span(data)
        data[start:end] = data[start:end][::-1]

    def _cut(self, data: bytearray) -> None:
        del data[self._span(data)[0] :]

    def _long(self, data: bytearray) -> None:
        rng = self._rng
        size = int(2 ** (8 + rng.random() * 8))
        if rng.getrandbits(1):
            opening, closing = rng.choice(NESTS)
            depth = rng.choice((126, 127, 128, 129, 500, 990, 1000, 1010, size // (len(opening) + len(closing))))
            run = opening * depth + rng.choice((b"", b"1", b'"a"')) + closing * depth
        else:
            unit = rng.choice(RUNS if rng.getrandbits(1) else self._tokens)
            run = unit * (size // max(1, len(unit)))
        at, _ = self._span(data)
        data[at:at] = run


def dice(data: bytes) -> random.Random:
    """Chance that an input brings with it: an input alone says what became of it."""
    return random.Random(crc32(data))


def cuts(data: bytes, rng: random.Random) -> list[bytes]:
    """The same bytes in pieces; now and then each byte alone."""
    if len(data) < 400 and rng.random() < 0.1:
        return [data[at : at + 1] for at in range(len(data))]
    at = sorted(int(rng.random() * (len(data) + 1)) for _ in range(rng.choice((1, 2, 3, 8))))
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True) if start < end]
