"""The fields of a request body that the contract knows: their types and ranges (contract, section 3).

Only the contract's own list is judged, by the ranges of OpenAI's specification; whatever else a body holds is
the provider's to judge. Each refusal names the path of the value (`messages[2].role`) and never shows the
value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..exceptions import RequestRejected, bad_body

Check = Callable[[Any, str], None]
"""Takes a value and its path; raises RequestRejected."""

ROLES = frozenset({"system", "user", "assistant", "tool", "developer", "function"})

_LONGEST_MODEL = 256
_unfit = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]").search


def missing(path: str) -> RequestRejected:
    return bad_body(f"Missing required parameter: {path}.", code="missing_required_parameter", param=path)


def wrong_type(path: str, expected: str) -> RequestRejected:
    return bad_body(f"Invalid type for {path}: expected {expected}.", code="invalid_type", param=path)


def wrong_value(path: str, expected: str) -> RequestRejected:
    return bad_body(f"Invalid value for {path}: expected {expected}.", code="invalid_value", param=path)


def is_model(name: str) -> bool:
    """May `name` be sent as a model's name? Control characters and lone surrogates break encoders."""
    return 0 < len(name) <= _LONGEST_MODEL and _unfit(name) is None


def check_fields(values: dict[str, Any]) -> None:
    """Raises the 400 for the first known field of a wrong type or out of range; the required ones exist."""
    for name, value in values.items():
        check = _CHECKS.get(name)
        if check is not None and not (value is None and name in _NULLABLE):
            check(value, name)


# --- single values: in Python a bool is a number, in JSON it is not -----------------------------------------


def _is_integer(value: object) -> bool:
    # JSON has one kind of number, and JSON Schema calls 1.0 an integer.
    return type(value) is int or (type(value) is float and value.is_integer())


def _instance(kind: type, expected: str) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, kind):
            raise wrong_type(path, expected)

    return check


def _number(low: float, high: float) -> Check:
    def check(value: Any, path: str) -> None:
        if type(value) not in (int, float):
            raise wrong_type(path, "a number")
        if not low <= value <= high:
            raise wrong_value(path, f"a number from {low} to {high}")

    return check


def _integer(low: float = float("-inf"), high: float = float("inf")) -> Check:
    def check(value: Any, path: str) -> None:
        if not _is_integer(value):
            raise wrong_type(path, "an integer")
        if not low <= value <= high:
            raise wrong_value(path, f"an integer from {low} to {high}")

    return check


_string = _instance(str, "a string")
_boolean = _instance(bool, "a boolean")
_object = _instance(dict, "an object")


def _array(value: Any, path: str) -> None:
    if not isinstance(value, list):
        raise wrong_type(path, "an array")


def _objects(value: Any, path: str) -> None:
    _array(value, path)
    # A body may hold a million of these, so the usual case stays in C.
    if not set(map(type, value)) <= {dict}:
        index = next(index for index, item in enumerate(value) if not isinstance(item, dict))
        raise wrong_type(f"{path}[{index}]", "an object")


def _optional(holder: dict[str, Any], path: str, name: str, check: Check) -> None:
    # null stands for "not given": clients send back the messages that they got, unset fields included, and
    # servers differ in whether they mind.
    if holder.get(name) is not None:
        check(holder[name], f"{path}.{name}")


def _required(holder: dict[str, Any], path: str, name: str, check: Check) -> None:
    if name not in holder:
        raise missing(f"{path}.{name}")
    check(holder[name], f"{path}.{name}")


# --- fields -------------------------------------------------------------------------------------------------


def _model(value: Any, path: str) -> None:
    _string(value, path)
    if not is_model(value):
        raise wrong_value(path, f"1 to {_LONGEST_MODEL} characters, none of them a control character")


def _stop(value: Any, path: str) -> None:
    if isinstance(value, str):
        return
    if not isinstance(value, list):
        raise wrong_type(path, "a string or an array of strings")
    if not 1 <= len(value) <= 4:
        raise wrong_value(path, "1 to 4 strings")
    for index, item in enumerate(value):
        _string(item, f"{path}[{index}]")


_bias = _integer(-100, 100)


