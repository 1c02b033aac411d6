"""The providers that the environment names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from .._rules.egress import AllowList
from .._wire.endpoint import read_endpoint
from ..exceptions import ConfigurationError
from ..providers import VLLM, Azure, OpenAI, OpenAICompatible, Provider
from ..providers.base import check_url
from .names import entries_of, own_names
from .values import Flaw, Flaws, into, read_json


def read_providers(env: Mapping[str, str], names: list[str], flaws: Flaws) -> list[Provider]:
    """Those that can be made. `names` gets those of all that are meant."""
    models: dict[str, dict[str, str]] = {}
    with into(flaws, "OGW_MODELS"):
        models = _models(env)
    found: list[Provider] = []

    def add(
        name: str, make: Callable[..., Provider], /, base: tuple[str, Any, str], *more: tuple[str, Any, str]
    ) -> None:
        if flaws is not None and name in names:
            flaws.append(Flaw(base[2], f"providers: two are named {name!r}; give one of them another name"))
            return
        names.append(name)
        given = [base, *more, ("models", models.pop(name, {}), "OGW_MODELS")]
        try:
            found.append(make(**{argument: value for argument, value, _ in given}))
        except ConfigurationError:
            if flaws is None:
                raise
            # Each argument alone, or only the first of them would be found.
            for argument, value, variable in given:
                with into(flaws, variable):
                    make(**{base[0]: "https://good.test", argument: value})

    own_ones = own_names(env)
    if "openai" in own_ones:
        url = env.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
        key = ("api_key", env.get("OPENAI_API_KEY"), "OPENAI_API_KEY")
        add("openai", OpenAI, ("base_url", url, "OPENAI_BASE_URL"), key)
    if "azure" in own_ones:
        token = env.get("AZURE_OPENAI_AD_TOKEN")
        bearer = "AZURE_OPENAI_API_KEY" not in env and token is not None
        variable = "AZURE_OPENAI_AD_TOKEN" if bearer else "AZURE_OPENAI_API_KEY"
        add(
            "azure",
            Azure,
            ("endpoint", env["AZURE_OPENAI_ENDPOINT"], "AZURE_OPENAI_ENDPOINT"),
            ("api_key", env.get("AZURE_OPENAI_API_KEY") or token, variable),
            ("bearer", bearer, variable),
            ("api_version", env.get("OPENAI_API_VERSION"), "OPENAI_API_VERSION"),
        )
    if "vllm" in own_ones:
        listed = entries_of(env.get("OGW_VLLM_ALLOWED_ENDPOINTS", ""))
        add(
            "vllm",
            VLLM,
            ("endpoint", env.get("VLLM_ENDPOINT"), "VLLM_ENDPOINT"),
            ("api_key", env.get("VLLM_API_KEY"), "VLLM_API_KEY"),
            ("allowed_endpoints", good_entries(listed, flaws), "OGW_VLLM_ALLOWED_ENDPOINTS"),
        )
    others: dict[str, Any] = {}
    if "OGW_PROVIDERS" in env:
        with into(flaws, "OGW_PROVIDERS"):
            others = read_json(env, "OGW_PROVIDERS", dict)
    for name, entry in others.items():
        if flaws is not None and isinstance(entry, dict) and isinstance(entry.get("base_url"), str):
            with into(flaws, "OGW_PROVIDERS"):  # whatever is wrong with the rest of it
                check_url(entry["base_url"], f"{name}: base_url")
        try:
            own = _key_variable(name, entry, env)
        except ConfigurationError as error:
            if flaws is None:
                raise
            flaws.append(Flaw("OGW_PROVIDERS", str(error)))
            names.append(name)
            models.pop(name, None)
            continue
        key = ("api_key", env[own] if own else None, own or "OGW_PROVIDERS")
        add(name, partial(OpenAICompatible, name), ("base_url", entry["base_url"], "OGW_PROVIDERS"), key)
    if not found and flaws is None:
        logging.getLogger("ogw_asgi").warning(
            "no_provider: every call will be a 503. Set OPENAI_API_KEY, AZURE_OPENAI_ENDPOINT with "
            "AZURE_OPENAI_API_KEY, VLLM_ENDPOINT or OGW_PROVIDERS"
        )
    if models:
        with into(flaws, "OGW_MODELS"):
            raise ConfigurationError(f"OGW_MODELS: no provider is named {', '.join(sorted(models))}")
    return found


def good_entries(listed: Sequence[str], flaws: Flaws) -> list[str]:
    """Without flaws to be found they are all taken as good: the gateway itself looks at them."""
    if flaws is None:
        return list(listed)
    good = []
    for place, entry in enumerate(listed, 1):
        try:
            AllowList.parse([entry], read_endpoint)
            good.append(entry)
        except ConfigurationError as error:
            flaws.append(Flaw("OGW_VLLM_ALLOWED_ENDPOINTS", str(error).replace("entry 1", f"entry {place}", 1)))
    return good


def _key_variable(name: str, entry: Any, env: Mapping[str, str]) -> str | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("base_url"), str):
        raise ConfigurationError(f"OGW_PROVIDERS: {name}: expected an object with base_url and api_key_env")
    if not entry.keys() <= {"base_url", "api_key_env"}:
        raise ConfigurationError(f"OGW_PROVIDERS: {name}: expected no other fields than base_url and api_key_env")
    variable: object = entry.get("api_key_env")
    if variable is None or (isinstance(variable, str) and variable in env):
        return variable
    raise ConfigurationError(f"OGW_PROVIDERS: {name}: api_key_env: no such variable is set")


def _models(env: Mapping[str, str]) -> dict[str, dict[str, str]]:
    models = read_json(env, "OGW_MODELS", dict) if "OGW_MODELS" in env else {}
    if not all(isinstance(table, dict) for table in models.values()):
        raise ConfigurationError("OGW_MODELS: expected a JSON object: provider -> {asked: served}")
    return dict(models)
