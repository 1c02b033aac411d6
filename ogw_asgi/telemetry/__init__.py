"""EXTENSION: what observers are told. `events` has the events and the one-method Protocol; a sink has its own file."""

from .._usage import Usage
from .events import (
    AttemptEnded,
    AttemptStarted,
    CircuitChanged,
    EgressDenied,
    Event,
    FailedOver,
    FirstChunk,
    GatewayOpened,
    Hedged,
    RequestEnded,
    RequestRefused,
    RequestStarted,
    Sink,
    StreamBroken,
    StreamContinued,
    Tracer,
)

__all__ = [
    "AttemptEnded",
    "AttemptStarted",
    "CircuitChanged",
    "EgressDenied",
    "Event",
    "FailedOver",
    "FirstChunk",
    "GatewayOpened",
    "Hedged",
    "RequestEnded",
    "RequestRefused",
    "RequestStarted",
    "Sink",
    "StreamBroken",
    "StreamContinued",
    "Tracer",
    "Usage",
]
