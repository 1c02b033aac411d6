"""The app of the fast form: the gateway of the environment, with limits and open times in the bench's scale.

Those cannot be set by the environment, so that the standalone app could only be served with real timings. What is not
set here (connecting, idling, cooldowns, the pause before a retry in place) is as it always is. The breaker's longest
open time is no longer than its first one would be: what is not scaled takes its part of the time within which a
provider must be in use again.
"""

from __future__ import annotations

import os

from ogw_asgi import Breaker, Gateway, Timeouts
from ogw_asgi._environment.reading import read_environment

from .gateway import SCALE


def scaled(scale: float) -> Gateway:
    usual, breaker = Timeouts(), Breaker()
    timeouts = Timeouts(
        first_chunk_s=usual.first_chunk_s * scale,
        answer_s=usual.answer_s * scale,
        tail_s=usual.tail_s * scale,
    )
    open_s = breaker.open_s * scale
    settings = {
        **read_environment(os.environ),
        "timeouts": timeouts,
        "breaker": Breaker(open_s=open_s, open_max_s=open_s),
    }
    return Gateway(**settings)


app = scaled(float(os.environ.get(SCALE, "1")))
