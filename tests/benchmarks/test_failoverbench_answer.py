"""What a caller of FailoverBench must find in an answer, and what it must not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.failoverbench.answer import Answer, Received, read
from ogw_asgi.testing import SIXTY_WORDS

WORDS = SIXTY_WORDS.split(" ")
DONE = b"data: [DONE]\n\n"
MARK = b'data: {"error":{"message":"m","type":"upstream_error","param":null,"code":"stream_interrupted"}}\n\n'
USAGE = {"prompt_tokens": 7, "completion_tokens": 60, "total_tokens": 67}


def chunk(*choices: dict[str, Any], ident: str = "c1", model: str = "m", **fields: Any) -> bytes:
    value = {"id": ident, "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choices, **fields}
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def delta(finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"index": 0, "delta": fields, "finish_reason": finish_reason}


def role() -> bytes:
    return chunk(delta(role="assistant", content=""))


def words(first: int = 0, last: int = 60, **fields: Any) -> list[bytes]:
    return [chunk(delta(content=(" " if n else "") + WORDS[n]), **fields) for n in range(first, last)]


STOP = chunk(delta("stop"))
COUNTS = chunk(usage=USAGE)


def got(*frames: bytes, status: int = 200, ended: bool = True, in_time: bool = True, streamed: bool = True) -> Answer:
    received = Received(
        status=status, body=b"".join(frames), ended=ended, in_time=in_time, start_s=1.0, end_s=3.5, longest_pause_s=0.2
    )
    return read(received, streamed=streamed)


def test_the_whole_answer_is_whole() -> None:
    answer = got(role(), *words(), STOP, COUNTS, DONE)
    assert (answer.kind, answer.note) == ("whole", "")
    assert (answer.model, answer.usage, answer.took_s, answer.longest_pause_s) == ("m", USAGE, 2.5, 0.2)


def test_comments_do_no_harm_and_a_role_may_come_with_the_first_word() -> None:
    first = chunk(delta(role="assistant", content=WORDS[0]))
    assert got(b": ping\n\n", first, *words(1), b": continued by vllm\n\n", STOP, DONE, status=201).kind == "whole"


@pytest.mark.parametrize(
    ("frames", "note"),
    [
        ([role(), *words(0, 40), DONE], "truncated, 40 of 60"),
        ([role(), *words(0, 40)], "truncated, 40 of 60"),
        ([role(), *words(0, 40), STOP, DONE], "truncated, 40 of 60"),
        ([role(), STOP, DONE], "truncated, 0 of 60"),
        ([], "truncated, 0 of 60"),
        ([role(), *words(0, 40), *words(), STOP, DONE], "other words from the 40th on, 99 in all"),
        ([role(), *words(0, 40), *words(39), STOP, DONE], "other words from the 40th on, 61 in all"),
        ([role(), *words(0, 20), *words(21), STOP, DONE], "other words from the 20th on, 59 in all"),
        ([role(), *words(), *words(59), STOP, DONE], "other words from the 60th on, 61 in all"),
        ([role(), *words(), DONE], "finish_reason missing"),
        ([role(), *words(), STOP, STOP, DONE], "finish_reason ['stop', 'stop']"),
        ([role(), *words(), chunk(delta("length")), DONE], "finish_reason ['length']"),
        ([role(), *words(), STOP], "no [DONE]"),
        ([role(), *words(), STOP, DONE, DONE], "events after [DONE]"),
        ([role(), *words(0, 59), STOP, *words(59), DONE], "words after the finish_reason"),
        ([*words(), STOP, DONE], "the role stands in chunks []"),
        ([role(), *words(0, 40), role(), *words(40), STOP, DONE], "the role stands in chunks [1, 42]"),
        ([role(), *words(0, 40), *words(40, ident="c2"), STOP, DONE], "2 different ids"),
        ([role(), *words(), STOP, chunk(ident=""), DONE], "a chunk without id or model"),
        ([role(), *words(0, 9), b'data: {"id": \n\n', *words(9), STOP, DONE], "an event that is no JSON object"),
        ([role(), *words(0, 9), b"data: 1\n\n", *words(9), STOP, DONE], "an event that is no JSON object"),
    ],
)
def test_what_is_not_the_answer_is_wrong_when_it_is_shown_as_a_success(frames: list[bytes], note: str) -> None:
    answer = got(*frames)
    assert answer.kind == "wrong"
    assert note in answer.note
    assert "shown as a success" in answer.note


@pytest.mark.parametrize(
    ("frames", "ended"),
    [
        ([role(), *words(0, 40), MARK], False),
        ([role(), *words(0, 40), MARK], True),
        ([role(), *words(0, 40)], False),
        ([MARK], False),
        ([role(), *words(), STOP], False),
    ],
)
def test_a_break_that_can_be_seen_is_a_clean_error(frames: list[bytes], ended: bool) -> None:
    assert got(*frames, ended=ended).kind == "error"


@pytest.mark.parametrize(
    ("frames", "ended", "note"),
    [
        ([role(), *words(0, 40), MARK, DONE], True, "[DONE] says that it is complete"),
        ([role(), *words(0, 40), DONE], False, "[DONE] says that it is complete"),
        ([role(), *words(0, 40), *words(0, 5), MARK], False, "not the answer"),
    ],
)
def test_a_break_is_no_clean_error_beside_a_done_or_behind_other_words(
    frames: list[bytes], ended: bool, note: str
) -> None:
    answer = got(*frames, ended=ended)
    assert answer.kind == "wrong"
    assert note in answer.note


def envelope(**fields: Any) -> bytes:
    return json.dumps(
        {"error": {"message": "no", "type": "upstream_error", "param": None, "code": "x", **fields}}
    ).encode()


def test_an_envelope_is_a_clean_error_and_kept() -> None:
    answer = got(envelope(), status=502)
    assert (answer.kind, answer.note, answer.error["message"]) == ("error", "502 x", "no")


@pytest.mark.parametrize(
    ("body", "ended"),
    [
        (b"", True),
        (b"<html>", True),
        (b"[]", True),
        (b'{"error":"no"}', True),
        (envelope(message=""), True),
        (envelope(type=None), True),
        (envelope(), False),
    ],
)
def test_an_error_without_its_envelope_is_wrong(body: bytes, ended: bool) -> None:
    assert got(body, status=502, ended=ended).kind == "wrong"


def test_nothing_and_not_in_time_and_odd_statuses_are_wrong() -> None:
    assert got(status=0, ended=False).note == "no answer at all"
    assert got(role(), *words(), STOP, DONE, in_time=False).note == "not over when the caller gave up"
    assert got(status=302).kind == "wrong"
    assert all(answer.kind == "wrong" for answer in (got(status=0), got(in_time=False)))


def completion(text: str | None) -> bytes:
    value = {"model": "m", "choices": [{"message": {"content": text}}], "usage": USAGE}
    return json.dumps(value).encode()


def test_plain_answers_are_read_as_strictly() -> None:
    assert got(completion(SIXTY_WORDS), streamed=False).kind == "whole"
    assert got(completion(SIXTY_WORDS), streamed=False, ended=False).kind == "error"
    for body in (completion("A gateway"), completion(None), b"{}", b"<html>", b'{"choices":[]}'):
        assert got(body, streamed=False).kind == "wrong"
