"""What answers are made of: words that say who wrote them, for which request, and what stood before them.

A word is `provider.request.exchange.counter.crc`. The exchange is a number that a provider gives out once, so that even
two answers of one provider to one request cannot be taken for each other; the CRC runs over all words up to this one.
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who answers what. None of the three holds a dot."""

    provider: str
    request: str
    exchange: str

    def __str__(self) -> str:
        return f"{self.provider}.{self.request}.{self.exchange}"


def write(stamp: Stamp, count: int) -> list[str]:
    words = []
    crc = 0
    for counter in range(count):
        body = f"{stamp}.{counter}"
        crc = crc32(body.encode("ascii"), crc)
        words.append(f"{body}.{crc:08x}")
    return words


def read_stamp(text: str) -> Stamp | None:
    """Of what begins like a word."""
    parts = text.split(".")
    return Stamp(*parts[:3]) if len(parts) >= 3 and all(parts[:3]) else None


def defect(stamp: Stamp, words: Sequence[str]) -> str | None:
    """Why these are not the first words that this stamp's owner wrote, if so. Fewer than all is no defect here."""
    crc = 0
    for expected, word in enumerate(words):
        parts = word.split(".")
        if len(parts) != 5 or not parts[3].isdecimal():
            return "no word of a provider"
        if parts[1] != stamp.request:
            return "foreign: another request's word"
        if parts[:3] != [stamp.provider, stamp.request, stamp.exchange]:
            return "mixed: two answers in one"
        counter = int(parts[3])
        if counter != expected:
            return "repeated" if counter < expected else "gap"
        crc = crc32(".".join(parts[:4]).encode("ascii"), crc)
        if parts[4] != f"{crc:08x}":
            return "altered"
    return None
