"""F66 to F68: streams that break and are gone on with by somebody else, as if they had never broken."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ogw_asgi import Timeouts
from ogw_asgi.telemetry.events import AttemptEnded, StreamContinued
from ogw_asgi.testing import (
    LAST_CHUNK,
    SSE_DONE,
    Fin,
    Hang,
    RawScript,
    RawUpstream,
    Reset,
    SharedEvent,
    Wait,
    chunked,
    completion_chunk,
    sse_event,
)

from .caller import Reply
from .expect import assert_broken
from .wire import ROLE, SSE_HEAD, delta, refusal
from .world import Good, OpenWorld, World

pytestmark = pytest.mark.anyio

CONTINUE = {"x-opengateway-on-stream-break": "continue"}
IDLE_S = 0.1

PIECES = ["Hel", "lo, wörld", ", this is ", "the 🌍 that", " was."]
TEXT = "".join(PIECES)
DATA = b'data: {"choices":[{"index":0,"delta":{"content":"'
BREAKS: dict[str, list[Any]] = {
    "RST": [Reset()],
    "RST in mid-event": [chunked(delta("half")[:-20]), Reset()],
    "FIN": [Fin()],
    "FIN in mid-event": [chunked(delta("half")[:-20]), Fin()],
    "silence": [Hang()],
    "half JSON": [chunked(DATA + b"ha\n\n" + SSE_DONE, last=True)],
    "error event": [chunked(sse_event({"error": {"message": "Engine died."}}) + SSE_DONE, last=True)],
    "clean end": [LAST_CHUNK],
}


def another(*pieces: str) -> RawScript:
    """A whole stream of a provider whose `id`s are its own, and which says its role anew."""
    chunks = [
        completion_chunk({"role": "assistant", "content": ""}),
        *(completion_chunk({"content": piece}) for piece in pieces),
        completion_chunk({}, finish_reason="stop"),
    ]
    events = [sse_event({**chunk, "id": "chatcmpl-another"}) for chunk in chunks]
    return [SSE_HEAD + chunked(*events, SSE_DONE) + LAST_CHUNK]


def cut(pieces: list[str], ending: list[Any], gate: SharedEvent) -> RawScript:
    """Breaks behind these pieces, and not before `gate`: a reset may overtake what was sent before it."""
    return [SSE_HEAD, chunked(ROLE, *map(delta, pieces)), Wait(gate), *ending]


async def ask(world: World, pieces: list[str], gate: SharedEvent, **members: Any) -> Reply:
    async with world.asking(headers=CONTINUE, **members) as exchange:
        await exchange.read_until(delta(pieces[-1]))
        gate.set()
        return await exchange.rest()


def assert_one_stream(reply: Reply, text: str, provider: str) -> None:
    """One valid stream with one id, one role, one end, this text, and a comment that names who finished it."""
    assert (reply.status, reply.ended) == (201, True), reply.body[-1000:]
    assert reply.header("x-opengateway-provider") == "one"
    assert reply.header("x-opengateway-attempts") == "1"
    blocks = reply.body.decode().split("\n\n")
    assert blocks[-3:] == [f": x-opengateway-provider: {provider}", "data: [DONE]", ""]
    chunks = [json.loads(block.removeprefix("data: ")) for block in blocks[:-3]]
    assert {chunk["id"] for chunk in chunks} == {completion_chunk({})["id"]}
    choices = [chunk["choices"][0] for chunk in chunks]
    assert {choice["index"] for choice in choices} == {0}
    assert [choice["delta"].get("role") for choice in choices if choice["delta"].get("role")] == ["assistant"]
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["stop"]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == text


def shown_to(upstream: RawUpstream, request: int = 0) -> str | None:
    """The text that the provider was asked to go on with; None: it was asked afresh."""
    body = json.loads(upstream.requests[request].body)
    *_, last = body["messages"]
    if last["role"] != "assistant":
        assert "continue_final_message" not in body
        return None
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    text: str = last["content"]
    return text


@pytest.mark.fault("F66", mode="sse")
@pytest.mark.parametrize("ending", BREAKS.values(), ids=BREAKS)
async def test_a_target_that_takes_prefill_goes_on_and_the_caller_has_one_stream(
    open_world: OpenWorld, ending: list[Any]
) -> None:
    for count in range(1, len(PIECES) + 1):
        delivered, gate = PIECES[:count], SharedEvent()
        second = RawUpstream(another(*PIECES[count:]))
        async with open_world(
            one=RawUpstream(cut(delivered, ending, gate)),
            vllm=second,
            three=Good(),
            timeouts=Timeouts(idle_s=IDLE_S),
            idle=["vllm", "one"] if isinstance(ending[-1], bytes) else ["vllm"],
        ) as world:
            reply = await ask(world, delivered, gate)
            assert_one_stream(reply, TEXT, "vllm")
            assert shown_to(second) == "".join(delivered).rstrip()
            assert world.calls() == {"one": 1, "vllm": 1, "three": 0}
            (told,) = [event for event in world.events if isinstance(event, StreamContinued)]
            assert (told.before, told.provider, told.mode) == ("one", "vllm", "prefill")


AT = 3
DELIVERED = PIECES[:AT]
REFUSED = [refusal(400, {"message": "No last assistant message.", "type": "BadRequestError", "code": 400})]


@pytest.mark.fault("F67", mode="sse")
@pytest.mark.parametrize(
    "first_answer", [REFUSED, another(TEXT), another(*PIECES)], ids=["400", "anew, at once", "anew, in pieces"]
)
@pytest.mark.parametrize("pieces", [[TEXT], list(TEXT), PIECES], ids=["at once", "character by character", "as before"])
async def test_a_target_that_refuses_prefill_or_begins_anew_is_asked_afresh(
    open_world: OpenWorld, first_answer: RawScript, pieces: list[str]
) -> None:
    gate, second = SharedEvent(), RawUpstream(first_answer, another(*pieces))
    async with open_world(
        one=RawUpstream(cut(DELIVERED, [Fin()], gate)), vllm=second, three=Good(), idle=["vllm"]
    ) as world:
        assert_one_stream(await ask(world, DELIVERED, gate), TEXT, "vllm")
        assert [shown_to(second, request) for request in (0, 1)] == ["".join(DELIVERED).rstrip(), None]
        assert world.calls() == {"one": 1, "vllm": 2, "three": 0}


@pytest.mark.fault("F67", mode="sse")
@pytest.mark.parametrize("ending", BREAKS.values(), ids=BREAKS)
async def test_a_target_without_prefill_is_asked_afresh_and_heard_from_where_the_text_stopped(
    open_world: OpenWorld, ending: list[Any]
) -> None:
    for count in range(1, len(PIECES) + 1):
        delivered, gate, second = PIECES[:count], SharedEvent(), RawUpstream(another(*TEXT))
        async with open_world(
            one=RawUpstream(cut(delivered, ending, gate)),
            two=second,
            timeouts=Timeouts(idle_s=IDLE_S),
            idle=["two", "one"] if isinstance(ending[-1], bytes) else ["two"],
        ) as world:
            assert_one_stream(await ask(world, delivered, gate), TEXT, "two")
            assert shown_to(second) is None
            assert world.calls() == {"one": 1, "two": 1}


@pytest.mark.fault("F67", mode="sse")
@pytest.mark.parametrize("two", [another("Another text, from the start."), another("Hel"), REFUSED])
async def test_where_nobody_repeats_the_text_the_break_shows_and_no_400_is_the_last_word(
    open_world: OpenWorld, two: RawScript
) -> None:
    gate = SharedEvent()
    async with open_world(one=RawUpstream(cut(DELIVERED, [Fin()], gate)), two=RawUpstream(two)) as world:
        reply = await ask(world, DELIVERED, gate)
        message = assert_broken(world, reply, "reset", prior=ROLE + b"".join(map(delta, DELIVERED)))
        assert message == "The stream of one was interrupted (reset)."
        assert world.calls() == {"one": 1, "two": 1}
        trail = json.loads(reply.body.rpartition(b"data: ")[2])["error"]["attempts"]
        assert [attempt["provider"] for attempt in trail] == ["one", "two"]


@pytest.mark.fault("F67", mode="sse")
async def test_a_target_that_refuses_the_prefill_and_the_question_is_passed_over(open_world: OpenWorld) -> None:
    gate, second = SharedEvent(), RawUpstream(REFUSED, [refusal(500)])
    async with open_world(
        one=RawUpstream(cut(DELIVERED, [Fin()], gate)),
        vllm=second,
        three=RawUpstream(another(*PIECES)),
        idle=["vllm", "three"],
    ) as world:
        assert_one_stream(await ask(world, DELIVERED, gate), TEXT, "three")
        assert world.calls() == {"one": 1, "vllm": 2, "three": 1}
        ended = [event.attempt for event in world.events if isinstance(event, AttemptEnded)]
        assert [attempt.provider for attempt in ended] == ["one", "vllm", "vllm", "three"]


BLANKS = "Dear all,\n\n  this is\ta list: \n - one \n\n"
CUTS = [at for at in range(1, len(BLANKS) + 1) if BLANKS[at - 1].isspace()]
LAST_BLANKS = [at for at in CUTS if not BLANKS[at : at + 1].isspace()]


@pytest.mark.fault("F68", mode="sse")
@pytest.mark.parametrize("given_back", [True, False], ids=["gives them back", "goes on behind them"])
@pytest.mark.parametrize("by", ["character", "text"])
async def test_no_blank_is_lost_or_doubled_wherever_the_cut_is(
    open_world: OpenWorld, given_back: bool, by: str
) -> None:
    # Between two blanks nobody could tell the next one from one that comes back.
    for at in CUTS if given_back else LAST_BLANKS:
        delivered, gate = BLANKS[:at], SharedEvent()
        shown = delivered.rstrip()
        # A server whose template strips the blanks lets the model write them again; another one shows them to it.
        rest = (BLANKS[len(shown) :] if given_back else BLANKS[at:]) + "end."
        second = RawUpstream(another(*(rest if by == "character" else [rest])))
        async with open_world(one=RawUpstream(cut([delivered], [Fin()], gate)), vllm=second, idle=["vllm"]) as world:
            reply = await ask(world, [delivered], gate)
            assert_one_stream(reply, BLANKS + "end.", "vllm")
            assert shown_to(second) == shown
