"""F40 to F48: streams that break after their first chunk, and some that only look broken."""

from __future__ import annotations

import pytest

from ogw_asgi import Limits, Timeouts
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
    http_head,
    http_response,
    sse_event,
)

from .expect import assert_answered, assert_broken
from .faults import Endless
from .selection import Case
from .wire import JSON, PING, PRIOR, SSE, SSE_HEAD, STOP, completion, delta, good
from .world import Good, OpenWorld

pytestmark = pytest.mark.anyio

KEPT = ("one", "two")
"""Where the HTTP body had its end, the connection is as good as new, whatever its events were."""

HALF = delta("half of an event")[:-20]
GOES_ON = delta(" and on") + STOP + SSE_DONE
IDLE_S = 0.1


@pytest.mark.fault("F40", mode="sse")
@pytest.mark.parametrize("tail", [b"", HALF], ids=["at a boundary", "in mid-event"])
async def test_a_reset_shows_and_nothing_is_sent_again(open_world: OpenWorld, tail: bytes) -> None:
    # A reset may overtake what was sent before it, so it waits until the caller has the events.
    gate = SharedEvent()
    resetting = RawUpstream([SSE_HEAD, chunked(PRIOR + tail), Wait(gate), Reset()])
    async with open_world(one=resetting, two=Good()) as world:
        async with world.asking() as exchange:
            await exchange.read_until(PRIOR)
            gate.set()
            assert_broken(world, await exchange.rest(), "reset")
        assert world.calls() == {"one": 1, "two": 0}
        assert resetting.connections == 1


ENDS: dict[str, tuple[RawScript, str]] = {
    "chunked": ([SSE_HEAD, chunked(PRIOR), Fin()], "reset"),
    "chunked, in mid-event": ([SSE_HEAD, chunked(PRIOR + HALF), Fin()], "reset"),
    "chunked, in mid-chunk": ([SSE_HEAD, chunked(PRIOR + HALF)[:-30], Fin()], "reset"),
    "chunked, with its end": ([SSE_HEAD, chunked(PRIOR, last=True)], "incomplete"),
    "chunked, with its end, in mid-event": ([SSE_HEAD, chunked(PRIOR + HALF, last=True)], "not_json"),
    "short of its length": ([http_head(200, {**SSE, "content-length": "9999"}), PRIOR, Fin()], "reset"),
    "of its length": ([http_response(200, PRIOR, SSE)], "incomplete"),
    "close-delimited": ([http_head(200, SSE), PRIOR, Fin()], "incomplete"),
    "close-delimited, in mid-event": ([http_head(200, SSE), PRIOR + HALF, Fin()], "not_json"),
}


@pytest.mark.fault("F41", mode="sse")
@pytest.mark.parametrize(("script", "cause"), ENDS.values(), ids=ENDS)
async def test_an_end_without_finish_reason_and_done_shows(
    open_world: OpenWorld, script: RawScript, cause: str
) -> None:
    async with open_world(one=RawUpstream(script), two=Good(), idle=["two"] if Fin() in script else KEPT) as world:
        assert_broken(world, await world.ask(), cause)
        assert world.calls() == {"one": 1, "two": 0}


FINISHED: dict[str, RawScript] = {
    "chunked": [SSE_HEAD, chunked(PRIOR + STOP), Fin()],
    "chunked, with its end": [SSE_HEAD, chunked(PRIOR + STOP, last=True)],
    "short of its length": [http_head(200, {**SSE, "content-length": "9999"}), PRIOR + STOP, Fin()],
    "close-delimited": [http_head(200, SSE), PRIOR + STOP, Fin()],
    "close-delimited, no blank line": [http_head(200, SSE), PRIOR + STOP.rstrip(b"\n"), Fin()],
}


@pytest.mark.fault("F42", mode="sse")
@pytest.mark.parametrize("script", FINISHED.values(), ids=FINISHED)
async def test_an_end_after_the_finish_reason_is_complete_and_gets_its_done(
    open_world: OpenWorld, script: RawScript
) -> None:
    async with open_world(one=RawUpstream(script), two=Good(), idle=KEPT) as world:
        reply = await world.ask()
        assert (reply.status, reply.body, reply.ended) == (201, PRIOR + STOP + SSE_DONE, True)
        assert world.calls() == {"one": 1, "two": 0}


