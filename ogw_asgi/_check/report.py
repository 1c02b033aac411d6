"""What a check found. Values only; no key is in any of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .._effective import Setting
from .._version import __version__


@dataclass(frozen=True, slots=True)
class Problem:
    """`setting`: the variable, or the argument. `says`: what is wrong. `mend`: the line that mends it, if one does."""

    setting: str
    says: str
    mend: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A provider that was asked for its models, or a Redis that was asked what it knows of circuits.

    Attributes:
        where: scheme, host and port.
        status: of its answer, None without one; duration_ms: until the whole answer, or its failure, was there.
        models: how many it listed; None where it listed none that could be read.
        problem: what is wrong; None: it answered.
        warnings: what it answered that may be a mistake.
    """

    provider: str
    where: str
    status: int | None = None
    duration_ms: int = 0
    models: int | None = None
    problem: Problem | None = None
    warnings: Sequence[Problem] = ()


@dataclass(slots=True)
class Report:
    """`checked`: `environment`, or the attribute that was named. `asked` is None without `--probe`, and `redis`, too,
    where there is none."""

    checked: str
    settings: list[Setting] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    asked: list[Asked] | None = None
    redis: Asked | None = None

    @property
    def _all_asked(self) -> list[Asked]:
        return [*(self.asked or ()), *([] if self.redis is None else [self.redis])]

    @property
    def all_problems(self) -> list[Problem]:
        """Those of the settings, and those that showed when the providers were asked."""
        return [*self.problems, *(one.problem for one in self._all_asked if one.problem is not None)]

    @property
    def all_warnings(self) -> list[Problem]:
        return [*self.warnings, *(warning for one in self._all_asked for warning in one.warnings)]

    @property
    def well(self) -> bool:
        """No problem. A warning is none: it may be meant."""
        return not self.all_problems

    def as_dict(self) -> dict[str, Any]:
        """For scripts. Plain dicts, lists, strings, numbers, booleans and None."""
        return {
            "version": __version__,
            "checked": self.checked,
            "ok": self.well,
            "settings": [asdict(one) for one in self.settings],
            "problems": [asdict(one) for one in self.all_problems],
            "warnings": [asdict(one) for one in self.all_warnings],
            "providers": None if self.asked is None else [_as_dict(one) for one in self.asked],
            "redis": None if self.redis is None else _redis_as_dict(self.redis),
        }


def _redis_as_dict(one: Asked) -> dict[str, Any]:
    told = _as_dict(one)
    return {name: told[name] for name in ("ok", "where", "duration_ms", "problem", "warnings")}


def _as_dict(one: Asked) -> dict[str, Any]:
    return {**asdict(one), "ok": one.problem is None, "warnings": [asdict(warning) for warning in one.warnings]}
