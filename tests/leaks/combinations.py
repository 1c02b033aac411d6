"""The engines and loops of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LOOPS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}

COMBINATIONS = [
    ("native", "asyncio"),
    ("native", "uvloop"),
    ("native", "trio"),
    ("httpx2", "asyncio"),
    ("httpx2", "trio"),
    ("httpx", "asyncio"),
    ("httpx", "trio"),
]
"""uvloop for one engine alone, for the time that it takes: all have the same connections."""

ORDINARY = [("native", "asyncio"), ("native", "trio"), ("httpx2", "trio"), ("httpx", "asyncio")]
"""Each engine and each loop; the others are for the slow tests."""
