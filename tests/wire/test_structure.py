"""Structural limits: exact at the boundary, blind to what stands in strings, unmoved by what is not JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._values import Limits
from ogw_asgi._wire.structure import MEMBERS, has_more_structure, refuse_structure, refuse_width, takes_long
from ogw_asgi.exceptions import RequestRejected

LIMITS = Limits()
SMALL = Limits(json_depth=3, json_structure=10)


def verdict(body: bytes, limits: Limits = LIMITS) -> str:
    refusal = None
    try:
        refuse_structure(body, limits)
    except RequestRejected as error:
        refusal = error
    if refusal is None:
        return "ok"
    assert (refusal.status, refusal.code) == (400, "body_too_complex")
    return "deep" if "deeply" in refusal.message else "many"


@pytest.mark.contract("3.reject.depth", "8.structure-limit")
@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"[" * 128 + b"]" * 128, "ok"),
        (b"[" * 129 + b"]" * 129, "deep"),
        (b'{"a":' * 128 + b"1" + b"}" * 128, "ok"),
        (b'{"a":' * 129 + b"1" + b"}" * 129, "deep"),
        (b'[{"a":' * 64 + b"1" + b"}]" * 64, "ok"),
        (b'[{"a":' * 65 + b"1" + b"}]" * 65, "deep"),
        (b"[" + b"[]," * 500 + b"[]]", "ok"),
        (b"[" + b"[" * 127 + b"]" * 127 + b",[" + b"[" * 126 + b"]" * 127 + b"]", "ok"),
        (b"[" + b"[" * 127 + b"]" * 127 + b",[" + b"[" * 127 + b"]" * 128 + b"]", "deep"),
        (b"[" * 1_000_000, "deep"),
        (b"[" * 1_000_001, "many"),
    ],
)
def test_depth_is_counted_exactly(body: bytes, found: str) -> None:
    assert verdict(body) == found


@pytest.mark.contract("8.structure-limit")
@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"[" + b"1," * 999_999, "ok"),
        (b"[" + b"1," * 1_000_000, "many"),
        (b"[" + b"[]," * 499_999 + b"[]", "ok"),
        (b"[" + b"[]," * 500_000, "many"),
        (b"[" + b"{}," * 500_000, "many"),
        (b"[]," * (8 << 18), "many"),
        (b'{"a":1,' * 1_000_000, "many"),
    ],
)
def test_structural_characters_are_counted_exactly(body: bytes, found: str) -> None:
    assert verdict(body) == found


@pytest.mark.parametrize(
    "content",
    [
        "[{," * 400_000,
        '"[' * 300,
        "\\[" * 300,
        '\\"[' * 300,
        '\\\\"[' * 300,
        "n\\" * 301 + "[" * 300,
        "ü[😀{" * 300,
        "\n[" * 300,
    ],
)
@pytest.mark.parametrize("escaped", [True, False])
def test_what_stands_in_a_string_is_no_structure(content: str, escaped: bool) -> None:
    plain = json.dumps({"a": content, "b": ["x", {"c": content}]}, ensure_ascii=escaped).encode()
    assert verdict(plain, Limits(json_depth=3, json_structure=5)) == "ok"
    assert verdict(plain, Limits(json_depth=2, json_structure=5)) == "deep"
    assert verdict(plain, Limits(json_depth=3, json_structure=4)) == "many"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'"',
        b'"""',
        b"\\",
        b'{"a',
        b'{"a\\',
        b'{"a":"' + b"[" * 300,
        b"]" * 300,
        b"]" * 300 + b'"',
        b"\xff\x00" * 300,
        b'["' + b"[" * 300,
        b"[" * 100 + b'"' + b"[" * 100,
        b'\\"' * 300,
        b"}{" * 120,
    ],
)
def test_what_is_not_json_is_left_to_the_parser(body: bytes) -> None:
    assert verdict(body) == "ok"


def test_closing_brackets_without_end_are_no_depth() -> None:
    assert verdict(b"[" * 4 + b"]" * 100 + b"[" * 4, SMALL) == "deep"
    assert verdict(b"[]" * 4 + b"]" * 100 + b"[" * 4, SMALL) == "ok"


