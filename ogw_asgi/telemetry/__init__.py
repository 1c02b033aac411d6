"""EXTENSION: what observers are told. `events` has the events and the one-method Protocol; a sink has its own file."""

from .events import AttemptEnded, AttemptStarted, Event, RequestEnded, Sink, StreamBroken

__all__ = ["AttemptEnded", "AttemptStarted", "Event", "RequestEnded", "Sink", "StreamBroken"]