@pytest.mark.fault("F43", mode="sse")
@pytest.mark.parametrize("tail", [b"", HALF], ids=["silence", "half an event"])
async def test_silence_beyond_the_idle_limit_shows(open_world: OpenWorld, tail: bytes) -> None:
    silent = RawUpstream([SSE_HEAD, chunked(PRIOR + tail), Hang()])
    async with open_world(one=silent, two=Good(), timeouts=Timeouts(idle_s=IDLE_S)) as world:
        assert_broken(world, await world.ask(), "idle")
        await silent.peer_closed()
        assert world.calls() == {"one": 1, "two": 0}


@pytest.mark.fault("F43", mode="sse")
async def test_comments_do_not_move_the_idle_limit(open_world: OpenWorld) -> None:
    pinging = RawUpstream(Endless(SSE_HEAD, chunked(PRIOR), chunked(PING)))
    async with open_world(one=pinging, two=Good(), timeouts=Timeouts(idle_s=IDLE_S)) as world:
        reply = await world.ask()
        assert reply.body.startswith(PRIOR)
        rest = reply.body[len(PRIOR) :].lstrip(PING)
        assert_broken(world, reply, "idle", prior=reply.body[: -len(rest)])
        assert world.calls() == {"one": 1, "two": 0}


ERRORS = {
    "OpenAI's": (sse_event({"error": {"message": "Engine died.", "type": "server_error"}}), "Engine died."),
    "flat": (sse_event({"object": "error", "message": "Engine died.", "code": 500}), "Engine died."),
    "text": (sse_event({"error": "Engine died."}), "Engine died."),
    "named": (b'event: error\ndata: {"message":"Engine died."}\n\n', "Engine died."),
    "beside choices": (
        sse_event({**completion_chunk({}, finish_reason="error"), "error": {"message": "Engine died."}}),
        "Engine died.",
    ),
    "without words": (b"event: error\ndata:\n\n", ""),
}


@pytest.mark.fault("F44", mode="sse")
@pytest.mark.parametrize(("event", "words"), ERRORS.values(), ids=ERRORS)
async def test_an_error_event_is_shown_and_the_done_behind_it_withheld(
    open_world: OpenWorld, event: bytes, words: str
) -> None:
    script = [SSE_HEAD, chunked(PRIOR), chunked(event + SSE_DONE, last=True)]
    async with open_world(one=RawUpstream(script), two=Good(), idle=KEPT) as world:
        message = assert_broken(world, await world.ask(), "error_event")
        assert message.endswith(words)
        assert world.calls() == {"one": 1, "two": 0}


DAMAGED = {
    "invalid UTF-8": b'data: {"choices":[{"index":0,"delta":{"content":"\xff"}}]}\n\n',
    "surrogate bytes": b'data: {"choices":[{"index":0,"delta":{"content":"\xed\xa0\x80"}}]}\n\n',
    "a cut character": delta("ö").replace("ö".encode(), b"\xc3"),
    "half JSON": b'data: {"choices":[{"index":0,"delta":{"content":"ha\n\n',
    "text": b"data: upstream timed out\n\n",
    "HTML": b"data: <html>\n\n",
    "an array": b"data: []\n\n",
}


@pytest.mark.fault("F45", mode="sse")
@pytest.mark.parametrize("event", DAMAGED.values(), ids=DAMAGED)
async def test_a_damaged_event_shows_and_is_not_passed_on(open_world: OpenWorld, event: bytes) -> None:
    script = [SSE_HEAD, chunked(PRIOR), chunked(event + GOES_ON, last=True)]
    async with open_world(one=RawUpstream(script), two=Good(), idle=KEPT) as world:
        assert_broken(world, await world.ask(), "not_json")
        assert world.calls() == {"one": 1, "two": 0}


TOKENS = delta("token ")


