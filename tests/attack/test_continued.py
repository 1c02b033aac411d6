"""Going on with a text among providers that send what none should: no character is lost, said twice or invented."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from ogw_asgi._wire.chunks import read_chunk
from ogw_asgi._wire.transcript import Transcript
from ogw_asgi.testing import Break, RecordedRequest, Reply, ScriptedUpstream, completion_chunk, stream, tokens
from tests.contract.checks import sequence
from tests.contract.continuing import Got, ask, asked, words
from tests.contract.harness import gateway_of, using

pytestmark = pytest.mark.anyio

TEXT = "The lighthouse keeper climbed the stairs, lit the lamp, and wrote one line."
SAID = words(TEXT)
PARTS = completion_chunk({"content": [{"type": "text", "text": SAID[1]}]})


async def gone_on(first: Reply, second: Any, *, prefill: bool = False, **body: Any) -> Got:
    upstreams: dict[str, Any] = {
        "one": ScriptedUpstream(first),
        "two": using(ScriptedUpstream(second), prefill=prefill),
    }
    async with gateway_of(**upstreams, on_stream_break="continue") as world:
        return await ask(world, headers=sequence("one", "two"), **body)


@pytest.mark.contract("5.continue.exempt")
async def test_content_in_parts_is_no_text_that_somebody_could_go_on_with() -> None:
    upstreams: dict[str, Any] = {
        "one": ScriptedUpstream(stream([SAID[0], PARTS, Break()])),
        "two": ScriptedUpstream(stream(SAID)),
    }
    async with gateway_of(**upstreams, on_stream_break="continue") as world:
        async with world.stream(headers=sequence("one", "two")) as reply:
            with pytest.raises(Exception, match="incomplete chunked read|peer closed"):
                await reply.aread()
        assert world.calls() == ["one"]


@pytest.mark.contract("5.continue.one-stream")
@pytest.mark.parametrize("prefill", [True, False])
async def test_nor_is_it_skipped_where_somebody_goes_on_with_it(prefill: bool) -> None:
    again = [] if prefill else [SAID[0]]
    found = await gone_on(stream([SAID[0], Break()]), stream([*again, PARTS, *SAID[2:]]), prefill=prefill)
    assert found.assert_broken(SAID[0])["attempts"][-1]["outcome"] == "diverged"


@pytest.mark.contract("5.continue.one-stream")
async def test_another_choice_than_the_one_that_was_asked_for_is_not_taken_for_its_text() -> None:
    two = completion_chunk({"content": SAID[1]})
    two["choices"].append({"index": 1, "delta": {"content": " house"}, "finish_reason": None})
    (await gone_on(stream([SAID[0], Break()]), stream([SAID[0], two, *SAID[2:]]))).assert_broken(SAID[0])


@pytest.mark.contract("5.continue.one-stream")
async def test_a_choice_that_comes_in_two_halves_is_not_said_twice() -> None:
    halves = completion_chunk({"content": SAID[1]})
    halves["choices"] += completion_chunk({"content": SAID[2]})["choices"]
    (await gone_on(stream([SAID[0], Break()]), stream([SAID[0], halves, *SAID[3:]]))).assert_whole(TEXT)


@pytest.mark.contract("5.continue.one-stream")
async def test_the_last_text_is_not_lost_behind_a_chunk_without_choices() -> None:
    counted = {**completion_chunk({}), "choices": [], "usage": tokens(1, 2)}
    # "The" may be the beginning of the beginning, until the end comes, here without a finish_reason.
    found = await gone_on(stream(["The end of", Break()]), stream(["The", counted], finish_reason=None), prefill=True)
    assert (found.text, found.whole, found.dones) == ("The end ofThe", True, 1)


@pytest.mark.contract("5.continue.prefill")
async def test_a_beginning_that_a_limit_cut_off_before_it_was_recognised_is_not_appended() -> None:
    def begins_anew(request: RecordedRequest) -> Reply:
        return stream(SAID[: asked(request)["max_tokens"]], finish_reason="length")

    first = stream([*SAID[:5], Break()])
    (await gone_on(first, begins_anew, prefill=True, max_tokens=7)).assert_whole("".join(SAID[:7]))


@pytest.mark.contract("5.continue.prefill")
@pytest.mark.parametrize(("counted", "left"), [(0, 92), (7, 69)], ids=["in front of the text", "behind it"])
async def test_a_count_that_came_in_front_of_the_text_is_not_how_long_it_was(counted: int, left: int) -> None:
    said: list[Any] = SAID[:8]
    said[counted] = {**completion_chunk({"content": SAID[counted]}), "usage": tokens(7, 31 if counted else 1)}
    two = ScriptedUpstream(stream(SAID[8:]))
    upstreams: dict[str, Any] = {"one": ScriptedUpstream(stream([*said, Break()])), "two": using(two, prefill=True)}
    async with gateway_of(**upstreams, on_stream_break="continue") as world:
        (await ask(world, headers=sequence("one", "two"), max_tokens=100)).assert_whole(TEXT)
    assert asked(two.requests[0])["max_tokens"] == left


@pytest.mark.contract("5.continue.one-stream")
@pytest.mark.parametrize("id_", [7, ["x"]])
async def test_an_id_that_is_no_text_is_kept_too(id_: Any) -> None:
    first = {**completion_chunk({"content": SAID[0]}), "id": id_}
    async with gateway_of(
        one=ScriptedUpstream(stream([first, Break()], role_first=False)),
        two=ScriptedUpstream(stream(SAID)),
        on_stream_break="continue",
    ) as world:
        async with world.stream(headers=sequence("one", "two")) as reply:
            events = (await reply.aread()).decode().split("\n\n")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events if event.startswith("data: {")]
    assert [chunk["id"] for chunk in chunks] == [id_] * len(chunks)


@pytest.mark.contract("5.continue.one-stream")
async def test_a_stream_without_ids_gets_none() -> None:
    def nameless(pieces: Sequence[str], *end: Any) -> Reply:
        events = [completion_chunk({"content": piece}) for piece in pieces]
        end_of = completion_chunk({}, finish_reason="stop")
        for event in (*events, end_of):
            del event["id"]
        return stream([*events, *(end or [end_of])], role_first=False, finish_reason=None)

    found = await gone_on(nameless(SAID[:3], Break()), nameless(SAID))
    assert (found.text, found.ids, found.dones) == (TEXT, set(), 1)


@pytest.mark.contract("5.continue.one-stream")
@pytest.mark.parametrize(
    ("one", "two"), [(int("9" * 4300), int("9" * 4300)), (10**400, 1.5), (1.7e308, 1.7e308)], ids=["digits", "x", "inf"]
)
async def test_counts_that_have_no_sum_break_nothing(one: Any, two: Any) -> None:
    first = {**completion_chunk({"content": SAID[0]}), "usage": {"completion_tokens": one}}
    found = await gone_on(stream([first, Break()]), stream(SAID, usage={"completion_tokens": two}))
    found.assert_whole(TEXT)
    assert found.usage[-1] == {"completion_tokens": two}


def test_counts_that_are_nested_deeper_than_python_calls_itself_break_nothing() -> None:
    deep = b'{"a":' * 900 + b"1" + b"}" * 900
    chunk = read_chunk(b'{"choices":[],"usage":' + deep + b"}")
    assert chunk.kind == "data"
    transcript = Transcript()
    for _ in range(3):
        assert transcript.told(chunk)
        transcript.change_hands()
