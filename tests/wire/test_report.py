"""What an answer says of itself: its id, model, ends and usage, and what of that is not believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw_asgi._usage import Usage
from ogw_asgi._wire.report import LONGEST, LOOKS, MOST_GAPS, MOST_TOKENS, Report, read_usage
from ogw_asgi._wire.sse import frame

from .test_properties import objects, some, values

COUNTED = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
USAGE = Usage(input_tokens=7, output_tokens=5)


def event(**members: Any) -> bytes:
    return frame(json.dumps(members).encode())


@pytest.mark.parametrize(
    ("reported", "read"),
    [
        (COUNTED, USAGE),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(0, 0)),
        ({"prompt_tokens": 7}, Usage(input_tokens=7)),
        (
            {**COUNTED, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2}},
            Usage(7, 5, cache_read_tokens=4, cache_write_tokens=2),
        ),
        ({**COUNTED, "completion_tokens_details": {"reasoning_tokens": 3}}, Usage(7, 5, reasoning_tokens=3)),
        ({**COUNTED, "prompt_tokens_details": None, "completion_tokens_details": []}, USAGE),
        ({"prompt_tokens": -1, "completion_tokens": 5}, Usage(output_tokens=5)),
        ({"prompt_tokens": True, "completion_tokens": 5.0}, None),
        ({"prompt_tokens": "7", "completion_tokens": 1 << 60}, None),
        ({"prompt_tokens": MOST_TOKENS, "completion_tokens": MOST_TOKENS + 1}, Usage(input_tokens=MOST_TOKENS)),
        ({}, None),
    ],
)
def test_usage_is_read_number_by_number_and_unknown_is_not_zero(reported: Any, read: Usage | None) -> None:
    assert read_usage(reported) == read


def test_an_answer_tells_its_id_model_ends_and_usage() -> None:
    report = Report()
    report.note(
        {
            "id": "chatcmpl-1",
            "model": "gpt-4o-2024-08-06",
            "choices": [{"index": 1, "finish_reason": "length"}, {"index": 0, "finish_reason": "stop"}],
            "usage": COUNTED,
        }
    )
    assert (report.id, report.model, report.usage) == ("chatcmpl-1", "gpt-4o-2024-08-06", USAGE)
    assert report.finish_reasons == ("stop", "length")


def test_the_first_id_and_the_last_usage_count() -> None:
    report = Report()
    report.note({"id": "one", "model": None, "usage": {"completion_tokens": 1}})
    report.note({"id": "two", "model": "m", "usage": COUNTED})
    report.note({"usage": None})
    report.note({"usage": {"prompt_tokens": "many"}})
    assert (report.id, report.model, report.usage) == ("one", "m", USAGE)


@pytest.mark.parametrize("odd", ["", "x" * 129, "two words", "l\n", "\x1b[31m", 7, None, ["a"]])
def test_what_is_no_word_is_not_kept(odd: Any) -> None:
    report = Report()
    report.note({"id": odd, "model": odd, "choices": [{"finish_reason": odd}]})
    assert (report.id, report.model) == (None, None)
    assert report.finish_reasons in ((), ("other",))


@pytest.mark.parametrize("index", [True, "0", None, 1.0])
def test_a_choice_without_a_number_has_no_end(index: Any) -> None:
    report = Report()
    report.note({"choices": [{"index": index, "finish_reason": "stop"}]})
    assert report.finish_reasons == ()


def test_so_many_choices_have_an_end_and_no_more() -> None:
    report = Report()
    report.note({"choices": [{"index": index, "finish_reason": "stop"} for index in range(1000)]})
    assert len(report.finish_reasons) == 128


CHUNK = event(id="c", choices=[{"index": 0, "delta": {"content": "Hi"}}], usage=None)
LAST = event(id="c", choices=[], usage=COUNTED)


@pytest.mark.parametrize(
    ("seen", "usage"),
    [
        (LAST, USAGE),
        (CHUNK + LAST, USAGE),
        (LAST + CHUNK, USAGE),
        (event(usage={"prompt_tokens": 1}) + CHUNK + LAST + b": bye\n\n", USAGE),
        (LAST.removeprefix(b"data: ").strip(), USAGE),
        (LAST + event(choices=[], x_stats={"usage": {"prompt_tokens": 1}}), USAGE),
        (LAST + event(choices=[], usage={}), USAGE),
        (LAST + event(choices=[], usage=None) * (LOOKS - 1), USAGE),
        (LAST + event(choices=[], usage=None) * LOOKS, None),
        (event(usage={"prompt_tokens": 1}) + LAST, USAGE),
        (CHUNK, None),
        (b"data: [DONE]\n\n", None),
        (event(choices=[{"delta": {"content": 'say "usage": {"prompt_tokens": 1}'}}]), None),
        (event(choices=[{"delta": {"usage": COUNTED}}]), None),
        (b'data: {"usage": {"prompt_tokens": 1}\n\n', None),
        (b'data: {"usage": {"prompt_tokens": 1}, "x": "\xff"}\n\n', None),
        (b'data: ["usage", {"usage": {"prompt_tokens": 1}}]\n\n', None),
        (event(usage=COUNTED, padding="x" * LONGEST), None),
    ],
)
def test_of_events_that_went_through_the_last_with_usage_is_read(seen: bytes, usage: Usage | None) -> None:
    report = Report()
    report.saw(seen)
    assert report.usage == usage


def test_gaps_are_those_between_arrivals_and_so_many_are_kept() -> None:
    report = Report()
    report.arrived(1.0)
    assert list(report.gaps_s) == [], "there was nothing before it"
    for second in (3.0, 3.5):
        report.arrived(second)
    assert (list(report.gaps_s), report.heard_s) == ([2.0, 0.5], 3.5)
    for second in range(MOST_GAPS):
        report.arrived(4.0 + second)
    assert len(report.gaps_s) == MOST_GAPS
    assert report.heard_s == 3.0 + MOST_GAPS


@some
@given(objects, values, st.lists(st.binary(max_size=40), max_size=3))
def test_no_answer_makes_a_report_fail(value: dict[str, Any], usage: Any, pieces: list[bytes]) -> None:
    report = Report()
    report.note({**value, "usage": usage})
    report.saw(event(**{**value, "usage": usage}))
    report.saw(b'"usage": {'.join(pieces))
    if isinstance(usage, dict):
        assert read_usage(usage) == report.usage
    assert report.id is None or len(report.id) <= 128
