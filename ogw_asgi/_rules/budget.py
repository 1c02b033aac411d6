"""Token buckets: how many attempts there may be beyond the first of each request.

A further attempt to a target in good standing is free: its concurrency limit bounds it. Only one to a target that is
open, half-open or cooling draws on a bucket, its own and the gateway's, or an outage would multiply the load that
keeps it going. A budget for *all* further attempts loses callers beside a healthy provider, so there is none. Hedges,
which nobody needs, have a bucket of their own. Nothing here waits: without a token there is no attempt.
"""

from __future__ import annotations

from dataclasses import replace

from .._frozen import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """`share` of a token for each request, `per_s` for each second; no more than `most` are ever saved."""

    share: float
    per_s: float
    most: float


RETRIES = Rate(share=0.1, per_s=3.0, most=30.0)
"""10 % and 3 per second, ten seconds' worth of it."""

HEDGES = Rate(share=0.05, per_s=0.0, most=10.0)
HEDGES_AT_FIRST = 3.0


@dataclass(frozen=True, slots=True)
class Bucket:
    """`tokens` as of `at_s`. A clock that goes back brings nothing."""

    tokens: float
    at_s: float

    def filled(self, rate: Rate, now_s: float, *, requests: int = 0) -> Bucket:
        gained = rate.per_s * max(0.0, now_s - self.at_s) + rate.share * requests
        return Bucket(min(rate.most, self.tokens + gained), now_s)

    @property
    def empty(self) -> bool:
        return self.tokens < 1.0

    def without_one(self) -> Bucket:
        return replace(self, tokens=self.tokens - 1.0)
