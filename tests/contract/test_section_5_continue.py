"""Contract section 5, `continue`: the next target goes on where the text stopped, in one valid stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest

from ogw_asgi import Breaker, Gateway, Limits, Timeouts
from ogw_asgi.telemetry import Event, RequestEnded, StreamBroken, StreamContinued
from ogw_asgi.testing import (
    SSE_DONE,
    Break,
    Hang,
    ScriptedUpstream,
    completion_chunk,
    error,
    hang,
    raw,
    sse_event,
    stream,
    tokens,
)

from .checks import mock_clock, pause, sequence
from .continuing import BREAKS, SSE, ask, asked, begins_anew, broken, pieces, prefills, refuses, shown, words
from .harness import gateway_of, using

pytestmark = pytest.mark.anyio

TEXT = "The lighthouse keeper climbed the stairs,\n\n  lit the lamp, and wrote one line into the log: all quiet."
SAID = words(TEXT)
NEXT: dict[str, Callable[..., Any]] = {"prefills": prefills, "refuses prefill": refuses, "begins anew": begins_anew}
POLICY = "x-opengateway-on-stream-break"
CONTINUE: dict[str, Any] = {"on_stream_break": "continue"}


def cut(after: int, how: str = "reset") -> Any:
    return broken(SAID[:after], how)


class Told:
    """A sink that keeps what it was told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.continued, self.ended = anyio.Event(), anyio.Event()

    def on_event(self, event: Event, /) -> None:
        self.events.append(event)
        if isinstance(event, StreamContinued):
            self.continued.set()
        if isinstance(event, RequestEnded):
            self.ended.set()

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


# --- one valid stream -------------------------------------------------------------------------------------------------


@pytest.mark.contract("5.continue.one-stream", "5.continue.prefill", "5.continue.replay")
@pytest.mark.parametrize("following", NEXT)
@pytest.mark.parametrize("how", [how for how in BREAKS if how != "silence"])
async def test_the_text_is_whole_wherever_it_was_cut(how: str, following: str) -> None:
    cuts = [cut(count, how) for count in range(len(SAID) + 1)]
    upstreams: dict[str, Any] = {"openai": ScriptedUpstream(*cuts), "vllm": ScriptedUpstream(NEXT[following](TEXT))}
    async with gateway_of(limit_s=25, **upstreams, **CONTINUE, breaker=Breaker(failures=1000)) as world:
        for _ in cuts:
            (await ask(world, headers=sequence("openai", "vllm"))).assert_whole(TEXT)
        assert world.calls().count("openai") == len(cuts)


@pytest.mark.contract("5.continue.one-stream")
async def test_silence_is_a_break_too() -> None:
    upstreams: dict[str, Any] = {
        "openai": ScriptedUpstream(cut(4, "silence")),
        "vllm": ScriptedUpstream(prefills(TEXT)),
    }
    async with gateway_of(**upstreams, **CONTINUE, timeouts=Timeouts(idle_s=0.05)) as world:
        (await ask(world, headers=sequence("openai", "vllm"))).assert_whole(TEXT)
        assert world.calls() == ["openai", "vllm"]


@pytest.mark.contract("5.continue.one-stream", "5.continue.comment")
async def test_the_caller_sees_one_id_one_role_one_done_and_who_finished() -> None:
    upstreams: dict[str, Any] = {"openai": ScriptedUpstream(cut(3)), "vllm": ScriptedUpstream(prefills(TEXT))}
    async with gateway_of(**upstreams, **CONTINUE) as world:
        found = await ask(world, headers=sequence("openai", "vllm"))
    found.assert_whole(TEXT)
    assert (found.ids, found.roles, found.finishes) == ({"chatcmpl-first"}, 1, ["stop"])
    assert found.raw.endswith(": x-opengateway-provider: vllm\n\ndata: [DONE]\n\n")
    assert found.raw.count("x-opengateway-provider") == 1


