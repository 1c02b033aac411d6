"""The line that mends a setting. Data, and the quoting that a shell needs."""

from __future__ import annotations

import shlex

_NEW_TOKEN = "\"$(python -c 'import secrets; print(secrets.token_urlsafe(32))')\""

_GOOD = {
    "AZURE_OPENAI_AD_TOKEN": "TOKEN",
    "AZURE_OPENAI_API_KEY": "KEY",
    "AZURE_OPENAI_ENDPOINT": "https://RESOURCE.openai.azure.com",
    "OGW_HEARTBEAT_MS": "15000",
    "OGW_IDLE_TIMEOUT_MS": "60000",
    "OGW_MAX_BODY_BYTES": "16777216",
    "OGW_ON_STREAM_BREAK": "error",
    "OGW_PROVIDERS": '{"groq": {"base_url": "https://api.groq.com/openai/v1", "api_key_env": "GROQ_API_KEY"}}',
    "OGW_REDIS_URL": "redis://HOST:6379/0",
    "OGW_STATUS": "1",
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
    "bearer_tokens": "Gateway(authenticate=bearer_tokens({'team-a': [os.environ['TEAM_A_TOKEN']]}), ...)",
    "breaker": "Gateway(breaker=Breaker(failures=5, open_s=5, open_max_s=20), ...)",
    "engine": "Gateway(engine='auto', ...)",
    "failover_on": "Gateway(failover_on={'context_length'}, ...)",
    "limits": "Gateway(limits=Limits(body_bytes=16 << 20, attempts=5), ...)",
    "models": "Gateway(models=['gpt-4o'], ...)",
    "on_stream_break": "Gateway(on_stream_break='error', ...)",
    "providers": "Gateway(providers=[OpenAI(api_key=os.environ['OPENAI_API_KEY'])], ...)",
    "redis_url": "Gateway(redis_url='redis://HOST:6379/0', ...)",
    "sinks": "Gateway(sinks=[], ...)",
    "status": "Gateway(status=True, ...)",
    "status_auth": "Gateway(status=True, status_auth=bearer_tokens([os.environ['STATUS_TOKEN']]), ...)",
    "success_status": "Gateway(success_status=201, ...)",
    "timeouts": "Gateway(timeouts=Timeouts(first_chunk_s=30), ...)",
    "allowed_endpoints, entry": "VLLM(allowed_endpoints=['http://gpu-7.internal:8000'], ...)",
    "provider name": "OpenAICompatible('groq', ...)    # small letters, digits, and _.- behind the first",
}

_CLASSES = {"openai": "OpenAI", "azure": "Azure", "vllm": "VLLM"}

_ARGUMENTS = {
    "allowed_endpoints": "['http://gpu-7.internal:8000']",
    "api_version": "'2024-10-21'",
    "client": "httpx.AsyncClient()",
    "headers": "{'x-team': 'a'}",
    "models": "{'gpt-4o': 'MODEL'}",
    "ssl_context": "ssl.create_default_context(cafile='internal-ca.pem')",
}

_URLS = {
    "OpenAI": ("base_url", "https://api.openai.com/v1"),
    "Azure": ("endpoint", "https://RESOURCE.openai.azure.com"),
    "VLLM": ("endpoint", "http://10.0.0.7:8000"),
}


def export(variable: str, value: str | None = None) -> str:
    """`export NAME=value`; without a value, one that works. A variable that nobody here knows holds a key."""
    if variable == "OGW_BEARER_TOKENS" and value is None:
        return f"export {variable}={_NEW_TOKEN}"
    return f"export {variable}={shlex.quote(_GOOD.get(variable, 'KEY') if value is None else value)}"


def unset(variable: str) -> str:
    return f"unset {variable}"


def in_code(text: str) -> str | None:
    """The line for a ConfigurationError of a gateway that is made in code, which begins with its argument, or with the
    name of a provider and one of its arguments."""
    if "pip install" in text:
        return text[text.index("pip install") :]
    first, _, rest = text.partition(": ")
    if first == "failover_sequence":
        configured = rest.partition("configured are ")[2]
        if configured == "none":
            return _IN_CODE["providers"]
        return sequence_in_code(configured.split(", ") if configured else ["openai"])
    for word, line in _IN_CODE.items():
        if first == word or (" " in word and first.startswith(word)):
            return line
    argument = rest.partition(": ")[0]
    if argument in ("api_key", "base_url", "endpoint") or argument in _ARGUMENTS:
        if first in _CLASSES:
            return provider_in_code(_CLASSES[first], first, argument)
        return f"{_argument('', first, argument)} of {first}"  # of which class it is, is not said
    return None


def sequence_in_code(providers: list[str]) -> str:
    return f"Gateway(failover_sequence={providers!r}, ...)"


def provider_in_code(made: str, name: str, argument: str, value: str | None = None) -> str:
    """`made`: its class. `value`: of a URL."""
    who = f"{name!r}, " if made == "OpenAICompatible" else "" if name in _CLASSES else f"name={name!r}, "
    return f"{made}({who}{_argument(made, name, argument, value)}, ...)"


def _argument(made: str, name: str, argument: str, value: str | None = None) -> str:
    if argument in ("base_url", "endpoint"):
        argument, usual = _URLS.get(made, (argument, "https://HOST/v1"))
        return f"{argument}={value or usual!r}"
    given = _ARGUMENTS.get(argument, f"os.environ['{key_variable(name)}']")
    return f"{argument}={given}"


def key_variable(name: str) -> str:
    """What the variable with the key of that provider is called, or may be."""
    if name == "azure":
        return "AZURE_OPENAI_API_KEY"
    letters = "".join(char if char.isascii() and char.isalnum() else "_" for char in name.upper())
    return f"{'P_' if letters[:1].isdigit() else ''}{letters}_API_KEY"
