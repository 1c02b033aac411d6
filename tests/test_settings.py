"""What a gateway refuses to be built from, and what the environment makes of it."""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import anyio
import pytest

from ogw_asgi import (
    VLLM,
    Azure,
    ConfigurationError,
    Gateway,
    Limits,
    OpenAI,
    OpenAICompatible,
    Timeouts,
)
from ogw_asgi._environment.reading import read_environment
from ogw_asgi.testing import ScriptedUpstream, asgi_client, chat
from tests.asgi.hosts import QUESTION

SECRET = "sk-c4n4ry-secret-0123456789"
FAR = "https://api.test/v1"
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def refusal(build: Callable[[], object]) -> str:
    with pytest.raises(ConfigurationError) as refused:
        build()
    text = str(refused.value) + repr(refused.value)
    assert "secret" not in text
    assert refused.value.__cause__ is None
    return str(refused.value)


# --- Gateway(...) ---


class _Sink:
    def on_event(self, event: object, /) -> None: ...


class _Later:
    async def on_event(self, event: object, /) -> None: ...


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"providers": ["openai"]}, "providers"),
        ({"providers": [OpenAI(), OpenAI(base_url=FAR)]}, "'openai'"),
        ({"providers": [OpenAI(client=object())]}, "openai: client"),  # type: ignore[arg-type]
        ({"providers": [OpenAI()], "failover_sequence": "openai"}, "failover_sequence"),
        ({"providers": [OpenAI()], "failover_sequence": []}, "failover_sequence"),
        ({"providers": [OpenAI()], "failover_sequence": ["azure"]}, "azure"),
        ({"providers": [OpenAI()], "failover_sequence": ["openai/"]}, "openai/"),
        ({"providers": [OpenAI()], "failover_sequence": ["/gpt-4o"]}, "failover_sequence"),
        ({"providers": [OpenAI()], "failover_sequence": [""]}, "failover_sequence"),
        ({"providers": [OpenAI()], "failover_sequence": [7]}, "failover_sequence"),
        ({"success_status": 204}, "success_status"),
        ({"success_status": 0}, "success_status"),
        ({"failover_on": {"everything"}}, "failover_on"),
        ({"failover_on": "context_length"}, "failover_on"),
        ({"on_stream_break": "retry"}, "on_stream_break"),
        ({"on_stream_break": "Hold"}, "on_stream_break"),
        ({"on_stream_break": None}, "on_stream_break"),
        ({"models": "gpt-4o"}, "models"),
        ({"models": [""]}, "models"),
        ({"models": [7]}, "models"),
        ({"providers": None}, "providers"),
        ({"providers": 7}, "providers"),
        ({"providers": [OpenAI()], "failover_sequence": 7}, "failover_sequence"),
        ({"failover_on": None}, "failover_on"),
        ({"models": None}, "models"),
        ({"sinks": None}, "sinks"),
        ({"sinks": 7}, "sinks"),
        ({"engine": None}, "engine"),
        ({"engine": "aiohttp"}, "engine"),
        ({"engine": "json"}, "engine"),
        ({"authenticate": {"team-a": [SECRET]}}, "authenticate"),
        ({"authenticate": SECRET}, "authenticate"),
        ({"sinks": [print]}, "sinks"),
        ({"sinks": [_Sink]}, "not their class"),
        ({"sinks": [_Later()]}, "plain method"),
        ({"limits": Limits(attempts=17)}, "attempts"),
    ],
)
def test_a_gateway_that_cannot_work_is_refused_and_the_setting_is_named(arguments: Any, named: str) -> None:
    assert named in refusal(lambda: Gateway(**arguments))