@pytest.mark.contract("5.continue.comment")
async def test_a_stream_that_did_not_change_hands_has_no_such_comment_and_is_relayed_as_it_is() -> None:
    sent = [sse_event(completion_chunk({"content": "H\u00e9"})), b'data: {"id" : "x",\ndata: "choices":[]}\n\n']
    end = sse_event(completion_chunk({}, finish_reason="stop")) + SSE_DONE
    async with gateway_of(openai=ScriptedUpstream(raw(200, SSE, [*sent, end])), **CONTINUE) as world:
        found = await ask(world)
    assert found.raw.encode() == sent[0] + b'data: {"id" : "x", "choices":[]}\n\n' + end


@pytest.mark.contract("5.continue.one-stream")
async def test_azures_nameless_first_chunk_does_not_name_the_stream() -> None:
    filtered = {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": []}
    start = raw(200, SSE, [sse_event(filtered), *cut(3).body])
    azure_after = ScriptedUpstream(stream([filtered, *SAID]))
    async with gateway_of(openai=ScriptedUpstream(start), azure=azure_after, **CONTINUE) as world:
        found = await ask(world, headers=sequence("openai", "azure"))
    assert (found.text, found.ids - {""}) == (TEXT, {"chatcmpl-first"})
    assert found.raw.count("prompt_filter_results") == 1


# --- prefill ----------------------------------------------------------------------------------------------------------


@pytest.mark.contract("5.continue.prefill")
async def test_vllm_is_shown_the_text_and_told_to_write_on_and_nothing_else_is_added() -> None:
    vllm = ScriptedUpstream(prefills(TEXT))
    body = {"temperature": 0.5, "seed": 7, "max_tokens": 100, "stop": ["END"]}
    async with gateway_of(openai=ScriptedUpstream(cut(5)), vllm=vllm, **CONTINUE) as world:
        (await ask(world, headers=sequence("openai", "vllm"), **body)).assert_whole(TEXT)
        before = asked(world.upstreams["openai"].requests[0])
    after = asked(vllm.requests[0])
    assert after.pop("messages") == [*before.pop("messages"), {"role": "assistant", "content": "".join(SAID[:5])}]
    assert (after.pop("continue_final_message"), after.pop("add_generation_prompt")) == (True, False)
    assert (before.pop("max_tokens"), after.pop("max_tokens")) == (100, 95)
    assert after == before


@pytest.mark.contract("5.continue.prefill")
async def test_another_server_that_writes_on_gets_the_message_alone() -> None:
    local = ScriptedUpstream(prefills(TEXT))
    providers: dict[str, Any] = {"openai": ScriptedUpstream(cut(5)), "local": using(local, prefill=True)}
    async with gateway_of(**providers, **CONTINUE) as world:
        (await ask(world, headers=sequence("openai", "local"))).assert_whole(TEXT)
    assert asked(local.requests[0]).keys() == {"model", "messages", "stream"}
    assert shown(local.requests[0]) == "".join(SAID[:5])


@pytest.mark.contract("5.continue.prefill", "5.continue.replay")
async def test_openai_and_azure_are_asked_afresh_unless_they_are_said_to_write_on() -> None:
    azure, again = ScriptedUpstream(begins_anew(TEXT)), ScriptedUpstream(prefills(TEXT))
    async with gateway_of(openai=ScriptedUpstream(cut(5)), azure=azure, **CONTINUE) as world:
        (await ask(world, headers=sequence("openai", "azure"))).assert_whole(TEXT)
    assert asked(azure.requests[0])["messages"] == [{"role": "user", "content": "Hi"}]
    async with gateway_of(openai=ScriptedUpstream(cut(5)), azure=using(again, prefill=True), **CONTINUE) as world:
        (await ask(world, headers=sequence("openai", "azure"))).assert_whole(TEXT)
    assert shown(again.requests[0]) == "".join(SAID[:5])


@pytest.mark.contract("5.continue.prefill")
@pytest.mark.parametrize("content", ["Dear Ada, ", [{"type": "text", "text": "Dear Ada, "}]], ids=["text", "parts"])
async def test_a_last_assistant_message_of_the_callers_is_made_longer(content: Any) -> None:
    vllm = ScriptedUpstream(lambda request: stream([TEXT[len("".join(SAID[:4])) :]]))
    messages = [{"role": "user", "content": "A letter."}, {"role": "assistant", "content": content}]
    async with gateway_of(openai=ScriptedUpstream(cut(4)), vllm=vllm, **CONTINUE) as world:
        (await ask(world, headers=sequence("openai", "vllm"), messages=messages)).assert_whole(TEXT)
    first, last = asked(vllm.requests[0])["messages"]
    said = "".join(SAID[:4])
    longer = content + said if isinstance(content, str) else [{"type": "text", "text": "Dear Ada, " + said}]
    assert (first, last) == (messages[0], {"role": "assistant", "content": longer})


@pytest.mark.contract("5.continue.prefill")
@pytest.mark.parametrize("gives_back", [True, False])
async def test_blanks_at_the_cut_are_neither_lost_nor_doubled(gives_back: bool) -> None:
    text = "one  two\n\nthree \t four"
    for count in range(1, len(text)):
        rest = text[count:]
        if rest[0].isspace() and not gives_back:
            continue  # no server could know how many of them the caller has

        def follow(request: Any, rest: str = rest) -> Any:
            said = shown(request) or ""
            assert said == said.rstrip()
            return stream([text[len(said) :]] if gives_back else [rest])

        upstreams: dict[str, Any] = {
            "openai": ScriptedUpstream(broken(pieces(text[:count], 1, 4))),
            "vllm": ScriptedUpstream(follow),
        }
        async with gateway_of(**upstreams, **CONTINUE) as world:
            (await ask(world, headers=sequence("openai", "vllm"))).assert_whole(text)


@pytest.mark.contract("5.continue.prefill")
async def test_a_limit_on_tokens_that_is_used_up_is_left_to_whoever_repeats_the_text() -> None:
    vllm = ScriptedUpstream(lambda request: stream(SAID[:5], finish_reason="length"))
    async with gateway_of(openai=ScriptedUpstream(cut(5)), vllm=vllm, **CONTINUE) as world:
        found = await ask(world, headers=sequence("openai", "vllm"), max_completion_tokens=5)
    found.assert_whole("".join(SAID[:5]))
    assert (found.finishes, asked(vllm.requests[0])["max_completion_tokens"]) == (["length"], 5)
    assert shown(vllm.requests[0]) is None


@pytest.mark.contract("5.continue.prefill")
async def test_tokens_that_were_reported_are_what_the_limit_shrinks_by() -> None:
    usage = {**completion_chunk({"content": SAID[0]}), "usage": tokens(7, 31)}
    vllm = ScriptedUpstream(lambda request: stream([TEXT[len(SAID[0]) :]]))
    async with gateway_of(openai=ScriptedUpstream(stream([usage, Break()])), vllm=vllm, **CONTINUE) as world:
        (await ask(world, headers=sequence("openai", "vllm"), max_tokens=100)).assert_whole(TEXT)
    assert asked(vllm.requests[0])["max_tokens"] == 69


# --- replay -----------------------------------------------------------------------------------------------------------


@pytest.mark.contract("5.continue.replay", "5.continue.bounded")
async def test_a_refused_prefill_is_asked_afresh_and_never_the_last_word() -> None:
    vllm = ScriptedUpstream(refuses(TEXT))
    async with gateway_of(openai=ScriptedUpstream(cut(5)), vllm=vllm, **CONTINUE) as world:
        (await ask(world, headers=sequence("openai", "vllm"))).assert_whole(TEXT)
    assert [shown(request) for request in vllm.requests] == ["".join(SAID[:5]), None]

    vllm = ScriptedUpstream(error(400, "no prefill"), error(400, "nor anything else"))
    async with gateway_of(openai=ScriptedUpstream(cut(5)), vllm=vllm, **CONTINUE) as world:
        said = (await ask(world, headers=sequence("openai", "vllm"))).assert_broken("".join(SAID[:5]))
        assert world.calls() == ["openai", "vllm", "vllm"]
    assert said["message"] == "The stream of openai was interrupted (reset)."
    assert [line["outcome"] for line in said["attempts"]] == ["reset", "bad_request", "bad_request"]


@pytest.mark.contract("5.continue.anew")
@pytest.mark.parametrize("count", [1, 5])
async def test_a_prefilled_target_that_begins_anew_is_asked_afresh(count: int) -> None:
    vllm = ScriptedUpstream(begins_anew(TEXT))
    async with gateway_of(openai=ScriptedUpstream(cut(count)), vllm=vllm, **CONTINUE) as world:
        (await ask(world, headers=sequence("openai", "vllm"))).assert_whole(TEXT)
    assert [shown(request) for request in vllm.requests] == ["".join(SAID[:count]), None]


@pytest.mark.contract("5.continue.anew")
async def test_a_text_that_repeats_itself_is_neither_shortened_nor_doubled() -> None:
    line = "I will not talk in class, not even to myself.\n"
    vllm = ScriptedUpstream(prefills(line * 4, lambda rest: pieces(rest, 7)))
    async with gateway_of(openai=ScriptedUpstream(broken([line])), vllm=vllm, **CONTINUE) as world:
        (await ask(world, headers=sequence("openai", "vllm"))).assert_whole(line * 4)


@pytest.mark.contract("5.continue.replay")
@pytest.mark.parametrize("other", ["Something else altogether.", "The lighthouse kept", "The light", ""])
async def test_another_text_shows_the_break_and_nothing_of_itself(other: str) -> None:
    azure = ScriptedUpstream(stream(words(other)))
    async with gateway_of(openai=ScriptedUpstream(cut(5)), azure=azure, **CONTINUE) as world:
        said = (await ask(world, headers=sequence("openai", "azure"))).assert_broken("".join(SAID[:5]))
    assert [line["outcome"] for line in said["attempts"]] == ["reset", "diverged"]


@pytest.mark.contract("5.continue.replay")
async def test_when_one_diverges_the_next_is_asked() -> None:
    upstreams: dict[str, Any] = {
        "openai": ScriptedUpstream(cut(5)),
        "azure": ScriptedUpstream(stream(["Another text."])),
        "vllm": ScriptedUpstream(prefills(TEXT)),
    }
    async with gateway_of(**upstreams, **CONTINUE) as world:
        (await ask(world, headers=sequence("openai", "azure", "vllm"))).assert_whole(TEXT)


@pytest.mark.contract("5.continue.replay")
@pytest.mark.parametrize("after", ["text", "reasoning"])
async def test_a_tool_call_may_follow_the_text_and_reasoning_may_not(after: str) -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    calls = completion_chunk({"tool_calls": [call]})
    thought = completion_chunk({"reasoning": "hm"})
    said = SAID[:3]
    reply = stream([*said, calls] if after == "text" else [thought, *said, calls], finish_reason="tool_calls")
    async with gateway_of(openai=ScriptedUpstream(cut(3)), azure=ScriptedUpstream(reply), **CONTINUE) as world:
        found = await ask(world, headers=sequence("openai", "azure"), tools=[TOOL])
    if after == "text":
        found.assert_whole("".join(said))
        assert '"tool_calls":[{' in found.raw
    else:
        found.assert_broken("".join(said))


# --- usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.contract("5.continue.one-stream")
@pytest.mark.parametrize("reported", [True, False])
async def test_usage_is_the_sum_of_both_parts_or_left_out(reported: bool) -> None:
    detailed = {**tokens(9, 2), "completion_tokens_details": {"reasoning_tokens": 1}, "prompt_tokens_details": None}
    usage = {"usage": detailed} if reported else {"usage": None}
    first = stream([{**completion_chunk({"content": SAID[0]}), **usage}, Break()])
    after = {**tokens(11, 20), "completion_tokens_details": {"reasoning_tokens": 3}}

    def second(request: Any) -> Any:
        return stream([TEXT[len(SAID[0]) :]], usage=after)

    async with gateway_of(openai=ScriptedUpstream(first), vllm=ScriptedUpstream(second), **CONTINUE) as world:
        found = await ask(world, headers=sequence("openai", "vllm"), stream_options={"include_usage": True})
    found.assert_whole(TEXT)
    total = {**tokens(20, 22), "completion_tokens_details": {"reasoning_tokens": 4}, "prompt_tokens_details": None}
    assert found.usage == ([detailed, total] if reported else [])


# --- who is not continued ---------------------------------------------------------------------------------------------

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
CALLED = completion_chunk({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f"}}]})
THOUGHT = completion_chunk({"reasoning_content": "Let me think."})
REFUSED = completion_chunk({"refusal": "I would rather not."})
FILTERED = b'data: {"error":{"message":"filtered","type":"x","param":null,"code":"content_filter"}}\n\n'

EXEMPT: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "two choices": ({"n": 2}, []),
    "log probabilities": ({"logprobs": True}, []),
    "a JSON object": ({"response_format": {"type": "json_object"}}, []),
    "a JSON object, as text": ({"response_format": "json_object"}, []),
    "a schema": ({"response_format": SCHEMA}, []),
    "vLLM's structured outputs": ({"structured_outputs": {"regex": "a+"}}, []),
    "vLLM's older guided output": ({"guided_choice": ["a", "b"]}, []),
    "SGLang's pattern": ({"regex": "a+"}, []),
    "SGLang's grammar": ({"ebnf": 'root ::= "a"'}, []),
    "a forced tool": ({"tools": [TOOL], "tool_choice": "required"}, []),
    "a named tool": ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}}, []),
    "a named function": ({"function_call": {"name": "f"}}, []),
    "a tool call begun": ({"tools": [TOOL]}, [CALLED]),
    "reasoning begun": ({}, [THOUGHT]),
    "a refusal begun": ({}, [REFUSED]),
    "a filter's verdict": ({}, [FILTERED]),
}


