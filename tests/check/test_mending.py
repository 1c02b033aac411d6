"""The lines that mend: whoever follows them, one after the other, ends with a good gateway, and keeps the rest."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from ogw_asgi import Gateway
from ogw_asgi._check.judging import of_environment
from ogw_asgi._check.report import Report
from ogw_asgi._check.rewriting import mended_url
from tests.canaries import assert_silent, canary

KEY = canary("openai")
OPENAI = {"OPENAI_API_KEY": KEY}
GROQ = {"base_url": "https://api.groq.com/openai/v1", "api_key_env": "GROQ_API_KEY"}
GROQ_KEY = {"GROQ_API_KEY": canary("groq")}


def listing(**entries: Any) -> dict[str, str]:
    return {"OGW_PROVIDERS": json.dumps(entries)}


BROKEN: list[Mapping[str, str]] = [
    {},
    {"OGW_FAILOVER_SEQUENCE": '["openai"]'},
    {"OGW_FAILOVER_SEQUENCE": '["openai", "azure"]'},
    {"OGW_FAILOVER_SEQUENCE": '["openai", "nowhere"]'},
    {"OGW_FAILOVER_SEQUENCE": "azure, vllm"},
    {"OGW_FAILOVER_SEQUENCE": "{}"},
    OPENAI | {"OGW_FAILOVER_SEQUENCE": "[]"},
    OPENAI | {"OGW_FAILOVER_SEQUENCE": '["opneai/gpt-4o", "azure", 7]'},
    OPENAI | {"OGW_FAILOVER_SEQUENCE": '["openai", "azure"]', "AZURE_OPENAI_API_KEY": canary("azure")},
    OPENAI | {"OGW_FAILOVER_SEQUENCE": "[openai, openai]"},
    OPENAI | {"OGW_MODELS": "not json"},
    OPENAI | {"OGW_MODELS": '{"openai": ["x"]}'},
    OPENAI | {"OGW_MODELS": '{"openai": {"a": 1, "b": "c"}, "nobody": {"a": "b"}}'},
    {"OGW_MODELS": '["x"]', "VLLM_ENDPOINT": "http://10.0.0.7:8000"},
    OPENAI | listing(**{"Bad Name": GROQ}) | GROQ_KEY | {"OGW_MODELS": '{"azur": {"a": "b"}}'},
    listing(**{"Bad Name": GROQ}) | GROQ_KEY | {"OGW_FAILOVER_SEQUENCE": '["Bad Name"]'},
    listing(**{"Bad Name": GROQ, "bad-name": GROQ, "日本": GROQ}),
    OPENAI | listing(openai=GROQ),
    listing(groq={"base_url": "api.groq.com/openai/v1", "api_key": canary("groq")}),
    listing(groq={"base_url": f"https://u:{KEY}@h.test/v1?key={KEY}"}, other=GROQ, third=7),
    listing(groq={"base_url": f"https://u:{KEY}/@h.test/v1"}, other={"base_url": "https://o.test/chat/completions"}),
    listing(groq={"base_url": "https://g.test/v1", "api_key_env": KEY}),
    listing(**{"a: b": {"base_url": "https://g.test/v1", "api_key_env": "NOT_SET"}}),
    {"OGW_PROVIDERS": "groq"},
    {"OGW_PROVIDERS": "{}", "OGW_FAILOVER_SEQUENCE": '["azure", "azure"]'},
    {"OGW_PROVIDERS": "[]"},
    OPENAI | {"OGW_BEARER_TOKENS": "good-token-that-is-long-enough", "OGW_BEARER_TOKEN": canary("stray")},
    OPENAI | {"OGW_BEARER_TOKENS": " ", "OGW_BEARER_TOKEN": canary("stray-and-long-enough-as-well")},
    OPENAI | {"OGW_TIMEOT_MS": "soon"},
    OPENAI | {"OGW_REDIS_URL": f"redis//:{KEY}@cache"},
    OPENAI | {"OGW_REDIS_URL": "redis://cache?namespace=a b"},
    OPENAI | {"OGW_VLLM_ALLOWED_ENDPOINTS": "ftp://a, http://good.internal:1"},
    {"AZURE_OPENAI_ENDPOINT": "https://acme.openai.azure.com"},
    {"AZURE_OPENAI_ENDPOINT": "acme", "OPENAI_API_VERSION": "latest"},
    {"OPENAI_BASE_URL": "https://api.openai.com/v1/chat/completions"},
    {"OPENAI_API_KEY": "sk c4n4ry", "OGW_SUCCESS_STATUS": "204", "OGW_MAX_BODY_BYTES": "1 MiB"},
]


def followed(lines: list[str], environ: Mapping[str, str]) -> dict[str, str]:
    """What a shell's environment is after them. Only what it had, or got by them."""
    shell = "\n".join([*(f"eval {_quoted(line)}" for line in lines), "env -0"])
    path = {"PATH": os.environ["PATH"]}
    done = subprocess.run(["sh", "-ec", shell], env={**environ, **path}, capture_output=True, check=True, timeout=20)
    pairs = dict(one.decode().split("=", 1) for one in done.stdout.split(b"\0") if one)
    return {name: value for name, value in pairs.items() if name not in ("PATH", "PWD", "SHLVL", "_", "OLDPWD")}


