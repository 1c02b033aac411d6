"""Every check of FailoverBench can fail: made-up histories, and the verdict that each deserves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.failoverbench.answer import Answer
from benchmarks.failoverbench.judge import Bounds, History
from benchmarks.failoverbench.scenarios import SCENARIOS
from ogw_asgi.testing import CRASH_TEST_MODELS, CrashTestCall

FALLBACK = "fallback@x"
USAGE = {"prompt_tokens": 7, "completion_tokens": 60, "total_tokens": 67}
POLICY = {
    "code": "content_policy_violation",
    "message": "Your request was rejected as a result of our safety system.",
    "type": "invalid_request_error",
}
PREFILL = {"message": "This model does not support assistant message prefill.", "type": "invalid_request_error"}


def whole(took_s: float = 1.0, *, start_s: float = 0.0, **fields: Any) -> Answer:
    values = {"model": FALLBACK, "usage": USAGE, "status": 200, **fields}
    return Answer(kind="whole", start_s=start_s, end_s=start_s + took_s, **values)


def error(took_s: float = 1.0, *, start_s: float = 0.0, **fields: Any) -> Answer:
    return Answer(kind="error", note="broke", start_s=start_s, end_s=start_s + took_s, **fields)


WRONG = Answer(kind="wrong", note="shown as a success: truncated, 40 of 60 words")


def calls(*times_s: float, played: str = "503") -> list[CrashTestCall]:
    return [CrashTestCall("m", number, True, {}, time_s, played) for number, time_s in enumerate(times_s, 1)]


ANSWERED = calls(2.0, played="answer")
RECOVERED = [*calls(0.0, 0.3, 4.0, 4.3, 16.0, 28.0), *calls(64.0, played="answer")]
CALLERS = [whole(start_s=4.0 * number) for number in range(20)]

GOOD: dict[str, dict[str, Any]] = {
    "S01": {"primary": calls(0.0, 2.0), "fallback": []},
    "S02": {"primary": calls(0.0, 0.3)},
    "S03": {"primary": calls(0.0, 0.3), "fallback": []},
    "S13": {"answers": [error(error=POLICY)], "fallback": []},
    "S15": {"answers": CALLERS, "primary": RECOVERED, "recovery_s": 60.0},
}

PAUSE = "longest pause 0.00 s"
REMARKS = {
    **dict.fromkeys(("S08", "S09", "S10", "S14"), PAUSE),
    "S15": "used again 4.0 s after its recovery, by caller 17",
}


def history(scenario: str, **changed: Any) -> History:
    values = {
        "answers": [whole()],
        "primary": calls(0.0),
        "fallback": ANSWERED,
        "fallback_model": FALLBACK,
        "healthy": whole(0.1),
        **GOOD.get(scenario, {}),
        **changed,
    }
    return History(**values)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_is_asked_for_is_a_pass(scenario: str) -> None:
    judged = SCENARIOS[scenario].judge(history(scenario))
    assert (judged.verdict, judged.note) == ("pass", REMARKS.get(scenario, ""))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ({"answers": [WRONG]}, "truncated"),
        ({"answers": [whole(), WRONG, error()]}, "truncated"),
        ({"answers": []}, "nothing was asked"),
        ({"process_lives": False}, "process has ended"),
        ({"healthy": error()}, "healthy call"),
        ({"healthy": WRONG}, "healthy call"),
        ({"healthy": whole(10.5)}, "healthy call afterwards: 10.5 s"),
    ],
)
def test_what_is_a_fail_in_every_scenario(scenario: str, changed: dict[str, Any], note: str) -> None:
    judged = SCENARIOS[scenario].judge(history(scenario, **changed))
    assert judged.verdict == "fail"
    assert note in judged.note


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "S13"])
def test_a_clean_error_is_safe_where_an_answer_is_owed(scenario: str) -> None:
    answers = [*history(scenario).answers[1:], error(model=None)]
    judged = SCENARIOS[scenario].judge(history(scenario, answers=answers))
    assert (judged.verdict, judged.note) == ("safe", "broke")


@pytest.mark.parametrize(
    ("scenario", "changed", "verdict", "note"),
    [
        ("S01", {"primary": calls(0.0)}, "partial", "not asked again"),
        ("S01", {"primary": calls(0.0, 1.79)}, "partial", "sooner than 1.8"),
        ("S01", {"primary": calls(0.0, 0.2, 2.0)}, "partial", "sooner than 1.8"),
        ("S01", {"primary": calls(0.0, 2.0), "fallback": calls(0.5, 1.0)}, "partial", "3 calls in 1.5 s"),
        ("S02", {"primary": calls(0.0, 0.5, 1.0, 1.5, 2.9)}, "partial", "5 calls in 3 s"),
        ("S02", {"primary": calls(0, 1, 2, 3.5, 4, 5)}, "partial", "7 calls in all"),
        ("S03", {"primary": calls(0.0)}, "partial", "not asked again"),
        ("S04", {"primary": calls(*range(7))}, "partial", "7 times"),
        ("S06", {"answers": [whole(100.1)]}, "fail", "took 100.1 s"),
        ("S06", {"primary": calls(0.0, 10.0)}, "partial", "2 times"),
        ("S06", {"primary": []}, "partial", "0 times"),
        ("S07", {"answers": [whole(15.2)]}, "fail", "took 15.2 s"),
        ("S09", {"answers": [whole(45.1)]}, "fail", "took 45.1 s"),
        ("S11", {"answers": [whole(8.1)]}, "fail", "took 8.1 s"),
        ("S11", {"answers": [whole(usage=None)]}, "fail", "no usage"),
        ("S11", {"answers": [whole(usage={"total_tokens": 0})]}, "fail", "no usage"),
        ("S12", {"primary": calls(0.0, 0.3)}, "partial", "2 times"),
        ("S13", {"answers": [whole()]}, "fail", "answered"),
        ("S13", {"answers": [whole()], "fallback": ANSWERED}, "fail", "the fallback was asked"),
        ("S13", {"fallback": calls(1.0)}, "fail", "the fallback was asked"),
        ("S13", {"answers": [error(error={**POLICY, "code": None})]}, "fail", "reason"),
        ("S13", {"answers": [error(error={**POLICY, "message": "no"})]}, "fail", "reason"),
        ("S13", {"answers": [error()]}, "fail", "reason"),
        ("S13", {"primary": calls(0.0, 0.3)}, "partial", "2 times"),
        ("S14", {"answers": [error(error=PREFILL)]}, "fail", "last word"),
        ("S15", {"answers": [*CALLERS, error()]}, "safe", "broke"),
        ("S15", {"primary": calls(0.0, 4.0)}, "partial", "not used again"),
        ("S15", {"primary": [*calls(0.0), *calls(90.1, played="answer")]}, "partial", "30.1 s after"),
        ("S15", {"primary": [*calls(*range(15)), *RECOVERED[-1:]]}, "partial", "15 calls of 15 callers"),
        ("S16", {"answers": [whole(model="always-503")]}, "fail", "reported as"),
        ("S16", {"answers": [whole(usage=None)]}, "fail", "no usage"),
        ("S16", {"primary": calls(*range(7))}, "partial", "7 times"),
    ],
)
def test_each_check_can_fail(scenario: str, changed: dict[str, Any], verdict: str, note: str) -> None:
    judged = SCENARIOS[scenario].judge(history(scenario, **changed))
    assert judged.verdict == verdict
    assert note in judged.note


def test_a_fail_outweighs_what_is_advisory() -> None:
    judged = SCENARIOS["S06"].judge(history("S06", answers=[whole(200.0)], primary=calls(0.0, 1.0)))
    assert judged.verdict == "fail"


def test_bounds_are_scaled_and_upper_ones_have_a_grace() -> None:
    bounds = Bounds(scale=0.1, grace_s=0.4)

    def verdict(scenario: str, **changed: Any) -> str:
        return SCENARIOS[scenario].judge(replace(history(scenario, **changed), bounds=bounds)).verdict

    assert verdict("S07", answers=[whole(1.85)]) == "pass"
    assert verdict("S07", answers=[whole(1.95)]) == "fail"
    assert verdict("S01", primary=calls(0.0, 0.19)) == "pass"
    assert verdict("S01", primary=calls(0.0, 0.17)) == "partial"


def test_the_models_of_the_scenarios_exist_and_say_so_themselves() -> None:
    for scenario in SCENARIOS.values():
        assert scenario.id in CRASH_TEST_MODELS[scenario.primary].scenarios
        assert not scenario.fallback or scenario.fallback in CRASH_TEST_MODELS
