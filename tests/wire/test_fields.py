"""Known fields of a body: every type and range, and the path that a refusal names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ogw_asgi._values import ChatCall, Limits
from ogw_asgi._wire.body import read_body
from ogw_asgi.exceptions import RequestRejected

USER = {"role": "user", "content": "hi"}
HUGE = 2**63


def read(**fields: Any) -> ChatCall:
    return read_body(json.dumps({"model": "m", "messages": [USER], **fields}).encode(), Limits())


def refused(fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(RequestRejected) as caught:
        read(**fields)
    error = caught.value
    assert (error.status, error.param, error.code) == (400, param, code)
    assert error.type == "invalid_request_error"
    assert param in error.message


def tool(**function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", **function}}


NUMBERS = ["temperature", "top_p", "frequency_penalty", "presence_penalty"]
INTEGERS = ["n", "top_logprobs", "seed", "max_tokens", "max_completion_tokens"]
NULLABLE = [*NUMBERS, *INTEGERS, "logit_bias", "logprobs", "stop", "stream", "stream_options", "service_tier"]


@pytest.mark.contract("A.numbers", "A.integers", "A.stop", "A.logit-bias", "A.booleans", "A.objects")
@pytest.mark.contract("A.service-tier")
@pytest.mark.parametrize("name", NULLABLE)
def test_null_is_as_good_as_absent_where_openai_says_so(name: str) -> None:
    call = read(**{name: None})
    assert (call.stream, call.choices) == (False, 1)
    assert json.loads(call.body)[name] is None


@pytest.mark.contract("3.out-of-range", "A.objects", "A.tools")
@pytest.mark.parametrize("name", ["model", "messages", "response_format", "tools", "tool_choice"])
def test_null_is_a_wrong_type_elsewhere(name: str) -> None:
    refused({name: None}, name, "invalid_type")


@pytest.mark.contract("3.real-numbers", "A.numbers")
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("temperature", 0, 2), ("top_p", 0, 1), ("frequency_penalty", -2, 2), ("presence_penalty", -2, 2)],
)
def test_numbers_may_be_real_and_must_be_in_range(name: str, low: float, high: float) -> None:
    for value in (low, high, float(low), float(high), (low + high) / 2 + 0.123):
        assert json.loads(read(**{name: value}).body)[name] == value
    for value in (low - 0.001, high + 0.001, low - 1, high + 1, -1e300, 10**400):
        refused({name: value}, name, "invalid_value")


@pytest.mark.contract("3.out-of-range", "A.numbers")
@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["1", "", True, False, [], [1], {}])
def test_a_number_of_another_type_is_refused(name: str, value: Any) -> None:
    refused({name: value}, name, "invalid_type")


@pytest.mark.contract("A.integers")
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("n", [1, 128, 2.0]),
        ("top_logprobs", [0, 20]),
        ("seed", [0, -HUGE, HUGE - 1]),
        ("max_tokens", [1, 10**12, 1e2]),
        ("max_completion_tokens", [1, 10**12]),
    ],
)
def test_integers_in_range_pass(name: str, values: list[Any]) -> None:
    for value in values:
        assert json.loads(read(**{name: value}).body)[name] == value


@pytest.mark.contract("3.out-of-range", "A.integers")
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("n", [0, -1, 129, 10**30]),
        ("top_logprobs", [-1, 21]),
        ("seed", [HUGE, -HUGE - 1, 1e300]),
    ],
)
def test_integers_out_of_range_are_refused(name: str, values: list[Any]) -> None:
    for value in values:
        refused({name: value}, name, "invalid_value")


@pytest.mark.contract("3.out-of-range", "A.integers")
@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("value", ["1", 1.5, True, False, [], {}])
def test_an_integer_of_another_type_is_refused(name: str, value: Any) -> None:
    refused({name: value}, name, "invalid_type")


@pytest.mark.contract("A.integers")
@pytest.mark.parametrize(("n", "choices"), [(None, 1), (1, 1), (3, 3), (2.0, 2), (128, 128)])
def test_n_says_how_many_choices_make_an_answer(n: Any, choices: int) -> None:
    assert read(n=n).choices == choices


@pytest.mark.contract("A.booleans")
@pytest.mark.parametrize("stream", [True, False])
def test_stream_is_read(stream: bool) -> None:
    assert read(stream=stream).stream is stream


@pytest.mark.contract("3.out-of-range", "A.booleans")
@pytest.mark.parametrize("name", ["stream", "logprobs"])
@pytest.mark.parametrize("value", ["true", 0, 1, "", [], {}])
def test_a_boolean_of_another_type_is_refused(name: str, value: Any) -> None:
    refused({name: value}, name, "invalid_type")


@pytest.mark.contract("A.stop")
@pytest.mark.parametrize("value", ["", "a", ["a"], ["a", "b", "c", "d"]])
def test_stop_is_a_string_or_1_to_4_strings(value: Any) -> None:
    assert json.loads(read(stop=value).body)["stop"] == value


@pytest.mark.contract("A.stop", "3.param-path")
@pytest.mark.parametrize(
    ("value", "param", "code"),
    [
        ([], "stop", "invalid_value"),
        (["a"] * 5, "stop", "invalid_value"),
        (1, "stop", "invalid_type"),
        (True, "stop", "invalid_type"),
        ({}, "stop", "invalid_type"),
        ([1], "stop[0]", "invalid_type"),
        (["a", "b", "c", None], "stop[3]", "invalid_type"),
    ],
)
def test_another_stop_is_refused(value: Any, param: str, code: str) -> None:
    refused({"stop": value}, param, code)


@pytest.mark.contract("A.logit-bias")
@pytest.mark.parametrize("value", [{}, {"50256": -100}, {"1": 100, "2": 5.0}])
def test_logit_bias_is_an_object_of_integers(value: Any) -> None:
    assert json.loads(read(logit_bias=value).body)["logit_bias"] == value


@pytest.mark.contract("A.logit-bias", "3.param-path")
@pytest.mark.parametrize(
    ("value", "param", "code"),
    [
        ([], "logit_bias", "invalid_type"),
        (1, "logit_bias", "invalid_type"),
        ({"50256": 101}, "logit_bias.50256", "invalid_value"),
        ({"1": 1, "50256": -101.0}, "logit_bias.50256", "invalid_value"),
        ({"1": 1, "50256": 0.5}, "logit_bias.50256", "invalid_type"),
        ({"50256": "1"}, "logit_bias.50256", "invalid_type"),
        ({"50256": True}, "logit_bias.50256", "invalid_type"),
        ({"50256": None}, "logit_bias.50256", "invalid_type"),
        ({"a long and strange name": "1"}, "logit_bias", "invalid_type"),
        ({"\ud800": "1"}, "logit_bias", "invalid_type"),
        ({"": "1"}, "logit_bias", "invalid_type"),
    ],
)
def test_another_logit_bias_is_refused(value: Any, param: str, code: str) -> None:
    refused({"logit_bias": value}, param, code)


@pytest.mark.contract("A.service-tier")
def test_service_tier_is_any_string() -> None:
    assert json.loads(read(service_tier="of-next-year").body)["service_tier"] == "of-next-year"
    refused({"service_tier": 1}, "service_tier", "invalid_type")


@pytest.mark.contract("A.objects")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stream_options", {}),
        ("stream_options", {"include_usage": True}),
        ("stream_options", {"include_usage": False, "include_obfuscation": 7}),
        ("response_format", {"type": "text"}),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "x"}}),
        ("response_format", {"type": "of_next_year", "x": 1}),
        ("tool_choice", "auto"),
        ("tool_choice", "none"),
        ("tool_choice", "required"),
        ("tool_choice", "of_next_year"),
        ("tool_choice", ""),
        ("tool_choice", {"type": "function", "function": {"name": "f"}}),
        ("tool_choice", {}),
    ],
)
def test_objects_pass_unchanged(name: str, value: Any) -> None:
    assert json.loads(read(**{name: value}).body)[name] == value


@pytest.mark.contract("A.objects", "3.param-path")
@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"stream_options": []}, "stream_options", "invalid_type"),
        ({"stream_options": True}, "stream_options", "invalid_type"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage", "invalid_type"),
        ({"stream_options": {"include_usage": "true"}}, "stream_options.include_usage", "invalid_type"),
        ({"response_format": []}, "response_format", "invalid_type"),
        ({"response_format": 1}, "response_format", "invalid_type"),
        ({"response_format": {}}, "response_format.type", "missing_required_parameter"),
        ({"response_format": {"type": 1}}, "response_format.type", "invalid_type"),
        ({"tool_choice": 1}, "tool_choice", "invalid_type"),
        ({"tool_choice": ["auto"]}, "tool_choice", "invalid_type"),
        ({"tool_choice": True}, "tool_choice", "invalid_type"),
    ],
)
def test_objects_of_another_form_are_refused(fields: dict[str, Any], param: str, code: str) -> None:
    refused(fields, param, code)


@pytest.mark.contract("A.tools")
@pytest.mark.parametrize(
    "value",
    [
        [],
        [tool()],
        [tool(description="d", parameters={}, strict=True)],
        [tool(strict=None, description=None, parameters=None), tool(strict=False, unknown=1)],
        [{"type": "custom", "custom": {"name": "c"}}],
        [{"type": "of_next_year", "function": 7}],
    ],
)
def test_tools_pass_unchanged(value: Any) -> None:
    assert json.loads(read(tools=value).body)["tools"] == value


@pytest.mark.contract("A.tools", "3.param-path")
@pytest.mark.parametrize(
    ("value", "param", "code"),
    [
        ({}, "tools", "invalid_type"),
        ("[]", "tools", "invalid_type"),
        ([1], "tools[0]", "invalid_type"),
        ([tool(), None], "tools[1]", "invalid_type"),
        ([{}], "tools[0].type", "missing_required_parameter"),
        ([{"type": None}], "tools[0].type", "invalid_type"),
        ([{"type": "function"}], "tools[0].function", "missing_required_parameter"),
        ([{"type": "function", "function": "f"}], "tools[0].function", "invalid_type"),
        ([{"type": "function", "function": {}}], "tools[0].function.name", "missing_required_parameter"),
        ([tool(), tool(name=1)], "tools[1].function.name", "invalid_type"),
        ([tool(parameters=[])], "tools[0].function.parameters", "invalid_type"),
        ([tool(parameters="{}")], "tools[0].function.parameters", "invalid_type"),
        ([tool(strict=1)], "tools[0].function.strict", "invalid_type"),
        ([tool(strict="true")], "tools[0].function.strict", "invalid_type"),
    ],
)
def test_tools_of_another_form_are_refused(value: Any, param: str, code: str) -> None:
    refused({"tools": value}, param, code)


@pytest.mark.contract("3.unknown-fields")
@pytest.mark.parametrize("value", [None, True, -1, 1.5, "x", [None], {"role": 1}])
def test_unknown_fields_are_the_providers_to_judge(value: Any) -> None:
    assert json.loads(read(field_of_next_year=value, user=value).body)["field_of_next_year"] == value