@pytest.mark.contract("5.heartbeat.setting")
@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan"), True, "30", None])
@pytest.mark.parametrize("field", [field.name for field in fields(Timeouts)])
def test_a_time_limit_is_a_positive_number_of_seconds(field: str, value: Any) -> None:
    arguments: dict[str, Any] = {field: value}
    if value is None and field in ("total_s", "hedge_after_s", "heartbeat_s"):
        assert Gateway(timeouts=Timeouts(**arguments)) is not None
        return
    assert field in refusal(lambda: Gateway(timeouts=Timeouts(**arguments)))


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "10", None])
@pytest.mark.parametrize("field", [field.name for field in fields(Limits)])
def test_a_limit_is_a_positive_integer(field: str, value: Any) -> None:
    assert field in refusal(lambda: Gateway(limits=Limits(**{field: value})))


@pytest.mark.contract("5.policy.setting")
@pytest.mark.parametrize("policy", ["error", "continue", "hold"])
def test_each_policy_for_broken_streams_may_be_set(policy: Any) -> None:
    assert Gateway(on_stream_break=policy) is not None
    assert gateway_of(OPENAI | {"OGW_ON_STREAM_BREAK": policy}) is not None


@pytest.mark.parametrize("entry", ["gpu:8000", "ftp://gpu:8000", "http://secret:pw@gpu:8000", "http://0x7f.1", "", 7])
def test_an_entry_that_is_no_origin_is_refused_by_its_place(entry: Any) -> None:
    assert "entry 1" in refusal(lambda: Gateway(providers=[VLLM(allowed_endpoints=[entry])]))


def test_one_string_is_no_list_of_origins() -> None:
    assert "list" in refusal(lambda: Gateway(providers=[VLLM(allowed_endpoints="http://gpu:8000")]))


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: OpenAI(api_key="sk secret"), "openai: api_key"),
        (lambda: OpenAI(api_key=""), "openai: api_key"),
        (lambda: OpenAI(api_key="secret\n"), "openai: api_key"),
        (lambda: OpenAI(api_key=b"secret"), "openai: api_key"),  # type: ignore[arg-type]
        (lambda: OpenAI(ssl_context="ca.pem"), "openai: ssl_context"),  # type: ignore[arg-type]
        (lambda: VLLM(ssl_context=True), "vllm: ssl_context"),  # type: ignore[arg-type]
        (lambda: Azure(endpoint=FAR, client=object(), ssl_context=CONTEXT), "ssl_context"),  # type: ignore[arg-type]
        (lambda: OpenAI(name=7), "name"),  # type: ignore[arg-type]
        (lambda: OpenAI(base_url=7), "openai: base_url"),  # type: ignore[arg-type]
        (lambda: OpenAI(headers=["a"]), "openai: headers"),  # type: ignore[arg-type]
        (lambda: OpenAI(headers={"x-a": 1}), "openai: headers"),  # type: ignore[dict-item]
        (lambda: OpenAICompatible("own", base_url=""), "own: base_url"),
        (lambda: OpenAICompatible("own", base_url=None), "own: base_url"),  # type: ignore[arg-type]
        (lambda: Azure(endpoint=7), "azure: endpoint"),  # type: ignore[arg-type]
        (lambda: Azure(endpoint=FAR, api_version=7), "azure: api_version"),  # type: ignore[arg-type]
        (lambda: VLLM(endpoint=7), "vllm: endpoint"),  # type: ignore[arg-type]
        (lambda: VLLM(allowed_endpoints=7), "vllm: allowed_endpoints"),  # type: ignore[arg-type]
        (lambda: OpenAI(base_url="api.openai.com"), "openai: base_url"),
        (lambda: OpenAI(base_url="ftp://api.test"), "openai: base_url"),
        (lambda: OpenAI(base_url="https://"), "openai: base_url"),
        (lambda: OpenAI(base_url="https://api.test:0"), "openai: base_url"),
        (lambda: OpenAI(base_url="https://api.test:99999"), "openai: base_url"),
        (lambda: OpenAI(base_url="https://user:secret@api.test/v1"), "openai: base_url"),
        (lambda: OpenAI(base_url="https://api.test/v1?key=secret"), "openai: base_url"),
        (lambda: OpenAI(base_url="https://api.test/v1#secret"), "openai: base_url"),
        (lambda: OpenAI(base_url="https://api.test/ v1"), "openai: base_url"),
        (lambda: OpenAI(base_url="https://äpi.test/v1"), "openai: base_url"),
        (lambda: OpenAI(models={"": "x"}), "openai: models"),
        (lambda: OpenAI(models={"x": ""}), "openai: models"),
        (lambda: OpenAI(models={"x": 1}), "openai: models"),  # type: ignore[dict-item]
        (lambda: OpenAI(headers={"x y": "secret"}), "headers: expected names"),
        (lambda: OpenAI(headers={"x-a": "secret\r\n"}), "x-a"),
        (lambda: OpenAI(headers={"x-a": "secret\u00fc"}), "x-a"),
        (lambda: OpenAI(headers={"Host": "secret"}), "Host"),
        (lambda: OpenAI(headers={"x-opengateway-timeout": "1"}), "x-opengateway-timeout"),
        (lambda: OpenAI(organization="secret\n"), "openai-organization"),
        (lambda: Azure(endpoint=""), "azure: endpoint"),
        (lambda: Azure(endpoint="acme"), "azure: endpoint"),
        (lambda: Azure(endpoint=FAR, api_version="latest"), "azure: api_version"),
        (lambda: Azure(endpoint=FAR, api_version=""), "azure: api_version"),
        (lambda: Azure(endpoint=FAR, api_version="2024-10-21&secret"), "azure: api_version"),
        (lambda: VLLM(endpoint="gpu:8000"), "vllm: endpoint"),
    ],
)
def test_a_provider_that_cannot_work_is_refused_and_no_key_is_shown(build: Callable[[], Any], named: str) -> None:
    assert named in refusal(build)