@pytest.mark.fault("F46", mode="sse")
@pytest.mark.parametrize(
    "limit",
    [{"limits": Limits(upstream_stream_bytes=200_000)}, {"timeouts": Timeouts(stream_max_s=0.2)}],
    ids=["bytes", "seconds"],
)
async def test_endless_tokens_are_cut_at_the_limit(open_world: OpenWorld, limit: dict[str, Limits | Timeouts]) -> None:
    async with open_world(one=RawUpstream(Endless(SSE_HEAD, chunked(TOKENS))), two=Good(), **limit) as world:
        reply = await world.ask()
        whole = reply.body.count(TOKENS)
        assert_broken(world, reply, "too_long", prior=TOKENS * whole)
        if "limits" in limit:
            assert whole == 200_000 // len(TOKENS)
        assert world.calls() == {"one": 1, "two": 0}


@pytest.mark.fault("F46", mode="sse")
def test_out_of_the_box_the_limits_are_an_hour_and_256_mib() -> None:
    assert Timeouts().stream_max_s == 3600
    assert Limits().upstream_stream_bytes == 256 << 20


@pytest.mark.fault("F47")
@pytest.mark.parametrize("stray", ["a second response", "its head alone", "bytes that are none"])
async def test_what_comes_after_the_end_is_nobodys_answer(open_world: OpenWorld, case: Case, stray: str) -> None:
    own = good(case.mode, "own")
    behind = {
        "a second response": good(case.mode, "somebody else's"),
        "its head alone": http_head(200, {**JSON, "content-length": "9"}),
        "bytes that are none": b"extra",
    }[stray]
    straying = RawUpstream([good(case.mode) + behind], [own])
    async with open_world(one=straying, two=Good("another's"), idle=KEPT) as world:
        assert_answered(world, await world.ask(), "one", text="Hello")
        for _ in range(3):
            # The engine may find out only when the next request has gone out, which is then not sent again.
            reply = await world.ask()
            assert reply.status == 201
            assert reply.ended
            assert b"somebody else's" not in reply.raw
            if reply.header("x-opengateway-provider") == "one":
                assert_answered(world, reply, "one", text="own")
            else:
                assert_answered(world, reply, "two", attempts=2)
        assert_answered(world, reply, "one", text="own")


@pytest.mark.fault("F48", mode="sse")
@pytest.mark.parametrize(
    ("end", "cause"), [([LAST_CHUNK], "incomplete"), ([Fin()], "reset")], ids=["with its end", "FIN"]
)
async def test_one_of_two_choices_finished_is_not_finished(open_world: OpenWorld, end: RawScript, cause: str) -> None:
    prior = delta("one") + delta("two", index=1) + STOP
    async with open_world(
        one=RawUpstream([SSE_HEAD, chunked(prior), *end]), two=Good(), idle=["two"] if Fin() in end else KEPT
    ) as world:
        assert_broken(world, await world.ask(n=2), cause, prior=prior)
        assert world.calls() == {"one": 1, "two": 0}


@pytest.mark.fault("F48", mode="sse")
async def test_both_of_two_choices_finished_is_finished(open_world: OpenWorld) -> None:
    second = sse_event(completion_chunk({}, finish_reason="stop", index=1))
    prior = delta("one") + delta("two", index=1) + STOP + second
    async with open_world(one=RawUpstream([SSE_HEAD, chunked(prior), Fin()]), two=Good()) as world:
        reply = await world.ask(n=2)
        assert (reply.status, reply.body, reply.ended) == (201, prior + SSE_DONE, True)


@pytest.mark.fault("F41", mode="json")
async def test_a_plain_answer_that_is_cut_is_no_answer_yet_and_the_next_providers_turn(open_world: OpenWorld) -> None:
    whole = completion("Hello, world")
    cuts: list[RawScript] = [
        [http_head(200, {**JSON, "content-length": str(len(whole))}), whole[:-20], Fin()],
        [http_head(200, {**JSON, "transfer-encoding": "chunked"}), chunked(whole), Fin()],
        [http_head(200, JSON), whole[:-20], Fin()],
    ]
    for script in cuts:
        async with open_world(one=RawUpstream(script), two=Good()) as world:
            assert_answered(world, await world.ask(), "two", attempts=2)
