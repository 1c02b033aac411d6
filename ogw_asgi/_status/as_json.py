"""The snapshot for machines.

An object with the fields of `Snapshot`, and in it lists and objects with those of the others, by the same names; what
is None is null. Beside their fields, counts (`one_minute`, `five_minutes`) have their `failed` and `total`. Fields may
be added; none changes its meaning.
"""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import Any

from .snapshot import Counts, Snapshot


def render_json(snapshot: Snapshot, *, indent: int | None = 1) -> bytes:
    """Without `indent`: on one line."""
    separators = (",", ":") if indent is None else None
    return json.dumps(_told(snapshot), allow_nan=False, indent=indent, separators=separators).encode("ascii") + b"\n"


def _told(value: Any) -> Any:
    if isinstance(value, str):
        # A half of a pair, which callers can write, is no Unicode, and parsers refuse it.
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, tuple):
        return [_told(one) for one in value]
    if is_dataclass(value):
        told = {field.name: _told(getattr(value, field.name)) for field in fields(value)}
        if isinstance(value, Counts):
            told |= {"failed": value.failed, "total": value.total}
        return told
    return value
