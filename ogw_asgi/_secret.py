"""Values that do not show themselves. Standard library only."""

from __future__ import annotations

import hmac
from typing import Any, Generic, Self, TypeVar

_T = TypeVar("_T")


class Misdirected(ValueError):
    """A key was about to go where it does not belong."""


class Sealed(Generic[_T]):
    """Shows nothing of what is in it: repr, str, format and pickle give a mask. `reveal()` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: _T) -> None:
        self._value = value

    def reveal(self) -> _T:
        return self._value

    def __repr__(self) -> str:
        return f"{type(self).__name__}('***')"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self  # not by way of the pickle, whose mask would be sent instead of the key

    def __getstate__(self) -> None:
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        return (Sealed, ((),))


class Secret(Sealed[str]):
    """A key that does not show itself, bound to the `origins` that it may be sent to: see `reveal_to()`.

    Raises TypeError for what is no string, and ValueError unless it is non-empty visible ASCII: HTTP libraries put
    illegal header values, keys included, into the text of their exceptions. Neither holds the value in its text.
    """

    __slots__ = ("origins",)

    def __init__(self, value: str, origins: tuple[str, ...] = ()) -> None:
        if not _is_text(value):
            raise TypeError(f"a key must be a string, not {type(value).__name__}")
        if problem := _problem(value):
            del value  # some print the locals of the frames of a traceback
            raise ValueError(problem)
        super().__init__(value)
        self.origins = origins

    def reveal_to(self, origin: str) -> str:
        """The key, for a request to this scheme, host and port. Raises Misdirected unless it is bound to it."""
        if origin not in self.origins:
            raise Misdirected("this key does not belong there")
        return self._value

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return (Secret, ("***",))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(other._value, self._value)

    def __hash__(self) -> int:
        return hash((Secret, self._value))


def _is_text(value: object) -> bool:
    """Not everybody has a type checker."""
    return isinstance(value, str)


def _problem(value: str) -> str | None:
    if not value:
        return "the key is empty"
    if _visible(value):
        return None
    hint = "; strip() it" if value.strip() and _visible(value.strip()) else ""
    return f"a key must be visible ASCII without blanks or line ends{hint}"


def _visible(value: str) -> bool:
    return all("!" <= char <= "~" for char in value)
