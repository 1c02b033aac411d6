"""One line of a provider's log. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Exchange:
    """One request at one provider. `sent_words` and `ended` grow with it.

    Attributes:
        fault: the provider's state when the request had come.
        reused: another request had come over this connection before.
        ended: `complete`, `cut` by the provider, `left` by the other side, or still `open`; `lost` is complete, and its
            connection reset so soon behind it that its end may not have been read.
        silent: not one byte was sent.
    """

    provider: str
    request: str
    exchange: str
    arrived_s: float
    fault: str
    reused: bool
    sent_words: int = 0
    ended: str = "open"
    silent: bool = True
    ended_s: float = 0.0