def test_more_strings_than_the_structure_can_hold_are_too_complex() -> None:
    assert verdict(b"[[[" + b'"[" ]' * 21 + b"[" * 4, SMALL) == "ok"
    assert verdict(b"[[[" + b'"[" ]' * 22 + b"[" * 4, SMALL) == "many"
    assert verdict(b'["[,"' + b',"[,"' * 9 + b"]", Limits(json_depth=1, json_structure=10)) == "ok"
    assert verdict(b'{"[,":"{"' + b',"[,":"{"' * 9 + b"}", Limits(json_depth=1, json_structure=10)) == "ok"


def test_strings_longer_than_a_block_keep_their_inside_apart() -> None:
    long = json.dumps(["[" * 70_000, "{" * 70_000, '"[' * 70_000, [1]]).encode()
    assert verdict(long, Limits(json_depth=2, json_structure=5)) == "ok"
    assert verdict(long, Limits(json_depth=1, json_structure=5)) == "deep"
    assert verdict(long, Limits(json_depth=2, json_structure=4)) == "many"


def wide(value: bytes) -> bool:
    refusal = None
    try:
        refuse_width(value, LIMITS)
    except RequestRejected as error:
        refusal = error
    assert refusal is None or (refusal.status, refusal.code) == (400, "body_too_complex")
    return refusal is not None


def test_members_of_the_outer_object_are_counted_exactly() -> None:
    assert not wide(json.dumps({str(key): "a,b" for key in range(MEMBERS)}).encode())
    assert wide(json.dumps({str(key): "a,b" for key in range(MEMBERS + 1)}).encode())
    assert wide(b"{" + b'"a":1,' * MEMBERS + b'"a":1}')


def test_members_of_inner_objects_do_not_count() -> None:
    assert not wide(json.dumps({"a": {str(key): [1, 2] for key in range(5000)}, "b": [0] * 5000}).encode())


JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(alphabet='a"\\[]{},:\nü😀', max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(alphabet='a"\\[{,', max_size=4), inner, max_size=4)
    ),
    max_leaves=30,
)  # fmt: skip


def measured(value: Any) -> tuple[int, int]:
    """Depth and structural characters of `value`, the slow and obvious way."""
    if not isinstance(value, (list, dict)):
        return 0, 0
    inner = [measured(item) for item in (value.values() if isinstance(value, dict) else value)]
    depth = 1 + max((item[0] for item in inner), default=0)
    return depth, 1 + max(len(inner) - 1, 0) + sum(item[1] for item in inner)


@settings(max_examples=200, deadline=None)
@given(JSON, st.booleans())
def test_the_measure_agrees_with_the_parsed_value(value: Any, escaped: bool) -> None:
    body = json.dumps(value, ensure_ascii=escaped).encode()
    depth, structure = measured(value)
    assert verdict(body, Limits(json_depth=depth, json_structure=structure)) == "ok"
    assert not has_more_structure(body, structure)
    if depth:
        assert has_more_structure(body, structure - 1)
        assert verdict(body, Limits(json_depth=depth - 1, json_structure=structure)) == "deep"
        assert verdict(body, Limits(json_depth=depth, json_structure=structure - 1)) == "many"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([b"[", b"]", b"{", b"}", b",", b'"', b"\\", b"a", b"\xff"])).map(b"".join))
def test_no_bytes_make_it_fail(body: bytes) -> None:
    assert verdict(body, SMALL) in ("ok", "deep", "many")
    refuse_width(body, SMALL)


@pytest.mark.parametrize("size", [10, 200_000, 2_000_000])
@settings(max_examples=20, deadline=None)
@given(piece=st.sampled_from([b"a", b"1", b"1,", b"\\n", b" ", b"[", b"12345678901,"]))
def test_what_takes_long_is_found_by_its_commas_escapes_and_digits(size: int, piece: bytes) -> None:
    body = piece * (size // len(piece))
    long = takes_long(body)
    if size == 10 or piece in (b"a", b" ", b"["):
        assert not long
    elif b"," in piece:
        assert long == (body.count(b",") > 25_000)
    elif piece == b"1":
        assert long == (size == 2_000_000)
    else:
        assert long == (body.count(b"\\") > 500_000)
