"""Settings: what is checked at construction, and what the environment says (contract, section 8).

Errors here are `ConfigurationError`s that name the setting and what was expected, and never hold a key's value.
"""

from __future__ import annotations

import difflib
import json
import logging
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, cast

from ._values import Breaker, Limits, StreamBreak, TargetName, Timeouts
from .auth.base import Authenticator
from .auth.bearer import bearer_tokens
from .circuits.redis import read_place
from .exceptions import ConfigurationError
from .providers import VLLM, Azure, OpenAI, OpenAICompatible, Provider

FAILOVER_ON = frozenset({"context_length", "content_filter", "unsupported_parameter"})

_KNOWN = frozenset(
    {
        "OGW_BEARER_TOKENS",
        "OGW_FAILOVER_SEQUENCE",
        "OGW_HEARTBEAT_MS",
        "OGW_IDLE_TIMEOUT_MS",
        "OGW_MAX_BODY_BYTES",
        "OGW_MODELS",
        "OGW_ON_STREAM_BREAK",
        "OGW_PROVIDERS",
        "OGW_REDIS_URL",
        "OGW_SUCCESS_STATUS",
        "OGW_TIMEOUT_MS",
        "OGW_VLLM_ALLOWED_ENDPOINTS",
    }
)


def check_timeouts(timeouts: Timeouts) -> Timeouts:
    if not isinstance(timeouts, Timeouts):
        raise ConfigurationError("timeouts: expected Timeouts(...)")
    for field in fields(timeouts):
        value = getattr(timeouts, field.name)
        if value is None and field.name in ("total_s", "hedge_after_s", "heartbeat_s"):
            continue
        if isinstance(value, str) and field.name == "hedge_after_s":
            if not _quantile(value):
                raise ConfigurationError("timeouts: hedge_after_s: expected seconds, or a quantile from 'p50' to 'p99'")
        else:
            _check_seconds(f"timeouts: {field.name}", value)
    return timeouts


_quantile = re.compile(r"p[5-9][0-9]", re.ASCII).fullmatch


def _check_seconds(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigurationError(f"{name}: expected a positive number of seconds")


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name}: expected a positive integer")


def check_limits(limits: Limits) -> Limits:
    if not isinstance(limits, Limits):
        raise ConfigurationError("limits: expected Limits(...)")
    for field in fields(limits):
        _check_count(f"limits: {field.name}", getattr(limits, field.name))
    if limits.attempts > 16:
        raise ConfigurationError("limits: attempts: expected at most 16")
    return limits


def check_breaker(breaker: Breaker) -> Breaker:
    if not isinstance(breaker, Breaker):
        raise ConfigurationError("breaker: expected Breaker(...)")
    _check_count("breaker: failures", breaker.failures)
    for name in ("open_s", "open_max_s"):
        _check_seconds(f"breaker: {name}", getattr(breaker, name))
    if breaker.open_max_s < breaker.open_s:
        raise ConfigurationError("breaker: open_max_s: expected at least open_s")
    return breaker


def check_stream_break(policy: StreamBreak, name: str = "on_stream_break") -> StreamBreak:
    if policy not in ("error", "continue", "hold"):
        raise ConfigurationError(f"{name}: expected 'error', 'continue' or 'hold'")
    return policy


def check_success_status(status: int, name: str = "success_status") -> int:
    if status not in (200, 201):
        raise ConfigurationError(f"{name}: expected 200 or 201")
    return status


