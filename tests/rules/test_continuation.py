"""Where a new text is joined to a delivered one, who is asked how, and who is not asked at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw_asgi._rules.classify import classify
from ogw_asgi._rules.continuation import (
    MAX_CONTINUATIONS,
    MOST_HELD_CHARS,
    RECOGNISED_CHARS,
    Mode,
    Stitch,
    asks_again,
    may_go_on,
    mode_of,
    shown,
    tokens_of,
)
from ogw_asgi._values import Outcome, ProviderError

LONG = "The lighthouse keeper climbed"
"""More than is needed to recognise it."""


def stitched(delivered: str, mode: Mode, pieces: Sequence[str], *, ends: bool = True) -> str:
    """What the caller has in the end, or why the texts cannot be joined, in brackets."""
    stitch = Stitch(delivered, mode)
    new = "".join([stitch.feed(piece) for piece in pieces])
    if ends:
        new += stitch.end()
    if stitch.dropped is not None:
        assert new == ""
        return f"[{stitch.dropped}]"
    return delivered + new if stitch.joined else "[waits]"


@pytest.mark.contract("5.continue.prefill")
@pytest.mark.parametrize(
    ("delivered", "pieces", "whole"),
    [
        ("Hello", [" world"], "Hello world"),
        ("Hello", ["", " ", "world"], "Hello world"),
        ("Hello", [], "Hello"),
        ("Hello", [""], "Hello"),
        # The blanks that were not shown come back, whole, in pieces, in part, or not at all.
        ("Hello ", [" world"], "Hello world"),
        ("Hello ", ["world"], "Hello world"),
        ("a\n\n ", ["\n", "\n", " ", "b"], "a\n\n b"),
        ("a\n\n ", ["\n\n  b"], "a\n\n  b"),
        ("a\n\n ", ["\n", "b"], "a\n\n b"),
        ("a\n\n ", ["\n"], "a\n\n "),
        ("a\n\n ", ["\t", "b"], "a\n\n \tb"),
        ("a ", [], "a "),
        # What only begins like the beginning.
        (LONG, ["The light", "s went out."], LONG + "The lights went out."),
        (LONG, ["The light"], LONG + "The light"),
        ("  x", ["  ", "y"], "  x  y"),
        # What is the beginning.
        (LONG, [LONG, " the stairs."], "[began_anew]"),
        (LONG, list(LONG), "[began_anew]"),
        (LONG, [LONG[:RECOGNISED_CHARS]], "[began_anew]"),
        (LONG, [LONG[: RECOGNISED_CHARS - 1]], LONG + LONG[: RECOGNISED_CHARS - 1]),
        ("ha", ["ha ha"], "[began_anew]"),
        ("\n Hello", ["Hello"], "[began_anew]"),
        ("\n Hello", [" \n", " Hel", "lo"], "[began_anew]"),
    ],
)
def test_what_a_prefilled_target_says_is_new_but_for_blanks_that_come_back(
    delivered: str, pieces: Sequence[str], whole: str
) -> None:
    assert stitched(delivered, "prefill", pieces) == whole


@pytest.mark.contract("5.continue.prefill")
@pytest.mark.parametrize("delivered", ["\nHello", "Hello" + " " * 10_000])
def test_blanks_without_end_are_not_compared_without_end(delivered: str) -> None:
    stitch = Stitch(delivered, "prefill")
    fed = 0
    while stitch.dropped is None and fed < 10_000:
        assert stitch.feed(" ") == ""
        fed += 1
    assert (stitch.dropped, fed) == ("began_anew", MOST_HELD_CHARS + 1)


@pytest.mark.contract("5.continue.replay")
@pytest.mark.parametrize(
    ("delivered", "pieces", "whole"),
    [
        ("Hello", ["Hello world"], "Hello world"),
        ("Hello", ["Hel", "lo", " world"], "Hello world"),
        ("Hello", ["Hello"], "Hello"),
        ("Hello ", ["Hello", " ", " world"], "Hello  world"),
        ("", ["Hello"], "Hello"),
        ("", [], ""),
        ("ha", ["haha"], "haha"),
        ("Hello", ["Help"], "[diverged]"),
        ("Hello", ["Hel", "p"], "[diverged]"),
        ("Hello", ["hello"], "[diverged]"),
        ("Hello", ["Hell"], "[diverged]"),
        ("Hello", [" Hello"], "[diverged]"),
        ("Hello", [], "[diverged]"),
    ],
)
def test_of_a_repeated_text_only_what_comes_behind_an_exact_repetition_is_new(
    delivered: str, pieces: Sequence[str], whole: str
) -> None:
    assert stitched(delivered, "replay", pieces) == whole


@pytest.mark.parametrize(
    ("delivered", "mode", "pieces"),
    [
        ("Hello", "replay", ["Hel"]),
        ("Hello", "replay", ["Hello"]),  # no progress yet
        ("", "replay", [""]),
        (LONG, "prefill", ["The"]),
        ("a\n\n", "prefill", ["\n"]),
        ("Hello", "prefill", [""]),
    ],
)
def test_nothing_is_said_before_it_is_known_to_be_new(delivered: str, mode: Mode, pieces: Sequence[str]) -> None:
    assert stitched(delivered, mode, pieces, ends=False) == "[waits]"


@pytest.mark.contract("5.continue.anew")
@pytest.mark.parametrize(
    ("pieces", "cut", "whole"),
    [
        (["The light"], False, LONG + "The light"),
        (["The light"], True, "[began_anew]"),  # it may have been either
        ([], True, LONG),
    ],
)
def test_what_was_cut_within_the_beginning_may_have_begun_anew(pieces: Sequence[str], cut: bool, whole: str) -> None:
    stitch = Stitch(LONG, "prefill")
    new = "".join([*[stitch.feed(piece) for piece in pieces], stitch.end(cut=cut)])
    assert (f"[{stitch.dropped}]" if stitch.dropped else LONG + new) == whole


def test_blanks_without_end_are_no_continuation() -> None:
    stitch = Stitch(" x", "prefill")
    for _ in range(2_000):
        assert stitch.feed(" ") == ""
    assert stitch.dropped == "began_anew"


def test_what_was_joined_stays_so_and_what_was_dropped_too() -> None:
    joined = Stitch("a", "replay")
    assert [joined.feed("ab"), joined.feed("a"), joined.end(), joined.feed("c")] == ["b", "a", "", "c"]
    dropped = Stitch("a", "replay")
    assert [dropped.feed("b"), dropped.feed("a"), dropped.end()] == ["", "", ""]
    told = Stitch("a", "prefill")
    told.drop()
    assert (told.dropped, told.feed("b")) == ("diverged", "")


@given(st.text("ab \n"), st.text("ab \n"), st.sampled_from(["prefill", "replay"]), st.lists(st.integers(0, 20)))
def test_how_the_new_text_is_cut_makes_no_difference(delivered: str, new: str, mode: Mode, cuts: list[int]) -> None:
    if mode == "prefill" and not shown(delivered):
        return
    places = sorted({0, len(new), *(cut for cut in cuts if cut < len(new))})
    pieces = [new[start:end] for start, end in zip(places, places[1:], strict=False)]
    assert stitched(delivered, mode, pieces) == stitched(delivered, mode, list(new)) == stitched(delivered, mode, [new])


@pytest.mark.parametrize(
    ("delivered", "prefills", "refused", "mode"),
    [
        ("Hello", True, False, "prefill"),
        ("Hello", False, False, "replay"),
        ("Hello", True, True, "replay"),
        (" \n", True, False, "replay"),
        ("", True, False, "replay"),
    ],
)
def test_who_is_asked_how(delivered: str, prefills: bool, refused: bool, mode: Mode) -> None:
    assert mode_of(delivered, prefills=prefills, refused=refused) == mode


@pytest.mark.contract("5.continue.exempt", "8.continuations")
@pytest.mark.parametrize(
    ("cause", "error", "text_only", "continuations", "may"),
    [
        ("reset", None, True, 0, True),
        ("idle", None, True, MAX_CONTINUATIONS - 1, True),
        ("error_event", ProviderError(type="server_error", code="500"), True, 0, True),
        ("reset", None, True, MAX_CONTINUATIONS, False),
        ("reset", None, False, 0, False),
        ("too_long", None, True, 0, False),
        ("error_event", ProviderError(code="content_filter"), True, 0, False),
        ("error_event", ProviderError(inner_code="ResponsibleAIPolicyViolation"), True, 0, False),
        ("error_event", ProviderError(type="invalid_request_error"), True, 0, False),
    ],
)
def test_what_may_be_gone_on_with(
    cause: str, error: ProviderError | None, text_only: bool, continuations: int, may: bool
) -> None:
    assert may_go_on(cause, error, text_only=text_only, continuations=continuations) is may


def status(number: int, **error: Any) -> Outcome:
    return Outcome("status", "vllm", number, ProviderError(**error))


@pytest.mark.contract("5.continue.bounded")
@pytest.mark.parametrize(
    ("mode", "outcome", "again"),
    [
        ("prefill", status(400, message="no"), True),
        ("prefill", status(422, message="Extra inputs are not permitted"), True),
        ("prefill", status(400, form="empty"), True),
        ("prefill", Outcome("diverged", "vllm", 200, detail="began_anew"), True),
        ("prefill", Outcome("diverged", "vllm", 200, detail="diverged"), False),
        ("prefill", status(500), False),
        ("prefill", status(429), False),
        ("prefill", status(401), False),
        ("prefill", status(400, code="context_length_exceeded"), False),
        ("prefill", status(400, code="content_filter"), False),
        ("prefill", Outcome("reset", "vllm"), False),
        ("replay", status(400, message="no"), False),
        ("replay", Outcome("diverged", "vllm", 200, detail="began_anew"), False),
    ],
)
def test_a_target_that_refused_only_the_added_message_is_asked_again(mode: Mode, outcome: Outcome, again: bool) -> None:
    assert asks_again(mode, outcome, classify(outcome)) is again


@pytest.mark.contract("5.continue.prefill")
@pytest.mark.parametrize(
    ("chars", "pieces", "reported", "last_blanks", "tokens"),
    [
        (40, 10, None, 0, 10),
        (40, 10, None, 2, 8),
        (4000, 10, None, 0, 1000),  # saved up, and sent together
        (40, 10, 25, 0, 25),
        (40, 10, 25, 1, 24),
        (0, 0, None, 0, 0),
        (1, 1, None, 2, 0),
    ],
)
def test_tokens_are_reported_or_counted_or_guessed(
    chars: int, pieces: int, reported: int | None, last_blanks: int, tokens: int
) -> None:
    assert tokens_of("x" * chars, pieces, reported, last_blanks) == tokens


@pytest.mark.parametrize("more", ["x", MOST_HELD_CHARS * "\n" + "x"])
@pytest.mark.parametrize("least", [MOST_HELD_CHARS, MOST_HELD_CHARS + 1])
@pytest.mark.parametrize("delivered", ["  Once upon a time, there was a", "text" + 3000 * "\n"])
def test_what_is_held_ends_at_the_same_character_however_the_text_is_cut(delivered: str, least: int, more: str) -> None:
    new = least * "\n" + more
    whole, cut = Stitch(delivered, "prefill"), Stitch(delivered, "prefill")
    told = whole.feed(new), "".join(map(cut.feed, new))
    assert told[0] == told[1]
    assert (whole.joined, whole.dropped) == (cut.joined, cut.dropped)
