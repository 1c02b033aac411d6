"""The caller of FailoverBench sees each fault of the crash-test provider as what it is, with no gateway in between."""

from __future__ import annotations

import anyio
import pytest

from benchmarks.failoverbench.answer import Answer
from benchmarks.failoverbench.caller import ask
from ogw_asgi.testing import CrashTestProvider

pytestmark = pytest.mark.anyio


async def asked(model: str, *, streamed: bool = True, patience_s: float = 10.0, scale: float = 0.001) -> Answer:
    async with CrashTestProvider(scale=scale) as provider:
        return await ask(provider.url, model, {}, streamed=streamed, patience_s=patience_s)


@pytest.mark.parametrize(
    ("model", "kind", "note"),
    [
        ("healthy", "whole", ""),
        ("always-503", "error", "503 server_is_overloaded"),
        ("reset-once", "wrong", "no answer at all"),
        ("mute", "wrong", "no answer at all"),
        ("cut-mid-stream", "error", "broke after 40 words, without an end"),
        ("stall-mid-stream", "error", "broke after 20 words, without an end"),
        ("malformed-event", "wrong", "shown as a success: an event that is no JSON object"),
        ("no-done", "wrong", "shown as a success: no [DONE]"),
    ],
)
async def test_a_stream_is_what_the_model_makes_of_it(model: str, kind: str, note: str) -> None:
    answer = await asked(model)
    assert (answer.kind, answer.note) == (kind, note)


@pytest.mark.parametrize(
    ("model", "kind"),
    [("healthy", "whole"), ("cut-mid-stream", "error"), ("malformed-event", "wrong"), ("late-first-word", "whole")],
)
async def test_so_is_a_plain_answer(model: str, kind: str) -> None:
    assert (await asked(model, streamed=False)).kind == kind


async def test_usage_and_model_are_read_from_the_chunks() -> None:
    answer = await asked("healthy@x")
    assert answer.model == "healthy@x"
    assert answer.usage is not None
    assert answer.usage["completion_tokens"] == 60


async def test_a_caller_has_no_endless_patience() -> None:
    # Long enough that the request has gone out on a busy machine: httpx leaves a generator behind when cancelled in it.
    with anyio.fail_after(10):
        answer = await asked("mute", patience_s=1.0, scale=1000)
    assert (answer.kind, answer.note) == ("wrong", "not over when the caller gave up")
    assert answer.took_s >= 1.0


async def test_the_longest_pause_is_that_between_two_pieces() -> None:
    answer = await asked("healthy", scale=1)  # 10 ms before each of sixty words
    assert 0.009 < answer.longest_pause_s < answer.took_s / 2