@pytest.mark.contract("8.names")
@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("groq", True),
        ("0", True),
        ("a.b_c-d", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        ("Groq", False),
        ("-groq", False),
        ("gro q", False),
        ("groq/1", False),
        ("groq\n", False),
        ("grüq", False),
    ],
)
def test_names_of_providers_have_an_alphabet(name: str, good: bool) -> None:
    if good:
        assert OpenAICompatible(name, base_url=FAR).name == name
    else:
        assert "provider name" in refusal(lambda: OpenAICompatible(name, base_url=FAR))


def test_a_repr_shows_names_and_no_keys() -> None:
    provider = OpenAI(api_key=SECRET, headers={"x-a": SECRET})
    gateway = Gateway(providers=[provider])
    assert (repr(provider), repr(gateway)) == ("OpenAI(name='openai')", "Gateway(providers=[openai])")
    assert SECRET not in str(vars(provider)["_key"])


# --- from_env ---


def gateway_of(environ: Mapping[str, str]) -> Gateway:
    return Gateway.from_env(environ)


OPENAI = {"OPENAI_API_KEY": SECRET}


def provider_of(environ: Mapping[str, str], name: str) -> Any:
    (found,) = (provider for provider in read_environment(environ)["providers"] if provider.name == name)
    return found


@pytest.mark.parametrize(
    ("environ", "name", "kind", "base_url"),
    [
        (OPENAI, "openai", OpenAI, "https://api.openai.com/v1"),
        ({"OPENAI_BASE_URL": "http://proxy:1/v1/"}, "openai", OpenAI, "http://proxy:1/v1"),
        ({"AZURE_OPENAI_ENDPOINT": "https://a.test/"}, "azure", Azure, "https://a.test/openai/v1"),
        (
            {"AZURE_OPENAI_ENDPOINT": "https://a.test", "OPENAI_API_VERSION": "2024-10-21"},
            "azure",
            Azure,
            "https://a.test/openai/deployments",
        ),
        ({"VLLM_ENDPOINT": "http://gpu:8000"}, "vllm", VLLM, "http://gpu:8000/v1"),
        ({"OGW_VLLM_ALLOWED_ENDPOINTS": "http://gpu:8000"}, "vllm", VLLM, ""),
        (
            {"OGW_PROVIDERS": '{"groq": {"base_url": "https://g.test/v1"}}'},
            "groq",
            OpenAICompatible,
            "https://g.test/v1",
        ),
    ],
)
def test_the_environment_names_the_providers(environ: dict[str, str], name: str, kind: Any, base_url: str) -> None:
    provider = provider_of(environ, name)
    assert type(provider) is kind
    assert provider.base_url == base_url
    assert repr(gateway_of(environ)) == f"Gateway(providers=[{name}])"


