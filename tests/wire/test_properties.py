"""Of any input: what holds of the small functions of `_wire`, whose own tests are tables of examples."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._values import AttemptRecord, CallOptions, ChatCall, Header, Limits
from ogw_asgi._wire.answer import encoded, media
from ogw_asgi._wire.body import elements
from ogw_asgi._wire.chunks import is_error, object_choices
from ogw_asgi._wire.fields import KNOWN, calls_are_text, check_fields, is_model, missing, wrong_type, wrong_value
from ogw_asgi._wire.forwarding import server_timing, traceparent
from ogw_asgi._wire.headers import header_values, read_options
from ogw_asgi._wire.members import InvalidJSON, read_document, read_members, read_value
from ogw_asgi._wire.prefill import can_be_continued
from ogw_asgi._wire.sse import is_done
from ogw_asgi._wire.structure import too_many_members
from ogw_asgi._wire.transcript import delta_of, has_more_than_text, is_other
from ogw_asgi.exceptions import RequestRejected

some = settings(max_examples=100, deadline=None)

SECRET = "sk-CANARY-0123456789"
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
words = st.text(max_size=6) | st.just(SECRET)
names = st.sampled_from(
    [
        "choices",
        "delta",
        "content",
        "role",
        "index",
        "finish_reason",
        "error",
        "object",
        "type",
        "name",
        "function",
        "id",
    ]
)
values = st.recursive(
    scalars | words | st.sampled_from(["error", "stop", "assistant", "function"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | words, inner, max_size=4),
    max_leaves=10,
)
objects = st.dictionaries(names | words, values, max_size=5)
blanks = st.sampled_from(["", " ", "\n\t", "\r\n "])


# --- JSON with positions ---


@some
@given(st.lists(st.tuples(words, values), max_size=6), blanks, st.booleans())
def test_members_are_what_stands_there_and_where(pairs: list[tuple[str, Any]], blank: str, escaped: bool) -> None:
    written = [
        f"{json.dumps(name, ensure_ascii=escaped)}{blank}:{blank}{json.dumps(value, ensure_ascii=escaped)}"
        for name, value in pairs
    ]
    text = f"{blank}{{{blank}{f'{blank},{blank}'.join(written)}{blank}}}tail"
    members, end = read_members(text, len(blank))
    assert text[end:] == "tail"
    assert [(one.key, one.value) for one in members] == pairs
    assert [text[one.key_start : one.end] for one in members] == written
    for one, (_, value) in zip(members, pairs, strict=True):
        assert read_value(text, one.start) == (value, one.end)
        assert json.loads(text[one.start : one.end]) == value


@some
@given(values, blanks, st.booleans())
def test_a_document_is_what_was_written_and_nothing_follows_it(value: Any, blank: str, escaped: bool) -> None:
    text = blank + json.dumps(value, ensure_ascii=escaped) + blank
    assert read_document(text) == value
    for tail in ("x", "{}", "\x00", "\u00a0"):
        try:
            read_document(text + tail)
        except InvalidJSON:
            continue
        raise AssertionError("something followed it")


@some
@given(st.text(alphabet='{}[]",:\\u0e1Nan. -', max_size=30), st.integers(0, 3))
def test_any_text_is_json_for_the_standard_library_too_or_invalid(text: str, start: int) -> None:
    def refuse(name: str) -> None:
        raise ValueError

    try:
        ours = read_document(text)
    except InvalidJSON:
        ours = InvalidJSON
    try:
        theirs = json.loads(text, parse_constant=refuse)
    except ValueError:
        theirs = InvalidJSON
    assert ours == theirs or "e" in text, "an exponent may make it infinite"
    for read in (read_value, read_members):
        try:
            _, end = read(text, start)
        except InvalidJSON:
            continue
        assert start < end <= len(text)


@some
@given(st.lists(values, max_size=6), blanks, st.text(alphabet=" ,]", max_size=3))
def test_elements_are_where_the_values_of_an_array_stand(items: list[Any], blank: str, tail: str) -> None:
    written = [json.dumps(item) for item in items]
    text = "x[" + blank + f"{blank},{blank}".join(written) + blank + "]" + tail
    assert [text[start:end] for start, end in elements(text, 1)] == written


# --- fields ---


@some
@given(st.dictionaries(st.sampled_from(sorted(KNOWN)), values, max_size=6))
def test_fields_are_good_or_a_400_that_names_one_and_repeats_no_value(fields: dict[str, Any]) -> None:
    given_ = {"model": "m", "messages": [{"role": "user"}], **fields}
    refusal = None
    try:
        check_fields(given_)
    except RequestRejected as error:
        refusal = error
    if refusal is not None:
        assert refusal.status == 400
        assert refusal.param
        assert refusal.param.partition(".")[0].partition("[")[0] in given_
        assert refusal.code in ("invalid_type", "invalid_value", "missing_required_parameter")
        assert SECRET not in f"{refusal.message}{refusal.param}"
        refusal.message.encode()
    else:
        assert is_model(given_["model"])


@some
@given(
    st.dictionaries(words | st.integers(0, 99).map(str), st.integers(-120, 120) | st.booleans() | st.floats(-120, 120))
)
def test_a_bias_is_good_exactly_when_it_is_a_whole_number_within_a_hundred(bias: dict[str, Any]) -> None:
    good = all(type(one) is not bool and one == int(one) and -100 <= one <= 100 for one in bias.values())
    try:
        check_fields({"logit_bias": bias})
    except RequestRejected:
        assert not good
    else:
        assert good


@some
@given(st.lists(objects | st.fixed_dictionaries({"type": st.just("function"), "function": objects}), max_size=4))
def test_a_quick_look_at_tools_takes_no_other_ones_than_a_long_one(tools: list[Any]) -> None:
    def good(tool: dict[str, Any]) -> bool:
        if not isinstance(tool.get("type"), str):
            return False
        if tool["type"] != "function":
            return True
        function = tool.get("function")
        return isinstance(function, dict) and isinstance(function.get("name"), str)

    try:
        check_fields({"tools": tools})
    except RequestRejected:
        assert not all(map(good, tools))
    else:
        assert all(map(good, tools))


@some
@given(st.text(st.characters(codec=None), max_size=300))
def test_what_may_be_a_models_name_can_be_sent(name: str) -> None:
    if is_model(name):
        assert 0 < len(name.encode()) <= 1024
        assert not set(name) & {"\n", "\r", "\0", "\x7f"}
        assert read_document(json.dumps(name)) == name


@some
@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 10**9))
def test_a_refusal_says_where_and_what_and_no_more(path: str, expected: str, most: int) -> None:
    for refusal in (missing(path), wrong_type(path, expected), wrong_value(path, expected)):
        assert (refusal.status, refusal.param) == (400, path)
        assert path in refusal.message
    assert too_many_members("It has", most).code == "body_too_complex"


# --- what is said of a chunk ---


@some
@given(objects)
def test_looking_at_any_object_never_fails(value: dict[str, Any]) -> None:
    choices = object_choices(value)
    assert all(isinstance(choice, dict) for choice in choices)
    assert is_error(value, choices) or not value.get("error")
    assert not is_error({"choices": [{"finish_reason": "stop"}]}, object_choices(value)) or any(
        choice.get("finish_reason") == "error" for choice in choices
    )
    for choice in [*choices, value]:
        delta = delta_of(choice)
        assert delta is choice.get("delta") or delta == {}
        assert is_other(choice) == (choice.get("index", 0) != 0)
        more = {name: one for name, one in delta.items() if name not in ("role", "content")}
        assert has_more_than_text(delta) or not any(more.values())
    assert calls_are_text(value) == isinstance(value.get("tool_calls"), str)
    assert calls_are_text({**value, "tool_calls": "[]"})


@some
@given(objects, st.integers(1, 3))
def test_nothing_but_one_plain_text_can_be_continued(fields: dict[str, Any], choices: int) -> None:
    body = json.dumps({**fields, "model": "m", "messages": [{"role": "user"}]}).encode()
    call = ChatCall(body, "m", (0, 0), True, choices)
    assert can_be_continued(call) <= (choices == 1)
    for name, value in [
        ("logprobs", True),
        ("tool_choice", "required"),
        ("grammar", "x"),
        ("function_call", {"name": "f"}),
    ]:
        asked = json.dumps({**fields, "model": "m", "messages": [{"role": "user"}], name: value}).encode()
        assert not can_be_continued(ChatCall(asked, "m", (0, 0)))


# --- headers ---


@some
@given(
    st.from_regex(r"[0-9a-f]{32}", fullmatch=True),
    st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
    st.sampled_from(["00", "01"]),
)
def test_a_traceparent_reads_back(trace_id: str, span_id: str, flags: str) -> None:
    written = traceparent(trace_id, span_id, flags).encode("ascii")
    options = read_options(
        header_values([(b"traceparent", written)]), request_id="r", limits=Limits(), header_max_s=1.0
    )
    sound = trace_id.strip("0") and span_id.strip("0")
    assert (options.trace_id, options.trace_flags) == ((trace_id, flags) if sound else (None, "00"))
    assert isinstance(options, CallOptions)


records = st.builds(
    AttemptRecord,
    provider=st.sampled_from(["openai", "azure-eu", "a.b_c"]),
    outcome=st.sampled_from(["ok", "timeout", "invalid_answer"]),
    status=st.none() | st.integers(100, 599),
    code=st.none() | words,
    duration_ms=st.integers(0, 10**7),
    model=words,
)


@some
@given(st.lists(records, max_size=6))
def test_a_timing_has_one_entry_an_attempt_and_shows_no_model(attempts: list[AttemptRecord]) -> None:
    value = server_timing(attempts)
    assert value.count(b";dur=") == value.count(b";desc=") == len(attempts)
    assert SECRET.encode() not in value
    assert value.isascii()
    assert not set(value) & {0, 10, 13}


@some
@given(
    st.lists(
        st.tuples(st.sampled_from([b"content-type", b"content-encoding", b"x"]), st.binary(max_size=20)), max_size=4
    )
)
def test_what_headers_say_of_a_body_is_one_of_five_and_a_yes_or_no(headers: list[Header]) -> None:
    assert media(headers) in ("json", "sse", "html", "other", "none")
    assert media([(b"x", b"y"), (b"content-type", b" Text/Event-Stream ; charset=x"), *headers]) == "sse"
    plain = [(name, value) for name, value in headers if name != b"content-encoding"]
    assert not encoded([*plain, (b"content-encoding", b" Identity , ")])
    assert encoded([*headers, (b"content-encoding", b"identity, gzip")])


@some
@given(st.binary(max_size=12), st.text(alphabet=" \t", max_size=4))
def test_an_end_is_an_end_whatever_stands_around_it(behind: bytes, blank: str) -> None:
    assert is_done(blank.encode() + b"[DONE]" + behind)
    assert not is_done(b"{" + behind)
    assert is_done(behind) == is_done(blank.encode() + behind)
