"""EXTENSION: what observers are told. `events` has the events and the one-method Protocol; a sink has its own file."""

from .events import (
    AttemptEnded,
    AttemptStarted,
    CircuitChanged,
    Event,
    RequestEnded,
    Sink,
    StreamBroken,
    StreamContinued,
)

__all__ = [
    "AttemptEnded",
    "AttemptStarted",
    "CircuitChanged",
    "Event",
    "RequestEnded",
    "Sink",
    "StreamBroken",
    "StreamContinued",
]
