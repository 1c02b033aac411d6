"""Plain 2xx bodies: which are completions, and what their headers say of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._values import Header, ProviderError
from ogw_asgi._wire.answer import (
    MOST_STRUCTURE,
    Answer,
    _media_of,
    encoded,
    media,
    read_answer,
    surrogates_paired,
)
from ogw_asgi._wire.envelope import READ_MEMBERS

GOOD = b'{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'


@pytest.mark.contract("6.content.plain", "6.content.model")
@pytest.mark.parametrize(
    "body",
    [
        GOOD,
        b"\n\n \r\n\t" + GOOD + b"\n",
        GOOD.replace(b"hi", "é🎈".encode()),
        GOOD.replace(b"hi", b"\\ud83c\\udf88 \\uD83C\\uDF88\\n\\\\ud83c \\\\\\\\uDF88 \\u00e9"),
        GOOD.replace(b"stop", b"content_filter"),
        b'{"error":{},"choices":[{}]}',
        b'{"choices":[null,{}]}',
    ],
    ids=["plain", "blank lines around", "UTF-8", "escapes", "filtered", "empty error", "one choice is null"],
)
def test_a_completion_is_relayed_as_the_same_bytes(body: bytes) -> None:
    answer = read_answer(body)
    assert answer == Answer(body)
    assert answer.body is body


@pytest.mark.contract("5.frame.error-null")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"choices":[{}],"error":null}', b'{"choices":[{}]}'),
        (b'\n\n{"error": null, "choices": [{"n": 1.50}] }\n', b'\n\n{"choices": [{"n": 1.50}] }\n'),
    ],
)
def test_a_null_error_is_cut_out_of_a_completion(before: bytes, after: bytes) -> None:
    assert read_answer(before) == Answer(after)


@pytest.mark.contract("4.next.invalid-answer", "B.any-invalid-answer")
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "empty", id="nothing"),
        pytest.param(b" \n\n", "empty", id="blank lines alone"),
        pytest.param(b"<html>", "not_json", id="HTML"),
        pytest.param(GOOD[:-2], "not_json", id="cut"),
        pytest.param(GOOD + b"x", "not_json", id="something behind it"),
        pytest.param(b"data: {}\n\n", "not_json", id="SSE"),
        pytest.param(b"\xef\xbb\xbf" + GOOD, "not_json", id="a byte order mark"),
        pytest.param(GOOD.replace(b"hi", b"\xff"), "not_json", id="invalid UTF-8"),
        pytest.param(GOOD.replace(b"hi", b"\xed\xa0\x80"), "not_json", id="a surrogate in UTF-8"),
        pytest.param(b"NaN", "not_json", id="NaN alone"),
        pytest.param(b"[" * 100_000, "not_json", id="100,000 open brackets"),
        pytest.param(b'{"choices":[{}],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not_json", id="nested"),
        pytest.param(b'{"choices":[{}],"x":NaN}', "not_json", id="NaN"),
        pytest.param(b'{"choices":[{}],"x":1e999}', "not_json", id="overflow"),
        pytest.param(b'{"choices":[{}],"x":' + b"9" * 5000 + b"}", "not_json", id="5,000 digits"),
        pytest.param(GOOD.replace(b"hi", b"\\ud83c"), "not_json", id="a high surrogate alone"),
        pytest.param(GOOD.replace(b"hi", b"\\uDF88"), "not_json", id="a low surrogate alone"),
        pytest.param(GOOD.replace(b"hi", b"\\udf88\\ud83c"), "not_json", id="surrogates the wrong way round"),
        pytest.param(GOOD.replace(b"hi", b"\\ud83c\\ud83c\\udf88"), "not_json", id="one too many"),
        pytest.param(GOOD.replace(b"hi", b"\\\\\\ud83c"), "not_json", id="behind an escaped backslash"),
        pytest.param(GOOD[:-1] + b',"x":[' + b"[]," * MOST_STRUCTURE + b"1]}", "too_complex", id="brackets"),
        pytest.param(GOOD[:-1] + b',"x":[' + b'"",' * MOST_STRUCTURE + b"1]}", "too_complex", id="empty strings"),
        pytest.param(b"[]", "not_an_object", id="an array"),
        pytest.param(b"null", "not_an_object", id="null"),
        pytest.param(b'"x"', "not_an_object", id="a string"),
        pytest.param(b"{}", "no_choices", id="an empty object"),
        pytest.param(b'{"choices":null}', "no_choices", id="null choices"),
        pytest.param(b'{"choices":[]}', "no_choices", id="empty choices"),
        pytest.param(b'{"choices":{"0":{}}}', "no_choices", id="choices that are no array"),
        pytest.param(b'{"choices":["x",null]}', "no_choices", id="choices that are no objects"),
        pytest.param(b'{"error":{"message":"m"}}', "error_body", id="an error"),
        pytest.param(b'{"error":"m","choices":[{}]}', "error_body", id="an error beside choices"),
        pytest.param(b'{"object":"error","message":"m","choices":[{}]}', "error_body", id="an error object"),
        pytest.param(b'{"choices":[{"finish_reason":"error"}]}', "error_body", id="a choice that failed"),
        pytest.param(
            b'{"choices":[{}],"error":null' + b',"k":1' * READ_MEMBERS + b"}",
            "not_json",
            id="a null error among more members than are read",
        ),
    ],
)
def test_what_is_no_completion_says_why(body: bytes, reason: str) -> None:
    answer = read_answer(body)
    assert answer.no_answer == reason
    assert answer.body is body


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"error":{"message":"m","code":502}}', ProviderError("m", code="502")),
        (b'[{"error":{"message":"m"}}]', ProviderError("m")),
        (b'{"message":"m"}', ProviderError("m")),
        (b"<html>", None),
    ],
)
def test_what_a_wrong_body_says_of_an_error_is_kept(body: bytes, error: ProviderError | None) -> None:
    assert read_answer(body).error == error


@given(text=st.text(st.characters(codec=None) | st.sampled_from("\\\ud83c\udf88u"), max_size=8))
@settings(max_examples=200, deadline=None)
def test_an_escaped_text_is_refused_exactly_when_its_surrogates_are_not_paired(text: str) -> None:
    body = json.dumps({"choices": [{"message": {"content": text}}]}).encode("ascii")
    try:
        json.loads(body)["choices"][0]["message"]["content"].encode()
    except UnicodeEncodeError:
        assert read_answer(body).no_answer == "not_json"
    else:
        assert read_answer(body) == Answer(body)


@given(body=st.binary(max_size=60) | st.text(alphabet='{}[]":,\\ud83c0', max_size=30).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_no_bytes_make_it_raise(body: bytes) -> None:
    answer = read_answer(body)
    assert answer.no_answer is not None or b"choices" in answer.body


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b"application/json", "json"),
        (b"application/json; charset=utf-8", "json"),
        (b" Application/JSON ;x", "json"),
        (b"text/json", "json"),
        (b"application/problem+json", "json"),
        (b"text/event-stream", "sse"),
        (b"text/event-stream;charset=utf-8", "sse"),
        (b"TEXT/HTML; charset=iso-8859-1", "html"),
        (b"application/xhtml+xml", "html"),
        (b"text/plain", "other"),
        (b"application/jsonlines", "other"),
        (b"", "none"),
        (b" ;charset=utf-8", "none"),
    ],
)
def test_the_content_type_names_the_media(value: bytes, kind: str) -> None:
    assert media([(b"date", b"x"), (b"content-type", value), (b"content-type", b"text/html")]) == kind


def test_without_a_content_type_there_is_no_media() -> None:
    assert media([]) == "none"
    assert media([(b"content-length", b"2")]) == "none"


@pytest.mark.parametrize(
    ("headers", "is_encoded"),
    [
        ([], False),
        ([(b"content-encoding", b"identity")], False),
        ([(b"content-encoding", b" Identity , identity")], False),
        ([(b"content-encoding", b"")], False),
        ([(b"content-type", b"gzip")], False),
        ([(b"content-encoding", b"gzip")], True),
        ([(b"content-encoding", b"identity, br")], True),
        ([(b"content-encoding", b"identity"), (b"content-encoding", b"xyz")], True),
    ],
)
def test_a_body_is_encoded_when_any_coding_but_identity_is_named(headers: list[Header], is_encoded: bool) -> None:
    assert encoded(headers) is is_encoded


@pytest.mark.parametrize("slice_chars", [24, 25, 31, 64 << 10])
@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(["a", "\\\\", "\\n", "\\u0041", "\\ud83d", "\\ude00", "\\ud83d\\ude00", "ud83d", "bcdefghijk"]),
        max_size=40,
    )
)
def test_surrogates_are_paired_or_not_wherever_the_text_is_cut(slice_chars: int, pieces: list[str]) -> None:
    text = "".join(pieces)
    held = json.loads(f'"{text}"')
    alone = any("\ud800" <= char <= "\udfff" for char in held)
    assert surrogates_paired(text, slice_chars) == (not alone)
    assert not surrogates_paired(text + "\\ud83d", slice_chars)


@pytest.mark.parametrize("patiently", [False, True])
@pytest.mark.parametrize(
    ("body", "no_answer"),
    [
        (GOOD, None),
        (GOOD[:-1], "not_json"),
        (GOOD[:-1] + b',"error":null}', None),
        (GOOD[:-1] + b',"error":{"message":"no"}}', "error_body"),
        (b"[1]", "not_an_object"),
        (b'{"choices":[]}', "no_choices"),
    ],
)
def test_an_answer_is_judged_alike_at_once_and_patiently(body: bytes, no_answer: str | None, patiently: bool) -> None:
    assert read_answer(body, patiently=patiently).no_answer == no_answer
    assert read_answer(body, patiently=patiently) == read_answer(body)


def test_long_content_types_are_understood_and_not_remembered() -> None:
    before = _media_of.cache_info().currsize
    for number in range(3):
        value = b"text/event-stream; x=%d" % number + b"y" * 60_000
        assert media([(b"content-type", value)]) == "sse"
    assert _media_of.cache_info().currsize == before
