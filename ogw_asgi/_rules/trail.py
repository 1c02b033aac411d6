"""One line of the trail that callers, logs and observers see."""

from __future__ import annotations

import re

from .._values import AttemptRecord, Outcome
from .conclude import Ended

_CODE = re.compile(r"[\w.-]{1,64}", re.ASCII)


def line_of(ended: Ended) -> AttemptRecord:
    return AttemptRecord(
        provider=ended.target.provider,
        outcome=ended.reason,
        status=ended.outcome.status,
        code=_code(ended.outcome),
        duration_ms=round(ended.outcome.duration_s * 1000),
        model=ended.target.model,
    )


def _code(outcome: Outcome) -> str | None:
    """The provider's code if it looks like one: callers see the trail, and servers put sentences there."""
    code = outcome.error.code if outcome.error is not None else None
    return code if code is not None and _CODE.fullmatch(code) else None
