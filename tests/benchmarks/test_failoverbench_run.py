"""FailoverBench against a real gateway process, in its fast form: what it prints, keeps, and exits with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.failoverbench import gateway
from benchmarks.failoverbench.__main__ import DEFAULTS, OPTIONS, main
from benchmarks.failoverbench.judge import Bounds, Judged
from benchmarks.failoverbench.report import as_json, counts, summary, table
from benchmarks.failoverbench.run import FALLBACK, Profile, Result, Stage
from benchmarks.failoverbench.scenarios import SCENARIOS
from ogw_asgi.testing import CrashTestProvider


def result(scenario: str, judged: Judged) -> Result:
    return Result(
        scenario=SCENARIOS[scenario], judged=judged, seconds=1.25, primary_calls=1, calls=2, longest_pause_s=0.5
    )


RESULTS = [
    result("S01", Judged("pass", "")),
    result("S08", Judged("safe", "broke")),
    result("S12", Judged("partial", "primary asked 2 times")),
    result("S10", Judged("safe", "broke")),
]


def test_the_summary_counts_each_verdict() -> None:
    assert counts(RESULTS) == {"pass": 1, "partial": 1, "safe": 2, "fail": 0}
    assert summary(OPTIONS, RESULTS) == "ogw_asgi, with options: 1 pass, 1 partial, 2 safe, 0 fail"


def test_the_table_has_a_row_each() -> None:
    heading, *rows = table(RESULTS).splitlines()
    assert heading.split() == ["scenario", "verdict", "seconds", "to", "primary", "calls", "note"]
    assert [row.split()[0] for row in rows] == ["S01", "S08", "S12", "S10"]
    assert rows[2].endswith("partial      1.2           1      2  primary asked 2 times")


def test_the_json_names_the_options() -> None:
    value = as_json(OPTIONS, RESULTS)
    assert value["options"] == {
        "environment": {"OGW_SUCCESS_STATUS": "200", "OGW_ON_STREAM_BREAK": "continue"},
        "sequence": ["openai", "openai", "vllm/{fallback}"],
        "timeout_ms": 10_000,
    }
    assert [scenario["verdict"] for scenario in value["scenarios"]] == ["pass", "safe", "partial", "safe"]


def test_the_headers_are_those_of_the_line() -> None:
    assert DEFAULTS.headers("f@S08", 1.0) == {"x-opengateway-failover-sequence": '["openai", "vllm/f@S08"]'}
    assert OPTIONS.headers("f@S08", 0.1) == {
        "x-opengateway-failover-sequence": '["openai", "openai", "vllm/f@S08"]',
        "x-opengateway-timeout": "1000",
    }


def test_nobodys_settings_reach_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OGW_TIMEOUT_MS", "OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "VLLM_API_KEY"):
        monkeypatch.setenv(name, "somebody's")
    environ = gateway.environment("http://127.0.0.1:1", {"OGW_SUCCESS_STATUS": "200"})
    assert "somebody's" not in environ.values()
    assert environ["OPENAI_BASE_URL"] == "http://127.0.0.1:1/v1"
    assert environ["VLLM_ENDPOINT"] == "http://127.0.0.1:1"
    assert environ["OGW_SUCCESS_STATUS"] == "200"


def test_a_gateway_that_does_not_start_says_why() -> None:
    environ = gateway.environment("http://127.0.0.1:1", {"OGW_SUCCESS_STATUS": "299"})
    with pytest.raises(gateway.DidNotStart, match="OGW_SUCCESS_STATUS|success_status"):
        with gateway.running(gateway.STANDALONE, environ):
            pytest.fail("it started")


def test_a_line_with_options_that_is_short_is_told_by_the_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out.json"
    arguments = ["--fast", "--line", "options", "--only", "S03,S08", "--on-stream-break", "error", "--json", str(file)]
    assert main(arguments) == 1
    assert "ogw_asgi, with options: 1 pass, 0 partial, 1 safe, 0 fail" in capsys.readouterr().out
    kept = json.loads(file.read_text())
    assert [scenario["verdict"] for scenario in kept["lines"][0]["scenarios"]] == ["pass", "safe"]
    assert kept["conditions"]["scale"] == 0.1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--line", "options", "--only", "S05,S08,S10,S13,S14"],
        ["--line", "options", "--only", "S08", "--fallback", "fallback-begins-anew"],
        ["--line", "options", "--only", "S08", "--on-stream-break", "hold"],
        ["--line", "defaults", "--only", "S08"],  # safe: defaults owe nothing
    ],
)
def test_what_is_passed_is_told_by_the_exit_status(arguments: list[str]) -> None:
    assert main(["--fast", *arguments]) == 0


class NoGateway(NamedTuple):
    """The provider itself in the gateway's place."""

    url: str
    lives: bool = True


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("scenario", "verdict", "note"),
    [
        ("S02", "safe", "429"),
        ("S05", "fail", "no answer at all"),
        ("S07", "fail", "took"),
        ("S08", "safe", "broke after 40 words"),
        ("S10", "fail", "no JSON object"),
        ("S11", "fail", "no [DONE]"),
        ("S12", "safe", "400 context_length_exceeded"),
        ("S13", "pass", ""),
        ("S16", "safe", "503"),
    ],
)
async def test_without_a_gateway_faults_reach_the_caller_and_the_verdict(
    scenario: str, verdict: str, note: str
) -> None:
    profile = Profile(usual=Bounds(scale=0.02))
    with CrashTestProvider(scale=0.02) as provider:
        stage = Stage(DEFAULTS, SCENARIOS[scenario], profile, FALLBACK, provider, NoGateway(provider.url))
        result = await stage.play()
    assert result.judged.verdict == verdict
    assert note in result.judged.note
    assert (result.primary_calls, result.calls) == (1, 1)
