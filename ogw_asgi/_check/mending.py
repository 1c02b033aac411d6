"""The line that mends a setting. Data, and the quoting that a shell needs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

_NEW_TOKEN = "\"$(python -c 'import secrets; print(secrets.token_urlsafe(32))')\""

_GOOD = {
    "AZURE_OPENAI_AD_TOKEN": "TOKEN",
    "AZURE_OPENAI_API_KEY": "KEY",
    "AZURE_OPENAI_ENDPOINT": "https://RESOURCE.openai.azure.com",
    "OGW_HEARTBEAT_MS": "15000",
    "OGW_IDLE_TIMEOUT_MS": "60000",
    "OGW_MAX_BODY_BYTES": "16777216",
    "OGW_MODELS": '{"azure": {"gpt-4o": "prod-gpt4o"}}',
    "OGW_ON_STREAM_BREAK": "error",
    "OGW_PROVIDERS": '{"groq": {"base_url": "https://api.groq.com/openai/v1", "api_key_env": "GROQ_API_KEY"}}',
    "OGW_SUCCESS_STATUS": "201",
    "OGW_TIMEOUT_MS": "30000",
    "OGW_VLLM_ALLOWED_ENDPOINTS": "http://gpu-7.internal:8000,http://*.gpu.internal:8000 in 10.20.0.0/16",
    "OPENAI_API_KEY": "sk-...",
    "OPENAI_API_VERSION": "2024-10-21",
    "OPENAI_BASE_URL": "https://api.openai.com/v1",
    "VLLM_API_KEY": "KEY",
    "VLLM_ENDPOINT": "http://10.0.0.7:8000",
}

_IN_CODE = {
    "authenticate": "Gateway(authenticate=bearer_tokens({'team-a': [...]}), ...)",
    "breaker": "Gateway(breaker=Breaker(failures=5, open_s=5, open_max_s=20), ...)",
    "engine": "Gateway(engine='auto', ...)",
    "failover_on": "Gateway(failover_on={'context_length'}, ...)",
    "failover_sequence": "Gateway(failover_sequence=['openai', 'azure'], ...)",
    "limits": "Gateway(limits=Limits(body_bytes=16 << 20, attempts=5), ...)",
    "models": "Gateway(models=['gpt-4o'], ...)",
    "on_stream_break": "Gateway(on_stream_break='error', ...)",
    "providers": "Gateway(providers=[OpenAI(api_key=os.environ['OPENAI_API_KEY'])], ...)",
    "sinks": "Gateway(sinks=[], ...)",
    "success_status": "Gateway(success_status=201, ...)",
    "timeouts": "Gateway(timeouts=Timeouts(first_chunk_s=30), ...)",
}


def export(variable: str, value: str | None = None) -> str:
    """`export NAME=value`; without a value, one that works. A variable that nobody here knows holds a key."""
    if variable == "OGW_BEARER_TOKENS" and value is None:
        return f"export {variable}={_NEW_TOKEN}"
    return f"export {variable}={shlex.quote(_GOOD.get(variable, 'KEY') if value is None else value)}"


def export_sequence(providers: Sequence[str]) -> str:
    return export("OGW_FAILOVER_SEQUENCE", json.dumps(list(providers) or ["openai", "azure"]))


def unset(variable: str) -> str:
    return f"unset {variable}"


def in_code(text: str) -> str | None:
    """The line for a ConfigurationError of a gateway that is made in code, which begins with its argument."""
    return _IN_CODE.get(text.partition(":")[0])
