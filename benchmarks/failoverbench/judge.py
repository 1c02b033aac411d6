"""The checks and the verdict of a scenario, from the caller's answers and the provider's own log. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ogw_asgi.testing import CrashTestCall

from .answer import Answer

Verdict = Literal["pass", "partial", "safe", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Times of a scenario in those of the run: `scale` for all, and a grace for what cannot be scaled."""

    scale: float = 1.0
    grace_s: float = 0.0

    def at_least(self, seconds: float) -> float:
        return seconds * self.scale

    def at_most(self, seconds: float) -> float:
        return seconds * self.scale + self.grace_s


@dataclass(frozen=True, slots=True)
class Check:
    """`what` reads as a shortcoming. What is advisory makes a verdict partial, the rest a fail."""

    what: str
    ok: bool
    advisory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What happened in one scenario. Calls are the provider's; `recovery_s` is when a provider that was down was not.

    process_lives: the gateway's process was still there when all was over. healthy: the plain call at the end.
    """

    answers: Sequence[Answer]
    primary: Sequence[CrashTestCall]
    fallback: Sequence[CrashTestCall]
    fallback_model: str
    healthy: Answer
    process_lives: bool = True
    recovery_s: float | None = None
    bounds: Bounds = field(default_factory=Bounds)

    @property
    def calls(self) -> list[CrashTestCall]:
        return sorted([*self.primary, *self.fallback], key=lambda call: call.started_s)


@dataclass(frozen=True, slots=True)
class Judged:
    verdict: Verdict
    note: str


HEALTHY_WITHIN_S = 10.0
"""Never scaled: whoever waits for the machine is not at fault."""


def judge(history: History, checks: Sequence[Check], *, refusal_owed: bool = False) -> Judged:
    """Wrong answers and what comes after them first; then whether the caller was rescued, then how.

    `refusal_owed`: a clean error is what the scenario asks for, and an answer is a fail.
    """
    if wrong := [answer.note for answer in history.answers if answer.kind == "wrong"]:
        return Judged("fail", wrong[0])
    if not history.answers:
        return Judged("fail", "nothing was asked")
    if not history.process_lives:
        return Judged("fail", "the gateway's process has ended")
    if history.healthy.kind != "whole" or history.healthy.took_s > HEALTHY_WITHIN_S:
        note = history.healthy.note or f"{history.healthy.took_s:.1f} s"
        return Judged("fail", f"the healthy call afterwards: {note}")
    short = [check.what for check in checks if not check.ok and not check.advisory]
    errors = [answer.note for answer in history.answers if answer.kind == "error"]
    if refusal_owed:
        if len(errors) < len(history.answers):
            return Judged("fail", "; ".join(["answered", *short]))
    elif errors:
        # What is short may only follow from the missing answer, unless the error itself is what must not be.
        barred = [check.what for check in checks if not check.ok and isinstance(check, Barred)]
        return Judged("fail", "; ".join(barred)) if barred else Judged("safe", errors[0])
    if short:
        return Judged("fail", "; ".join(short))
    if advisory := [check.what for check in checks if not check.ok]:
        return Judged("partial", "; ".join(advisory))
    return Judged("pass", "")


class Barred(Check):
    """A check that makes even a clean error a fail."""


# --- checks -------------------------------------------------------------------------------------------------------


def answered_within(history: History, seconds: float) -> Check:
    bound_s = history.bounds.at_most(seconds)
    took_s = max((answer.took_s for answer in history.answers), default=0.0)
    return Check(f"took {took_s:.1f} s, more than {bound_s:g}", took_s <= bound_s)


def usage_there(history: History) -> Check:
    return Check("no usage", all(_counted(answer) for answer in history.answers))


def _counted(answer: Answer) -> bool:
    return bool(answer.usage) and all((answer.usage or {}).get(f"{part}_tokens") for part in ("completion", "total"))


def says_fallback(history: History) -> Check:
    models = {answer.model for answer in history.answers}
    return Check(f"reported as {models}", models == {history.fallback_model})


def fallback_not_asked(history: History) -> Check:
    return Check(f"the fallback was asked, {len(history.fallback)} times", not history.fallback)


def refused_with(history: History, code: str, message: str) -> Check:
    errors = [answer.error for answer in history.answers]
    ok = all(error.get("code") == code and message in str(error.get("message")) for error in errors)
    return Check("the reason is not the provider's", ok)


def not_the_last_word(history: History, message: str) -> Barred:
    said = any(message in str(answer.error.get("message")) for answer in history.answers)
    return Barred("the refused continuation is the last word", not said)


def primary_asked(history: History, at_least: int, at_most: int | None) -> Check:
    count = len(history.primary)
    ok = at_least <= count and (at_most is None or count <= at_most)
    return Check(f"primary asked {count} times", ok, advisory=True)


def asked_in_all(history: History, at_most: int) -> Check:
    return Check(f"{len(history.calls)} calls in all", len(history.calls) <= at_most, advisory=True)


def asked_in_first(history: History, calls: Sequence[CrashTestCall], seconds: float, at_most: int) -> Check:
    """At most so many of these calls in the first seconds since the first of them."""
    end_s = calls[0].started_s + history.bounds.at_least(seconds) if calls else 0.0
    count = sum(call.started_s <= end_s for call in calls)
    return Check(f"{count} calls in {history.bounds.at_least(seconds):g} s", count <= at_most, advisory=True)


def primary_asked_again_after(history: History, seconds: float) -> Check:
    if len(history.primary) < 2:
        return Check("the same model was not asked again", False, advisory=True)
    waited_s = history.primary[1].started_s - history.primary[0].started_s
    what = f"asked again after {waited_s:.2f} s, sooner than {history.bounds.at_least(seconds):g}"
    return Check(what, waited_s >= history.bounds.at_least(seconds), advisory=True)


def fewer_calls_than_callers(history: History) -> Check:
    assert history.recovery_s is not None
    calls = sum(call.started_s < history.recovery_s for call in history.primary)
    callers = sum(answer.start_s < history.recovery_s for answer in history.answers)
    return Check(f"{calls} calls of {callers} callers while it was down", calls < callers, advisory=True)


def primary_used_again_within(history: History, seconds: float) -> Check:
    assert history.recovery_s is not None
    answered = [call.started_s - history.recovery_s for call in history.primary if call.played == "answer"]
    bound_s = history.bounds.at_most(seconds)
    what = f"used again {min(answered):.1f} s after its recovery" if answered else "not used again"
    return Check(what, bool(answered) and min(answered) <= bound_s, advisory=True)
