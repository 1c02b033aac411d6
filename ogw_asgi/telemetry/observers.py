"""Who is told of events: the sinks of one gateway, and what is kept from them when they fail."""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Sequence

from ..exceptions import where
from .events import Event, Sink, Tracer

_traceparent = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch


class Observers:
    """The sinks of one gateway. Events are passed as functions, so that none is built when nobody listens.

    `log` has no word for what is as it should be, so it is not told of it.

    Attributes:
        all_is_told: somebody listens to what is usual, too.
        traces: a sink decides which attempts have a `traceparent`, and what it is.
    """

    def __init__(self, sinks: Sequence[Sink], log: Sink | None = None) -> None:
        self._sinks = tuple(sinks)
        self._tracer = next((sink for sink in self._sinks if isinstance(sink, Tracer)), None)
        self.all_is_told = bool(self._sinks)
        self.traces = self._tracer is not None
        self._all = (log, *self._sinks) if log is not None else self._sinks

    def tell(self, build: Callable[[], Event], *, usual: bool = False) -> None:
        """`usual`: all is well, as nearly always."""
        listening = self._sinks if usual else self._all
        if not listening:
            return
        event = build()
        for sink in listening:
            try:
                sink.on_event(event)
            except Exception as error:
                _failed(sink, error)

    def traceparent(self, serial: int, number: int) -> str | None:
        """What the sink that traces says of an attempt that it has been told of."""
        if self._tracer is None:
            return None
        try:
            value = self._tracer.traceparent(serial, number)
        except Exception as error:
            _failed(self._tracer, error)
            return None
        return value if isinstance(value, str) and _traceparent(value) else None


def new_serial() -> int:
    """A number for a request that all is told of. A sink may serve several gateways, so it is no count."""
    return random.getrandbits(63)


def _failed(sink: Sink, error: Exception) -> None:
    # Without the text: a sink's exception may hold anything.
    logging.getLogger("ogw_asgi").error("sink_failed sink=%s error=%s", type(sink).__name__, where(error))
