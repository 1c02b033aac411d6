"""Ids of elements: the same for the same thing in every snapshot, so that the page in a browser knows it again."""

from __future__ import annotations

from collections import Counter
from zlib import crc32


class Keys:
    """Of one page, on which no id may stand twice."""

    def __init__(self) -> None:
        self._used: Counter[str] = Counter()

    def of(self, prefix: str, *what: object) -> str:
        key = f"{prefix}-{crc32(repr(what).encode()):08x}"
        self._used[key] += 1
        return key if self._used[key] == 1 else f"{key}-{self._used[key]}"
