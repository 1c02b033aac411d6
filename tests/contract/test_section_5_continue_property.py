"""Contract section 5, `continue`, for any text, in any pieces, cut anywhere, with any of three who go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from ogw_asgi import VLLM, Gateway, OpenAI, Timeouts
from ogw_asgi.testing import ScriptedUpstream, asgi_client

from .continuing import BREAKS, Got, begins_anew, broken, pieces, prefills, read, refuses
from .harness import World

NEXT: dict[str, Callable[..., Any]] = {"prefills": prefills, "refuses prefill": refuses, "begins anew": begins_anew}

# Blanks and a few letters: texts that repeat themselves, and end and begin with what templates strip.
NARROW = st.text(st.sampled_from("ab \n"), max_size=60)
WIDE = st.text(max_size=60)
REFRAIN = st.builds(
    lambda line, times: line * times, st.text(st.sampled_from("abc. \n"), max_size=30), st.integers(1, 5)
)
SPACED = st.lists(st.sampled_from(["one", "two", " ", "  ", "\n", " \n\n", "\t "]), max_size=12).map("".join)
TEXTS = st.one_of(NARROW, WIDE, REFRAIN, SPACED)

Story = tuple[list[str], int, str, Sequence[int]]
"""A text in pieces, how many of them come before the break, the text, and where the next one cuts it."""


@st.composite
def stories(draw: st.DrawFn) -> Story:
    text = draw(TEXTS)
    cuts = draw(st.lists(st.integers(0, len(text)), max_size=8) | st.just(range(len(text))))
    said = pieces(text, *cuts)
    # Behind blanks is where it is hardest.
    behind_blanks = [count for count in range(len(said) + 1) if "".join(said[:count])[-2:].isspace()]
    count = draw(st.integers(0, len(said)) | st.sampled_from(behind_blanks or [0]))
    return said, count, text, draw(st.lists(st.integers(0, 60), max_size=8) | st.just(range(200)))


async def tell(said: Sequence[str], how: str, text: str, following: Any) -> Got:
    first, second = ScriptedUpstream(broken(said, how)), ScriptedUpstream(following)
    async with first.client() as one, second.client() as two:
        gateway = Gateway(
            providers=[OpenAI(api_key="sk-c4n4ry-k", client=one), VLLM(endpoint="http://vllm.test", client=two)],
            failover_sequence=["openai", "vllm"],
            on_stream_break="continue",
            timeouts=Timeouts(idle_s=0.2),
        )
        async with gateway, asgi_client(gateway) as client:
            async with World(gateway, client).stream() as reply:
                assert reply.status_code == 201, await reply.aread()
                return await read(reply)


def run(*arguments: Any) -> Got:
    """On trio, whose clock jumps over the silence."""
    return anyio.run(tell, *arguments, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


def any_story(examples: int, **more: st.SearchStrategy[Any]) -> Callable[[Any], Any]:
    def decorate(test: Any) -> Any:
        limited = settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        return limited(given(story=stories(), how=st.sampled_from(sorted(BREAKS)), **more)(test))

    return decorate


def is_whole(following: str, story: Story, how: str) -> None:
    said, count, text, cuts = story
    run(said[:count], how, text, NEXT[following](text, lambda rest: pieces(rest, *cuts))).assert_whole(text)


def is_joined_or_broken(story: Story, how: str, other: str) -> None:
    said, count, _, cuts = story
    delivered = "".join(said[:count])
    found = run(said[:count], how, other, refuses(other, lambda rest: pieces(rest, *cuts)))
    if other.startswith(delivered):
        found.assert_whole(other)
    else:
        found.assert_broken(delivered)


@pytest.mark.contract("5.continue.one-stream", "5.continue.prefill", "5.continue.replay")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("following", NEXT)
@any_story(examples=100)
def test_whatever_is_cut_wherever_the_text_is_whole(following: str, story: Story, how: str) -> None:
    is_whole(following, story, how)


@pytest.mark.contract("5.continue.replay")
@pytest.mark.timeout(120)
@any_story(examples=100, other=TEXTS)
def test_another_text_is_never_joined_to_the_delivered_one(story: Story, how: str, other: str) -> None:
    is_joined_or_broken(story, how, other)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("following", NEXT)
@any_story(examples=5_000)
def test_whatever_of_many_more_is_cut_wherever_the_text_is_whole(following: str, story: Story, how: str) -> None:
    is_whole(following, story, how)


@pytest.mark.long
@pytest.mark.timeout(1200)
@any_story(examples=5_000, other=TEXTS)
def test_none_of_many_more_other_texts_is_joined_to_the_delivered_one(story: Story, how: str, other: str) -> None:
    is_joined_or_broken(story, how, other)
