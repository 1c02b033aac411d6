"""`python -m ogw_asgi check`: all that is wrong in one go, all that is in force with its source, and no key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from ogw_asgi import Gateway
from ogw_asgi._check.command import run
from ogw_asgi._environment.names import KNOWN
from ogw_asgi._environment.reading import read_environment
from ogw_asgi._environment.values import Flaw
from ogw_asgi.exceptions import ConfigurationError
from ogw_asgi.testing import serve
from tests.canaries import assert_silent, canary
from tests.check.providers import Listing, error

KEY = canary("openai")
TOKEN = canary("a-caller-whose-token-is-long-enough")
GOOD = {"OPENAI_API_KEY": KEY, "OGW_BEARER_TOKENS": TOKEN}
NAMED = ("OPENAI_", "AZURE_OPENAI_", "VLLM_", "OGW_")

Check = Callable[..., tuple[int, str]]


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Check]:
    """The command in an environment that holds what is given and nothing else of ours: status and what it printed."""
    for name in list(os.environ):
        if name.startswith(NAMED):
            monkeypatch.delenv(name)

    def checked(environ: Mapping[str, str], *arguments: str) -> tuple[int, str]:
        with monkeypatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            status = run(["check", *arguments])
        captured = capsys.readouterr()
        assert captured.err == ""
        assert_silent(captured.out, "the report")
        return status, captured.out

    yield checked
    for name in [name for name in sys.modules if name.startswith("checked_")]:
        del sys.modules[name]


def told(check: Check, environ: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    status, out = check(environ, "--json", *arguments)
    report: dict[str, Any] = json.loads(out)
    assert status == (0 if report["ok"] else 1)
    return report


def settings_of(report: dict[str, Any]) -> dict[str, tuple[Any, str]]:
    return {one["name"]: (one["value"], one["source"]) for one in report["settings"]}


def named(problems: list[dict[str, Any]]) -> list[str]:
    return [one["setting"] for one in problems]


# --- the environment ---


def test_a_good_environment_is_well_and_every_setting_has_its_source(check: Check) -> None:
    environ = GOOD | {
        "AZURE_OPENAI_ENDPOINT": "https://acme.openai.azure.com/secret-path",
        "AZURE_OPENAI_API_KEY": canary("azure"),
        "OGW_PROVIDERS": '{"groq": {"base_url": "https://groq.test/acct-01234567/v1", "api_key_env": "GROQ_API_KEY"}}',
        "GROQ_API_KEY": canary("groq"),
        "OGW_MODELS": '{"azure": {"gpt-4o": "prod"}}',
        "OGW_FAILOVER_SEQUENCE": '["openai", "azure/gpt-4o", "groq"]',
        "OGW_TIMEOUT_MS": "1500",
        "OGW_MAX_BODY_BYTES": "1024",
        "OGW_SUCCESS_STATUS": "200",
        "OGW_STATUS": "1",
    }
    report = told(check, environ)
    assert (report["ok"], report["problems"], report["warnings"]) == (True, [], [])
    found = settings_of(report)
    assert found["providers.openai.api_key"] == ("***", "OPENAI_API_KEY")
    assert found["providers.openai.base_url"] == ("https://api.openai.com", "default")
    assert found["providers.azure.base_url"] == ("https://acme.openai.azure.com", "AZURE_OPENAI_ENDPOINT")
    assert found["providers.azure.models"] == ("gpt-4o as prod", "OGW_MODELS")
    assert found["providers.groq.api_key"] == ("***", "GROQ_API_KEY")
    assert found["providers.groq.base_url"] == ("https://groq.test", "OGW_PROVIDERS")
    assert found["failover_sequence"] == ("openai, azure/gpt-4o, groq", "OGW_FAILOVER_SEQUENCE")
    assert found["timeouts.first_chunk_s"] == (1.5, "OGW_TIMEOUT_MS")
    assert found["timeouts.connect_s"] == (3.0, "default")
    assert found["limits.body_bytes"] == (1024, "OGW_MAX_BODY_BYTES")
    assert found["success_status"] == (200, "OGW_SUCCESS_STATUS")
    assert found["authenticate"] == ("on: tokens of 1 principal", "OGW_BEARER_TOKENS")
    assert found["status"] == ("on: whom authenticate knows", "OGW_STATUS")
    assert found["breaker.failures"] == (5, "default")
    assert report["providers"] is None
    status, out = check(environ)
    assert status == 0
    assert out.endswith("\nAll is well.\n")
    assert "acct-01234567" not in out
    assert "secret-path" not in out
    assert max(map(len, out.splitlines())) <= 80


BROKEN = {
    "OPENAI_API_KEY": "sk c4n4ry",
    "OPENAI_BASE_URL": "api.openai.com",
    "AZURE_OPENAI_ENDPOINT": "acme",
    "AZURE_OPENAI_AD_TOKEN": "t c4n4ry",
    "OPENAI_API_VERSION": "latest",
    "VLLM_ENDPOINT": "gpu",
    "VLLM_API_KEY": "v c4n4ry",
    "OGW_VLLM_ALLOWED_ENDPOINTS": "ftp://a, http://good.internal:1, http://*.b:8000",
    "OGW_PROVIDERS": '{"groq": {"base_url": "x", "api_key_env": "GROQ_API_KEY"}, "Own": {"base_url": "z"}, '
    '"a": {"base_url": "y"}, "openai": {"base_url": "https://o.test"}, "b": 7}',
    "OGW_MODELS": '{"openai": {"a": 1}, "nobody": {"a": "b"}}',
    "OGW_FAILOVER_SEQUENCE": '["openai", "nowhere"]',
    "OGW_TIMEOUT_MS": "soon",
    "OGW_IDLE_TIMEOUT_MS": "0",
    "OGW_HEARTBEAT_MS": "-1",
    "OGW_ON_STREAM_BREAK": "never",
    "OGW_SUCCESS_STATUS": "204",
    "OGW_MAX_BODY_BYTES": "16 MiB",
    "OGW_BEARER_TOKENS": " ",
    "OGW_REDIS_URL": "http://:c4n4ry@cache",
    "OGW_STATUS": "yes",
    "OGW_TIMEOT_MS": "c4n4ry",
}


def test_every_problem_is_told_in_one_go_with_the_line_that_mends_it(check: Check) -> None:
    report = told(check, BROKEN)
    assert set(named(report["problems"])) == set(BROKEN)
    assert named(report["problems"]).count("OGW_VLLM_ALLOWED_ENDPOINTS") == 2
    assert named(report["problems"]).count("OGW_PROVIDERS") == 7
    assert named(report["problems"]).count("OGW_MODELS") == 2
    mends = {one["setting"]: one["mend"] for one in report["problems"]}
    assert mends["OGW_SUCCESS_STATUS"] == "export OGW_SUCCESS_STATUS=201"
    assert mends["OGW_STATUS"] == "export OGW_STATUS=1"
    assert mends["OGW_BEARER_TOKENS"] == "unset OGW_BEARER_TOKENS"
    assert mends["OGW_TIMEOT_MS"] == "unset OGW_TIMEOT_MS"
    alone = told(check, GOOD | {"OGW_TIMEOT_MS": "2500"})["problems"]
    assert [one["mend"] for one in alone] == ['export OGW_TIMEOUT_MS="$OGW_TIMEOT_MS"; unset OGW_TIMEOT_MS']
    assert mends["OGW_FAILOVER_SEQUENCE"] == "export OGW_FAILOVER_SEQUENCE='[\"openai\"]'"
    assert "export GROQ_API_KEY=KEY" in [one["mend"] for one in report["problems"]]
    found = settings_of(report)
    assert found["success_status"] == ("(refused)", "OGW_SUCCESS_STATUS")
    assert found["timeouts.first_chunk_s"] == ("(refused)", "OGW_TIMEOUT_MS")
    assert found["providers.openai.api_key"] == ("(refused)", "OPENAI_API_KEY")
    status, out = check(BROKEN)
    assert (status, out.splitlines()[-1]) == (1, "Not well.")
    assert all(len(line) <= 80 for line in out.splitlines() if not line.startswith("      "))


def test_every_variable_that_can_be_wrong_has_a_line_that_mends_it_and_is_right(check: Check) -> None:
    for problem in told(check, BROKEN)["problems"]:
        mend = problem["mend"]
        if not mend.startswith("export ") or problem["setting"] not in KNOWN:
            continue
        shell = f"{mend}; python3 -c 'import json, os; print(json.dumps(dict(os.environ)))'"
        environ = {"PATH": os.environ["PATH"], "GROQ_API_KEY": "k"}
        done = subprocess.run(["sh", "-c", shell], env=environ, capture_output=True, text=True, check=True, timeout=20)
        mended = {name: value for name, value in json.loads(done.stdout).items() if name == problem["setting"]}
        others = {"OPENAI_API_KEY": KEY, "AZURE_OPENAI_ENDPOINT": "https://a.test", "VLLM_ENDPOINT": "http://v:1"}
        if mended and "OGW_FAILOVER_SEQUENCE" not in mended:
            Gateway.from_env(others | {"GROQ_API_KEY": "k"} | mended)


@pytest.mark.parametrize("variable", sorted(BROKEN.keys() - {"OGW_TIMEOT_MS", "OPENAI_API_VERSION", "VLLM_API_KEY"}))
def test_what_is_raised_at_start_up_is_the_first_of_what_the_check_finds(variable: str) -> None:
    environ = {variable: BROKEN[variable]}
    if variable == "AZURE_OPENAI_AD_TOKEN":
        environ["AZURE_OPENAI_ENDPOINT"] = "https://a.test"
    flaws: list[Flaw] = []
    read_environment(environ, flaws)
    with pytest.raises(ConfigurationError) as raised:
        Gateway.from_env(environ)
    assert str(raised.value) in [flaw.text for flaw in flaws]


def test_an_empty_environment_has_no_provider_which_is_a_problem(check: Check) -> None:
    report = told(check, {})
    assert named(report["problems"]) == ["providers"]
    assert report["problems"][0]["mend"] == "export OPENAI_API_KEY=sk-..."


@pytest.mark.parametrize(
    ("environ", "setting", "says"),
    [
        ({"OGW_SERVICE_PORT": "80"}, "OGW_SERVICE_PORT", "has no effect"),
        ({"AZURE_OPENAI_API_KEY": KEY}, "AZURE_OPENAI_API_KEY", "without effect as long as AZURE_OPENAI_ENDPOINT"),
        ({"VLLM_API_KEY": KEY}, "VLLM_API_KEY", "without effect as long as VLLM_ENDPOINT"),
        (
            {
                "AZURE_OPENAI_ENDPOINT": "https://a.test",
                "AZURE_OPENAI_API_KEY": KEY,
                "AZURE_OPENAI_AD_TOKEN": canary("token"),
            },
            "AZURE_OPENAI_AD_TOKEN",
            "AZURE_OPENAI_API_KEY is set, too",
        ),
        ({"OPENAI_API_KEY": f"{KEY}\n"}, "OPENAI_API_KEY", "blanks or a line end"),
        ({"OPENAI_API_KEY": f'"{KEY}"'}, "OPENAI_API_KEY", "stands in quotes"),
        ({"OGW_BEARER_TOKENS": "sk-short-c4n4ry"}, "authenticate", "can guess a token"),
        ({"OPENAI_BASE_URL": "http://llm.acme.com/v1"}, "providers.openai", "in plain text"),
        ({"OPENAI_BASE_URL": "http://8.8.8.8/v1"}, "providers.openai", "in plain text"),
        ({"OPENAI_BASE_URL": "http://10.0.0.7/v1"}, None, ""),
        ({"OPENAI_BASE_URL": "http://llm.internal/v1"}, None, ""),
        ({"OPENAI_BASE_URL": "http://[::1]/v1"}, None, ""),
        (
            {
                "OGW_PROVIDERS": '{"openai.eu": {"base_url": "https://llm.acme.com/v1"}}',
                "OGW_FAILOVER_SEQUENCE": '["openai"]',
            },
            "providers.openai.eu",
            "asked without a key",
        ),
        (
            {"AZURE_OPENAI_ENDPOINT": "https://a.test", "OPENAI_API_VERSION": "2024-10-21"},
            "providers.azure",
            "classic deployments without a model map",
        ),
        ({"VLLM_ENDPOINT": "http://10.0.0.7:8000"}, "failover_sequence", "out of the box [openai] is asked"),
    ],
)
def test_what_may_be_a_mistake_is_a_warning_and_still_well(
    check: Check, environ: dict[str, str], setting: str | None, says: str
) -> None:
    report = told(check, GOOD | environ)
    assert report["ok"]
    found = [one for one in report["warnings"] if says in one["says"] and one["setting"] == setting]
    assert len(found) == (1 if setting else 0), report["warnings"]
    assert len(report["warnings"]) == len(found)


def test_an_open_gateway_is_a_warning_with_the_line_that_makes_a_token(check: Check) -> None:
    (warning,) = told(check, {"OPENAI_API_KEY": KEY})["warnings"]
    assert warning["setting"] == "authenticate"
    done = subprocess.run(
        ["sh", "-c", f"{warning['mend']}; echo $OGW_BEARER_TOKENS"],
        capture_output=True,
        text=True,
        timeout=20,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        check=True,
    )
    assert len(done.stdout.strip()) >= 43


def test_a_key_in_the_place_of_a_variables_name_is_not_shown(check: Check) -> None:
    providers = json.dumps({"groq": {"base_url": "https://g.test/v1", "api_key_env": canary("GROQ")}})
    status, out = check(GOOD | {"OGW_PROVIDERS": providers})
    assert status == 1
    assert "api_key_env: no such variable is set" in out


def test_no_control_character_reaches_the_terminal(check: Check) -> None:
    providers = json.dumps({"g\x1b[2Jroq": {"base_url": "https://g.test/v1"}, "h\u202e": 7})
    _, out = check(GOOD | {"OGW_PROVIDERS": providers})
    assert not [char for char in out if not (char.isprintable() or char == "\n")]


# --- made in code ---

MODULE = """
import os
from ogw_asgi import *
from ogw_asgi.providers import PublicHTTPS
import httpx, ssl

