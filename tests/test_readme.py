"""Every block of the README is run, and its tables are held against the code."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from asgi_lifespan import LifespanManager
from starlette.applications import Starlette
from starlette.routing import Mount

from ogw_asgi import VLLM, Gateway, OpenAI, Timeouts
from ogw_asgi._check.judging import of_environment
from ogw_asgi._check.printing import printed
from ogw_asgi._environment.names import KNOWN
from ogw_asgi._rules.circuit import Failed
from ogw_asgi._values import AttemptRecord
from ogw_asgi._wire import headers
from ogw_asgi.telemetry import _metrics
from ogw_asgi.telemetry.events import AttemptEnded
from ogw_asgi.testing import ScriptedUpstream, asgi_client, chat, error, serve

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say hello."}]}

# Fenced blocks, with the word of the `<!-- check: word -->` before them.
BLOCKS = re.findall(r"(?:<!-- check: (\w+) -->\n)?```(\w+)\n(.*?)```", README, re.DOTALL)
PYTHON = {check: code for check, language, code in BLOCKS if language == "python"}


@asynccontextmanager
async def environment(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ScriptedUpstream]:
    """A healthy provider on a real port, where `openai` of the environment lives."""
    upstream = ScriptedUpstream(chat("Hello"))
    async with serve(upstream) as url:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-c4n4ry-test")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-test")
        yield upstream


def run(check: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": f"readme_{check}"}
    exec(compile(PYTHON[check], f"README.md ({check})", "exec"), namespace)
    return namespace


def test_every_python_block_is_one_of_those_run_here() -> None:
    blocks = [check for check, language, _ in BLOCKS if language == "python"]
    assert sorted(blocks) == [
        "budget",
        "combined",
        "crash",
        "endpoints",
        "explain",
        "middleware",
        "mount",
        "otel",
        "prometheus",
        "providers",
        "router",
        "sdk",
        "sink",
        "status",
        "testing",
    ]


@pytest.mark.anyio
async def test_the_twelve_line_app_serves_below_its_mount_point(monkeypatch: pytest.MonkeyPatch) -> None:
    async with environment(monkeypatch):
        app = run("mount")["app"]
        async with LifespanManager(app) as manager, asgi_client(manager.app) as client:
            assert (await client.get("/llm/models")).json() == {"object": "list", "data": []}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("check", "path", "extra"),
    [
        ("combined", "/llm/chat/completions", {}),
        ("middleware", "/chat/completions", {}),
        ("router", "/llm/chat/completions", {"x-user": "ada"}),
    ],
)
async def test_each_way_in_answers(
    monkeypatch: pytest.MonkeyPatch, check: str, path: str, extra: dict[str, str]
) -> None:
    async with environment(monkeypatch):
        app = run(check)["app"]
        async with LifespanManager(app) as manager, asgi_client(manager.app) as client:
            reply = await client.post(path, json=CHAT, headers=extra)
            assert reply.status_code == 201
            assert reply.json()["choices"][0]["message"]["content"] == "Hello"
            if extra:
                assert (await client.post(path, json=CHAT, headers={"x-user": "eve"})).status_code == 401


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_sdk_block_prints_the_answer_and_who_gave_it(capsys: pytest.CaptureFixture[str]) -> None:
    async with serve(ScriptedUpstream(error(500))) as down, serve(ScriptedUpstream(chat("Hello from vllm"))) as up:
        providers = [OpenAI(api_key="sk-c4n4ry-k", base_url=down), VLLM(endpoint=up)]
        gateway = Gateway(providers=providers, failover_sequence=["openai", "vllm"])
        async with serve(Starlette(routes=[Mount("/llm", gateway)], lifespan=gateway.lifespan)) as url:
            code = PYTHON["sdk"].replace("http://127.0.0.1:8000", url)
            await anyio.to_thread.run_sync(exec, compile(code, "README.md (sdk)", "exec"), {})
    assert capsys.readouterr().out == "Hello from vllm\nvllm after 2 attempts\n"


def test_the_providers_block_builds_a_gateway() -> None:
    assert repr(run("providers")["gateway"]) == "Gateway(providers=[openai, azure, azure-eu, vllm, groq])"


@pytest.mark.anyio
async def test_the_endpoints_block_is_a_list_that_a_gateway_takes() -> None:
    async with Gateway(providers=[run("endpoints")["vllm"]]) as gateway, asgi_client(gateway) as client:
        statuses = []
        for named in ("http://10.31.0.1:8000", "http://169.254.169.254", "https://10.0.0.7", "http://0x7f.1"):
            headers = {"x-opengateway-vllm-endpoint": named, "x-opengateway-failover-sequence": '["vllm"]'}
            statuses.append((await client.post("/chat/completions", json=CHAT, headers=headers)).status_code)
    assert statuses == [403, 403, 403, 400]


def test_the_check_prints_what_is_shown_of_it() -> None:
    command, _, shown = next(code for check, _, code in BLOCKS if check == "check").partition("\n")
    environ = dict(word.split("=", 1) for word in shlex.split(command) if "=" in word)
    report, _gateway = of_environment(environ)
    lines = iter(printed(report).splitlines())
    for line in shown.splitlines():
        assert line == "..." or line in lines  # each somewhere behind the one before it
    assert not report.well


@pytest.mark.anyio
async def test_the_explain_block_explains() -> None:
    block = run("explain")
    first, second = ("1. openai, gpt-4o", "2. vllm, llama-3.3-70b")
    ready = "ready, first chunk within 5 s"
    terms = "a stream, success is 201; at most 5 attempts; a stream that breaks: error"
    assert await block["why"]() == f"{first}: {ready}\n{second}: {ready}\n{terms}"
    async with block["gateway"]:
        store = block["gateway"]._opened.dispatcher.circuits.store
        await store.apply([(("openai", "gpt-4o"), Failed(ticket)) for ticket in range(5)], anyio.current_time())
        told = await block["why"]()
    shown = README.split("While `openai`'s breaker is open that is\n\n```\n")[1].partition("\n```")[0]
    seconds = re.compile(r"for [0-9.]+ s")
    assert seconds.sub("", told) == seconds.sub("", shown)


def test_the_testing_block_passes() -> None:
    assert "test_my_app_survives_an_outage" in run("testing")


def test_the_crash_test_passes_for_every_fault_in_it() -> None:
    block = run("crash")
    for fault in block["FAULTS"]:
        block["test_my_app_answers_whatever_its_provider_does"](fault)


def test_the_sink_counts() -> None:
    sink = run("sink")["outcomes"]
    sink.on_event(
        AttemptEnded("id", 1, 1, AttemptRecord("openai", "timeout", None, None, 5, "m"), "failed", misconfigured=False)
    )
    ok = AttemptRecord("openai", "ok", 200, None, 5, "m")
    sink.on_event(AttemptEnded("id", 1, 2, ok, "broken", misconfigured=False, cause="idle"))
    assert sink.seen == {("openai", "timeout"): 1, ("openai", "broken"): 1}


def test_the_otel_block_builds_a_gateway() -> None:
    assert repr(run("otel")["gateway"]) == "Gateway(providers=[openai, vllm])"


@pytest.mark.anyio
async def test_the_prometheus_block_is_scraped_below_its_mount_point() -> None:
    app = run("prometheus")["app"]
    async with LifespanManager(app) as manager, asgi_client(manager.app, follow_redirects=True) as client:
        assert (await client.post("/llm/chat/completions", json={})).status_code == 400
        text = (await client.get("/metrics")).text
    assert 'ogw_requests_total{outcome="rejected"} 1.0' in text
    assert 'ogw_circuit_state{provider="openai",state="closed"} 1.0' in text


def test_the_table_of_metrics_is_that_of_the_sinks() -> None:
    table = README.split("## Prometheus\n")[1].split("`refused` is")[0]
    rows = re.findall(r"^\| `(\w+)` \| ?(.*) \| `([^`]+)` \|$", table, re.MULTILINE)
    ours = [one for one in vars(_metrics).values() if isinstance(one, _metrics.Metric)]
    assert {name for name, _, _ in rows} == {one.prometheus for one in ours}
    for one in ours:
        (row,) = [row for row in rows if row[0] == one.prometheus]
        assert tuple(re.findall(r"`(\w+)`", row[1]))[: len(one.labels)] == one.labels
        assert row[2] == one.otel if one.otel is not None else row[2].startswith("gen_ai.client.inference.")


@pytest.mark.anyio
async def test_the_status_block_shows_the_page_to_operators_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "TEAM_A_TOKEN", "STATUS_TOKEN"):
        monkeypatch.setenv(name, f"sk-c4n4ry-of-{name}-0123456789abcdef")
    async with run("status")["gateway"] as gateway, asgi_client(gateway) as client:
        statuses = {
            name: (await client.get("/_status", auth=("me", f"sk-c4n4ry-of-{name}-0123456789abcdef"))).status_code
            for name in ("TEAM_A_TOKEN", "STATUS_TOKEN")
        }
    assert statuses == {"TEAM_A_TOKEN": 401, "STATUS_TOKEN": 200}


@pytest.mark.anyio
async def test_the_budget_is_spent_by_what_was_used_and_by_a_guess_where_nobody_said() -> None:
    block = run("budget")
    counted = {"prompt_tokens": 60_000, "completion_tokens": 10_000}
    replies = chat(), chat(usage=counted), chat(usage=counted)
    headers = {"authorization": "Bearer sk-team-a-0123456789abcdef0123456789abcdef"}
    statuses, left = [], []
    async with ScriptedUpstream(*replies).client() as provider:
        gateway = Gateway(
            providers=[OpenAI(client=provider)], authenticate=block["authenticate"], sinks=[block["Charge"]()]
        )
        async with gateway, asgi_client(gateway) as client:
            for body in ({**CHAT, "stream": True}, CHAT, CHAT, CHAT):  # nobody asked the stream for its usage
                statuses.append((await client.post("/chat/completions", json=body, headers=headers)).status_code)
                left.append(block["limiter"].get_window_stats(block["budget"], "team-a").remaining)
    assert statuses == [201, 201, 201, 429]
    assert left[:2] == [99_000, 29_000]


@pytest.mark.anyio
async def test_the_curl_line_shows_the_failover_that_is_printed_below_it() -> None:
    block = next(code for check, _, code in BLOCKS if check == "curl")
    command, _, printed = block.removeprefix("$ ").partition("\nHTTP/1.1 ")
    words = shlex.split(command.replace("\\\n", " "))
    sent = dict(word.split(": ", 1) for flag, word in zip(words, words[1:], strict=False) if flag == "-H")
    body = next(word for flag, word in zip(words, words[1:], strict=False) if flag == "-d")
    path = httpx.URL(next(word for word in words if word.startswith("http://"))).path.removeprefix("/llm")
    bad_key, vllm = ScriptedUpstream(error(401, "Incorrect API key provided")), ScriptedUpstream(chat("Hello"))
    async with bad_key.client() as first, serve(vllm) as url:
        async with (
            Gateway(providers=[OpenAI(api_key="sk-c4n4ry-bad", client=first), VLLM(endpoint=url)]) as gateway,
            asgi_client(gateway) as client,
        ):
            reply = await client.post(path, headers=sent, content=body)
    status, *lines = printed.strip().splitlines()
    assert status == f"{reply.status_code} {reply.reason_phrase}"
    for line in lines:
        name, value = line.split(": ", 1)
        timeless = re.sub(r"dur=\d+", "dur=0", value)
        assert re.sub(r"dur=\d+", "dur=0", reply.headers[name]) == timeless


@pytest.mark.anyio
async def test_the_error_that_is_shown_is_the_error_that_is_sent() -> None:
    shown = json.loads(next(code for _, language, code in BLOCKS if language == "json"))
    silent, busy = ScriptedUpstream(error(503)), ScriptedUpstream(error(503))
    async with silent.client() as first, busy.client() as second:
        gateway = Gateway(
            providers=[
                OpenAI(api_key="sk-c4n4ry-k", client=first),
                OpenAI(name="azure", api_key="sk-c4n4ry-k", client=second),
            ]
        )
        async with gateway, asgi_client(gateway) as client:
            sent = (await client.post("/chat/completions", json=CHAT)).json()
    assert sent["error"].keys() == shown["error"].keys()
    assert sent["error"]["code"] == shown["error"]["code"]
    assert sent["error"]["message"] == shown["error"]["message"].replace("timeout", "503")
    assert sent["error"]["attempts"][1].keys() == shown["error"]["attempts"][1].keys()
    assert sent["error"]["attempts"][1]["outcome"] == shown["error"]["attempts"][1]["outcome"]


def test_the_header_table_names_every_header_and_no_other() -> None:
    table = README.split("## What callers send")[1].split("## What callers get")[0]
    named = set(re.findall(r"^\| `([a-z-]+)`", table, re.MULTILINE))
    constants = [getattr(headers, name) for name in dir(headers) if name.isupper()]
    known = {name for name in constants if isinstance(name, str) and re.fullmatch(r"x-opengateway-[a-z-]*[a-z]", name)}
    assert named == known | {"x-request-id"}


def test_the_environment_table_names_every_variable_that_is_understood() -> None:
    table = README.split("by `Gateway.from_env()`:")[1].split("A name that cannot work")[0]
    named = set(re.findall(r"`(OGW_[A-Z_]+)`", table))
    assert named == KNOWN


def test_the_two_commands_are_those_that_the_projects_check_runs() -> None:
    check = (ROOT / ".ci" / "run").read_text()
    for extra, command in (("demo", "python -m example_apps.demo"), ("test", "pytest")):
        assert f'$ pip install -e ".[{extra}]" && {command}\n' in README
        assert f'-e ".[{extra}]"' in check
        assert command.removeprefix("python ") in check


def test_the_defaults_in_the_providers_block_are_the_defaults() -> None:
    defaults = Timeouts()
    assert f"connect_s={defaults.connect_s:g}, idle_s={defaults.idle_s:g}" in PYTHON["providers"]