AZURE = {"AZURE_OPENAI_ENDPOINT": "https://a.test"}


@pytest.mark.parametrize(
    ("environ", "name", "header"),
    [
        (OPENAI, "openai", (b"authorization", b"Bearer sk-c4n4ry-secret-0123456789")),
        (AZURE | {"AZURE_OPENAI_API_KEY": SECRET}, "azure", (b"api-key", SECRET.encode())),
        (AZURE | {"AZURE_OPENAI_AD_TOKEN": SECRET}, "azure", (b"authorization", b"Bearer " + SECRET.encode())),
        (
            AZURE | {"AZURE_OPENAI_API_KEY": SECRET, "AZURE_OPENAI_AD_TOKEN": "other"},
            "azure",
            (b"api-key", SECRET.encode()),
        ),
        (
            {"VLLM_ENDPOINT": "http://gpu:8000", "VLLM_API_KEY": SECRET},
            "vllm",
            (b"authorization", b"Bearer " + SECRET.encode()),
        ),
        (
            {"OGW_PROVIDERS": '{"groq": {"base_url": "https://g.test/v1", "api_key_env": "K"}}', "K": SECRET},
            "groq",
            (b"authorization", b"Bearer " + SECRET.encode()),
        ),
    ],
)
def test_the_environment_gives_each_provider_its_key(
    environ: dict[str, str], name: str, header: tuple[bytes, bytes]
) -> None:
    provider = provider_of(environ, name)
    key = anyio.run(provider.key)
    assert provider.authorize(key.reveal()) == [header]


def test_a_gateway_from_an_empty_environment_is_built_and_has_no_provider() -> None:
    assert repr(gateway_of({})) == "Gateway(providers=[])"
    assert repr(gateway_of({"OPENAI_API_KEY": "  ", "OGW_TIMEOUT_MS": ""})) == "Gateway(providers=[])"


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_ENDPOINT", "http://gpu:8000")
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert "openai, vllm" in repr(Gateway.from_env())


@pytest.mark.contract("1.success-status", "2.limits.configured", "7.environment")
@pytest.mark.parametrize(
    ("variable", "value", "argument", "expected"),
    [
        ("OGW_FAILOVER_SEQUENCE", '["openai/gpt-4o", "openai"]', "failover_sequence", ["openai/gpt-4o", "openai"]),
        ("OGW_TIMEOUT_MS", "1500", "timeouts", Timeouts(first_chunk_s=1.5)),
        ("OGW_IDLE_TIMEOUT_MS", "2500", "timeouts", Timeouts(idle_s=2.5)),
        ("OGW_ON_STREAM_BREAK", "error", "on_stream_break", "error"),
        ("OGW_SUCCESS_STATUS", "200", "success_status", 200),
        ("OGW_SUCCESS_STATUS", " 201 ", "success_status", 201),
        ("OGW_MAX_BODY_BYTES", "1024", "limits", Limits(body_bytes=1024)),
    ],
)
def test_the_environment_sets_what_the_constructor_takes(
    variable: str, value: str, argument: str, expected: object
) -> None:
    environ = OPENAI | {variable: value}
    assert read_environment(environ)[argument] == expected
    assert gateway_of(environ) is not None
    listed = read_environment({"OGW_VLLM_ALLOWED_ENDPOINTS": "http://a:1, http://b:2,"})["providers"][0]
    assert listed.allowed_endpoints == ("http://a:1", "http://b:2")


