"""JSON that is read window by window says the same as JSON that is read at once."""

from __future__ import annotations

import json
from collections.abc import Container
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._wire import patient
from ogw_asgi._wire.members import InvalidJSON, read_document, read_value
from ogw_asgi._wire.patient import Patient


class All:
    def __contains__(self, name: object) -> bool:
        return True


def at_once(text: str) -> Any:
    try:
        return read_document(text)
    except InvalidJSON:
        return InvalidJSON


def small(text: str, wanted: Container[str] = (), **options: Any) -> Patient:
    """So that small texts show what large ones would; and time enough for windows that end in the wrong place."""
    return Patient(text, wanted, **{"window": 12, "waste": 1000, **options})


def patiently(text: str) -> Any:
    try:
        return small(text, All()).read_document()
    except InvalidJSON:
        return InvalidJSON


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=6), inner, max_size=12),
    max_leaves=25,
)


@settings(max_examples=150, deadline=None)
@given(values, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_what_is_json_is_read_as_it_is(value: Any, indent: Any, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert patiently(text) == value
    assert patiently(f" {text}\n") == value


@settings(max_examples=250, deadline=None)
@given(values, st.data())
def test_what_is_none_is_refused_by_both_or_by_neither(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value)
    at = data.draw(st.integers(0, len(text)))
    to = data.draw(st.integers(at, min(len(text), at + 3)))
    text = text[:at] + data.draw(st.text('[]{},:" \\0-9eE.+tn', max_size=3)) + text[to:]
    assert patiently(text) == at_once(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[,]",
        "[ ,1]",
        "[1,]",
        "[1,,2]",
        "{,}",
        '{ ,"a":1}',
        '{"a":1,}',
        '{"a":1,,"b":2}',
        "[1 2]",
        "[1}",
        '{"a":1]',
        '{"a" 1}',
        "{a:1}",
        '{"a:1}',
        "[" + "1," * 40 + "NaN]",
        "[" + "1," * 40 + "1e999]",
        "[" + "1," * 40 + "Infinity,1]",
        "[" + "1" * 5000 + "]",
        "[1" + "," * 40 + "1]",
        '{"aaaaaaaaaaaaaaaaa":1,"b"}',
        '["' + "a" * 40,
        "1" * 40 + "x",
        "[" + "1," * 40 + "1] x",
        "tru",
    ],
)
def test_no_window_hides_what_is_wrong(text: str) -> None:
    assert at_once(text) is InvalidJSON
    assert patiently(text) is InvalidJSON


@pytest.mark.parametrize(
    "text",
    [
        "1" * 12,
        "-" + "1" * 30,
        "1." + "1" * 30 + "e-5",
        "[" + "123456789," * 20 + "1]",
        '["' + "a,b]}" * 20 + '","c"]',
        '{"k,}":[' + "[1,2]," * 20 + '[3]],"z":{"y":{"x":' + "[[]," * 1 + "[]]}}}",
        '{"a":1,"a":2,"b":' + '"x"' * 1 + ',"a":3,"cccccccccc":4,"a":5}',
    ],
)
def test_windows_that_end_in_the_midst_of_something(text: str) -> None:
    assert at_once(text) is not InvalidJSON
    assert patiently(text) == at_once(text)


def test_what_nobody_wants_is_checked_and_left_empty_where_it_is_large() -> None:
    large = [{"deep": list(range(30))}] * 3
    text = json.dumps({"wanted": large, "other": large, "small": [1], "members": {"k" * 20: 1, "l": 2, "m": 3}})
    found = small(text, {"wanted"}).read_document()
    assert found == {"wanted": large, "other": [], "small": [1], "members": {}}
    shallow = small(text, {"wanted"}, kept_depth=3).read_document()
    assert shallow["wanted"] == [{"deep": []}] * 3
    with pytest.raises(InvalidJSON):
        small(text.replace("29]}]", "29,]}]"), {"wanted"}).read_document()


def test_an_array_that_is_kept_may_have_so_many_elements() -> None:
    for each in ("1", '{"aaaaaaaaaaaaaaaa":1}'):
        text = "[" + ",".join([each] * 30) + "]"
        assert len(small(text, (), most_kept=30).read_document()) == 30
        with pytest.raises(InvalidJSON, match="elements"):
            small(text, (), most_kept=29).read_document()


def test_what_is_large_at_every_level_is_refused_when_it_is_nested_too_deeply() -> None:
    for levels, found in ((128, list), (129, type(InvalidJSON))):
        text = "[" * levels + '"' + "a" * 20 + '"' + "]" * levels
        assert isinstance(patiently(text), found)


def test_a_text_that_is_made_to_fool_the_windows_is_given_up() -> None:
    chain = "[" * 100 + ",".join(["[]"] * 40) + "]" * 100
    with pytest.raises(InvalidJSON, match="complex"):
        small(f"[{','.join([chain] * 20)}]", waste=patient.WASTE).read_document()


def test_no_call_of_the_scanner_gets_more_than_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is what it is for: a thread that reads gives its turn away between two calls."""
    text = json.dumps({"x": [[]] * 200_000, "y": [{"a": 1.5, "b": ["c"]}] * 50_000})
    sizes: list[int] = []

    def seen(text: str, start: int = 0) -> tuple[Any, int]:
        sizes.append(len(text) - start)
        return read_value(text, start)

    monkeypatch.setattr(patient, "read_value", seen)
    assert Patient(text, {"x", "y"}).read_document() == json.loads(text)
    assert max(sizes) <= patient.WINDOW + 2
    assert len(sizes) >= len(text) // patient.WINDOW
