"""Playing a script on a connection: what each step does on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from ._connection import Connection
from .steps import Fin, Hang, OnAccept, OnHead, Reset, Wait

RawStep: TypeAlias = bytes | Wait | Hang | Fin | Reset | OnAccept | OnHead
RawScript: TypeAlias = Sequence[RawStep]


async def play(script: RawScript, connection: Connection) -> None:
    """Raises PeerClosed as soon as a step finds that the other side has gone."""
    for step in script:
        match step:
            case bytes():
                await connection.send(step)
            case Wait(event):
                await connection.wait_for(event)
            case Hang():
                await connection.read_to_end()
            case Fin():
                connection.send_fin()
                await connection.read_to_end()
            case Reset():
                connection.reset()
                return
            case OnAccept() | OnHead():
                pass
