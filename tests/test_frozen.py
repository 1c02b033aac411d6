"""Frozen dataclasses that are built quickly are those of the standard library in all else."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import typing
from dataclasses import FrozenInstanceError, field, replace

import pytest

from ogw_asgi import _frozen
from ogw_asgi._values import AttemptRecord, CallOptions, UpstreamQuestion, UpstreamRequest
from ogw_asgi.telemetry.events import AttemptEnded


def said() -> list[str]:
    return ["anew"]


@_frozen.dataclass(frozen=True, slots=True)
class Quick:
    self_made: int  # names that its own code could stumble over
    type: str
    made: list[str] = field(default_factory=said, compare=False)
    SET: object = None
    last: int = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Usual:
    self_made: int
    type: str
    made: list[str] = field(default_factory=said, compare=False)
    SET: object = None
    last: int = 3


@_frozen.dataclass(frozen=True, slots=True)
class Child(Quick):
    more: int = 4


class Plain(Quick):
    """Not a dataclass itself, and with room for anything."""


GIVEN = [
    ((1, "a"), {}),
    ((1,), {"type": "a", "last": 5}),
    ((1, "a", ["x"], 2, 7), {}),
    ((), {"self_made": 1, "type": "", "made": []}),
]


@pytest.mark.parametrize(("args", "named"), GIVEN)
def test_what_is_given_stands_where_it_stands_in_the_usual_one(
    args: tuple[object, ...], named: dict[str, object]
) -> None:
    quick, usual = Quick(*args, **named), Usual(*args, **named)  # type: ignore[arg-type]
    assert type(quick) is Quick
    assert dataclasses.astuple(quick) == dataclasses.astuple(usual)
    assert repr(quick) == repr(usual).replace("Usual", "Quick")
    assert [one.name for one in dataclasses.fields(quick)] == [one.name for one in dataclasses.fields(usual)]


@pytest.mark.parametrize(
    ("args", "named"), [((), {}), ((1,), {}), ((1, "a"), {"more": 1}), ((1, "a", [], 1, 1, 1), {})]
)
def test_what_does_not_fit_is_refused_in_the_usual_words(args: tuple[object, ...], named: dict[str, object]) -> None:
    with pytest.raises(TypeError) as usual:
        Usual(*args, **named)  # type: ignore[arg-type]
    with pytest.raises(TypeError) as quick:
        Quick(*args, **named)  # type: ignore[arg-type]
    assert str(quick.value) == str(usual.value).replace("Usual", "Quick")


def test_nothing_of_it_can_be_changed() -> None:
    one = Quick(1, "a")
    with pytest.raises(FrozenInstanceError):
        one.last = 4  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del one.last
    assert one.last == 3
    assert not hasattr(one, "__dict__")


def test_it_is_compared_hashed_copied_and_replaced_as_any_other() -> None:
    one = Quick(1, "a", ["x"])
    assert one == Quick(1, "a", ["y"]) != Quick(2, "a")
    assert hash(one) == hash(Quick(1, "a"))
    other_class: object = Usual(1, "a", ["x"])
    assert one != other_class
    for other in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one)), replace(one)):
        assert type(other) is Quick
        assert dataclasses.astuple(other) == dataclasses.astuple(one)
    assert replace(one, last=9).last == 9
    match one:
        case Quick(1, "a", [word]):
            assert word == "x"
        case _:
            pytest.fail("its fields have no positions")


def test_each_has_a_default_of_its_own_where_it_is_made_anew() -> None:
    first, second = Quick(1, "a"), Quick(1, "a")
    assert first.made == second.made == ["anew"]
    assert first.made is not second.made


def test_what_inherits_from_it_is_what_it_says() -> None:
    child, plain = Child(1, "a", last=2, more=5), Plain(1, "a", last=2)
    assert (type(child), child.last, child.more, child.made) == (Child, 2, 5, ["anew"])
    assert (type(plain), plain.last, plain.made) == (Plain, 2, ["anew"])
    for one in (child, plain):
        with pytest.raises((FrozenInstanceError, TypeError)):  # TypeError: CPython issue 90562, of slots and super()
            one.last = 4  # type: ignore[misc]
    question = UpstreamQuestion("http://a/", [], b"", 1.0)
    assert type(question) is UpstreamQuestion
    assert isinstance(question, UpstreamRequest)


def test_its_signature_has_names_and_annotations() -> None:
    signature = inspect.signature(CallOptions)
    assert list(signature.parameters) == [one.name for one in dataclasses.fields(CallOptions)]
    assert signature.parameters["request_id"].annotation == "str"
    assert signature.parameters["sequence"].default is None


def test_its_annotations_are_of_its_module() -> None:
    assert typing.get_type_hints(Quick.__init__)["made"] == list[str]
    assert typing.get_type_hints(AttemptEnded.__init__)["attempt"] is AttemptRecord
    signature = inspect.signature(Quick, eval_str=True)
    assert signature.parameters["self_made"].annotation is int
    assert str(signature.parameters["made"]).endswith("= <factory>")
    assert Quick.__init__.__module__ == Quick.__module__


def test_a_class_that_wants_more_of_its_making_is_left_as_it_is() -> None:
    @_frozen.dataclass(frozen=True, slots=True)
    class Counted:
        count: int
        twice: int = field(init=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "twice", 2 * self.count)

    assert Counted(2).twice == 4


def test_it_is_filled_without_a_call_for_each_field() -> None:
    """Else it is no quicker than the usual one: CPython stores at once where a class has the setters of `object`."""
    filled = Quick.__subclasses__()[0]
    assert vars(filled)["__slots__"] == ()
    assert filled.__setattr__ is object.__setattr__
    assert filled.__delattr__ is object.__delattr__
