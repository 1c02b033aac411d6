"""Keys that do not show themselves. Standard library only."""

from __future__ import annotations


class Secret:
    """A key that does not show itself: repr, str, format and pickle give a mask. `reveal()` is the only way to it.

    Raises ValueError (without the value in its text) unless the value is non-empty visible ASCII: HTTP libraries put
    illegal header values, keys included, into the text of their exceptions.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not value:
            raise ValueError("the key is empty")
        if not all("!" <= char <= "~" for char in value):
            hint = "; strip() it" if value.strip() and all("!" <= char <= "~" for char in value.strip()) else ""
            raise ValueError(f"a key must be visible ASCII without blanks or line ends{hint}")
        self._value = value

    def reveal(self) -> str:
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