class Sink:
    def on_event(self, event): pass

gateway = Gateway(
    providers=[
        OpenAI(api_key=lambda: "sk-c4n4ry", headers={"x-team": "c4n4ry"}),
        Azure(endpoint="https://a.openai.azure.com", api_key="c4n4ry-azure", api_version="2024-10-21"),
        VLLM(allowed_endpoints=[PublicHTTPS((443, 8443)), "http://a:1"], client=httpx.AsyncClient()),
        OpenAICompatible("own", base_url="https://own.test/v1", ssl_context=ssl.create_default_context()),
        VLLM(name="nowhere"),
    ],
    models=["gpt-4o"],
    timeouts=Timeouts(connect_s=1),
    breaker=Breaker(failures=3),
    authenticate=allow_anyone,
    failover_sequence=["openai"],
    sinks=[Sink()],
    engine="httpx",
)
class holder:
    inside = Gateway(providers=[OpenAI(api_key="c4n4ry")], authenticate=lambda connection: None)

def make():
    return holder.inside

def fails():
    raise RuntimeError("c4n4ry")

def mistaken():
    return Gateway(success_status=204)

wrapped = GatewayMiddleware(None, gateway=holder.inside)
nobody = Gateway()
number = 7
"""


BY_HAND = "python -c 'import checked_broken'    # shows all of it"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "checked_app.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    return "checked_app"


def test_a_gateway_made_in_code_is_told_from_its_defaults(check: Check, module: str) -> None:
    report = told(check, {}, f"{module}:gateway")
    assert report["checked"] == "checked_app:gateway"
    assert report["ok"]
    found = settings_of(report)
    assert found["providers.openai.api_key"] == ("asked of a callable before each attempt", "code")
    assert found["providers.openai.headers"] == ("x-team: ***", "code")
    assert found["providers.azure.api_version"] == ("2024-10-21", "code")
    assert found["providers.vllm.base_url"] == ("named by callers", "default")
    assert found["providers.vllm.allowed_endpoints"] == ("https://*:443/8443, http://a:1", "code")
    assert found["providers.vllm.client"] == ("one of your own", "code")
    assert found["providers.own.ssl_context"] == ("one of your own", "code")
    assert found["models"] == ("gpt-4o", "code")
    assert found["timeouts.connect_s"] == (1, "code")
    assert found["timeouts.idle_s"] == (60.0, "default")
    assert found["breaker.failures"] == (3, "code")
    assert found["authenticate"] == ("off on purpose: allow_anyone", "code")
    assert found["sinks"][0].startswith("Sink")
    assert found["engine"] == ("httpx", "code")
    assert [(one["setting"], one["says"].partition(":")[0]) for one in report["warnings"]] == [
        ("providers.azure", "classic deployments without a model map"),
        ("providers.nowhere", "can never be asked"),
    ]
    assert max(map(len, check({}, f"{module}:gateway")[1].splitlines())) <= 90


@pytest.mark.parametrize("attribute", ["holder.inside", "make", "wrapped"])
def test_the_attribute_may_have_dots_be_a_factory_or_the_middleware(check: Check, module: str, attribute: str) -> None:
    found = settings_of(told(check, {}, f"{module}:{attribute}"))
    assert found["authenticate"] == ("on: a callable", "code")
    assert found["providers.openai.api_key"] == ("***", "code")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("checked_nowhere:gateway", "no module is named checked_nowhere"),
        ("checked_app.more:gateway", "no module is named checked_app"),
        ("checked_app:gatway", "checked_app has no attribute gatway"),
        (
            "checked_app:number",
            "expected a Gateway, or a callable without arguments that returns one; it is of the type int",
        ),
        ("checked_app:fails", "calling it raised RuntimeError at checked_app.py:"),
        ("checked_app:mistaken", "expected 200 or 201"),
        ("checked_app:nobody", "there is none: every call would be a 503"),
    ],
)
def test_what_is_no_gateway_is_a_problem_and_no_stack_trace(check: Check, module: str, target: str, says: str) -> None:
    report = told(check, {}, target)
    (problem,) = report["problems"]
    assert problem["says"].startswith(says)
    assert problem["mend"]


@pytest.mark.parametrize(
    ("target", "perhaps"),
    [
        ("checked_app", "checked_app:gateway"),
        ("checked_app:", "checked_app:gateway"),
        (":make", "app:make"),
        ("checked_app:a b", "checked_app:gateway"),
        ("./checked_app:make", "checked_app:make"),
        ("../src/checked_app.py:make", "src.checked_app:make"),
        ("checked_app.py:make", "checked_app:make"),
    ],
)
def test_what_is_no_name_of_a_gateway_is_wrong_usage(
    module: str, target: str, perhaps: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["check", target])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "expected module:attribute, as in app:gateway" in told
    assert told.endswith(f"perhaps {perhaps}\n")


def test_a_name_that_is_not_there_leads_to_the_gateway_that_is(check: Check, module: str) -> None:
    (problem,) = told(check, {}, "checked_app:nope")["problems"]
    assert problem["mend"] == "python -m ogw_asgi check checked_app:gateway"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def gateway(settings): ...", "expected a callable without arguments"),
        ("def gateway(*, settings): ...", "expected a callable without arguments"),
        ("async def gateway(): ...", "expected a Gateway, or a callable that returns one; it is async"),
        (
            "async def make(): ...\ngateway = lambda: make()",
            "expected a Gateway, or a callable that returns one; it is async",
        ),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_factory_that_cannot_be_called_as_servers_do_is_told_why(
    check: Check, module: str, source: str, says: str
) -> None:
    Path("checked_factory.py").write_text(source)
    (problem,) = told(check, {}, "checked_factory:gateway")["problems"]
    assert problem["says"].startswith(says)
    assert problem["mend"].startswith("def make_gateway() -> Gateway: ...")


@pytest.mark.parametrize(
    ("arguments", "mend"),
    [
        ("providers=[OpenAI(api_key='c4 n4ry')]", "OpenAI(api_key=os.environ['OPENAI_API_KEY'], ...)"),
        (
            "providers=[Azure(name='eu', endpoint='https://a.test', api_key='c4 n4ry')]",
            "api_key=os.environ['EU_API_KEY'] of eu",
        ),
        ("providers=[Azure(endpoint='a')]", "Azure(endpoint='https://RESOURCE.openai.azure.com', ...)"),
        (
            "providers=[OpenAI(), VLLM()], failover_sequence=['nope']",
            "Gateway(failover_sequence=['openai', 'vllm'], ...)",
        ),
        ("failover_sequence=['openai']", "Gateway(providers=[OpenAI(api_key=os.environ['OPENAI_API_KEY'])], ...)"),
        ("redis_url='http://:c4n4ry@x'", "Gateway(redis_url='redis://HOST:6379/0', ...)"),
        (
            "authenticate=bearer_tokens('c4n4ry c4n4ry')",
            "Gateway(authenticate=bearer_tokens({'team-a': [os.environ['TEAM_A_TOKEN']]}), ...)",
        ),
    ],
)
def test_a_mistake_in_code_has_a_line_that_names_what_is_there(
    check: Check, module: str, arguments: str, mend: str
) -> None:
    Path("checked_mistake.py").write_text(f"from ogw_asgi import *\ngateway = Gateway({arguments})\n")
    (problem,) = told(check, {}, "checked_mistake:gateway")["problems"]
    assert problem["mend"] == mend


def test_a_sequence_is_suggested_of_the_providers_that_are_there(check: Check, module: str) -> None:
    source = "from ogw_asgi import *\ngateway = Gateway(providers=[OpenAI(api_key='k'), VLLM(endpoint='http://v:1')])\n"
    Path("checked_two.py").write_text(source)
    report = told(check, {}, "checked_two:gateway")
    (warning,) = [one for one in report["warnings"] if one["setting"] == "failover_sequence"]
    assert warning["mend"] == "Gateway(failover_sequence=['openai', 'vllm'], ...)"


@pytest.mark.parametrize(
    ("source", "says", "mend"),
    [
        ("import nobody_has_this", "no module is named nobody_has_this", "pip install nobody_has_this"),
        ("raise ValueError('c4n4ry')", "importing it raised ValueError at checked_broken.py:1", BY_HAND),
        ("c4n4ry = 1\ndef :", "importing it raised SyntaxError at checked_broken.py:2", BY_HAND),
        ("if 1:\nc4n4ry = 1", "importing it raised IndentationError at checked_broken.py:2", BY_HAND),
        ("exec('def :')", "importing it raised SyntaxError at checked_broken.py:1", BY_HAND),
        ("raise SystemExit(0)", "importing it raised SystemExit at checked_broken.py:1", BY_HAND),
        (
            "from ogw_asgi import Gateway; gateway = Gateway(limits=3)",
            "expected Limits(...)",
            "Gateway(limits=Limits(body_bytes=16 << 20, attempts=5), ...)",
        ),
        (
            "from ogw_asgi import Gateway; gateway = Gateway.from_env()",
            "expected 200 or 201",
            "python -m ogw_asgi check    # without an argument: all of it",
        ),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(
    check: Check, module: str, source: str, says: str, mend: str | None
) -> None:
    Path("checked_broken.py").write_text(source)
    (problem,) = told(check, {"OGW_SUCCESS_STATUS": "204"}, "checked_broken:gateway")["problems"]
    assert problem["says"].startswith(says)
    assert problem["mend"] == mend


def test_what_a_module_prints_is_no_part_of_the_report(
    module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("checked_loud.py").write_text(
        f"print('loud')\nfrom {module} import make\ndef loud():\n print('louder'); return make()\n"
    )
    assert run(["check", "--json", "checked_loud:loud"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["ok"]
    assert captured.err == "loud\nlouder\n"


def test_a_fastapi_app_is_told_from_the_gateway_inside_it(check: Check, module: str) -> None:
    Path("checked_host.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    (problem,) = told(check, {}, "checked_host:app")["problems"]
    assert problem["says"].endswith("it is of the type FastAPI")


def test_a_gateway_that_its_module_takes_from_the_environment_still_has_its_sources(check: Check, module: str) -> None:
    Path("checked_env.py").write_text("from ogw_asgi import Gateway\napp = Gateway.from_env()\n")
    report = told(check, GOOD | {"OGW_TIMEOUT_MS": "2500"}, "checked_env:app")
    assert settings_of(report)["timeouts.first_chunk_s"] == (2.5, "OGW_TIMEOUT_MS")
    assert settings_of(report)["providers.openai.api_key"] == ("***", "OPENAI_API_KEY")


# --- with --probe, as a process, and used wrongly ---


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_with_probe_the_answers_decide_too(check: Check) -> None:
    well, locked = Listing(), Listing(models=lambda: error(401, "invalid_api_key"))
    async with serve(well.app) as url, serve(locked.app) as other:
        environ = GOOD | {"OPENAI_BASE_URL": f"{url}/v1"}
        good = await anyio.to_thread.run_sync(partial(check, environ, "--probe"))
        broken = environ | {"VLLM_ENDPOINT": other, "OGW_FAILOVER_SEQUENCE": '["openai", "vllm"]'}
        bad = await anyio.to_thread.run_sync(partial(check, broken, "--probe", "--json"))
        text = await anyio.to_thread.run_sync(partial(check, broken, "--probe"))
    assert good[0] == 0
    assert "answers: 2 models (" in good[1]
    report = json.loads(bad[1])
    assert (bad[0], report["ok"]) == (1, False)
    assert [(one["provider"], one["ok"], one["status"], one["models"]) for one in report["providers"]] == [
        ("openai", True, 200, 2),
        ("vllm", False, 401, None),
    ]
    assert named(report["problems"]) == ["providers.vllm.api_key"]
    assert report["problems"][0]["mend"] == "export VLLM_API_KEY=KEY"
    assert "key: 401, and none was sent, for none is set" in text[1]


def test_wrong_usage_is_a_status_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["chek"], ["check", "--prob", "a:b", "c"]):
        with pytest.raises(SystemExit) as ended:
            run(arguments)
        assert ended.value.code == 2
    assert "usage: python -m ogw_asgi" in capsys.readouterr().err


def test_as_a_process_it_prints_and_ends_with_its_status() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(NAMED)}
    command = [sys.executable, "-W", "error", "-m", "ogw_asgi", "check"]
    for more, status, last in ((GOOD, 0, "All is well."), ({}, 1, "Not well.")):
        done = subprocess.run(command, env=environ | more, capture_output=True, text=True, timeout=20)
        assert (done.returncode, done.stdout.splitlines()[-1], done.stderr) == (status, last, "")
        assert_silent(done.stdout, "the report")