def test_the_environment_maps_models_per_provider() -> None:
    environ = OPENAI | AZURE | {"OGW_MODELS": '{"azure": {"gpt-4o": "prod", "*": "rest"}, "openai": {"fast": "mini"}}'}
    assert provider_of(environ, "azure").models == {"gpt-4o": "prod", "*": "rest"}
    assert provider_of(environ, "openai").models == {"fast": "mini"}


@pytest.mark.anyio
@pytest.mark.contract("1.unauthorized")
@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("sk-c4n4ry-one-000, sk-c4n4ry-two-000", "sk-c4n4ry-two-000"),
        ('{"team-a": ["sk-c4n4ry-one-000", "sk-c4n4ry-two-000"]}', "sk-c4n4ry-one-000"),
        ('{"team-a": ["sk-c4n4ry-one-000"], "team-b": ["sk-c4n4ry-two-000"]}', "sk-c4n4ry-two-000"),
        ('["sk-c4n4ry-one-000", "sk-c4n4ry-two-000"]', "sk-c4n4ry-two-000"),
        (
            "sk-c4n4ry-two-000,sha256:23acc5350ea4d69a4ea63a41e7d6e30560200934b60893284ff98951d5068d5d",
            "sk-c4n4ry-one-000",
        ),
    ],
)
async def test_the_environment_asks_for_tokens(value: str, token: str) -> None:
    with anyio.fail_after(5):
        async with ScriptedUpstream(chat()).client() as client:
            arguments = read_environment({"OGW_BEARER_TOKENS": value})
            arguments["providers"] = [OpenAI(client=client)]
            async with Gateway(**arguments) as gateway, asgi_client(gateway) as caller:
                right = await caller.post(
                    "/chat/completions", json=QUESTION, headers={"authorization": f"Bearer {token}"}
                )
                wrong = await caller.post("/chat/completions", json=QUESTION)
    assert (right.status_code, wrong.status_code) == (201, 401)


