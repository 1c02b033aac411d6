"""What an attempt that succeeded hands over: a good first chunk, or all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._values import Header, Outcome, Target
from .._wire.chunks import Chunk
from ..transports.base import UpstreamResponse
from .slots import Slot
from .stream import ChatStream

if TYPE_CHECKING:
    from .account import Heard


@dataclass(slots=True)
class Answer:
    """A good first chunk, and what follows it. Whoever holds this closes it."""

    target: Target
    headers: Sequence[Header] = field(repr=False)
    response: UpstreamResponse
    slot: Slot
    outcome: Outcome
    started_s: float
    body: bytes = field(default=b"", repr=False)
    stream: ChatStream | None = None
    held: list[bytes] = field(default_factory=list, repr=False)
    """The frames up to and including the first with substance, ready to send."""
    chunks: list[Chunk] = field(default_factory=list, repr=False)
    """The data events among them, judged."""
    whole: bool = False
    """`body` is a stream that was read to its end, `[DONE]` included."""
    report: Heard | None = None
    """What it says of itself, where somebody listens."""
    broke: str | None = None
    """Of what its stream broke after the first chunk, if it did."""
    on_close: Callable[[Answer], None] | None = None
    """Called once, when it is closed."""

    async def aclose(self) -> None:
        try:
            await self.response.aclose()
        finally:
            self.slot.release()
            tell, self.on_close = self.on_close, None
            if tell is not None:
                tell(self)
