"""What a scripted provider remembers of a request; plain data and two events to await."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ._signals import SharedEvent


@dataclass(eq=False, slots=True)
class RecordedRequest:
    """One request as the upstream received it, every byte of it.

    `path` is decoded and `raw_path` is not; `query` is what stands behind the question mark. Header names
    are lower-case; order and repetition are kept. `started_s` is a reading of `time.monotonic()`.
    """

    method: str
    path: str
    raw_path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]] = field(repr=False)  # they hold the caller's or the gateway's key
    body: bytes
    started_s: float
    closed: SharedEvent = field(default_factory=SharedEvent)
    """Set when the caller left before the reply was all sent."""
    finished: SharedEvent = field(default_factory=SharedEvent)
    """Set when the exchange is over, whichever way."""

    def header(self, name: str) -> str | None:
        """The first header of this name, whatever its case."""
        wanted = name.lower().encode("latin-1")
        return next((value.decode("latin-1") for key, value in self.headers if key == wanted), None)

    @property
    def json(self) -> Any:
        """The body, parsed anew each time; raises ValueError when it is not JSON."""
        return json.loads(self.body)

    @property
    def wants_stream(self) -> bool:
        return self._parsed().get("stream") is True

    @property
    def wants_stream_usage(self) -> bool:
        options = self._parsed().get("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True

    def _parsed(self) -> dict[str, Any]:
        try:
            body = self.json
        except ValueError:
            return {}
        return body if isinstance(body, dict) else {}