@pytest.mark.contract("5.heartbeat.setting", "5.policy.setting")
@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"OGW_FAILOVER_SEQUENCE": "openai,azure"}, "ogw_failover_sequence"),
        ({"OGW_FAILOVER_SEQUENCE": '{"openai": 1}'}, "ogw_failover_sequence"),
        ({"OGW_FAILOVER_SEQUENCE": "[1]"}, "ogw_failover_sequence"),
        ({"OGW_FAILOVER_SEQUENCE": '["nobody"]'}, "failover_sequence"),
        ({"OGW_TIMEOUT_MS": "1.5"}, "ogw_timeout_ms"),
        ({"OGW_TIMEOUT_MS": "-1"}, "ogw_timeout_ms"),
        ({"OGW_TIMEOUT_MS": "0"}, "ogw_timeout_ms"),
        ({"OGW_TIMEOUT_MS": "9" * 13}, "ogw_timeout_ms"),
        ({"OGW_TIMEOUT_MS": "\u0661"}, "ogw_timeout_ms"),
        ({"OGW_IDLE_TIMEOUT_MS": "soon"}, "ogw_idle_timeout_ms"),
        ({"OGW_HEARTBEAT_MS": "0"}, "ogw_heartbeat_ms"),
        ({"OGW_HEARTBEAT_MS": "-1000"}, "ogw_heartbeat_ms"),
        ({"OGW_HEARTBEAT_MS": "1.5"}, "ogw_heartbeat_ms"),
        ({"OGW_HEARTBEAT_MS": "10s"}, "ogw_heartbeat_ms"),
        ({"OGW_ON_STREAM_BREAK": "never"}, "ogw_on_stream_break"),
        ({"OGW_BEARER_TOKENS": "{"}, "ogw_bearer_tokens"),
        ({"OGW_BEARER_TOKENS": '{"team": "sk-c4n4ry-secret"}'}, "ogw_bearer_tokens"),
        ({"OGW_BEARER_TOKENS": '{"team": [1]}'}, "ogw_bearer_tokens"),
        ({"OGW_BEARER_TOKENS": '["sk-secret", 1]'}, "ogw_bearer_tokens"),
        ({"OGW_BEARER_TOKENS": '["sk-secret"'}, "ogw_bearer_tokens"),
        ({"OGW_BEARER_TOKENS": '["sk-secret", "sk-secret"]'}, "ogw_bearer_tokens"),
        ({"OGW_BEARER_TOKENS": '{"team": ["sk secret"]}'}, "ogw_bearer_tokens"),
        ({"OGW_BEARER_TOKENS": '{"": ["sk-secret"]}'}, "ogw_bearer_tokens"),
        ({"OGW_BEARER_TOKENS": '{"team": []}'}, "ogw_bearer_tokens"),
        ({"OGW_BEARER_TOKENS": "{}"}, "ogw_bearer_tokens"),
        ({"OGW_BEARER_TOKENS": "sk secret"}, "ogw_bearer_tokens"),
        ({"OGW_BEARER_TOKENS": "sk-secret,sk-secret"}, "ogw_bearer_tokens"),
        ({"OGW_BEARER_TOKENS": "sha256:sk-secret"}, "ogw_bearer_tokens"),
        ({"OGW_BEARER_TOKENS": ","}, "ogw_bearer_tokens"),
        # A secret that failed to arrive must not open the door.
        ({"OGW_BEARER_TOKENS": ""}, "ogw_bearer_tokens"),
        ({"OGW_BEARER_TOKENS": " \n"}, "ogw_bearer_tokens"),
        ({"OGW_VLLM_ALLOWED_ENDPOINTS": "http://*.gpu:8000"}, "allowed_endpoints"),
        ({"OGW_SUCCESS_STATUS": "204"}, "ogw_success_status"),
        ({"OGW_SUCCESS_STATUS": "two hundred"}, "ogw_success_status"),
        ({"OGW_MAX_BODY_BYTES": "16 MiB"}, "ogw_max_body_bytes"),
        ({"OGW_MAX_BODY_BYTES": "0"}, "ogw_max_body_bytes"),
        ({"OGW_MODELS": "[]"}, "ogw_models"),
        ({"OGW_MODELS": '{"openai": "gpt-4o"}'}, "ogw_models"),
        ({"OGW_MODELS": '{"nobody": {"a": "b"}}'}, "ogw_models"),
        ({"OGW_MODELS": '{"openai": {"a": 1}}'}, "models"),
        ({"OGW_REDIS_URL": "http://:secret@cache"}, "ogw_redis_url"),
        ({"OGW_PROVIDERS": "[]"}, "ogw_providers"),
        ({"OGW_PROVIDERS": "[" * 100_000}, "ogw_providers"),
        ({"OGW_PROVIDERS": '{"groq": "https://g.test"}'}, "ogw_providers"),
        ({"OGW_PROVIDERS": '{"groq": {}}'}, "ogw_providers"),
        ({"OGW_PROVIDERS": '{"groq": {"base_url": "https://g.test", "api_key": "sk-c4n4ry-secret"}}'}, "ogw_providers"),
        ({"OGW_PROVIDERS": '{"groq": {"base_url": "https://g.test", "api_key_env": "NOPE"}}'}, "ogw_providers"),
        ({"OGW_PROVIDERS": '{"groq": {"base_url": "https://g.test", "api_key_env": 7}}'}, "ogw_providers"),
        ({"OGW_PROVIDERS": '{"Groq": {"base_url": "https://g.test"}}'}, "groq"),
        ({"OGW_PROVIDERS": '{"openai": {"base_url": "https://g.test"}}'}, "openai"),
        ({"OPENAI_BASE_URL": "https://user:secret@api.test"}, "openai: base_url"),
        ({"AZURE_OPENAI_ENDPOINT": "acme"}, "azure: endpoint"),
        (AZURE | {"OPENAI_API_VERSION": "v1"}, "azure: api_version"),
        ({"VLLM_ENDPOINT": "gpu"}, "vllm: endpoint"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_variable_that_cannot_work_is_refused_by_name(environ: dict[str, str], named: str) -> None:
    assert named in refusal(lambda: gateway_of(OPENAI | environ)).lower()


def test_unknown_variables_get_one_warning_that_names_them_all(caplog: pytest.LogCaptureFixture) -> None:
    gateway_of(OPENAI | {"OGW_TIMEOUT": SECRET, "OGW_SERVICE_PORT": "tcp://10.0.0.1:80", "OTHER": "x"})
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.levelno == logging.WARNING
    assert record.getMessage().endswith("names=OGW_SERVICE_PORT, OGW_TIMEOUT (did you mean OGW_TIMEOUT_MS?)")
    assert SECRET not in caplog.text


def test_known_variables_get_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    gateway_of(OPENAI | {"OGW_TIMEOUT_MS": "1000", "OGW_SUCCESS_STATUS": "200", "OGW_UNUSED": ""})
    assert caplog.records == []


# --- what is not wrong, but hardly meant ---


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_backup_that_nobody_would_ask_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    Gateway(providers=[OpenAI(), OpenAICompatible("groq", base_url=FAR), VLLM(allowed_endpoints=[FAR])])
    (line,) = warned(caplog)
    assert line.startswith("no_failover_sequence: out of the box [openai] is asked, and [groq] only when")


@pytest.mark.parametrize(
    "arguments",
    [
        {"providers": [OpenAI(), Azure(endpoint=FAR)]},
        {"providers": [VLLM(endpoint=FAR), OpenAICompatible("groq", base_url=FAR)]},
        {"providers": [OpenAI(), VLLM(endpoint=FAR)], "failover_sequence": ["openai"]},
    ],
    ids=["openai and azure", "neither, so all", "said so"],
)
def test_an_order_that_is_complete_or_meant_is_not_warned_of(
    arguments: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    Gateway(**arguments)
    assert warned(caplog) == []


def test_an_environment_without_any_provider_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    Gateway.from_env({"OPENAI_API_KEY": " "})
    (line,) = warned(caplog)
    assert line.startswith("no_provider: ")
    assert "OPENAI_API_KEY" in line


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: Gateway(timeouts=10), "timeouts: expected Timeouts(...)"),  # type: ignore[arg-type]
        (lambda: Gateway(limits={}), "limits: expected Limits(...)"),  # type: ignore[arg-type]
        (lambda: Gateway(providers=OpenAI()), "providers: expected a list"),  # type: ignore[arg-type]
        (lambda: OpenAI(models=["gpt-4o"]), "openai: models: expected a mapping"),  # type: ignore[arg-type]
        (lambda: OpenAI(base_url=f"{FAR}/v1/chat/completions"), "leave out /chat/completions"),
        (lambda: OpenAI(api_key=""), "openai: api_key: the key is empty"),
        (lambda: OpenAI(api_key="sk-c4n4ry-1\n"), "strip() it"),
    ],
)
def test_a_newcomers_mistake_gets_a_sentence_that_mends_it(build: Callable[[], object], expected: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(expected)):
        build()


def test_a_gateway_from_the_environment_takes_sinks() -> None:
    sink = _Sink()
    gateway = Gateway.from_env({"OPENAI_API_KEY": "sk-c4n4ry-0123456789"}, sinks=[sink])
    assert gateway._observers.all_is_told
