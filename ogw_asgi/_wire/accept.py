"""Which of several forms of an answer a caller wants: the header `Accept` (RFC 9110, 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence

_range = re.compile(r"([!#$%&'*+.^_`|~0-9a-z-]+)/([!#$%&'*+.^_`|~0-9a-z-]+)").fullmatch
_weight = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?").fullmatch


def preferred(accept: Sequence[bytes], offered: Sequence[str]) -> str | None:
    """The one of the media types `offered` that the header's values like best, the earlier one where two are liked the
    same; None if none of them will do. Without the header anything will. What cannot be read counts for nothing.

    The closest range speaks for a type: `text/html;q=0.1, */*` likes everything else better. Parameters other than the
    weight are not looked at.
    """
    ranges = _ranges(accept)
    if not accept:
        return offered[0]
    best, most = None, 0.0
    for media in offered:
        kind = media.partition("/")[0]
        weight = next((ranges[name] for name in (media, f"{kind}/*", "*/*") if name in ranges), 0.0)
        if weight > most:
            best, most = media, weight
    return best


def _ranges(accept: Sequence[bytes]) -> dict[str, float]:
    ranges: dict[str, float] = {}
    for value in accept:
        for entry in value.decode("latin-1").lower().split(","):
            name, *parameters = (part.strip(" \t") for part in entry.split(";"))
            weight = 1.0
            for parameter in parameters:
                if parameter.startswith("q="):
                    weight = float(parameter[2:]) if _weight(parameter[2:]) else -1.0
            if _range(name) and weight >= 0:
                ranges[name] = max(weight, ranges.get(name, 0.0))
    return ranges
