"""What the crash-test provider remembers of a call; plain data and one event to await."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ._signals import SharedEvent


@dataclass(eq=False, slots=True)
class CrashTestCall:
    """One chat completion as the provider saw it. Times are readings of `time.monotonic()`, in seconds.

    model: as asked, with its suffix; number: of this call among those for the same name, from 1.
    body: the request's JSON object.
    played: what the model did: `answer`, `503`, `reset`, `silence`, `cut`...
    started_s: when the request had been read; ended_s: when nothing more was to be sent, or the peer had gone.
    peer_closed_s: when the peer closed, or reset, the connection while the reply was being played; None if it did not.
        A reply that the provider cuts is played until the peer closes, too.
    """

    model: str
    number: int
    streamed: bool
    body: dict[str, Any] = field(repr=False)
    started_s: float
    played: str = ""
    peer_closed_s: float | None = None
    ended_s: float | None = None
    ended: SharedEvent = field(default_factory=SharedEvent, repr=False)
    """Set when `ended_s` is; any thread and any loop may await it."""

    def as_dict(self) -> dict[str, Any]:
        """All of it but the event, for JSON."""
        names = ("model", "number", "streamed", "body", "started_s", "played", "peer_closed_s", "ended_s")
        return {name: getattr(self, name) for name in names}
