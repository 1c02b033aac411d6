"""The sixteen scenarios of FailoverBench v0.1: which model breaks, and what has to be shown. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from . import judge
from .judge import Check, History, Judged

DOWN_S = 60.0
"""How long the provider of S15 is down, before scaling."""
USED_AGAIN_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Seconds are those of real timings. `checks` beside those that every scenario has: see `judge.judge`.

    remark: what is worth knowing of a pass.
    patience_s: when the caller gives up. callers: one every `every_s`, each with one call.
    slower: scaled less, because the gateway has 5 s of its own there: a stream that was silent for as long has stalled,
        and that is the cooldown after a 503.
    """

    id: str
    title: str
    primary: str
    checks: Callable[[History], Sequence[Check]] = lambda history: ()
    remark: Callable[[History], str] = lambda history: ""
    fallback: str = ""
    refusal_owed: bool = False
    patience_s: float = 110.0
    callers: int = 1
    every_s: float = 0.0
    slower: bool = False

    def judge(self, history: History) -> Judged:
        judged = judge.judge(history, self.checks(history), refusal_owed=self.refusal_owed)
        return Judged("pass", self.remark(history)) if judged.verdict == "pass" else judged


def _longest_pause(history: History) -> str:
    return f"longest pause {max(answer.longest_pause_s for answer in history.answers):.2f} s"


def _used_again(history: History) -> str:
    first = next(call for call in history.primary if call.played == "answer")
    caller = sum(answer.start_s <= first.started_s for answer in history.answers)
    return f"used again {first.started_s - (history.recovery_s or 0.0):.1f} s after its recovery, by caller {caller}"


def _s01(history: History) -> list[Check]:
    return [
        judge.primary_asked_again_after(history, 1.8),
        judge.asked_in_first(history, history.calls, 1.5, 2),
    ]


def _s02(history: History) -> list[Check]:
    return [judge.asked_in_first(history, history.primary, 3.0, 4), judge.asked_in_all(history, 6)]


def _s06(history: History) -> list[Check]:
    return [judge.answered_within(history, 100.0), judge.primary_asked(history, 1, 1)]


def _s13(history: History) -> list[Check]:
    return [
        judge.refused_with(history, "content_policy_violation", "rejected as a result of our safety system"),
        judge.fallback_not_asked(history),
        judge.primary_asked(history, 1, 1),
    ]


def _s15(history: History) -> list[Check]:
    return [
        judge.primary_used_again_within(history, USED_AGAIN_WITHIN_S),
        judge.fewer_calls_than_callers(history),
    ]


def _s16(history: History) -> list[Check]:
    return [judge.says_fallback(history), judge.usage_there(history), judge.primary_asked(history, 0, 6)]


_ALL = (
    Scenario(id="S01", title="429 once, Retry-After: 2", primary="rate-limited-once", checks=_s01),
    Scenario(id="S02", title="429 for ever", primary="always-rate-limited", checks=_s02),
    Scenario(
        id="S03",
        title="500 once",
        primary="error-500-once",
        checks=lambda history: [judge.primary_asked_again_after(history, 0.0)],
    ),
    Scenario(
        id="S04",
        title="503 for ever",
        primary="always-503",
        checks=lambda history: [judge.primary_asked(history, 0, 6)],
    ),
    Scenario(id="S05", title="reset once", primary="reset-once"),
    Scenario(id="S06", title="mute for 120 s", primary="mute", checks=_s06),
    Scenario(
        id="S07",
        title="first word after 20 s",
        primary="late-first-word",
        checks=lambda history: [judge.answered_within(history, 15.0)],
    ),
    Scenario(id="S08", title="closed after 40 words", primary="cut-mid-stream", remark=_longest_pause),
    Scenario(
        id="S09",
        title="30 s of silence after 20 words",
        primary="stall-mid-stream",
        remark=_longest_pause,
        slower=True,
        checks=lambda history: [judge.answered_within(history, 45.0)],
    ),
    Scenario(id="S10", title="an event of invalid JSON", primary="malformed-event", remark=_longest_pause),
    Scenario(
        id="S11",
        title="no [DONE]",
        primary="no-done",
        checks=lambda history: [judge.answered_within(history, 8.0), judge.usage_there(history)],
    ),
    Scenario(
        id="S12",
        title="400 context length",
        primary="context-length-exceeded",
        checks=lambda history: [judge.primary_asked(history, 1, 1)],
    ),
    Scenario(id="S13", title="400 content policy", primary="content-policy-violation", checks=_s13, refusal_owed=True),
    Scenario(
        id="S14",
        title="as S08; no prefill at the fallback",
        primary="cut-mid-stream",
        fallback="fallback-refuses-prefill",
        remark=_longest_pause,
        checks=lambda history: [judge.not_the_last_word(history, "assistant message prefill")],
    ),
    Scenario(
        id="S15",
        title="503 for 60 s",
        primary="down-for-60s",
        checks=_s15,
        remark=_used_again,
        callers=20,
        every_s=4.0,
        slower=True,
    ),
    Scenario(id="S16", title="who answered, and usage", primary="always-503", checks=_s16),
)

SCENARIOS: Mapping[str, Scenario] = {scenario.id: scenario for scenario in _ALL}
