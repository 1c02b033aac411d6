"""What it means that a provider did not answer, in words for whoever set it up, with the line that mends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..providers import Azure, Provider
from .mending import export
from .report import Problem

Sources = Mapping[str, str]
"""Setting -> the variable that it comes from; empty for a gateway that is made in code."""


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
            return Problem(_name(provider), f"timeout: no answer from {place} within {failure.limit_s:g} s")
        case "misdirected":
            says = "its models_url() leads to another origin than its key is bound to"
            return Problem(_name(provider), says, f"add that origin to the origins of {type(provider).__name__}")
        case "exhausted":
            return Problem(_name(provider), "this machine gave no socket or thread; that says nothing of the provider")
        case "reset":
            return Problem(_name(provider), f"connection: {place} broke it off before it had answered")
        case _:
            return _at_url(provider, sources, f"protocol: what {place} answers is no HTTP that can be read")


def of_key(provider: Provider, where: str) -> Problem:
    return Problem(_name(provider, "api_key"), f"key: the callable that is asked for it failed: {where}")


def of_answer(status: int, provider: Provider, sources: Sources, *, listed: bool, said: str | None) -> Problem | None:
    """None: it is as it should be. `said`: the provider's own words, masked; never shown where it speaks of our key."""
    words = f": {said[:200]}" if said else ""
    match status:
        case 401:
            return _at_key(provider, sources, "key: 401, it is wrong, expired or of another account")
        case 403:
            return _at_key(provider, sources, "key: 403, it may not be used for this, or not from here")
        case 402:
            return Problem(_name(provider), f"bill: 402, there is no money left{words}")
        case 429:
            return Problem(
                _name(provider), f"limit: 429, it takes no more requests now, or there is no money left{words}"
            )
        case 404 | 405 | 410:
            return _at_path(provider, sources, status)
        case _ if 300 <= status <= 399:
            says = f"URL: {status}, it sends elsewhere, and redirects are never followed; http:// instead of https://?"
            return _at_url(provider, sources, says)
        case _ if 200 <= status <= 299:
            says = "URL: what answers there is no list of models; is it another server, or a page for people?"
            return None if listed else _at_url(provider, sources, says)
        case _ if status >= 500:
            return Problem(_name(provider), f"provider: {status}, it has trouble of its own{words}")
        case _:
            return Problem(_name(provider), f"provider: {status}, it does not take the question{words}")


def of_deployment(missing: Sequence[str], provider: Provider) -> Problem:
    names = ", ".join(missing)
    return Problem(
        _name(provider, "models"),
        f"deployment: there is none by the name of {names} (one made within 5 minutes may not be known yet)",
        "az cognitiveservices account deployment list -n RESOURCE -g GROUP    # one of these",
    )


def _at_path(provider: Provider, sources: Sources, status: int) -> Problem:
    path = urlsplit(provider.base_url).path
    if isinstance(provider, Azure):
        says = f"URL: {status}, the resource knows no such path"
        if provider.api_version is not None:
            return Problem(
                _name(provider, "api_version"),
                f"{says}: is {provider.api_version} a version that it has?",
                _line(sources, provider, "api_version", None),
            )
        return _at_url(provider, sources, f"{says}: an old resource needs an api_version")
    ends = "" if path.rstrip("/").endswith("/v1") else "; most base URLs end in /v1, and this one does not"
    return _at_url(provider, sources, f"URL: {status}, there is no such path{ends}")


def _at_url(provider: Provider, sources: Sources, says: str) -> Problem:
    return Problem(_name(provider, "base_url"), says, _line(sources, provider, "base_url", None))


def _at_key(provider: Provider, sources: Sources, says: str) -> Problem:
    if provider._key is None and provider._ask_key is None:
        says = says.partition(",")[0] + ", and none was sent, for none is set"
    return Problem(_name(provider, "api_key"), says, _line(sources, provider, "api_key", None))


def _line(sources: Sources, provider: Provider, field: str, value: str | None) -> str | None:
    variable = sources.get(_name(provider, field))
    if variable is None and any(name.startswith(f"{_name(provider)}.") for name in sources):
        ours = {"api_key": "OPENAI_API_KEY", "base_url": "OPENAI_BASE_URL"} if provider.name == "openai" else {}
        ours |= {"api_key": "AZURE_OPENAI_API_KEY"} if provider.name == "azure" else {}
        ours |= {"api_key": "VLLM_API_KEY"} if provider.name == "vllm" else {}
        variable = ours.get(field, "OGW_PROVIDERS" if provider.kind == "compatible" else None)
    return None if variable is None else export(variable, value)


def _name(provider: Provider, field: str | None = None) -> str:
    return f"providers.{provider.name}" + (f".{field}" if field else "")
