"""Going on where another provider's text stopped (contract, section 5): what of the new text is new to the caller?

Two ways. By *prefill* the new target is shown the text and writes on, so all that it says is new, but for the blanks
that chat templates strip from the end of what they are shown: those it says again. By *replay* it is asked afresh, and
only what comes behind an exact repetition of the delivered text is new. Nothing is ever guessed: where a character
could be lost, said twice or invented, the answer is that it cannot go on (`Dropped`).

Pure: (delivered text, mode, new text) -> what to send, or why not.
"""

from __future__ import annotations

from typing import Literal

from .._values import Outcome, ProviderError
from .table import Verdict, blames_the_request

Mode = Literal["prefill", "replay"]
Dropped = Literal["began_anew", "diverged"]

MAX_CONTINUATIONS = 2
"""How often a stream may change hands: a text that three providers could not finish is in trouble of its own."""

RECOGNISED_CHARS = 24
"""So many characters from the beginning of the delivered text are its beginning again, and no continuation."""

MOST_HELD_CHARS = 1024
"""What could still be the beginning, or the blanks, again is held and compared piece by piece, up to here: without an
end, a server of blanks would have the whole gateway compare them for minutes."""

STALLED_S = 5.0
"""A stream that has said nothing for so long before it broke had stalled: whoever is asked to repeat it would wait as
long again."""

CHARS_PER_TOKEN = 4
"""About what tokenizers make of English; other scripts have fewer."""

CHARS_PER_PIECE = 8
"""Servers that send a piece for each token send shorter ones than this on the average; others save tokens up."""

# Everything else about the request was accepted elsewhere; what this target refuses is the message that was added.
_REFUSALS = frozenset({"bad_request", "unsupported_parameter", "invalid_answer"})


class Stitch:
    """Where the new text is joined to the delivered one. Tell it the new text piece by piece.

    Attributes:
        joined: there is something new, or an end; from here on all that comes is new.
        dropped: why it can never be joined. `began_anew` only in the mode `prefill`: whoever is asked afresh instead
            may still repeat the text.
    """

    def __init__(self, delivered: str, mode: Mode) -> None:
        self.joined = False
        self.dropped: Dropped | None = None
        self._mode = mode
        self._delivered = delivered
        self._repeated = 0  # characters, in the mode `replay`
        self._blanks = delivered[len(shown(delivered)) :]
        # Some servers strip the blanks in front of an answer, too.
        self._leads_with_blanks = delivered[:1].isspace()
        self._opening = self._comparable(delivered)[:RECOGNISED_CHARS]
        self._held = ""

    def feed(self, text: str) -> str:
        """What the caller gets of the next piece of the new text."""
        if self.joined or self.dropped:
            return text if self.joined else ""
        if self._mode == "replay":
            return self._repeat(text)
        self._held += text
        # One character more than may be held decides, or how the text is cut would.
        held = self._held[: MOST_HELD_CHARS + 1]
        begun = self._comparable(held)[: len(self._opening)]
        begins = begun == self._opening[: len(begun)]  # or is the beginning of the beginning
        blank = len(held) < len(self._blanks) and self._blanks.startswith(held)
        if begins or blank:  # what comes next will tell
            if (begins and len(begun) == len(self._opening)) or len(held) > MOST_HELD_CHARS:
                self.dropped = "began_anew"
            return ""
        return self._join()

    def drop(self) -> None:
        """Something came that has no place in a text: reasoning, say, where the first one had none."""
        self.dropped = "diverged"

    def end(self, *, cut: bool = False) -> str:
        """No more text will come: what the caller still gets. `cut`: not because all has been said."""
        if self.joined or self.dropped:
            return ""
        if self._mode == "prefill":
            # A whole answer that began anew would have been as long as what was delivered; one that was cut need not.
            if cut and self._held:
                self.dropped = "began_anew"
                return ""
            return self._join()
        if self._repeated < len(self._delivered):
            self.dropped = "diverged"
        else:
            self.joined = True
        return ""

    def _repeat(self, text: str) -> str:
        again = self._delivered[self._repeated : self._repeated + len(text)]
        if not text.startswith(again):
            self.dropped = "diverged"
            return ""
        self._repeated += len(again)
        new = text[len(again) :]
        self.joined = bool(new)
        return new

    def _comparable(self, text: str) -> str:
        return text.lstrip() if self._leads_with_blanks else text

    def _join(self) -> str:
        self.joined = True
        doubled = 0
        for blank, char in zip(self._blanks, self._held, strict=False):
            if blank != char:
                break
            doubled += 1
        return self._held[doubled:]


def shown(delivered: str) -> str:
    """The delivered text as it is shown to a target that writes on: templates would strip its last blanks."""
    return delivered.rstrip()


def may_go_on(cause: str, error: ProviderError | None, *, text_only: bool, continuations: int) -> bool:
    """Whether a stream that broke like this may be gone on with by anybody.

    Not when the request itself was at fault, in the eyes of its provider: a filter's verdict is not to be got round.
    """
    return text_only and continuations < MAX_CONTINUATIONS and cause != "too_long" and not blames_the_request(error)


def mode_of(delivered: str, *, prefills: bool, refused: bool) -> Mode:
    """How a target is asked. `refused`: it was shown the text before, and did not write on."""
    # There is nothing to show of blanks alone.
    return "prefill" if prefills and not refused and shown(delivered) else "replay"


def asks_again(mode: Mode, outcome: Outcome, verdict: Verdict) -> bool:
    """Whether this end of an attempt to go on says no more than that the text must not be shown to this target."""
    if mode != "prefill":
        return False
    if outcome.kind == "diverged":
        return outcome.detail == "began_anew"
    return outcome.kind == "status" and 400 <= (outcome.status or 0) <= 499 and verdict.reason in _REFUSALS


def tokens_of(delivered: str, pieces: int, reported: int | None, last_blanks: int) -> int:
    """How many tokens need not be written again of a text that came in so many pieces.

    As its provider reported, else a piece each, else by its length; less the `last_blanks` pieces that are not shown.
    """
    if reported is None:
        reported = pieces if len(delivered) <= CHARS_PER_PIECE * pieces else len(delivered) // CHARS_PER_TOKEN
    return max(0, reported - last_blanks)
