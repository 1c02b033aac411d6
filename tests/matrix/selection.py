"""Which combinations of the factors a row of the fault matrix runs in: engine x loop x mode. Pure.

In the ordinary suite the six of `pairwise`; with `OGW_MATRIX=full` in the environment (`python -m tests.matrix --full`
sets it) all of them, uvloop included.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, get_args

Engine = Literal["httpx", "httpx2", "native"]
Loop = Literal["asyncio", "trio", "uvloop"]
Mode = Literal["json", "sse"]

ENGINES: Sequence[Engine] = get_args(Engine)
LOOPS: Sequence[Loop] = get_args(Loop)
MODES: Sequence[Mode] = get_args(Mode)
FULL_VARIABLE = "OGW_MATRIX"

_BACKENDS: dict[Loop, tuple[str, dict[str, Any]]] = {
    "asyncio": ("asyncio", {"debug": False}),
    "trio": ("trio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One combination. `mode` is what the caller asks for: one JSON body, or a stream."""

    engine: Engine
    loop: Loop
    mode: Mode

    @property
    def id(self) -> str:
        return f"{self.engine}-{self.loop}-{self.mode}"

    @property
    def backend(self) -> tuple[str, dict[str, Any]]:
        """For anyio's pytest plugin."""
        return _BACKENDS[self.loop]

    @property
    def stream(self) -> bool:
        return self.mode == "sse"


def pairwise(mode: Mode | None = None) -> list[Case]:
    """Every engine on every loop; the modes alternate, so that each engine and each loop sees both."""
    loops: Sequence[Loop] = ("asyncio", "trio")
    return [
        Case(engine, loop, mode or MODES[(row + column) % 2])
        for row, engine in enumerate(ENGINES)
        for column, loop in enumerate(loops)
    ]


def full(mode: Mode | None = None) -> list[Case]:
    """The whole product."""
    modes = MODES if mode is None else (mode,)
    return [Case(engine, loop, each) for engine, loop, each in product(ENGINES, LOOPS, modes)]


def chosen(mode: Mode | None = None) -> list[Case]:
    return full(mode) if os.environ.get(FULL_VARIABLE) == "full" else pairwise(mode)
