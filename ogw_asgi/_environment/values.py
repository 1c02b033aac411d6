"""One variable read, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..exceptions import ConfigurationError


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something that cannot work, and the variable that says it."""

    variable: str
    text: str


Flaws = list[Flaw] | None
"""Where flaws are put, so that all of them are found; None: the first is raised."""


@contextmanager
def into(flaws: Flaws, variable: str) -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        if flaws is None:
            raise
        if all(flaw.text != str(error) for flaw in flaws):
            flaws.append(Flaw(variable, str(error)))


def read_json(env: Mapping[str, str], name: str, kind: type, example: str = "an object") -> Any:
    try:
        value = json.loads(env[name])
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, kind):
        raise ConfigurationError(f"{name}: expected JSON: {example}")
    return value


def read_integer(env: Mapping[str, str], name: str) -> int:
    if not (env[name].isascii() and env[name].isdigit() and len(env[name]) <= 12 and int(env[name])):
        raise ConfigurationError(f"{name}: expected a positive integer")
    return int(env[name])


def read_boolean(env: Mapping[str, str], name: str) -> bool:
    known = {"1": True, "true": True, "0": False, "false": False}
    if env[name].lower() not in known:
        raise ConfigurationError(f"{name}: expected 1 or 0, true or false")
    return known[env[name].lower()]
