"""Which form of an answer a caller wants."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._wire.accept import preferred

OFFERED = ("text/html", "text/plain", "application/json")


@pytest.mark.contract("6.status.forms")
@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ([], "text/html"),
        (["*/*"], "text/html"),
        (["text/*"], "text/html"),
        (["application/*"], "application/json"),
        (["TEXT/Plain"], "text/plain"),
        (["text/plain;charset=utf-8"], "text/plain"),
        (["text/plain, application/json"], "text/plain"),
        (["application/json, text/plain"], "text/plain"),
        (["text/plain", "application/json;q=0.9"], "text/plain"),
        (["text/plain;q=0.9", "application/json"], "application/json"),
        (["text/plain;q=0.9,*/*;q=0.8"], "text/plain"),
        (["text/html;q=0, */*"], "text/plain"),
        (["text/html;q=0.1, text/*;q=0.2, */*;q=0.3"], "application/json"),
        (["text/html ; q=0.5 , text/plain ; q=0.50"], "text/html"),
        (["text/plain;q=0.001"], "text/plain"),
        (["text/plain; Q=0.5, application/json;q=0.4"], "text/plain"),
        (["text/plain;q=1.000;ext=1"], "text/plain"),
        (["text/html;q=0.2, text/html"], "text/html"),
        ([""], None),
        ([","], None),
        (["image/png"], None),
        (["*/*;q=0"], None),
        (["text/html;q=0"], None),
        (["text/plain;q=2"], None),
        (["text/plain;q=-1"], None),
        (["text/plain;q=1.1"], None),
        (["text/plain;q=0.1234"], None),
        (["text/plain;q="], None),
        (["text/plain;q=\u0661".encode().decode("latin-1")], None),
        (["text"], None),
        (["*"], None),
        (["*/html"], None),
        (["text/html/plain"], None),
        (["nonsense, text/plain"], "text/plain"),
    ],
)
def test_the_best_liked_of_those_offered_is_found(accept: list[str], expected: str | None) -> None:
    assert preferred([value.encode("latin-1") for value in accept], OFFERED) == expected


parts = st.sampled_from([*OFFERED, "*/*", "text/*", "q=0", "q=0.5", ";", ",", " ", "*", "/", "q=", ";q=1", "\xff"])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(parts, max_size=12).map("".join) | st.text(st.characters(max_codepoint=255)), max_size=3))
def test_whatever_the_header_says_the_answer_is_one_of_those_offered_or_none(values: list[str]) -> None:
    found = preferred([value.encode("latin-1") for value in values], OFFERED)
    assert found is None or found in OFFERED
    assert found is not None or values
