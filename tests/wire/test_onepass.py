"""Bodies that are read in one pass give what they give member by member: the same call, or the same refusal."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi import Limits, RequestRejected
from ogw_asgi._values import ChatCall
from ogw_asgi._wire import body as body_module
from ogw_asgi._wire.body import read_body
from ogw_asgi._wire.fields import KNOWN
from ogw_asgi._wire.onepass import QUOTES, cut_at_quotes, read_at_once

MESSAGES = '[{"role": "user", "content": "Hi"}]'


def outcome(raw: bytes) -> ChatCall | tuple[str, str | None, str | None]:
    try:
        return read_body(raw, Limits())
    except RequestRejected as refusal:
        return refusal.message, refusal.param, refusal.code


def member_by_member(raw: bytes) -> ChatCall | tuple[str, str | None, str | None]:
    with patch.object(body_module, "read_at_once", lambda raw, text, strings: None):
        return outcome(raw)


def at_once(raw: bytes) -> Any:
    cut = cut_at_quotes(raw, raw.decode())
    return None if cut is None else read_at_once(raw, raw.decode(), cut.strings)


def escaped(text: str) -> str:
    return '"' + "".join(f"\\u{ord(char):04x}" for char in text) + '"'


blanks = st.sampled_from(["", " ", "\n", "\t \r\n"])
texts = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["model", "messages", '"model"', 'a "model": "b', "\\", "{}", "user", "stop", '{"type":"text"}']),
)
names = st.one_of(st.sampled_from(sorted(KNOWN)), st.sampled_from(["model", "messages", "tool_calls", "x"]), texts)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-3, 200), st.floats(0, 2), texts)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=6,
)
roles = st.sampled_from(["user", "assistant", "system", "tool", "nobody"])
calls = st.one_of(st.just('[{"id": 1}]'), values)
messages = st.lists(
    st.one_of(
        st.fixed_dictionaries({"role": roles, "content": texts}),
        st.fixed_dictionaries(
            {"role": roles, "content": texts, "tool_calls": st.one_of(st.just('[{"id": 1}]'), values)}
        ),
        values,
    ),
    max_size=3,
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """JSON objects, mostly with what a call needs, some of it twice, some in escapes, now and then cut off."""
    members = [("model", draw(texts)), ("messages", draw(messages))]
    members += draw(st.lists(st.tuples(names, values), max_size=4))
    members = draw(st.permutations(members))
    parts = []
    for name, value in members:
        written = escaped(name) if draw(st.integers(0, 19)) == 0 else json.dumps(name, ensure_ascii=draw(st.booleans()))
        told = json.dumps(value, ensure_ascii=draw(st.booleans()))
        parts.append(f"{draw(blanks)}{written}{draw(blanks)}:{draw(blanks)}{told}{draw(blanks)}")
    raw = (draw(blanks) + "{" + ",".join(parts) + "}" + draw(blanks)).encode("utf-8", "surrogatepass")
    return raw[: draw(st.integers(0, len(raw)))] if draw(st.integers(0, 9)) == 0 else raw


@settings(max_examples=500, deadline=None)
@given(bodies())
def test_it_says_what_reading_member_by_member_says(raw: bytes) -> None:
    assert outcome(raw) == member_by_member(raw)


@pytest.mark.parametrize(
    "raw",
    [
        '{"model":"m","messages":%s}',
        ' {"stream" : true , "model" :\t"m","messages" : %s, "n":2}\n',
        '{"messages":%s,"model":"gpt-é"}',
        '{"model":"m","messages":%s,"tools":[],"unknown":{"x":"y"}}',
        '{"model":"m","messages":[{"role":"user","content":"say \\"model\\" and \\"messages\\""}]}',
        '{"model":"m","messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"1"}]}]}',
    ],
)
def test_a_usual_body_takes_one_pass(raw: str) -> None:
    text = raw.replace("%s", MESSAGES)
    found = at_once(text.encode())
    assert found is not None
    start, end = found[1]
    assert json.loads(text.encode()[start:end]) == found[0]["model"]
    assert outcome(text.encode()) == member_by_member(text.encode())


@pytest.mark.parametrize(
    "raw",
    [
        '{"model":"m","model":"n","messages":%s}',
        '{"model":"m","messages":%s,"metadata":{"model":"n"}}',
        '{"mod\\u0065l":"m","messages":%s}',
        '{"model":"m","messages":%s,"stream":true,"str\\u0065am":false}',
        '{"model":"m\\/n","messages":%s}',
        '{"model":5,"messages":%s}',
        '{"messages":%s}',
        '{"model":"m"}',
        '{"model":"m","messages":{}}',
        '{"model":"m","messages":%s,"response_format":"text"}',
        '{"model":"m","messages":[{"role":"assistant","tool_calls":"[]"}]}',
        '["model","m"]',
        '{"model":"m","messages":%s',
        '{"model":"m","messages":%s} x',
        '{"model":"m","messages":%s,"seed":NaN}',
    ],
)
def test_whatever_is_in_doubt_is_read_member_by_member(raw: str) -> None:
    assert at_once(raw.replace("%s", MESSAGES).encode()) is None


def test_a_body_of_many_strings_is_read_member_by_member() -> None:
    stops = ", ".join(['"x"'] * (QUOTES // 2))
    assert at_once(f'{{"model":"m","messages":{MESSAGES},"metadata":[{stops}]}}'.encode()) is None
