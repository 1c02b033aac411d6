"""The variables: which are understood, what each sets, and which may have been meant."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

KNOWN = frozenset(
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
        "OGW_STATUS",
        "OGW_SUCCESS_STATUS",
        "OGW_TIMEOUT_MS",
        "OGW_VLLM_ALLOWED_ENDPOINTS",
    }
)

_SETS = {
    "OGW_BEARER_TOKENS": "authenticate",
    "OGW_FAILOVER_SEQUENCE": "failover_sequence",
    "OGW_HEARTBEAT_MS": "timeouts.heartbeat_s",
    "OGW_IDLE_TIMEOUT_MS": "timeouts.idle_s",
    "OGW_MAX_BODY_BYTES": "limits.body_bytes",
    "OGW_ON_STREAM_BREAK": "on_stream_break",
    "OGW_REDIS_URL": "redis_url",
    "OGW_STATUS": "status",
    "OGW_SUCCESS_STATUS": "success_status",
    "OGW_TIMEOUT_MS": "timeouts.first_chunk_s",
    "OGW_VLLM_ALLOWED_ENDPOINTS": "providers.vllm.allowed_endpoints",
    "OPENAI_API_KEY": "providers.openai.api_key",
    "OPENAI_BASE_URL": "providers.openai.base_url",
    "OPENAI_API_VERSION": "providers.azure.api_version",
    "AZURE_OPENAI_ENDPOINT": "providers.azure.base_url",
    "AZURE_OPENAI_AD_TOKEN": "providers.azure.api_key",
    "AZURE_OPENAI_API_KEY": "providers.azure.api_key",  # stands below the token, for it is the one that is taken
    "VLLM_ENDPOINT": "providers.vllm.base_url",
    "VLLM_API_KEY": "providers.vllm.api_key",
}


def present(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that count as there, without the blanks around their values."""
    return {name: value.strip() for name, value in environ.items() if value.strip()}


def own_names(env: Mapping[str, str]) -> list[str]:
    """The providers that have variables of their own, and are made because one of them is there."""
    made = {
        "openai": "OPENAI_API_KEY" in env or "OPENAI_BASE_URL" in env,
        "azure": "AZURE_OPENAI_ENDPOINT" in env,
        "vllm": "VLLM_ENDPOINT" in env or bool(entries_of(env.get("OGW_VLLM_ALLOWED_ENDPOINTS", ""))),
    }
    return [name for name, there in made.items() if there]


def entries_of(text: str) -> list[str]:
    """Those that commas separate."""
    return [entry.strip() for entry in text.split(",") if entry.strip()]


def unknown_names(environ: Mapping[str, str]) -> dict[str, str | None]:
    """The `OGW_*` variables that say nothing here, each with the name that may have been meant."""
    found: dict[str, str | None] = {}
    for name in sorted(environ):
        if name.startswith("OGW_") and name not in KNOWN:
            found[name] = next(iter(difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.8)), None)
    return found


def sources(environ: Mapping[str, str]) -> dict[str, str]:
    """Setting -> the variable that it comes from, for those that do: `timeouts.idle_s`, `providers.groq.models`."""
    env = present(environ)
    found = {setting: variable for variable, setting in _SETS.items() if variable in env}
    for variable, field in (("OGW_PROVIDERS", "base_url"), ("OGW_MODELS", "models")):
        for name, entry in object_in(env.get(variable, "{}")).items():
            found[f"providers.{name}.{field}"] = variable
            own = entry.get("api_key_env") if isinstance(entry, dict) and field == "base_url" else None
            if isinstance(own, str) and own in env:  # else it may be the key itself, in the wrong place
                found[f"providers.{name}.api_key"] = own
    return found


def object_in(text: str) -> dict[str, Any]:
    """The JSON object that it is; an empty one for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
