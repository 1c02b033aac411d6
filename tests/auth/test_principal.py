"""A Principal is checked where it is made: a mistake in it would forbid everything, or be read in every log."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from ogw_asgi import ConfigurationError, Principal


@pytest.mark.parametrize(
    "names", [["a", "b"], ("b", "a", "a"), {"a", "b"}, frozenset("ab"), {"a": 1, "b": 2}, iter("ab")]
)
@pytest.mark.parametrize("field", ["providers", "models"])
def test_names_may_come_in_any_iterable_and_are_frozen(field: str, names: Any) -> None:
    principal = Principal("p", **{field: copy.copy(names)})
    assert getattr(principal, field) == frozenset({"a", "b"})
    assert type(getattr(principal, field)) is frozenset
    hash(principal)


def test_out_of_the_box_nothing_is_restricted() -> None:
    principal = Principal("p")
    assert (principal.providers, principal.models, principal.endpoints, principal.in_flight) == (None, None, True, None)


def test_no_name_at_all_forbids_all() -> None:
    assert Principal("p", providers=[]).providers == frozenset()


@pytest.mark.parametrize("name", ["team-a", "Ada Lovelace", "Zoë", "user@example.com", "x" * 256, "用户"])
def test_an_id_is_any_text_that_can_be_shown(name: str) -> None:
    assert Principal(name).id == name


WRONG: dict[str, list[Any]] = {
    "id": [
        "",
        " ",
        "a\nb",
        "a\r",
        "a\0b",
        "a\x1b[31m",
        "a\u202eb",
        "a\u200bb",
        "a\u2028b",
        "\ud800",
        "x" * 257,
        None,
        7,
        b"a",
    ],
    "providers": ["openai", "", b"openai", 7, True, [""], ["openai", None], [7], [["openai"]]],
    "models": ["gpt-4o", "", b"gpt-4o", 7, True, [""], ["gpt-4o", None], [7], [["gpt-4o"]]],
    "in_flight": [0, -1, True, False, 1.0, "1"],
}


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        pytest.param({"id": "p", field: value}, field, id=f"{field} {value!a:.12}")
        for field, values in WRONG.items()
        for value in values
    ],
)
def test_what_cannot_be_meant_is_refused_by_the_name_of_its_field(arguments: Any, field: str) -> None:
    with pytest.raises(ConfigurationError, match=f"Principal: {field}: expected") as refused:
        Principal(**arguments)
    assert len(str(refused.value)) < 80, "what was given is not repeated"


def test_it_is_a_value() -> None:
    principal = Principal("p", ["a"], ["m"], False, 3)
    assert principal == Principal(id="p", providers={"a"}, models=("m",), endpoints=False, in_flight=3)
    assert replace(principal, in_flight=4).in_flight == 4
    assert pickle.loads(pickle.dumps(principal)) == copy.deepcopy(principal) == principal
    with pytest.raises(FrozenInstanceError):
        principal.id = "q"  # type: ignore[misc]
    with pytest.raises(ConfigurationError, match="in_flight"):
        replace(principal, in_flight=0)
