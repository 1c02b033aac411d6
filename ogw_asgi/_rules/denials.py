"""Who names endpoints that are not allowed, again and again, is slowed down: a scan is no mistake any more.

Only what is denied is counted and refused otherwise; calls to allowed endpoints are untouched. A small state machine
without I/O: the clock is an argument.
"""

from __future__ import annotations

from collections import OrderedDict

from .budget import Bucket, Rate

DENIALS = Rate(share=0.0, per_s=10 / 60, most=10.0)
"""Ten a minute."""

MOST_PRINCIPALS = 1000


class Denials:
    """The buckets of the principals that were denied lately; None is whoever came without a name."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str | None, Bucket] = OrderedDict()

    def wait_s(self, principal: str | None, now_s: float) -> float | None:
        """Count a denial: None, or after how long this principal may be denied without being slowed down."""
        bucket = self._buckets.pop(principal, None) or Bucket(DENIALS.most, now_s)
        bucket = bucket.filled(DENIALS, now_s)
        wait_s = (1.0 - bucket.tokens) / DENIALS.per_s if bucket.empty else None
        self._buckets[principal] = bucket if wait_s is not None else bucket.without_one()
        if len(self._buckets) > MOST_PRINCIPALS:
            self._buckets.popitem(last=False)
        return wait_s
