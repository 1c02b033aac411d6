"""Strings that hold JSON, and that a splice changes nothing but its span."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._values import Limits
from ogw_asgi._wire.body import body_for, read_body
from ogw_asgi.exceptions import RequestRejected

LIMITS = Limits()


def body(*members: str, messages: str = '[{"role":"user"}]') -> bytes:
    return ("{" + ",".join(['"model":"m"', f'"messages":{messages}', *members]) + "}").encode()


def refused(raw: bytes, limits: Limits = LIMITS) -> RequestRejected:
    with pytest.raises(RequestRejected) as caught:
        read_body(raw, limits)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.contract("3.json-string", "3.json-string.response-format")
@pytest.mark.parametrize(
    ("name", "literal", "sent"),
    [
        ("logit_bias", r'"{\"50256\": -100}"', '{"50256": -100}'),
        ("logit_bias", r'"{\"1\":1E1,\n \"2\":5.0}"', '{"1":1E1,\n "2":5.0}'),
        ("logit_bias", '"null"', "null"),
        ("logit_bias", r'"\u007b\u007d"', "{}"),
        ("response_format", '"json_object"', '{"type": "json_object"}'),
        ("response_format", '" json_object\\n"', '{"type": "json_object"}'),
        ("response_format", '"text"', '{"type": "text"}'),
        ("response_format", r'"{\"type\":\"json_object\"}"', '{"type":"json_object"}'),
        ("response_format", r'" \t{\"type\":\"ü😀\\u00fc\"} "', '{"type":"ü😀\\u00fc"}'),
        ("response_format", r'"{\"type\":\"\u00fc\ud83d\ude00\"}"', '{"type":"ü😀"}'),
        ("stream_options", r'"{\"include_usage\":true}"', '{"include_usage":true}'),
        ("stream_options", '"{}"', "{}"),
        ("stream_options", '"null"', "null"),
        ("tool_choice", r'"{\"type\":\"function\"}"', '{"type":"function"}'),
        ("tool_choice", r'"  {}"', "{}"),
    ],
)
def test_a_string_that_holds_json_is_sent_as_what_it_holds(name: str, literal: str, sent: str) -> None:
    call = read_body(body(f'"{name}" : {literal} '), LIMITS)
    assert call.body == body(f'"{name}" : {sent} ')
    assert call.body[slice(*call.model_span)] == b'"m"'


@pytest.mark.contract("3.json-string")
@pytest.mark.parametrize("literal", ['"auto"', '"none"', '"required"', '"any"', '""', '"[]"', '" auto"'])
def test_a_tool_choice_that_is_a_word_stays_one(literal: str) -> None:
    raw = body(f'"tool_choice":{literal}')
    assert read_body(raw, LIMITS).body is raw


@pytest.mark.contract("3.json-string")
def test_tool_calls_of_messages_are_sent_as_what_they_hold() -> None:
    before = r"""[ {"role":"assistant", "content":"ü", "tool_calls":"[{\"id\":\"😀\"}]"} ,
        {"tool_calls" : "[]","role":"assistant"},{"role":"user","content":"[\"tool_calls\"]"},
        {"role":"assistant","tool_calls":[{"id":"1"}]}, {"role":"assistant","tool_calls":" [ {} ] ","x":1e2}]"""
    after = r"""[ {"role":"assistant", "content":"ü", "tool_calls":[{"id":"😀"}]} ,
        {"tool_calls" : [],"role":"assistant"},{"role":"user","content":"[\"tool_calls\"]"},
        {"role":"assistant","tool_calls":[{"id":"1"}]}, {"role":"assistant","tool_calls":[ {} ],"x":1e2}]"""
    assert read_body(body(messages=before), LIMITS).body == body(messages=after)


@pytest.mark.contract("3.json-string")
def test_every_string_of_a_member_given_twice_in_a_message_is_rewritten() -> None:
    before = r'[{"role":"assistant","tool_calls":"[{}]","tool_calls":"[]"}]'
    after = r'[{"role":"assistant","tool_calls":[{}],"tool_calls":[]}]'
    assert read_body(body(messages=before), LIMITS).body == body(messages=after)


@pytest.mark.contract("3.json-string", "3.param-path")
@pytest.mark.parametrize(
    ("name", "literal", "param", "code"),
    [
        *((name, '""', name, "invalid_value") for name in ("logit_bias", "response_format", "stream_options")),
        ("logit_bias", '"x"', "logit_bias", "invalid_value"),
        ("logit_bias", r'"{\"1\":1} x"', "logit_bias", "invalid_value"),
        ("logit_bias", r'"{\"1\":NaN}"', "logit_bias", "invalid_value"),
        ("logit_bias", r'"{\"1\":1e999}"', "logit_bias", "invalid_value"),
        ("logit_bias", r'"{\"1\":' + "9" * 5000 + '}"', "logit_bias", "invalid_value"),
        ("logit_bias", r'"1, \"x\": 2"', "logit_bias", "invalid_value"),
        ("logit_bias", r'"{\"1\":101}"', "logit_bias.1", "invalid_value"),
        ("logit_bias", '"[]"', "logit_bias", "invalid_type"),
        ("logit_bias", r'"\"{}\""', "logit_bias", "invalid_type"),
        ("response_format", '"json_schema"', "response_format", "invalid_value"),
        ("response_format", '"json_Object"', "response_format", "invalid_value"),
        ("response_format", r'"\"json_object\""', "response_format", "invalid_type"),
        ("response_format", '"null"', "response_format", "invalid_type"),
        ("response_format", '"{}"', "response_format.type", "missing_required_parameter"),
        ("response_format", r'"{\"type\":\"\ud800\"}"', "response_format", "invalid_value"),
        ("response_format", r'"{\"type\":\"a\nb\"}"', "response_format", "invalid_value"),
        ("stream_options", "\"{'include_usage':true}\"", "stream_options", "invalid_value"),
        ("stream_options", r'"{\"include_usage\":1}"', "stream_options.include_usage", "invalid_type"),
        ("stream_options", '"true"', "stream_options", "invalid_type"),
        ("tool_choice", '"{"', "tool_choice", "invalid_value"),
        ("tool_choice", '"{}}"', "tool_choice", "invalid_value"),
    ],
)
def test_a_string_that_holds_something_else_is_refused(name: str, literal: str, param: str, code: str) -> None:
    error = refused(body(f'"{name}":{literal}'))
    assert (error.param, error.code) == (param, code)


@pytest.mark.contract("3.json-string", "3.param-path")
@pytest.mark.parametrize(
    ("literal", "param", "code"),
    [
        ('""', "messages[1].tool_calls", "invalid_value"),
        ('"[{]"', "messages[1].tool_calls", "invalid_value"),
        (r'"[\"\udfff\"]"', "messages[1].tool_calls", "invalid_value"),
        ('"{}"', "messages[1].tool_calls", "invalid_type"),
        ('"[{},1]"', "messages[1].tool_calls[1]", "invalid_type"),
    ],
)
def test_tool_calls_that_hold_something_else_are_refused(literal: str, param: str, code: str) -> None:
    good = r'{"role":"assistant","tool_calls":"[{\"id\":\"ü\"}]"}'
    bad = good.replace(r'"[{\"id\":\"ü\"}]"', literal)
    error = refused(body('"logit_bias":"{}"', messages=f"[{good},{bad}]"))
    assert (error.param, error.code) == (param, code)


@pytest.mark.contract("3.reject.not-json")
def test_the_first_bad_string_is_named_even_if_it_hides_what_follows() -> None:
    hidden = r'"logit_bias":"{\"1"', r'"stream_options":"' + "[" * 100 + '"'
    error = refused(body(*hidden))
    assert (error.param, error.code) == ("logit_bias", "invalid_value")


# --- every other byte -----------------------------------------------------------------------------------------

BLANKS = st.text(alphabet=" \t\r\n", max_size=2)
STRINGS = st.one_of(
    st.text(alphabet='aü😀\\"/[{\u2028', max_size=6).flatmap(
        lambda text: st.sampled_from([json.dumps(text), json.dumps(text, ensure_ascii=False)])
    ),
    st.sampled_from(['"\\u0061"', '"\\/"', '"\\ud83d\\ude00"', '"\\ud800"', '"\\u00FC"', '"model\\":\\"x"']),
)
NUMBERS = st.sampled_from(["1E2", "1.0", "-0", "-0.0", "1e-7", "0.10", "100000000000000000000", "1e+2"])
SCALARS = st.one_of(STRINGS, NUMBERS, st.sampled_from(["null", "true", "false"]))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[ " + " , ".join(items) + "]"),
        st.lists(st.tuples(STRINGS, inner), max_size=3).map(
            lambda items: "{" + ",\n".join(f"{name} : {value}" for name, value in items) + " }"
        ),
    ),
    max_leaves=6,
)
UNKNOWN = st.lists(st.tuples(st.sampled_from(['"x"', '"ü😀"', '"\\u0078y"', '"user"']), VALUES), max_size=4)
MODELS = st.sampled_from(
    [('"m"', "m"), ('"\\u006d"', "m"), ('"ü😀"', "ü😀"), ('"\\u00fc\\ud83d\\ude00"', "ü😀"), ('"a\\/b"', "a/b")]
)  # fmt: skip
FORMAT = '{"type" : "json_schema", "ü": "\\u00fc😀", "n": 1E2}'
CALLS = '[ {"id": "😀", "n":1.0}]'


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, str, str]:
    """A body as the caller wrote it, as it goes out with `<model>` in the model's place, and the model."""
    members = [(name, value, value) for name, value in draw(UNKNOWN)]
    literal, model = draw(MODELS)
    members.append((draw(st.sampled_from(['"model"', '"mod\\u0065l"'])), literal, "<model>"))
    content = draw(STRINGS)
    message = f'{{"role":"assistant", "content":{content}, "tool_calls" : %s ,"x":{draw(VALUES)}}}'
    messages = f'[{draw(BLANKS)}{message} , {{"role":"user","content":{content}}},{message}{draw(BLANKS)}]'
    calls = json.dumps(CALLS, ensure_ascii=draw(st.booleans())) if draw(st.booleans()) else CALLS
    members.append(('"messages"', messages.replace("%s", calls), messages.replace("%s", CALLS)))
    if draw(st.booleans()):
        held = json.dumps(FORMAT, ensure_ascii=draw(st.booleans())) if draw(st.booleans()) else FORMAT
        members.append(('"response_format"', held, FORMAT))
    if draw(st.booleans()):
        members.append(('"logit_bias"', '" {\\"1\\": 15.0}\\n"', '{"1": 15.0}'))
    blanks = draw(st.lists(st.tuples(BLANKS, BLANKS, BLANKS), min_size=len(members), max_size=len(members)))
    members = draw(st.permutations(members))
    texts = [
        "{" + ",".join(a + m[0] + b + ":" + c + m[part] for m, (a, b, c) in zip(members, blanks, strict=True))
        for part in (1, 2)
    ]  # fmt: skip
    head, tail = draw(BLANKS), draw(BLANKS)
    written, sent = (head + text + tail + "}" + tail for text in texts)
    return written, sent.replace("<model>", literal), model


@pytest.mark.contract("3.byte-for-byte", "3.json-string", "3.nothing-added", "3.unknown-fields")
@settings(max_examples=200, deadline=None)
@given(bodies(), st.text(min_size=1, max_size=5))
def test_only_the_spans_that_must_change_change(case: tuple[str, str, str], other: str) -> None:
    written, sent, model = case
    raw = written.encode()
    call = read_body(raw, LIMITS)
    assert call.model == model
    assert call.body == sent.encode()
    assert (call.body is raw) == (written == sent)
    start, end = call.model_span
    assert json.loads(call.body[start:end]) == model
    assert body_for(call, model) is call.body
    renamed = body_for(call, other + "\x00")
    assert renamed[:start] == call.body[:start]
    assert renamed.endswith(call.body[end:])
    assert json.loads(renamed)["model"] == other + "\x00"