def items_of(value: Any, what: str) -> list[Any]:
    """The items of a list, tuple, set...; a string is not meant as the list of its characters."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{what}: expected a list")
    return list(value)


def check_failover_on(reasons: Iterable[str]) -> frozenset[str]:
    checked = frozenset(items_of(reasons, "failover_on"))
    if not checked <= FAILOVER_ON:
        raise ConfigurationError(f"failover_on: expected a subset of {sorted(FAILOVER_ON)}")
    return checked


def check_authenticator(authenticate: object) -> None:
    if authenticate is not None and not callable(authenticate):
        raise ConfigurationError("authenticate: expected a callable; see bearer_tokens for fixed tokens")


def check_sinks(sinks: Iterable[Any]) -> list[Any]:
    checked = items_of(sinks, "sinks")
    if not all(callable(getattr(sink, "on_event", None)) for sink in checked):
        raise ConfigurationError("sinks: expected objects with a method on_event")
    return checked


def check_names(names: Iterable[Any]) -> list[str]:
    checked = items_of(names, "models")
    if not all(isinstance(name, str) and name for name in checked):
        raise ConfigurationError("models: expected a list of non-empty names")
    return checked


def check_engine(engine: str) -> None:
    if engine not in ("auto", "native", "httpx2", "httpx"):
        raise ConfigurationError("engine: expected 'auto', 'native', 'httpx2' or 'httpx'")


def read_target(item: str) -> TargetName:
    """`provider` or `provider/model`, split at the first slash."""
    if not isinstance(item, str):
        raise ConfigurationError("failover_sequence: expected a sequence of names")
    provider, slash, model = item.partition("/")
    if not provider or (slash and not model):
        raise ConfigurationError(f"failover_sequence: {item!r}: expected 'provider' or 'provider/model'")
    return TargetName(provider, model or None)


def read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """The arguments for `Gateway` that the environment holds. Empty variables count as absent, but for the tokens.

    Raises ConfigurationError, naming the variable. Unknown `OGW_*` names are logged once: container platforms inject
    variables of their own.
    """
    if "OGW_BEARER_TOKENS" in environ and not environ["OGW_BEARER_TOKENS"].strip():
        # The one that does not count as absent: a secret that failed to arrive must not open the door.
        raise ConfigurationError("OGW_BEARER_TOKENS: is empty; unset it if everybody may use the gateway")
    env = {name: value.strip() for name, value in environ.items() if value.strip()}
    unknown = sorted(name for name in env if name.startswith("OGW_") and name not in _KNOWN)
    if unknown:
        hints = [f"{name}{_meant(name)}" for name in unknown]
        logging.getLogger("ogw_asgi").warning("unknown_settings names=%s", ", ".join(hints))
    arguments: dict[str, Any] = {"providers": _providers(env)}
    if "OGW_FAILOVER_SEQUENCE" in env:
        sequence = _json(env, "OGW_FAILOVER_SEQUENCE", list, 'an array such as ["openai", "azure"]')
        if not all(isinstance(item, str) for item in sequence):
            raise ConfigurationError("OGW_FAILOVER_SEQUENCE: expected a JSON array of strings")
        arguments["failover_sequence"] = sequence
    arguments["timeouts"] = _timeouts(env)
    if "OGW_ON_STREAM_BREAK" in env:
        policy = cast(StreamBreak, env["OGW_ON_STREAM_BREAK"])
        arguments["on_stream_break"] = check_stream_break(policy, "OGW_ON_STREAM_BREAK")
    if "OGW_BEARER_TOKENS" in env:
        arguments["authenticate"] = _authenticator(env)
    if "OGW_SUCCESS_STATUS" in env:
        status = _integer(env, "OGW_SUCCESS_STATUS")
        arguments["success_status"] = check_success_status(status, "OGW_SUCCESS_STATUS")
    if "OGW_MAX_BODY_BYTES" in env:
        arguments["limits"] = replace(Limits(), body_bytes=_integer(env, "OGW_MAX_BODY_BYTES"))
    if "OGW_REDIS_URL" in env:
        read_place(env["OGW_REDIS_URL"], "OGW_REDIS_URL")
        arguments["redis_url"] = env["OGW_REDIS_URL"]
    return arguments


def _meant(name: str) -> str:
    close = difflib.get_close_matches(name, _KNOWN, n=1, cutoff=0.8)
    return f" (did you mean {close[0]}?)" if close else ""


def _providers(env: Mapping[str, str]) -> list[Provider]:
    models = _models(env)
    found: list[Provider] = []
    if "OPENAI_API_KEY" in env or "OPENAI_BASE_URL" in env:
        found.append(
            OpenAI(
                api_key=env.get("OPENAI_API_KEY"),
                base_url=env.get("OPENAI_BASE_URL", "https://api.openai.com/v1"),
                models=models.pop("openai", {}),
            )
        )
    if "AZURE_OPENAI_ENDPOINT" in env:
        token = env.get("AZURE_OPENAI_AD_TOKEN")
        found.append(
            Azure(
                endpoint=env["AZURE_OPENAI_ENDPOINT"],
                api_key=env.get("AZURE_OPENAI_API_KEY") or token,
                bearer="AZURE_OPENAI_API_KEY" not in env and token is not None,
                api_version=env.get("OPENAI_API_VERSION"),
                models=models.pop("azure", {}),
            )
        )
    allowed = [entry.strip() for entry in env.get("OGW_VLLM_ALLOWED_ENDPOINTS", "").split(",") if entry.strip()]
    if "VLLM_ENDPOINT" in env or allowed:
        found.append(
            VLLM(
                endpoint=env.get("VLLM_ENDPOINT"),
                api_key=env.get("VLLM_API_KEY"),
                allowed_endpoints=allowed,
                models=models.pop("vllm", {}),
            )
        )
    others = _json(env, "OGW_PROVIDERS", dict) if "OGW_PROVIDERS" in env else {}
    for name, entry in others.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("base_url"), str):
            raise ConfigurationError(f"OGW_PROVIDERS: {name}: expected an object with base_url and api_key_env")
        if not entry.keys() <= {"base_url", "api_key_env"}:
            raise ConfigurationError(f"OGW_PROVIDERS: {name}: expected no other fields than base_url and api_key_env")
        variable = entry.get("api_key_env")
        if variable is not None and (not isinstance(variable, str) or variable not in env):
            raise ConfigurationError(f"OGW_PROVIDERS: {name}: api_key_env: no such variable is set")
        found.append(
            OpenAICompatible(
                name,
                base_url=entry["base_url"],
                api_key=env[variable] if variable else None,
                models=models.pop(name, {}),
            )
        )
    if not found:
        logging.getLogger("ogw_asgi").warning(
            "no_provider: every call will be a 503. Set OPENAI_API_KEY, AZURE_OPENAI_ENDPOINT with "
            "AZURE_OPENAI_API_KEY, VLLM_ENDPOINT or OGW_PROVIDERS"
        )
    if models:
        raise ConfigurationError(f"OGW_MODELS: no provider is named {', '.join(sorted(models))}")
    return found


def _timeouts(env: Mapping[str, str]) -> Timeouts:
    timeouts = Timeouts()
    if "OGW_TIMEOUT_MS" in env:
        timeouts = replace(timeouts, first_chunk_s=_integer(env, "OGW_TIMEOUT_MS") / 1000)
    if "OGW_IDLE_TIMEOUT_MS" in env:
        timeouts = replace(timeouts, idle_s=_integer(env, "OGW_IDLE_TIMEOUT_MS") / 1000)
    if "OGW_HEARTBEAT_MS" in env:
        timeouts = replace(timeouts, heartbeat_s=_integer(env, "OGW_HEARTBEAT_MS") / 1000)
    return timeouts


def _authenticator(env: Mapping[str, str]) -> Authenticator:
    """Tokens separated by commas, a JSON array of them, or a JSON object: principal -> array of tokens."""
    name = "OGW_BEARER_TOKENS"
    text = env[name]
    if text.startswith('"'):
        raise ConfigurationError(f"{name}: expected tokens separated by commas, or a JSON object")
    tokens: Any = [token.strip() for token in text.split(",") if token.strip()]
    if text.startswith(("{", "[")):
        kind = dict if text.startswith("{") else list
        tokens = _json(env, name, kind, "principal -> array of tokens, or an array of tokens")
        lists = tokens.values() if isinstance(tokens, dict) else [tokens]
        if not all(isinstance(theirs, list) and all(isinstance(token, str) for token in theirs) for theirs in lists):
            raise ConfigurationError(f"{name}: expected a JSON object: principal -> array of tokens")
    try:
        return bearer_tokens(tokens)
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {error}") from None


def _models(env: Mapping[str, str]) -> dict[str, dict[str, str]]:
    models = _json(env, "OGW_MODELS", dict) if "OGW_MODELS" in env else {}
    if not all(isinstance(table, dict) for table in models.values()):
        raise ConfigurationError("OGW_MODELS: expected a JSON object: provider -> {asked: served}")
    return dict(models)


def _json(env: Mapping[str, str], name: str, kind: type, example: str = "an object") -> Any:
    try:
        value = json.loads(env[name])
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, kind):
        raise ConfigurationError(f"{name}: expected JSON: {example}")
    return value


def _integer(env: Mapping[str, str], name: str) -> int:
    if not (env[name].isascii() and env[name].isdigit() and len(env[name]) <= 12 and int(env[name])):
        raise ConfigurationError(f"{name}: expected a positive integer")
    return int(env[name])
