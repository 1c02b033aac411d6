"""What it means that a provider did not answer, in words for whoever set it up, with the line that mends it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from .._effective import origin_shown
from ..providers import Azure, Provider
from .mending import export, key_variable, provider_in_code
from .report import Problem
from .rewriting import SOMEWHERE, export_key_of, export_models, export_providers

VARIABLES = {"openai": "OPENAI_BASE_URL", "azure": "AZURE_OPENAI_ENDPOINT", "vllm": "VLLM_ENDPOINT"}


@dataclass(frozen=True, slots=True)
class Sources:
    """`variables`: setting -> the variable that it comes from; empty for a gateway that is made in code. `env`: what
    they hold."""

    variables: Mapping[str, str]
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Failure:
    """An exchange that failed below HTTP. `kind` as in TransportFailure; `limit_s`: what it had; `detail`: of TLS."""

    kind: str
    limit_s: float
    detail: str | None = None


def of_failure(failure: Failure, provider: Provider, sources: Sources) -> Problem:
    parts = urlsplit(provider.base_url)
    host = parts.hostname or ""
    place = f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    by_hand = f"curl -sv -o /dev/null -m {failure.limit_s:g} {shlex.quote(origin_shown(provider))}"
    match failure.kind:
        case "dns":
            return _at_url(provider, sources, f"DNS: no host is known by the name {host}")
        case "connect":
            return _at_url(provider, sources, f"connection: {place} refuses it, or cannot be reached from here")
        case "connect_timeout":
            says = f"connection: none to {place} within {failure.limit_s:g} s; a firewall, or Timeouts(connect_s=...)"
            return _at_url(provider, sources, says)
        case "tls":
            why = f" ({failure.detail})" if failure.detail else ""
            says = f"TLS: the certificate of {place} is not accepted{why}"
            trust = f"ssl_context=ssl.create_default_context(cafile='internal-ca.pem') of {provider.name}"
            if failure.detail is not None and "not TLS" in failure.detail:
                return _at_url(provider, sources, f"TLS: {failure.detail}; http:// instead of https://?")
            return Problem(_name(provider), says, trust)
        case "timeout":
            return Problem(_name(provider), f"timeout: no answer from {place} within {failure.limit_s:g} s", by_hand)
        case "misdirected":
            says = "its models_url() leads to another origin than its key is bound to"
            return Problem(_name(provider), says, f"add that origin to the origins of {type(provider).__name__}")
        case "exhausted":
            return Problem(
                _name(provider),
                "this machine gave no socket or thread; that says nothing of the provider",
                "ulimit -n 65536",
            )
        case "reset":
            return Problem(_name(provider), f"connection: {place} broke it off before it had answered", by_hand)
        case _:
            return _at_url(provider, sources, f"protocol: what {place} answers is no HTTP that can be read")


def of_key(provider: Provider, where: str) -> Problem:
    return Problem(
        _name(provider, "api_key"),
        f"key: the callable that is asked for it failed: {where}",
        "call it by hand: its traceback says more",
    )


def of_answer(status: int, provider: Provider, sources: Sources, *, listed: bool, said: str | None) -> Problem | None:
    """None: it is as it should be. `said`: the provider's own words, masked; never shown where it speaks of our key."""
    words = f": {said[:200]}" if said else ""
    host = urlsplit(provider.base_url).hostname or ""
    match status:
        case 401:
            return _at_key(provider, sources, "key: 401, it is wrong, expired or of another account")
        case 403:
            return _at_key(provider, sources, "key: 403, it may not be used for this, or not from here")
        case 402:
            return Problem(
                _name(provider),
                f"bill: 402, there is no money left{words}",
                f"look at the bill of that account at {host}",
            )
        case 429:
            says = f"limit: 429, it takes no more requests now, or there is no money left{words}"
            return Problem(_name(provider), says, f"look at the limits, and the bill, of that account at {host}")
        case 404 | 405 | 410:
            return _at_path(provider, sources, status)
        case _ if 300 <= status <= 399:
            says = f"URL: {status}, it sends elsewhere, and redirects are never followed; http:// instead of https://?"
            return _at_url(provider, sources, says)
        case _ if 200 <= status <= 299:
            says = "URL: what answers there is no list of models; is it another server, or a page for people?"
            return None if listed else _at_url(provider, sources, says)
        case _ if status >= 500:
            return Problem(
                _name(provider), f"provider: {status}, it has trouble of its own{words}", _look_at(provider, host)
            )
        case _:
            return Problem(
                _name(provider), f"provider: {status}, it does not take the question{words}", _look_at(provider, host)
            )


def of_deployment(missing: Sequence[str], provider: Provider) -> Problem:
    names = ", ".join(missing)
    return Problem(
        _name(provider, "models"),
        f"deployment: there is none by the name of {names} (one made within 5 minutes may not be known yet)",
        "az cognitiveservices account deployment list -n RESOURCE -g GROUP    # one of these",
    )


def _look_at(provider: Provider, host: str) -> str:
    return f"look at the log of {host}" if provider.self_hosted else f"look at the status page of {host}, or its log"


def _at_path(provider: Provider, sources: Sources, status: int) -> Problem:
    path = urlsplit(provider.base_url).path
    if isinstance(provider, Azure):
        says = f"URL: {status}, the resource knows no such path"
        if provider.api_version is not None:
            return Problem(
                _name(provider, "api_version"),
                f"{says}: is {provider.api_version} a version that it has?",
                _line(sources, provider, "api_version"),
            )
        return _at_url(provider, sources, f"{says}: an old resource needs an api_version")
    says = f"URL: {status}, there is no such path"
    if path.endswith("/v1"):
        return _at_url(provider, sources, says)
    before, version, _ = provider.base_url.partition("/v1/")
    url = f"{before if version else provider.base_url}/v1"
    return _at_url(provider, sources, f"{says}; most base URLs end in /v1, and this one does not", url)


def _at_url(provider: Provider, sources: Sources, says: str, url: str | None = None) -> Problem:
    return Problem(_name(provider, "base_url"), says, _line(sources, provider, "base_url", url))


def _at_key(provider: Provider, sources: Sources, says: str) -> Problem:
    if provider._key is None and provider._ask_key is None:
        says = says.partition(",")[0] + ", and none was sent, for none is set"
    return Problem(_name(provider, "api_key"), says, _line(sources, provider, "api_key"))


def _line(sources: Sources, provider: Provider, field: str, value: str | None = None) -> str:
    name = provider.name
    variables = sources.variables
    if not any(setting.startswith(f"{_name(provider)}.") for setting in variables):
        return provider_in_code(type(provider).__name__, name, field, value)
    variable = variables.get(_name(provider, field))
    listed = variables.get(_name(provider, "base_url")) == "OGW_PROVIDERS"
    match field:
        case "models":
            return export_models(sources.env, name)
        case "api_key" if listed:
            return export_key_of(sources.env, name)
        case "api_key":
            return export(variable or key_variable(name))
        case "base_url" if listed:
            return export_providers(sources.env, name, base_url=value or SOMEWHERE)
        case "base_url":
            return export(variable or VARIABLES[name], value)
    return export(variable or "OPENAI_API_VERSION", value)


def _name(provider: Provider, field: str | None = None) -> str:
    return f"providers.{provider.name}" + (f".{field}" if field else "")
