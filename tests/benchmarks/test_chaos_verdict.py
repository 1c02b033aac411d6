"""The checker is checked: what a caller of the chaos bench must find in an answer, and what it must not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest

from benchmarks.chaos.proof import Stamp, write
from benchmarks.chaos.replies import Order, Pace, Piece, play
from benchmarks.chaos.verdict import Asked, Received, judge
from benchmarks.table import at_most, unhurried

WORDS = 6
OWN = Stamp("a", "r1", "x7")
ASKED = Asked(request="r1", words=WORDS, stream=True, sequence=("a", "b"))
PLAIN = Asked(request="r1", words=WORDS, stream=False, sequence=("a", "b"))
MARK = b'data: {"error":{"message":"m","type":"upstream_error","code":"stream_interrupted"}}\n\n'
DONE = b"data: [DONE]\n\n"


def event(stamp: Stamp, content: str, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"id": str(stamp), "choices": [choice]}).encode() + b"\n\n"


def events(stamp: Stamp = OWN, count: int = WORDS) -> list[bytes]:
    return [event(stamp, word + " ") for word in write(stamp, count)]


END = [event(OWN, "", "stop"), DONE]


def received(
    frames: list[bytes],
    *,
    ended: bool = True,
    provider: str = "a",
    request: str = "r1",
    kind: str = "text/event-stream",
) -> Received:
    headers = {"content-type": kind, "x-opengateway-provider": provider, "x-request-id": request}
    return Received(status=201, headers=headers, body=b"".join(frames), ended=ended)


def completion(words: list[str], stamp: Stamp = OWN) -> bytes:
    return json.dumps({"id": str(stamp), "choices": [{"message": {"content": " ".join(words)}}]}).encode()


def test_a_whole_stream_is_whole_with_comments_in_it_too() -> None:
    verdict = judge(ASKED, received([b": ping\n\n", *events(), *END]))
    assert (verdict.kind, verdict.stamp, verdict.words) == ("whole", OWN, WORDS)


def test_a_whole_plain_answer_is_whole() -> None:
    verdict = judge(PLAIN, received([completion(write(OWN, WORDS))], kind="application/json"))
    assert (verdict.kind, verdict.stamp) == ("whole", OWN)


def test_a_short_stream_that_says_so_in_every_way_is_broken_and_not_corrupted() -> None:
    verdict = judge(ASKED, received([*events()[:3], MARK], ended=False))
    assert (verdict.kind, verdict.words) == ("broken", 3)


def test_an_envelope_is_a_refusal_and_nothing_at_all_is_lost() -> None:
    envelope = b'{"error": {"message": "m", "code": "all_attempts_failed"}}'
    assert judge(ASKED, Received(status=502, headers={}, body=envelope, ended=True)).kind == "refused"
    assert judge(ASKED, Received(status=502, headers={}, body=b"Bad Gateway", ended=True)).kind == "corrupted"
    assert judge(ASKED, Received(status=0, headers={}, body=b"", ended=False)).kind == "lost"


OTHER_EXCHANGE = Stamp("a", "r1", "x8")
OTHER_PROVIDER = Stamp("b", "r1", "x7")
OTHER_REQUEST = Stamp("a", "r2", "x7")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(received([*events()[:3], *events(OTHER_PROVIDER)[3:], *END]), "mixed", id="two-providers"),
        pytest.param(received([*events()[:3], *events(OTHER_EXCHANGE)[3:], *END]), "mixed", id="two-answers-of-one"),
        pytest.param(
            received([*events()[:3], event(OWN, write(OTHER_PROVIDER, 4)[3]), *events()[4:], *END]),
            "mixed",
            id="a-strange-word-under-the-right-id",
        ),
        pytest.param(
            received([*events(OTHER_REQUEST), event(OTHER_REQUEST, "", "stop"), DONE]),
            "foreign",
            id="another-requests-answer",
        ),
        pytest.param(
            received([*events()[:3], event(OWN, write(OTHER_REQUEST, 4)[3]), *events()[4:], *END]),
            "foreign",
            id="another-requests-word",
        ),
        pytest.param(received([*events()[:3], *events()[2:], *END]), "repeated", id="a-word-twice"),
        pytest.param(received([*events(), *events(), *END]), "repeated", id="the-answer-twice"),
        pytest.param(received([*events()[:3], *events()[4:], *END]), "gap", id="a-word-missing"),
        pytest.param(received([*events()[1:], *END]), "gap", id="the-first-word-missing"),
        pytest.param(received([*events()[:5], *END]), "short", id="the-last-word-missing"),
        pytest.param(received(events()[:3]), "short", id="ended-early"),
        pytest.param(received([*events(), DONE]), "short", id="no-finish-reason"),
        pytest.param(received(events()[:3], ended=False), "short", id="cut-without-an-error-event"),
        pytest.param(received([*events(), END[0]], ended=False), "short", id="no-done"),
        pytest.param(received([*events(), *END], ended=False), "short", id="no-end-of-the-body"),
        pytest.param(received([*events()[:3], MARK]), "ended", id="marked-and-ended-as-if-well"),
        pytest.param(received([*events()[:3], MARK, DONE], ended=False), "behind the end", id="marked-and-done"),
        pytest.param(received([*events()[:3], MARK, *events()[3:]], ended=False), "behind the end", id="goes-on"),
        pytest.param(received([*events()[:3], events()[3][:20]], ended=False), "half an event", id="half-an-event"),
        pytest.param(received([*events()[:3], b'data: {"error":{}}\n\n'], ended=False), "another kind", id="its-own"),
        pytest.param(received([*events(), *END], provider="b"), "wrong provider", id="told-the-wrong-provider"),
        pytest.param(received([*events()[:3], MARK], ended=False, provider="b"), "wrong provider", id="broken-too"),
        pytest.param(received([*events(), *END], request="r2"), "another request", id="told-another-id"),
        pytest.param(received([*events(count=WORDS + 1), *END]), "long", id="more-than-asked-for"),
        pytest.param(received([*events(), *END], kind="application/json"), "no event stream", id="not-sse"),
        pytest.param(
            received([*events()[:3], event(OWN, "a.r1.x7.3.00000000"), *events()[4:], *END]), "altered", id="crc"
        ),
    ],
)
def test_a_stream_that_is_not_what_one_provider_sent_is_corrupted(answer: Received, why: str) -> None:
    verdict = judge(ASKED, answer)
    assert verdict.kind == "corrupted"
    assert why in verdict.why


@pytest.mark.parametrize(
    ("body", "ended", "provider", "why"),
    [
        pytest.param(completion(write(OWN, WORDS - 1)), True, "a", "short", id="a-word-missing"),
        pytest.param(completion(write(OWN, WORDS)), False, "a", "short", id="cut"),
        pytest.param(completion(write(OWN, WORDS))[:-5], True, "a", "not JSON", id="half"),
        pytest.param(completion(write(OTHER_REQUEST, WORDS), OTHER_REQUEST), True, "a", "foreign", id="foreign"),
        pytest.param(completion(write(OWN, 3) + write(OTHER_PROVIDER, WORDS)[3:]), True, "a", "mixed", id="mixed"),
        pytest.param(completion(write(OWN, WORDS)), True, "b", "wrong provider", id="told-the-wrong-provider"),
        pytest.param(b"{}", True, "a", "no completion", id="empty"),
    ],
)
def test_a_plain_answer_that_is_not_what_one_provider_sent_is_corrupted(
    body: bytes, ended: bool, provider: str, why: str
) -> None:
    verdict = judge(PLAIN, received([body], ended=ended, provider=provider, kind="application/json"))
    assert verdict.kind == "corrupted"
    assert why in verdict.why


def _relayed_blindly(fault: str, *, stream: bool, seed: int) -> Received:
    """What a caller would get if a gateway did nothing but copy the body."""
    order = Order(stamp=OWN, words=WORDS, stream=stream, pace=Pace(first_chunk_s=0, chunk_s=0, slow_s=0))
    sent = b"".join(step.data for step in play(fault, order, random.Random(seed)) if isinstance(step, Piece))
    head, _, body = sent.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1]) if head.startswith(b"HTTP/1.1 ") else 0
    ended = True
    if b"chunked" in head:
        ended = body.endswith(b"0\r\n\r\n")
        body = _unchunked(body)
    elif stated := [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length")]:
        ended = len(body) == stated[0]
    kind = "text/event-stream" if b"event-stream" in head else "application/json"
    headers = {"content-type": kind, "x-opengateway-provider": "a", "x-request-id": "r1"}
    return Received(status=status, headers=headers, body=body, ended=ended)


def _unchunked(body: bytes) -> bytes:
    data = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        data, body = data + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return data


@pytest.mark.parametrize("asked", [pytest.param(ASKED, id="stream"), pytest.param(PLAIN, id="plain")])
def test_a_healthy_providers_bytes_are_whole_when_copied(asked: Asked) -> None:
    assert judge(asked, _relayed_blindly("healthy", stream=asked.stream, seed=0)).kind == "whole"


@pytest.mark.parametrize("asked", [pytest.param(ASKED, id="stream"), pytest.param(PLAIN, id="plain")])
@pytest.mark.parametrize(
    "fault",
    ["garbage", "head_only", "cut_rst", "cut_fin", "cut_stall", "half_event", "error_first", "error_amid"],
)
def test_a_gateway_that_copied_a_broken_answer_would_be_found_at_every_place_of_the_break(
    fault: str, asked: Asked
) -> None:
    for seed in range(50):
        verdict = judge(asked, _relayed_blindly(fault, stream=asked.stream, seed=seed))
        # A provider's own plain error is one when copied, too; nothing of it is an answer.
        assert verdict.kind in ("corrupted", "lost") or (verdict.kind == "refused" and not asked.stream), (
            seed,
            verdict,
        )


SWAPS: list[Callable[[list[str]], list[str]]] = [
    lambda words: [words[1], words[0], *words[2:]],
    lambda words: words[::-1],
    lambda words: [*words[:2], words[2].replace(".2.", ".3."), *words[3:]],
    lambda words: [*words[:2], words[2].replace("a.", "b."), *words[3:]],
]


@pytest.mark.parametrize("swap", SWAPS)
def test_no_word_can_take_anothers_place(swap: Callable[[list[str]], list[str]]) -> None:
    words = swap(write(OWN, WORDS))
    assert judge(PLAIN, received([completion(words)], kind="application/json")).kind == "corrupted"


def test_in_the_short_form_times_are_shown_and_counts_are_judged() -> None:
    slow, many = at_most("p", "time", 2.0, 1.0, unit=" s"), at_most("p", "count", 2, 1)
    assert [line.short for line in unhurried([slow, many])] == [False, True]
    assert slow.short
