"""Request bodies: which are refused as a whole, and that a splice changes nothing but its span."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._values import ChatCall, Limits
from ogw_asgi._wire.body import body_for, read_body
from ogw_asgi.exceptions import RequestRejected

LIMITS = Limits()
PLAIN = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'


def body(*members: str, messages: str = '[{"role":"user"}]') -> bytes:
    return ("{" + ",".join(['"model":"m"', f'"messages":{messages}', *members]) + "}").encode()


def refused(raw: bytes, limits: Limits = LIMITS) -> RequestRejected:
    with pytest.raises(RequestRejected) as caught:
        read_body(raw, limits)
    assert caught.value.status == 400
    return caught.value


def test_a_plain_call_is_read_and_its_bytes_are_kept() -> None:
    call = read_body(PLAIN, LIMITS)
    assert call == ChatCall(body=PLAIN, model="m", model_span=(9, 12), stream=False, choices=1)
    assert call.body is PLAIN


@pytest.mark.contract("3.model-rewritten")
def test_the_same_model_is_the_same_body_and_another_one_replaces_its_span() -> None:
    call = read_body(PLAIN, LIMITS)
    assert body_for(call, "m") is call.body
    assert body_for(call, 'ü"😀') == PLAIN.replace(b'"m"', b'"\\u00fc\\"\\ud83d\\ude00"')


# --- not a body at all ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" \r\n\t", id="blank"),
        pytest.param(b"hello", id="text"),
        pytest.param(b"model=m", id="form"),
        pytest.param(PLAIN[:-1], id="cut"),
        pytest.param(PLAIN[:-20], id="cut in a string"),
        pytest.param(PLAIN.replace(b'"', b"'"), id="single quotes"),
        pytest.param(b"{model:1}", id="bare key"),
        pytest.param(b"{1:1}", id="number as key"),
        pytest.param(PLAIN[:-1] + b",}", id="trailing comma"),
        pytest.param(b'{"model" "m"}', id="no colon"),
        pytest.param(b'{"model":"m" "messages":[]}', id="no comma"),
        pytest.param(b'{"model":}', id="no value"),
        pytest.param(b'{"model', id="cut in a key"),
        pytest.param(b"// c\n" + PLAIN, id="comment"),
        pytest.param(PLAIN.replace(b"hi", b"h\ni"), id="raw line end in a string"),
        pytest.param(PLAIN.replace(b"hi", b"h\0i"), id="raw NUL in a string"),
        pytest.param(PLAIN + b"\0", id="raw NUL behind"),
        pytest.param(b"\0" + PLAIN, id="raw NUL before"),
        pytest.param(PLAIN.replace(b"hi", b"\\x"), id="unknown escape"),
        pytest.param(PLAIN.replace(b"hi", b"\\u12"), id="cut escape"),
        pytest.param(body('"seed":01'), id="leading zero"),
        pytest.param(body('"seed":+1'), id="plus"),
        pytest.param(body('"seed":0x10'), id="hex"),
        pytest.param(body('"top_p":.5'), id="bare fraction"),
        pytest.param(body('"stream":True'), id="Python"),
        pytest.param(PLAIN + b"\x0c", id="form feed behind"),
        pytest.param(PLAIN + "\u00a0".encode(), id="no-break space behind"),
    ],
)
@pytest.mark.contract("3.reject.not-json")
def test_what_is_not_json_is_an_invalid_body(raw: bytes) -> None:
    error = refused(raw)
    assert (error.code, error.type) == ("invalid_body", "invalid_request_error")


@pytest.mark.contract("3.reject.not-json")
@pytest.mark.parametrize("tail", [b"x", b"{}", PLAIN, b"]", b"}", b",", b"\x00", b"null", b"\n1"])
def test_what_follows_the_object_is_an_invalid_body(tail: bytes) -> None:
    assert refused(PLAIN + tail).code == "invalid_body"


@pytest.mark.contract("3.reject.not-object")
@pytest.mark.parametrize("raw", [b"[]", b"[" + PLAIN + b"]", b'"{}"', b"1", b"null", b"true", b"-0.5"])
def test_what_is_no_object_is_an_invalid_body(raw: bytes) -> None:
    error = refused(raw)
    assert error.code == "invalid_body"
    assert "object" in error.message


@pytest.mark.contract("3.reject.utf8")
@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(PLAIN.decode().encode("utf-16"), id="UTF-16 with mark"),
        pytest.param(PLAIN.decode().encode("utf-16-le"), id="UTF-16-LE"),
        pytest.param(PLAIN.decode().encode("utf-16-be"), id="UTF-16-BE"),
        pytest.param(PLAIN.decode().encode("utf-32"), id="UTF-32"),
        pytest.param(b"\xef\xbb\xbf" + PLAIN, id="byte order mark"),
        pytest.param(PLAIN.replace(b"hi", b"\xed\xa0\x80"), id="surrogate bytes"),
        pytest.param(PLAIN.replace(b"hi", b"\xff"), id="0xff"),
        pytest.param(PLAIN.replace(b"hi", b"\xc0\xaf"), id="overlong"),
        pytest.param(PLAIN.replace(b"hi", b"\xf4\x90\x80\x80"), id="beyond Unicode"),
        pytest.param(PLAIN.replace(b"hi", b"\xc3"), id="half a character"),
        pytest.param(PLAIN.replace(b"hi", "ü".encode("latin-1")), id="latin-1"),
    ],
)
def test_another_encoding_is_an_invalid_body(raw: bytes) -> None:
    assert refused(raw).code == "invalid_body"


@pytest.mark.contract("3.reject.nan")
@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000, "-" + "9" * 5000, "nan", "inf"]
)
@pytest.mark.parametrize("field", ['"temperature":%s', '"unknown":%s', '"unknown":{"a":[1,%s]}'])
def test_numbers_that_json_does_not_know_are_an_invalid_body(number: str, field: str) -> None:
    assert refused(body(field % number)).code == "invalid_body"


@pytest.mark.contract("3.reject.duplicate")
@pytest.mark.parametrize(
    ("member", "param"),
    [
        ('"model":"other"', "model"),
        ('"model":"m"', "model"),
        ('"\\u006dodel":"other"', "model"),
        ('"m\\u006Fde\\u006c":"other"', "model"),
        ('"messages":[]', "messages"),
        ('"stream":true,"stream":false', "stream"),
        ('"stream":false,"\\u0073tream":true', "stream"),
        ('"n":1,"n":2', "n"),
        ('"tools":[],"tools":[]', "tools"),
        ('"response_format":"text","response_format":{}', "response_format"),
    ],
)
def test_a_field_that_is_there_twice_is_an_invalid_body(member: str, param: str) -> None:
    error = refused(body(member))
    assert (error.code, error.param) == ("invalid_body", param)


@pytest.mark.contract("3.reject.duplicate", "3.unknown-fields")
def test_a_name_that_is_another_name_is_no_duplicate() -> None:
    raw = body('"Model":"x"', '"unknown":1', '"unknown":2', '"metadata":{"model":"x"}', '"model ":1')
    assert read_body(raw, LIMITS).body is raw


@pytest.mark.contract("3.model", "3.messages")
@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b"{}", "model"),
        (b'{"messages":[{"role":"user"}]}', "model"),
        (b'{"model":"m"}', "messages"),
        (b'{"Model":"m","messages":[]}', "model"),
    ],
)
def test_a_missing_field_is_named(raw: bytes, param: str) -> None:
    error = refused(raw)
    assert (error.code, error.param) == ("missing_required_parameter", param)


# --- too much -------------------------------------------------------------------------------------------------


@pytest.mark.contract("3.reject.depth", "8.structure-limit")
@pytest.mark.parametrize("depth", [129, 1000, 100_000, 1_000_000])
def test_nesting_over_the_limit_is_too_complex(depth: int) -> None:
    inner = depth - 1
    assert refused(body('"x":' + "[" * inner + "]" * inner)).code == "body_too_complex"
    assert refused(body('"x":' + '{"a":' * inner + "1" + "}" * inner)).code == "body_too_complex"


@pytest.mark.contract("3.reject.depth", "8.structure-limit")
def test_nesting_at_the_limit_is_read() -> None:
    raw = body('"x":' + "[" * 127 + "]" * 127)
    assert read_body(raw, LIMITS).body is raw


@pytest.mark.contract("8.structure-limit")
@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"[]," * (8 << 20) , id="24 MiB of brackets"),
        pytest.param(body('"x":[' + "[]," * 600_000 + "1]"), id="brackets in a body"),
        pytest.param(body(*(f'"k{key}":1' for key in range(1_000_000))), id="a million names"),
        pytest.param(body(*['"k":1'] * 1_000_000), id="one name a million times"),
        pytest.param(body(*['"k":1'] * 1_000), id="a thousand names too many"),
    ],
)  # fmt: skip
def test_a_body_of_too_much_structure_is_too_complex(raw: bytes) -> None:
    assert refused(raw).code == "body_too_complex"


@pytest.mark.contract("8.messages-limit")
def test_messages_are_counted() -> None:
    most = body(messages="[" + ",".join(['{"role":"user"}'] * 10_000) + "]")
    assert read_body(most, LIMITS).body is most
    error = refused(body(messages="[" + ",".join(['{"role":"user"}'] * 10_001) + "]"))
    assert (error.code, error.param) == ("body_too_complex", "messages")


@pytest.mark.contract("8.messages-limit")
def test_a_hundred_thousand_messages_are_refused_before_they_are_looked_at() -> None:
    assert refused(body(messages="[" + "1," * 99_999 + "1]")).code == "body_too_complex"


@pytest.mark.contract("8.messages-limit")
@pytest.mark.parametrize("messages", ["[" + "1," * 9_999, "[" + "1," * 9_999 + "1", "[1,," + "1," * 9_998 + "1]", "["])
def test_what_may_be_too_many_messages_and_is_no_json_is_invalid(messages: str) -> None:
    """It is counted before it is parsed, so counting must not stumble over what a parser would refuse."""
    raw = b'{"model":"%s","messages":%s' % (b"," * 10_000, messages.encode())
    assert refused(raw).code == "invalid_body"


@pytest.mark.contract("8.structure-limit")
def test_structure_hidden_in_a_string_that_holds_json_is_counted() -> None:
    assert refused(body(f'"logit_bias":"{"[" * 200}"')).code == "body_too_complex"
    assert refused(body(f'"logit_bias":"[{"[]," * 500_000}1]"')).code == "body_too_complex"
    deep = "[{" + '\\"a\\":' + "[" * 126 + "]" * 126 + "}]"
    call = '[{"role":"assistant","tool_calls":"%s"}]'
    assert refused(body(messages=call % deep)).code == "body_too_complex"
    assert refused(body(messages='["%s"]' % ("[" * 200))).param == "messages[0]"


@pytest.mark.contract("8.structure-limit")
def test_a_message_that_is_rewritten_may_not_have_a_thousand_members() -> None:
    many = '[{"role":"assistant","tool_calls":"[]"' + ',"k":1' * 1_000 + "}]"
    assert refused(body(messages=many)).code == "body_too_complex"
    few = '[{"role":"assistant","tool_calls":"[]","content":"' + "a," * 1_000 + '"}]'
    assert b'"tool_calls":[]' in read_body(body(messages=few), LIMITS).body


@pytest.mark.contract("8.structure-limit")
def test_messages_that_are_rewritten_may_not_have_50_000_members_together() -> None:
    extra = "".join(f',"k{at}":1' for at in range(60))
    many = ",".join(['{"role":"assistant","tool_calls":"[]"' + extra + "}"] * 900)
    assert refused(body(messages=f"[{many}]")).code == "body_too_complex"
    few = ",".join(['{"role":"assistant","tool_calls":"[]","content":null,"name":"n"}'] * 5_000)
    assert read_body(body(messages=f"[{few}]"), LIMITS).body.count(b'"tool_calls":[]') == 5_000


def json_text(value: Any) -> bytes:
    return json.dumps(value).encode()


ANY_VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(allow_nan=True), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["role", "type", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip
CODES = {"invalid_body", "body_too_complex", "missing_required_parameter", "invalid_type", "invalid_value"}
NAMES = ["model", "messages", "stop", "n", "stream", "logit_bias", "tools", "tool_choice", "response_format"]


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.dictionaries(st.sampled_from(NAMES), ANY_VALUE, max_size=5).map(json_text),
        st.dictionaries(st.sampled_from(NAMES[2:]), ANY_VALUE, max_size=5).map(
            lambda fields: json_text({"model": "m", "messages": [{"role": "user"}], **fields})
        ),
        st.tuples(st.integers(0, len(PLAIN)), st.binary(max_size=3)).map(
            lambda cut: PLAIN[: cut[0]] + cut[1] + PLAIN[cut[0] + 1 :]
        ),
    )
)
def test_any_bytes_are_a_call_or_a_400(raw: bytes) -> None:
    found: ChatCall | RequestRejected
    try:
        found = read_body(raw, LIMITS)
    except RequestRejected as error:
        found = error
    if isinstance(found, RequestRejected):
        assert (found.status, found.code in CODES) == (400, True)
    else:
        assert json.loads(found.body)["model"] == found.model


@pytest.mark.parametrize("quote", [b"", b'"', b'\\"', b'"a"' * 1_000])
def test_a_body_that_is_too_deep_is_so_also_where_it_is_no_text(quote: bytes) -> None:
    with pytest.raises(RequestRejected) as refused:
        read_body(b"[" * 200 + quote + b"\xff", Limits())
    assert refused.value.code == "body_too_complex"
