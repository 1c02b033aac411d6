"""Who is calling, and what they may use. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .exceptions import ConfigurationError

ID_CHARS = 256
"""An id is a word in logs and a key of dictionaries, not a document."""


@dataclass(frozen=True, slots=True, init=False)
class Principal:
    """Who is calling, and what they may use; None means no restriction.

    Attributes:
        id: printable text. It stands in events and logs, and what is counted per caller is counted by it.
        providers, models: the names that may be asked; any iterable of them.
        endpoints: whether `x-opengateway-vllm-endpoint` may be used at all, or entries as in `allowed_endpoints`, of
            which one must allow the endpoint as well: it narrows the operator's list, never widens it.
        in_flight: how many requests of this id may be in the gateway at once; more get a 429 at the door. Counted are
            those that come with a limit.

    Raises ConfigurationError for what cannot be meant.
    """

    id: str
    providers: frozenset[str] | None
    models: frozenset[str] | None
    endpoints: bool | tuple[str, ...]
    in_flight: int | None

    def __init__(
        self,
        id: str,  # noqa: A002 - the field's name
        providers: Iterable[str] | None = None,
        models: Iterable[str] | None = None,
        endpoints: bool | Iterable[str] = True,
        in_flight: int | None = None,
    ) -> None:
        _check_id(id)
        _check_count(in_flight)
        put = object.__setattr__  # the class is frozen
        put(self, "id", id)
        put(self, "providers", _names("providers", providers))
        put(self, "models", _names("models", models))
        put(self, "endpoints", _entries(endpoints))
        put(self, "in_flight", in_flight)


def _check_id(given: object) -> None:
    if not isinstance(given, str) or not given.strip() or not given.isprintable() or len(given) > ID_CHARS:
        # Not repeated: what was taken for an id may be a token.
        raise ConfigurationError(f"Principal: id: expected 1 to {ID_CHARS} printable characters")


def _check_count(given: object) -> None:
    if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < 1):
        raise ConfigurationError("Principal: in_flight: expected a positive integer or None")


def _entries(given: object) -> bool | tuple[str, ...]:
    """What is in them is read where the operator's list is."""
    if isinstance(given, bool):
        return given
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise ConfigurationError("Principal: endpoints: expected True, False or a list of entries")
    entries = tuple(given)
    if not all(isinstance(entry, str) for entry in entries):
        raise ConfigurationError("Principal: endpoints: expected entries as strings")
    return entries


def _names(field: str, given: object) -> frozenset[str] | None:
    if given is None:
        return None
    # A string would be taken for the set of its letters, which forbids everything.
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise ConfigurationError(f"Principal: {field}: expected a set of names or None")
    names = list(given)
    if not all(isinstance(name, str) and name for name in names):
        raise ConfigurationError(f"Principal: {field}: expected non-empty names")
    return frozenset(names)
