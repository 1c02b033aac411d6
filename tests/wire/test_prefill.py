"""Bodies that ask a provider to write on: only what must change does, and what cannot be gone on with is known."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw_asgi._values import ChatCall, Limits
from ogw_asgi._wire.body import body_for, read_body
from ogw_asgi._wire.prefill import can_be_continued, prefilled

USER = '[{"role":"user","content":"Hi"}]'
FLAGS = {"continue_final_message": True, "add_generation_prompt": False}


def call(raw: str) -> ChatCall:
    return read_body(raw.encode(), Limits())


def made(raw: str, text: str = "Hello", fields: Any = (), spent: int = 0) -> str:
    found = prefilled(call(raw), text, dict(fields), spent)
    assert found is not None
    json.loads(found.body)
    assert json.loads(found.body[slice(*found.model_span)]) == found.model
    return found.body.decode()


@pytest.mark.contract("5.continue.prefill")
@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (
            '{"model":"m","messages":[{"role":"user","content":"Hi"}]}',
            '{"model":"m","messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"}]}',
        ),
        # Blanks, escapes, spellings and order stay.
        (
            ' { "messages" : [ {"role":"user", "content":"\\u00dc"} ] , "seed":1E1,"model" : "m" } ',
            ' { "messages" : [ {"role":"user", "content":"\\u00dc"},{"role":"assistant","content":"Hello"} ] , '
            '"seed":1E1,"model" : "m" } ',
        ),
        (
            '{"messages":[{"role":"user"},{"role":"assistant", "name":"a","content":"Well: "}],"model":"m"}',
            '{"messages":[{"role":"user"},{"role":"assistant", "name":"a","content":"Well: Hello"}],"model":"m"}',
        ),
        (
            '{"messages":[{"content":"","content":"Well: ","role":"assistant"}],"model":"m"}',
            '{"messages":[{"content":"","content":"Well: Hello","role":"assistant"}],"model":"m"}',
        ),
        (
            '{"messages":[{"role":"assistant","content":[{"type":"text","text":"Well"}]}],"model":"m"}',
            '{"messages":[{"role":"assistant","content":[{"type":"text","text":"WellHello"}]}],"model":"m"}',
        ),
    ],
)
def test_the_text_becomes_the_last_assistant_message(raw: str, body: str) -> None:
    assert made(raw) == body


def test_the_text_is_a_part_of_its_own_behind_what_is_none() -> None:
    messages = '[{"role":"assistant","content":[%s{"type":"refusal","refusal":"No."}%s]}]'
    body = made('{"messages":' + messages % ("", "") + ',"model":"m"}')
    assert body == '{"messages":' + messages % ("", ',{"type":"text","text":"Hello"}') + ',"model":"m"}'


@pytest.mark.parametrize("last", ['{"role":"assistant","tool_calls":[]}', '{"role":"assistant","content":null}'])
def test_a_last_assistant_message_without_text_cannot_be_made_longer(last: str) -> None:
    raw = f'{{"model":"m","messages":[{{"role":"user","content":"Hi"}},{last}]}}'
    assert prefilled(call(raw), "Hello", {}, 0) is None


@pytest.mark.contract("5.continue.prefill")
@pytest.mark.parametrize(
    ("given_", "sent"),
    [
        ("", ',"continue_final_message":true,"add_generation_prompt":false'),
        (',"add_generation_prompt": true ', ',"add_generation_prompt": false ,"continue_final_message":true'),
        (
            ',"continue_final_message":false,"add_generation_prompt":null',
            ',"continue_final_message":true,"add_generation_prompt":false',
        ),
    ],
)
def test_the_fields_that_a_server_wants_are_set_once(given_: str, sent: str) -> None:
    body = made(f'{{"model":"m","messages":{USER}{given_}}}', fields=FLAGS)
    assert body == f'{{"model":"m","messages":{USER[:-1]},{{"role":"assistant","content":"Hello"}}]{sent}}}'


@pytest.mark.contract("5.continue.prefill")
@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ('"max_tokens":10', '"max_tokens":7'),
        ('"max_completion_tokens": 1e1 ', '"max_completion_tokens": 7 '),
        ('"max_tokens":4,"max_completion_tokens":100', '"max_tokens":1,"max_completion_tokens":97'),
        ('"max_tokens":null', '"max_tokens":null'),
    ],
)
def test_limits_on_tokens_shrink_by_what_was_spent(limits: str, left: str) -> None:
    assert left in made(f'{{"model":"m",{limits},"messages":{USER}}}', spent=3)


@pytest.mark.parametrize(
    "limits", ['"max_tokens":3', '"max_completion_tokens":2', '"max_tokens":9,"max_completion_tokens":3']
)
def test_a_limit_that_is_used_up_leaves_nothing_to_write(limits: str) -> None:
    assert prefilled(call(f'{{"model":"m",{limits},"messages":{USER}}}'), "Hello", {}, 3) is None


@given(st.text(), st.text(min_size=1, max_size=9).filter(str.isprintable), st.sampled_from(["before", "after"]))
def test_any_text_survives_and_the_models_name_stays_where_it_is(text: str, user: str, order: str) -> None:
    message = json.dumps({"role": "user", "content": user}, ensure_ascii=False)
    parts = ['"max_tokens":100000', f'"messages":[{message}]', '"model":"mödel"']
    found = prefilled(call("{" + ",".join(parts if order == "after" else parts[::-1]) + "}"), text, FLAGS, 9)
    assert found is not None
    body = json.loads(body_for(found, "other"))
    assert body["messages"] == [{"role": "user", "content": user}, {"role": "assistant", "content": text}]
    assert (body["model"], body["max_tokens"]) == ("other", 99991)


@pytest.mark.contract("5.continue.exempt")
@pytest.mark.parametrize(
    ("more", "can"),
    [
        ("", True),
        (',"n":1,"logprobs":false,"top_logprobs":null,"tool_choice":"auto","response_format":{"type":"text"}', True),
        (',"tool_choice":"none","function_call":"auto"', True),
        (',"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}}', True),
        (',"guided_json":null,"grammar":""', True),
        (',"n":2', False),
        (',"logprobs":true', False),
        (',"top_logprobs":2', False),
        (',"tool_choice":"required"', False),
        (',"tool_choice":{"type":"function","function":{"name":"f"}}', False),
        (',"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[]}}', False),
        (',"tool_choice":"any"', False),
        (',"function_call":{"name":"f"}', False),
        (',"response_format":{"type":"json_object"}', False),
        (',"response_format":"json_object"', False),
        (',"guided_regex":"a+"', False),
        (',"structured_outputs":{"choice":["a"]}', False),
    ],
)
def test_what_can_be_continued(more: str, can: bool) -> None:
    assert can_be_continued(call(f'{{"model":"m","messages":{USER}{more}}}')) is can
