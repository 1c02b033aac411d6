"""The judgement of one data event: what commits a stream, what ends it, what breaks it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._values import ProviderError
from ogw_asgi._wire.chunks import MOST_STRUCTURE, Chunk, glance, read_chunk
from ogw_asgi._wire.envelope import READ_MEMBERS


def chunk(*choices: Any, **more: Any) -> bytes:
    return json.dumps({"id": "c", "choices": list(choices), **more}, separators=(",", ":")).encode()


def choice(delta: Any, finish_reason: Any = None, index: Any = 0) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish_reason}


@pytest.mark.contract("2.first-chunk.substance")
@pytest.mark.parametrize(
    "delta",
    [
        {"content": "hi"},
        {"role": "assistant", "content": " "},
        {"content": "", "reasoning": "hm"},
        {"reasoning_content": "hm"},
        {"refusal": "no"},
        {"tool_calls": [{"index": 0, "id": "call_1"}]},
        {"content": None, "function_call": {"name": "f"}},
        {"something_new": [1]},
    ],
)
def test_a_delta_with_anything_besides_its_role_has_substance(delta: Any) -> None:
    assert read_chunk(chunk(choice(delta))).substance


@pytest.mark.contract("2.first-chunk.held")
@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(chunk(choice({"role": "assistant"})), id="role only"),
        pytest.param(chunk(choice({"role": "assistant", "content": "", "refusal": None})), id="OpenAI's first"),
        pytest.param(chunk(choice({"role": "assistant", "content": None})), id="llama.cpp's first"),
        pytest.param(chunk(choice({"tool_calls": [], "function_call": {}})), id="empty containers"),
        pytest.param(chunk(choice({})), id="an empty delta"),
        pytest.param(chunk({"index": 0}, {"delta": None}, {"delta": "x"}, None, "x"), id="no delta at all"),
        pytest.param(chunk(choice({"content": ""}, finish_reason="")), id="an empty finish_reason"),
        pytest.param(
            b'{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0}]}',
            id="Azure's prompt filter",
        ),
        pytest.param(chunk(usage={"total_tokens": 3}), id="usage"),
        pytest.param(b"{}", id="an empty object"),
        pytest.param(b'{"choices":null}', id="no choices"),
        pytest.param(b'{"choices":{"delta":{"content":"x"}}}', id="choices that are no array"),
    ],
)
def test_events_without_substance_are_data_that_commits_nothing(payload: bytes) -> None:
    judged = read_chunk(payload)
    assert (judged.kind, judged.substance, judged.finished) == ("data", False, frozenset())
    assert judged.payload is payload


@pytest.mark.contract("2.first-chunk.substance", "5.tail.every-choice")
@pytest.mark.parametrize(
    ("choices", "finished"),
    [
        ([choice({}, "stop")], {0}),
        ([choice({}, "stop", 2), choice({"content": "x"}, None, 1)], {2}),
        ([choice({}, "stop"), choice({}, "length", 1)], {0, 1}),
        ([{"finish_reason": "stop"}], {0}),
        ([choice({}, "stop", None), choice({}, "stop", True)], {0}),
        ([choice({}, "content_filter", 1)], {1}),
    ],
)
def test_a_finish_reason_has_substance_and_names_its_choice(choices: list[Any], finished: set[int]) -> None:
    for judged in (read_chunk(chunk(*choices)), glance(chunk(*choices))):
        assert judged.kind == "data"
        assert judged.substance
        assert judged.finished == finished


@pytest.mark.parametrize(
    ("usage", "reported"), [(None, False), ({"total_tokens": 1}, True), ({}, True)], ids=["null", "counts", "empty"]
)
def test_usage_is_reported_when_it_is_there_and_not_null(usage: Any, reported: bool) -> None:
    assert read_chunk(chunk(usage=usage)).usage is reported


def test_a_chunk_without_usage_reports_none() -> None:
    assert not read_chunk(chunk()).usage


@pytest.mark.parametrize("payload", [b"[DONE]", b" [DONE]", b"[DONE] bye"])
def test_done_ends_the_stream(payload: bytes) -> None:
    assert read_chunk(payload) == glance(payload) == Chunk("done", payload)


BROKEN = [
    pytest.param(b"", id="nothing"),
    pytest.param(b'{"choices":', id="half an object"),
    pytest.param(b"An error occurred", id="plain text"),
    pytest.param(b"[]", id="an array"),
    pytest.param(b'"x"', id="a string"),
    pytest.param(b"null", id="null"),
    pytest.param(b'{"choices":[]} x', id="something behind it"),
    pytest.param(b'{"x":"\xff"}', id="invalid UTF-8"),
    pytest.param(b'{"x":"\xed\xa0\x80"}', id="a surrogate in UTF-8"),
    pytest.param(b"\xef\xbb\xbf{}", id="a byte order mark"),
]


@pytest.mark.contract("5.break.not-object", "5.break.utf8")
@pytest.mark.parametrize("payload", BROKEN)
def test_what_is_no_json_object_in_utf_8_breaks_the_stream(payload: bytes) -> None:
    assert read_chunk(payload) == glance(payload) == Chunk("broken", payload)


@pytest.mark.parametrize(
    "value",
    [b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"[" * 100_000 + b"]" * 100_000, b"'x'", b'"\n"', b"{]"],
    ids=["NaN", "Infinity", "overflow", "5,000 digits", "nested", "single quotes", "raw line end", "brackets"],
)
def test_json_that_a_strict_parser_refuses_is_broken_when_it_is_parsed(value: bytes) -> None:
    assert read_chunk(b'{"x":' + value + b"}").kind == "broken"


@pytest.mark.contract("5.break.error-event", "2.first-chunk.error-event")
@pytest.mark.parametrize(
    ("payload", "error"),
    [
        pytest.param(
            b'{"error":{"message":"m","type":"server_error","param":null,"code":500}}',
            ProviderError("m", "server_error", None, "500"),
            id="vLLM",
        ),
        pytest.param(b'{"error":"text"}', ProviderError("text"), id="LM Studio"),
        pytest.param(
            b'{"object":"error","message":"m","type":"BadRequestError","code":400}',
            ProviderError("m", "BadRequestError", None, "400"),
            id="flat, as vLLM was",
        ),
        pytest.param(
            b'{"id":"g","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"error"}],'
            b'"error":{"code":502,"message":"m"}}',
            ProviderError("m", code="502"),
            id="OpenRouter",
        ),
        pytest.param(chunk(choice({}, "error")), ProviderError(), id="a finish_reason alone"),
        pytest.param(b'{"error":null,"error":{"message":"m"}}', ProviderError("m"), id="the last of two keys counts"),
    ],
)
def test_every_shape_of_an_error_event_is_an_error_before_and_after_the_commit(
    payload: bytes, error: ProviderError
) -> None:
    assert read_chunk(payload) == glance(payload) == Chunk("error", payload, error=error)


def test_a_null_error_among_more_members_than_are_read_breaks_the_stream() -> None:
    payload = b'{"choices":[],"error":null' + b',"k":1' * READ_MEMBERS + b"}"
    assert read_chunk(payload) == Chunk("broken", payload)


def test_an_object_named_error_is_missed_by_nobody_who_parses() -> None:
    assert read_chunk(b'{"\\u0065rror":{"message":"m"}}').error == ProviderError("m")


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b'{"type":"error","error":{"message":"m","code":"c"}}', ProviderError("m", code="c")),
        (b'{"message":"m","code":"c"}', ProviderError("m", code="c")),
        (b"overloaded", ProviderError("overloaded", form="text")),
        (b"", ProviderError(form="empty")),
        (b"[DONE]", ProviderError("[DONE]", form="text")),
    ],
)
def test_an_event_named_error_is_one_whatever_its_data(payload: bytes, error: ProviderError) -> None:
    for judged in (read_chunk(payload, error_event=True), glance(payload, error_event=True)):
        assert judged == Chunk("error", payload, error=error)


@pytest.mark.contract("5.frame.error-null", "5.frame.payload")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"error":null}', b"{}"),
        (b'{ "error" : null }', b"{  }"),
        (b'{"error":null,"id":"x"}', b'{"id":"x"}'),
        (b'{"id":"x","error":null}', b'{"id":"x"}'),
        (b'{"id": "x", "error": null, "n": 1}', b'{"id": "x", "n": 1}'),
        (b'{"error":null, "error":null,"id":"x","error":null}', b'{"id":"x"}'),
        (b' \n{"id":"\xc3\xa9\\u00e9" ,"error":null} ', b' \n{"id":"\xc3\xa9\\u00e9"} '),
        (b'{"\\u0065rror":null,"id":1.50}', b'{"id":1.50}'),
        (b'{"a":{"error":null},"error":null}', b'{"a":{"error":null}}'),
    ],
)
def test_a_null_error_is_cut_out_with_its_comma_and_nothing_else_changes(before: bytes, after: bytes) -> None:
    assert read_chunk(before).payload == after


@pytest.mark.parametrize("value", ["{}", '""', "false", "[]", "0"])
def test_an_error_that_is_empty_but_not_null_stays_and_is_none(value: str) -> None:
    payload = f'{{"error":{value},"id":"x"}}'.encode()
    judged = read_chunk(payload)
    assert (judged.kind, judged.payload) == ("data", payload)


def test_a_glance_cuts_a_null_error_out_as_well() -> None:
    assert glance(b'{"choices":[],"error": null}').payload == b'{"choices":[]}'


@pytest.mark.parametrize(
    "payload",
    [
        chunk(choice({"content": "x"})),
        b'{"choices": [{"delta": {"content": "x"}, "finish_reason": null}]}',
        b'{"choices":[{"delta":{"content":"x"},"finish_reason" :\t null}]}',
        b'{"choices":[{"delta":{"content":"x"},"finish_reason":""}]}',
        '{"choices":[{"delta":{"content":"é"}}]}'.encode(),
        b'{"choices":[{"delta":{"content":"say \\"error\\" and \\"finish_reason\\":\\"stop\\""}}]}',
    ],
)
def test_a_glance_passes_ordinary_chunks_on_as_they_are(payload: bytes) -> None:
    judged = glance(payload)
    assert judged == Chunk("data", payload, substance=True)
    assert judged.payload is payload
    assert judged == read_chunk(payload)


def test_a_glance_parses_nothing_that_its_bytes_do_not_make_suspicious() -> None:
    assert glance(b"{not json}").kind == "data"
    assert glance(b'{not "error" json}').kind == "broken"
    assert glance(b'{not "finish_reason":"stop" json}').kind == "broken"


def test_a_glance_takes_blanks_around_the_object() -> None:
    assert glance(b' {"choices":[]} ').kind == "data"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["error", "stop"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "choices", "delta", "finish_reason", "object", "usage", "index", "role", "content"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(value=values, compact=st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_glance_never_misses_an_end_or_a_finish_that_parsing_would_find(value: Any, compact: bool) -> None:
    payload = json.dumps(value, separators=(",", ":") if compact else None).encode()
    full, quick = read_chunk(payload), glance(payload)
    assert (quick.kind, quick.payload, quick.finished) == (full.kind, full.payload, full.finished)


@given(payload=st.binary(max_size=60), error_event=st.booleans())
@settings(max_examples=200, deadline=None)
def test_no_bytes_make_a_judgement_raise(payload: bytes, error_event: bool) -> None:
    assert read_chunk(payload, error_event=error_event).kind in {"broken", "error", "data", "done"}
    assert glance(payload, error_event=error_event).kind in {"broken", "error", "data", "done"}


@pytest.mark.parametrize("value", [b"[],", b"1,", b'"",', b'{"a":1},'])
def test_an_event_of_more_structure_than_any_answer_has_is_broken_unread(value: bytes) -> None:
    many = chunk(choice({"content": "x"}))[:-1] + b',"x":[' + value * MOST_STRUCTURE + b"1]}"
    assert len(many) < 1 << 20
    assert read_chunk(many) == Chunk("broken", many)
    text = many.replace(value * MOST_STRUCTURE, b'"' + b"[]," * MOST_STRUCTURE + b'",')
    assert read_chunk(text).kind == "data", "what is in strings is no structure"