@pytest.mark.contract("5.continue.exempt")
@pytest.mark.parametrize(("body", "more"), EXEMPT.values(), ids=EXEMPT)
async def test_what_cannot_be_gone_on_with_breaks_visibly_and_nobody_is_asked(
    body: dict[str, Any], more: list[Any]
) -> None:
    first = stream([*SAID[:3], *more, Break()])
    async with gateway_of(openai=ScriptedUpstream(first), vllm=ScriptedUpstream(prefills(TEXT)), **CONTINUE) as world:
        found = await ask(world, headers=sequence("openai", "vllm"), **body)
        assert world.calls() == ["openai"]
    assert "attempts" not in found.assert_broken("".join(SAID[:3]))


@pytest.mark.contract("5.continue.exempt")
@pytest.mark.parametrize(
    "body",
    [
        {"tools": [TOOL]},
        {"tools": [TOOL], "tool_choice": "auto"},
        {"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
        {"response_format": {"type": "text"}},
        {"logprobs": False, "n": 1, "response_format": "text"},
    ],
)
async def test_what_only_could_have_become_something_else_is_gone_on_with(body: dict[str, Any]) -> None:
    upstreams: dict[str, Any] = {"openai": ScriptedUpstream(cut(4)), "vllm": ScriptedUpstream(prefills(TEXT))}
    async with gateway_of(**upstreams, **CONTINUE) as world:
        (await ask(world, headers=sequence("openai", "vllm"), **body)).assert_whole(TEXT)


# --- bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.contract("5.continue.bounded", "8.continuations")
async def test_a_stream_changes_hands_twice_at_the_most() -> None:
    def one_more(request: Any) -> Any:
        said = shown(request) or ""
        return stream([TEXT[len(said) : len(said) + 5], Break()])

    names = ["a", "b", "c", "d"]
    upstreams: dict[str, Any] = {name: using(ScriptedUpstream(one_more), prefill=True) for name in names}
    async with gateway_of(**upstreams, **CONTINUE) as world:
        found = await ask(world, headers=sequence(*names))
        assert world.calls() == ["a", "b", "c"]
    found.assert_broken(TEXT[:15])


@pytest.mark.contract("5.continue.bounded")
async def test_continuations_are_attempts_and_there_are_no_more_than_allowed() -> None:
    upstreams: dict[str, Any] = {"openai": ScriptedUpstream(cut(5)), "vllm": ScriptedUpstream(refuses(TEXT))}
    async with gateway_of(**upstreams, **CONTINUE, limits=Limits(attempts=2)) as world:
        found = await ask(world, headers=sequence("openai", "vllm"))
        assert world.calls() == ["openai", "vllm"]
    found.assert_broken("".join(SAID[:5]))


@pytest.mark.contract("5.continue.bounded")
@pytest.mark.parametrize("anyio_backend", [mock_clock()])
async def test_the_total_bounds_those_who_go_on_too(anyio_backend: Any) -> None:
    upstreams: dict[str, Any] = {
        "openai": ScriptedUpstream(stream([*SAID[:3], pause(4), Break()])),
        "vllm": ScriptedUpstream(hang()),
    }
    async with gateway_of(limit_s=60, **upstreams, **CONTINUE, timeouts=Timeouts(total_s=10)) as world:
        started_s = anyio.current_time()
        async with world.stream(headers=sequence("openai", "vllm")) as reply:
            with pytest.raises(Exception, match="incomplete chunked read|peer closed"):
                await reply.aread()
        assert anyio.current_time() - started_s == pytest.approx(10, abs=0.1)


@pytest.mark.contract("5.continue.bounded")
@pytest.mark.parametrize("anyio_backend", [mock_clock()])
@pytest.mark.parametrize("after", [pause(30), Hang()], ids=["silent, then closed", "silent"])
async def test_whoever_stalled_is_not_asked_to_go_on(anyio_backend: Any, after: Any) -> None:
    openai = ScriptedUpstream(stream([*SAID[:3], after, Break()]))
    async with gateway_of(limit_s=200, openai=openai, vllm=ScriptedUpstream(prefills(TEXT)), **CONTINUE) as world:
        async with world.stream(headers=sequence("openai", "openai", "vllm")) as reply:
            text = (await reply.aread()).decode()
        assert world.calls() == ["openai", "vllm"]
    assert text.endswith("data: [DONE]\n\n")


@pytest.mark.contract("5.continue.bounded")
async def test_whoever_broke_without_a_pause_may_be_asked_again_in_its_turn() -> None:
    openai = ScriptedUpstream(cut(4), stream(SAID))
    async with gateway_of(openai=openai, **CONTINUE) as world:
        (await ask(world, headers=sequence("openai", "openai"))).assert_whole(TEXT)
        assert world.calls() == ["openai", "openai"]


# --- where it is asked for --------------------------------------------------------------------------------------------


@pytest.mark.contract("2.on-stream-break.continue")
@pytest.mark.parametrize(
    ("configured", "named", "continues"),
    [("error", "continue", True), ("continue", "error", False), ("continue", "", True), ("hold", "continue", True)],
)
async def test_the_header_decides_for_its_request(configured: Any, named: str, continues: bool) -> None:
    upstreams: dict[str, Any] = {"openai": ScriptedUpstream(cut(4)), "vllm": ScriptedUpstream(prefills(TEXT))}
    async with gateway_of(**upstreams, on_stream_break=configured) as world:
        found = await ask(world, headers={**sequence("openai", "vllm"), POLICY: named})
    if continues:
        found.assert_whole(TEXT)
    else:
        found.assert_broken("".join(SAID[:4]))


@pytest.mark.contract("5.continue.one-stream")
async def test_the_environment_says_it_too() -> None:
    gateway = Gateway.from_env({"OPENAI_API_KEY": "k", "OGW_ON_STREAM_BREAK": "continue"})
    assert gateway._on_stream_break == "continue"


# --- beside it --------------------------------------------------------------------------------------------------------


@pytest.mark.contract("5.continue.one-stream")
async def test_observers_are_told_who_goes_on_and_that_nothing_broke_for_the_caller() -> None:
    told = Told()
    upstreams: dict[str, Any] = {"openai": ScriptedUpstream(cut(4)), "vllm": ScriptedUpstream(refuses(TEXT))}
    async with gateway_of(**upstreams, **CONTINUE, sinks=[told]) as world:
        (await ask(world, headers=sequence("openai", "vllm"))).assert_whole(TEXT)
    (continued,) = told.of(StreamContinued)
    assert (continued.before, continued.provider) == ("openai", "vllm")
    assert (continued.cause, continued.mode) == ("reset", "replay")
    assert continued.delivered_bytes > 0
    assert told.of(StreamBroken) == []
    (ended,) = told.of(RequestEnded)
    assert (ended.outcome, ended.provider) == ("ok", "vllm")
    assert [line.outcome for line in ended.attempts] == ["reset", "bad_request", "ok"]


@pytest.mark.contract("5.continue.one-stream")
async def test_a_break_that_nobody_mends_is_told_as_one() -> None:
    told = Told()
    async with gateway_of(
        openai=ScriptedUpstream(cut(4)), vllm=ScriptedUpstream(error(503)), **CONTINUE, sinks=[told]
    ) as world:
        (await ask(world, headers=sequence("openai", "vllm"))).assert_broken("".join(SAID[:4]))
    assert [event.cause for event in told.of(StreamBroken)] == ["reset"]
    assert told.of(StreamContinued) == []


@pytest.mark.contract("5.continue.one-stream")
async def test_a_broken_stream_counts_for_the_breaker_and_a_refused_prefill_does_not() -> None:
    openai, vllm = ScriptedUpstream(cut(4)), ScriptedUpstream(refuses(TEXT))
    async with gateway_of(openai=openai, vllm=vllm, **CONTINUE, breaker=Breaker(failures=2)) as world:
        for _ in range(6):
            (await ask(world, headers=sequence("openai", "vllm"))).assert_whole(TEXT)
        assert len(openai.requests) == 3, "its circuit is open"
        assert len(vllm.requests) == 2 * 3 + 3, "and nobody else's is"


@pytest.mark.contract("5.continue.one-stream")
@pytest.mark.parametrize(
    "silent", [hang(), hang("body"), stream([*SAID[:2], Hang()])], ids=["mute", "head", "replaying"]
)
async def test_a_caller_that_leaves_while_somebody_is_asked_to_go_on_frees_them(silent: Any) -> None:
    azure = ScriptedUpstream(silent)
    async with gateway_of(openai=ScriptedUpstream(cut(4)), azure=azure, **CONTINUE) as world:
        async with anyio.create_task_group() as callers:
            callers.start_soon(partial(ask, world, headers=sequence("openai", "azure")))
            (request,) = await azure.wait_for_requests(1)
            callers.cancel_scope.cancel()
        await request.closed.wait()


@pytest.mark.contract("5.continue.one-stream")
async def test_a_caller_that_leaves_a_continued_stream_left_whoever_gave_it_last() -> None:
    told, azure = Told(), ScriptedUpstream(stream([*SAID, Hang()]))
    async with gateway_of(openai=ScriptedUpstream(cut(4)), azure=azure, **CONTINUE, sinks=[told]) as world:
        async with anyio.create_task_group() as callers:
            callers.start_soon(partial(ask, world, headers=sequence("openai", "azure")))
            await told.continued.wait()
            callers.cancel_scope.cancel()
        await told.ended.wait()
        (ended,) = told.of(RequestEnded)
        assert (ended.provider, ended.outcome) == ("azure", "left")


@pytest.mark.contract("5.continue.one-stream")
async def test_a_plain_call_is_answered_as_ever() -> None:
    async with gateway_of(openai=ScriptedUpstream(error(500)), vllm=ScriptedUpstream(), **CONTINUE) as world:
        reply = await world.post(headers=sequence("openai", "vllm"))
    assert (reply.status_code, json.loads(reply.content)["choices"][0]["message"]["content"]) == (201, "Hello")


@pytest.mark.contract("5.continue.bounded")
async def test_a_target_that_has_refused_the_text_is_not_shown_it_when_the_stream_changes_hands_again() -> None:
    refusing = ScriptedUpstream(error(400, "no"), stream([*SAID[:6], Break()]), stream(SAID))
    async with gateway_of(openai=ScriptedUpstream(cut(4)), vllm=refusing, **CONTINUE) as world:
        (await ask(world, headers=sequence("openai", "vllm", "vllm"))).assert_whole(TEXT)
    assert [shown(request) for request in refusing.requests] == ["".join(SAID[:4]), None, None]
