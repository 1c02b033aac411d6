"""The books of a stream that may change hands, and how its later parts are written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ogw_asgi._wire import transcript as module
from ogw_asgi._wire.chunks import Chunk, read_chunk
from ogw_asgi._wire.transcript import Transcript, has_more_than_text, text_of, with_text


def event(delta: Any = None, *, index: int = 0, finish: str | None = None, **top: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": delta if delta is not None else {}, "finish_reason": finish}
    return {"id": "first", "object": "chat.completion.chunk", "choices": [choice], **top}


def told(transcript: Transcript, *events: Any) -> list[Any]:
    """What the caller gets of each: None for nothing."""
    given = []
    for each in events:
        payload = each if isinstance(each, bytes) else json.dumps(each).encode()
        chunk = read_chunk(payload)
        assert chunk.kind == "data", each
        framed = transcript.told(chunk)
        given.append(json.loads(framed.removeprefix(b"data: ").removesuffix(b"\n\n")) if framed else None)
    return given


def begun(*events: Any) -> Transcript:
    """A stream that has been given to the caller, and changes hands."""
    transcript = Transcript()
    told(transcript, *events)
    transcript.change_hands()
    return transcript


def test_the_first_part_goes_out_byte_for_byte() -> None:
    payload = b'{ "id" : "x", "choices":[{"index":0,"delta":{"content":"\\u00e9"}}] }'
    assert Transcript().told(read_chunk(payload)) == b"data: " + payload + b"\n\n"


@pytest.mark.contract("5.continue.one-stream")
def test_it_keeps_the_text_of_all_parts() -> None:
    transcript = begun(event({"role": "assistant", "content": ""}), event({"content": "Hel"}), event({"content": None}))
    told(transcript, event({"content": "lo"}), event(finish="stop"))
    assert (transcript.text, transcript.pieces, transcript.parts, transcript.text_only) == ("Hello", 2, 2, True)


@pytest.mark.contract("5.continue.one-stream")
def test_a_later_part_has_the_id_of_the_first_and_no_role_of_its_own() -> None:
    transcript = begun(event({"role": "assistant", "content": "Hel"}))
    later = event({"role": "assistant", "content": "lo"}, id="second", model="other", usage=None)
    (given,) = told(transcript, later)
    assert given == {**later, "id": "first", "choices": [{**later["choices"][0], "delta": {"content": "lo"}}]}


def test_an_id_or_a_role_that_the_first_part_did_not_have_comes_with_the_second() -> None:
    transcript = begun({**event({"content": "Hel"}), "id": ""})
    first, second = told(
        transcript,
        event({"role": "assistant", "content": "lo"}, id="second"),
        event({"role": "assistant", "content": "!"}, id="third"),
    )
    assert (first["id"], second["id"]) == ("second", "second")
    assert (first["choices"][0]["delta"], second["choices"][0]["delta"]) == (
        {"role": "assistant", "content": "lo"},
        {"content": "!"},
    )


@pytest.mark.parametrize(
    "nothing",
    [
        event({"role": "assistant", "content": ""}),
        event({"content": None}),
        event({}),
        event({}, usage=None),
        {"id": "", "choices": [], "prompt_filter_results": []},
        {"id": "x"},
    ],
)
def test_what_says_nothing_is_left_out_of_later_parts(nothing: Any) -> None:
    assert told(begun(event({"role": "assistant", "content": "x"})), nothing) == [None]


def test_an_error_that_is_null_is_cut_out_of_later_parts_too() -> None:
    (given,) = told(begun(event({"content": "x"})), event({"content": "y"}, error=None))
    assert "error" not in given


@pytest.mark.parametrize(
    "more",
    [
        event({"tool_calls": [{"index": 0}]}),
        event({"function_call": {"name": "f"}}),
        event({"reasoning": "hm"}),
        event({"reasoning_content": "hm"}),
        event({"refusal": "no"}),
        event({"audio": {"id": "a"}}),
        event({"content": "x"}, index=1),
        {"choices": [{"index": 0, "delta": {"content": "x"}, "logprobs": {"content": []}}]},
    ],
)
@pytest.mark.contract("5.continue.exempt")
def test_anything_but_the_text_of_one_choice_is_noticed(more: Any) -> None:
    transcript = Transcript()
    told(transcript, event({"content": "x", "refusal": None, "tool_calls": []}))
    assert transcript.text_only
    told(transcript, more)
    assert not transcript.text_only


@pytest.mark.parametrize("odd", [None, [], "x", 7, [None, 7]])
def test_odd_choices_and_deltas_are_borne(odd: Any) -> None:
    transcript = Transcript()
    told(transcript, {"choices": odd}, {"choices": [{"delta": odd}]}, event({"content": odd}))
    transcript.change_hands()
    told(transcript, {"choices": odd}, {"choices": [{"delta": odd}]}, event({"content": odd}))
    assert transcript.text in ("", "xx")


def test_a_text_that_is_too_long_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CHARS", 10)
    transcript = Transcript()
    told(transcript, *[event({"content": "xxxx"})] * 4)
    assert (transcript.text_only, transcript.text) == (False, "")


@pytest.mark.parametrize(
    ("pieces", "count"),
    [
        (["a", "b"], 0),
        (["a", " "], 1),
        (["a", " ", "\n\n"], 2),
        (["a ", " ", "\n\n"], 3),
        ([" ", "\t"], 2),
        ([], 0),
    ],
)
def test_the_last_pieces_that_are_blanks_are_counted(pieces: list[str], count: int) -> None:
    transcript = Transcript()
    told(transcript, *[event({"content": piece}) for piece in pieces])
    assert transcript.last_blanks == count


# --- usage ------------------------------------------------------------------------------------------------------------

ONE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "details": {"cached": 1, "audio": None}}
TWO = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "details": {"cached": 2}, "cost": 0.5}
SUM = {
    "prompt_tokens": 12,
    "completion_tokens": 5,
    "total_tokens": 17,
    "details": {"cached": 3, "audio": None},
    "cost": 0.5,
}


@pytest.mark.contract("5.continue.one-stream")
def test_usage_is_summed_when_every_part_has_reported_it() -> None:
    transcript = begun(
        event({"content": "a"}, usage={**ONE, "completion_tokens": 1}), event({"content": "b"}, usage=ONE)
    )
    assert told(transcript, event({"content": "c"}, usage=TWO))[0]["usage"] == SUM
    assert told(transcript, {"choices": [], "usage": TWO}) == [{"id": "first", "choices": [], "usage": SUM}]
    assert transcript.reported_tokens == 5
    transcript.change_hands()
    assert told(transcript, {"choices": [], "usage": ONE})[0]["usage"]["completion_tokens"] == 7


@pytest.mark.contract("5.continue.one-stream")
def test_usage_is_left_out_when_a_part_did_not_report_it() -> None:
    transcript = begun(event({"content": "a"}, usage=None))
    (with_choice, without) = told(transcript, event({"content": "b"}, usage=TWO), {"choices": [], "usage": TWO})
    assert "usage" not in with_choice
    assert without is None
    assert transcript.reported_tokens is None
    transcript.change_hands()
    assert told(transcript, {"choices": [], "usage": ONE}) == [None], "what is unknown stays so"


@pytest.mark.parametrize(("usage", "tokens"), [(ONE, 2), ({}, None), ({"completion_tokens": "2"}, None), (None, None)])
def test_tokens_are_reported_when_they_are_a_number(usage: Any, tokens: int | None) -> None:
    transcript = Transcript()
    told(transcript, event({"content": "a"}, usage=usage))
    assert transcript.reported_tokens == tokens


@pytest.mark.parametrize(("before", "after", "total"), [(True, 1, 1), ("a", 2, 2), (None, 3, 3), (4, None, 4)])
def test_only_numbers_are_summed(before: Any, after: Any, total: Any) -> None:
    transcript = begun(event({"content": "a"}, usage={"x": before}))
    assert told(transcript, {"choices": [], "usage": {"x": after}})[0]["usage"] == {"x": total}


# --- single chunks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [(event({"content": "a"}), "a"), (event({"content": None}), ""), (event({}), ""), ({"choices": []}, ""), ({}, "")],
)
def test_the_text_of_a_chunk(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_a_chunk_with_another_text_keeps_all_else() -> None:
    value = event({"role": "assistant", "content": "ab"}, finish="stop", usage=ONE)
    assert with_text(value, "b") == event({"role": "assistant", "content": "b"}, finish="stop", usage=ONE)
    assert with_text({"choices": [], "x": 1}, "") == {"choices": [], "x": 1}
    held = {"index": 0, "finish_reason": None, "delta": {"content": "held"}}
    assert with_text({"choices": [], "usage": ONE}, "held") == {"choices": [held], "usage": ONE}


@pytest.mark.parametrize(
    ("delta", "more"), [({"role": "a", "content": "b"}, False), ({"x": None}, False), ({"x": 1}, True)]
)
def test_more_than_text(delta: Any, more: bool) -> None:
    assert has_more_than_text(delta) is more


@pytest.mark.parametrize("finish", ["stop", None])
def test_a_chunk_that_is_too_deep_to_be_written_again_keeps_its_text_and_its_end(finish: str | None) -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"x": deep}
    transcript = begun(event({"content": "a"}))
    value = event({"content": "b"}, finish=finish, model="m", deep=deep)
    given = transcript.told(Chunk("data", b"", value=value))
    choice = {"index": 0, "delta": {"content": "b"}, "finish_reason": finish}
    assert json.loads(given.removeprefix(b"data: ")) == {
        "id": "first",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [choice],
    }
