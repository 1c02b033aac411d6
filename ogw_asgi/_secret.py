"""Keys that do not show themselves. Standard library only."""

from __future__ import annotations


class Misdirected(ValueError):
    """A key was about to go where it does not belong."""


class Secret:
    """A key that does not show itself: repr, str, format and pickle give a mask. `reveal()` is the only way to it, and
    `reveal_to()` where it is about to be sent: a key is bound to the `origins` that it is for.

    Raises ValueError (without the value in its text) unless the value is non-empty visible ASCII: HTTP libraries put
    illegal header values, keys included, into the text of their exceptions.
    """

    __slots__ = ("_value", "origins")

    def __init__(self, value: str, origins: tuple[str, ...] = ()) -> None:
        if not value:
            raise ValueError("the key is empty")
        if not all("!" <= char <= "~" for char in value):
            hint = "; strip() it" if value.strip() and all("!" <= char <= "~" for char in value.strip()) else ""
            raise ValueError(f"a key must be visible ASCII without blanks or line ends{hint}")
        self._value = value
        self.origins = origins

    def reveal(self) -> str:
        """The key, for hiding it where others have written it."""
        return self._value

    def reveal_to(self, origin: str) -> str:
        """The key, for a request to this scheme, host and port. Raises Misdirected unless it is bound to it."""
        if origin not in self.origins:
            raise Misdirected("this key does not belong there")
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return (Secret, ("***",))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))