def _logit_bias(value: Any, path: str) -> None:
    _object(value, path)
    biases = value.values()
    if set(map(type, biases)) == {int} and -100 <= min(biases) <= max(biases) <= 100:
        return  # in C, as nearly all are; there may be a million
    for token, bias in value.items():
        # Token ids are short digits; any other name is not worth repeating.
        _bias(bias, f"{path}.{token}" if token.isascii() and token.isdigit() and len(token) <= 20 else path)


def _stream_options(value: Any, path: str) -> None:
    _object(value, path)
    _optional(value, path, "include_usage", _boolean)


def _response_format(value: Any, path: str) -> None:
    _object(value, path)
    _required(value, path, "type", _string)


_NO_PARAMETERS: dict[str, Any] = {}


def _tools(value: Any, path: str) -> None:
    _objects(value, path)
    for index, tool in enumerate(value):
        if _is_plain_tool(tool):
            continue
        at = f"{path}[{index}]"
        _required(tool, at, "type", _string)
        if tool["type"] == "function":
            _required(tool, at, "function", _function)


def _is_plain_tool(tool: dict[str, Any]) -> bool:
    """A function with a name, and perhaps what most of them have besides."""
    function = tool.get("function")
    return (
        tool.get("type") == "function"
        and type(function) is dict
        and type(function.get("name")) is str
        and type(function.get("description", "")) is str
        and type(function.get("parameters", _NO_PARAMETERS)) is dict
        and "strict" not in function
    )


def _function(value: Any, path: str) -> None:
    _object(value, path)
    _required(value, path, "name", _string)
    _optional(value, path, "description", _string)
    _optional(value, path, "parameters", _object)
    _optional(value, path, "strict", _boolean)


def _tool_choice(value: Any, path: str) -> None:
    if not isinstance(value, (str, dict)):
        raise wrong_type(path, "a string or an object")


def _messages(value: Any, path: str) -> None:
    _objects(value, path)
    if not value:
        raise wrong_value(path, "at least one message")
    for index, message in enumerate(value):
        if not _is_plain(message):
            _message(message, f"{path}[{index}]")


def _is_plain(message: dict[str, Any]) -> bool:
    """Somebody says something, and that is all: most messages are so, and there are thousands in a long talk."""
    role = message.get("role")
    return len(message) == 2 and type(role) is str and role in ROLES and type(message.get("content")) is str


def _message(message: dict[str, Any], path: str) -> None:
    _required(message, path, "role", _string)
    role = message["role"]
    if role not in ROLES:
        raise wrong_value(f"{path}.role", "one of " + ", ".join(sorted(ROLES)))
    content = message.get("content", "")
    if isinstance(content, list):
        _objects(content, f"{path}.content")
    elif not isinstance(content, str) and not (content is None and role in ("assistant", "function")):
        raise wrong_type(f"{path}.content", "a string or an array of content parts")
    _optional(message, path, "name", _string)
    _optional(message, path, "tool_call_id", _string)
    _optional(message, path, "tool_calls", _objects)


_CHECKS: dict[str, Check] = {
    "model": _model,
    "messages": _messages,
    "frequency_penalty": _number(-2, 2),
    "logit_bias": _logit_bias,
    "logprobs": _boolean,
    "top_logprobs": _integer(0, 20),
    "max_tokens": _integer(),
    "max_completion_tokens": _integer(),
    "n": _integer(1, 128),
    "presence_penalty": _number(-2, 2),
    "response_format": _response_format,
    "seed": _integer(-(2**63), 2**63 - 1),
    "service_tier": _string,
    "stop": _stop,
    "stream": _boolean,
    "stream_options": _stream_options,
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "tools": _tools,
    "tool_choice": _tool_choice,
}

KNOWN = frozenset(_CHECKS)

HOLDS_JSON = frozenset({"logit_bias", "response_format", "stream_options", "tool_choice"})
"""Fields that may come as a string which holds their JSON; so may the `tool_calls` of a message."""


def calls_are_text(message: Any) -> bool:
    return isinstance(message, dict) and isinstance(message.get("tool_calls"), str)


_NULLABLE = KNOWN - {"model", "messages", "response_format", "tools", "tool_choice"}