def _quoted(line: str) -> str:
    return "'" + line.replace("'", "'\"'\"'") + "'"


def checked(environ: Mapping[str, str]) -> Report:
    report, _ = of_environment(environ)
    assert_silent(json.dumps(report.as_dict()), "the report")
    return report


@pytest.mark.parametrize("environ", BROKEN, ids=str)
def test_whoever_follows_the_lines_is_well_within_three_rounds(environ: Mapping[str, str]) -> None:
    report = checked(environ)
    assert not report.well
    rounds = 0
    while not report.well:
        rounds += 1
        assert rounds <= 3, report.problems
        lines = [problem.mend for problem in report.problems if problem.mend is not None]
        assert len(lines) == len(report.problems)
        environ = followed(list(dict.fromkeys(lines)), environ)
        report = checked(environ)
    Gateway.from_env(environ)


def mends(environ: Mapping[str, str]) -> list[str | None]:
    return [problem.mend for problem in checked(environ).problems]


@pytest.mark.parametrize(
    ("environ", "lines"),
    [
        ({"OGW_FAILOVER_SEQUENCE": '["openai"]'}, ["export OPENAI_API_KEY=sk-..."]),
        (
            {"OGW_FAILOVER_SEQUENCE": '["vllm", "azure"]'},
            [
                "export VLLM_ENDPOINT=http://10.0.0.7:8000",
                "export AZURE_OPENAI_ENDPOINT=https://RESOURCE.openai.azure.com",
            ],
        ),
        (
            OPENAI | {"OGW_FAILOVER_SEQUENCE": '["opneai/gpt-4o", "azure"]'},
            ["export OGW_FAILOVER_SEQUENCE='[\"openai/gpt-4o\"]'"],
        ),
        (OPENAI | {"OGW_MODELS": "x"}, ['export OGW_MODELS=\'{"openai": {"gpt-4o": "gpt-4o-2024-11-20"}}\'']),
        (OPENAI | {"OGW_MODELS": '{"openai": ["x"]}'}, ['export OGW_MODELS=\'{"openai": {"x": "x"}}\'']),
        (OPENAI | {"OGW_BEARER_TOKENS": "t" * 32, "OGW_BEARER_TOKEN": "x"}, ["unset OGW_BEARER_TOKEN"]),
        (OPENAI | {"OGW_REDIS_URL": "cache"}, ["export OGW_REDIS_URL=redis://HOST:6379/0"]),
        (
            GROQ_KEY | listing(groq=GROQ, mine={"base_url": "llm.acme.com/v1"}),
            [
                "export OGW_PROVIDERS='"
                + json.dumps({"groq": GROQ, "mine": {"base_url": "https://llm.acme.com/v1"}})
                + "'"
            ],
        ),
    ],
    ids=str,
)
def test_a_line_keeps_what_is_right(environ: Mapping[str, str], lines: list[str]) -> None:
    assert mends(environ) == lines


def test_azure_or_openai_without_a_key_is_a_problem_for_every_call_is_a_401() -> None:
    (problem,) = checked({"AZURE_OPENAI_ENDPOINT": "https://acme.openai.azure.com"}).problems
    assert (problem.setting, problem.mend) == ("providers.azure", "export AZURE_OPENAI_API_KEY=KEY")
    (problem,) = checked({"OPENAI_BASE_URL": "https://api.openai.com/v1"}).problems
    assert problem.mend == "export OPENAI_API_KEY=sk-..."


def test_where_the_tokens_are_refused_nobody_is_said_to_get_in() -> None:
    open_to_all = checked(OPENAI).warnings
    assert [one.setting for one in open_to_all] == ["authenticate"]
    for tokens in (" ", "[7]", '"', "a b"):
        report = checked(OPENAI | {"OGW_BEARER_TOKENS": tokens})
        assert not report.well
        assert report.warnings == []


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("https://a.test/v1", "https://a.test/v1"),
        ("api.a.test:8000/v1", "https://api.a.test:8000/v1"),
        ("https://u:p@a.test/v1/chat/completions?x=y#z", "https://a.test/v1"),
        ("https://u:1/2@a.test/v1", None),
        ("https://u?p@a.test", None),
        ("https://[a", None),
        ("sk-proj-0123456789", None),
        ("eyJhbGciOi.eyJzdWIi.c2ln", None),
        ("ftp://a.test", None),
        (7, None),
    ],
)
def test_what_a_url_was_meant_to_be_is_told_without_what_may_be_a_secret(url: object, meant: str | None) -> None:
    assert mended_url(url) == meant
