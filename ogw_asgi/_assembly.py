"""What a gateway's arguments come to: providers by name, facts for planning, who may be named, what is listed.

Pure; part of the composition root, apart from it so that each stays on a screen or two.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable, Mapping, Sequence

from . import settings
from ._rules.egress import AllowList
from ._rules.plan import Catalogue, GuardFor, ProviderFacts
from ._values import Endpoint, Permits, Principal, PublicHTTPS
from ._wire.endpoint import read_endpoint
from .exceptions import ConfigurationError
from .providers import VLLM, Azure, OpenAI, OpenAICompatible, Provider
from .transports.httpx import is_client

_OURS = (OpenAI, Azure, VLLM, OpenAICompatible)


def by_name(providers: Iterable[Provider]) -> dict[str, Provider]:
    named: dict[str, Provider] = {}
    if isinstance(providers, Provider):
        raise ConfigurationError("providers: expected a list of providers, not one")
    for provider in settings.items_of(providers, "providers"):
        if not isinstance(provider, Provider):
            raise ConfigurationError("providers: expected OpenAI(...), Azure(...), VLLM(...) or OpenAICompatible(...)")
        if provider.name in named:
            raise ConfigurationError(f"providers: two are named {provider.name!r}; give one of them another name=")
        if provider.client is not None and not is_client(provider.client):
            raise ConfigurationError(f"{provider.name}: client: expected an httpx or httpx2 AsyncClient")
        named[provider.name] = provider
    return named


def catalogue(providers: Mapping[str, Provider], sequence: Sequence[str] | None) -> Catalogue:
    facts = {
        provider.name: ProviderFacts(
            name=provider.name,
            kind=provider.kind,
            models=provider.models,
            has_endpoint=bool(provider.base_url),
            takes_endpoint=isinstance(provider, VLLM) and provider.name == "vllm",
        )
        for provider in providers.values()
    }
    default = None
    if sequence is not None:
        default = tuple(settings.read_target(item) for item in settings.items_of(sequence, "failover_sequence"))
    book = Catalogue(facts, default)
    _warn_of_the_unasked(book)
    return book


def never_fallen_back_on(book: Catalogue) -> list[str]:
    """Without a sequence a backup of another name is never asked: the contract's default is `openai` and `azure`."""
    if book.default_sequence is not None:
        return []
    asked = {item.provider for item in book.default}
    return [facts.name for facts in book.providers.values() if facts.has_endpoint and facts.name not in asked]


def _warn_of_the_unasked(book: Catalogue) -> None:
    left_out = never_fallen_back_on(book)
    if left_out:
        asked = {item.provider for item in book.default}
        logging.getLogger("ogw_asgi").warning(
            "no_failover_sequence: out of the box [%s] is asked, and [%s] only when a caller names it. "
            "Set failover_sequence=[...] to say what you want",
            ", ".join(sorted(asked)),
            ", ".join(left_out),
        )


def guards(providers: Mapping[str, Provider]) -> GuardFor:
    """What says of each endpoint that a caller names where it may be found, if it may be called at all."""
    vllm = providers.get("vllm")
    for provider in providers.values():
        if isinstance(provider, VLLM) and provider.allowed_endpoints and provider is not vllm:
            logging.getLogger("ogw_asgi").warning(
                "allowed_endpoints_unused provider=%s: callers can name servers of the provider 'vllm' alone",
                provider.name,
            )
    allowed = AllowList.parse(vllm.allowed_endpoints if isinstance(vllm, VLLM) else (), read_endpoint)

    def guard(endpoint: Endpoint, principal: Principal | None, /, *, keyed: bool) -> Permits | None:
        try:
            return allowed.guard(endpoint, principal, keyed=keyed)
        except ConfigurationError as error:  # an authenticator's mistake lets nobody through
            who = principal.id if principal is not None else None
            logging.getLogger("ogw_asgi").warning("principal_endpoints_unreadable principal=%s: %s", who, error)
            return None

    return guard


def asks_over_tls(providers: Mapping[str, Provider]) -> bool:
    """Whether anybody may be asked over https who brings no trust of its own.

    Else the public authorities are not needed, which take longer to read than all the rest of a start.
    """
    for provider in providers.values():
        if provider.ssl_context is not None:
            continue
        if type(provider) not in _OURS:
            return True  # it may ask at other places than its base URL
        urls: list[str | PublicHTTPS] = [provider.base_url] if provider.client is None else []
        if isinstance(provider, VLLM):
            urls += provider.allowed_endpoints
        if any(isinstance(url, PublicHTTPS) or url.strip().lower().startswith("https:") for url in urls):
            return True
    return False


def endpoint_ssl_context(providers: Mapping[str, Provider]) -> ssl.SSLContext | None:
    """Whom to trust at the endpoints that callers name: they are servers of the same operator."""
    vllm = providers.get("vllm")
    return vllm.ssl_context if vllm is not None else None


def listed(models: Iterable[str], providers: Mapping[str, Provider]) -> tuple[str, ...]:
    mapped = [name for provider in providers.values() for name in provider.models if name != "*"]
    return tuple(dict.fromkeys([*settings.check_names(models), *mapped]))


def known_models(models: Iterable[str], providers: Mapping[str, Provider], facts: Catalogue) -> frozenset[str]:
    """All names of models that settings hold, as they are asked and as they are served."""
    mapped = [name for one in providers.values() for pair in one.models.items() for name in pair if name != "*"]
    written = [name.model for name in facts.default if name.model is not None]
    return frozenset([*models, *mapped, *written])


def describe(provider: Provider) -> str:
    if isinstance(provider, Azure):
        return f"{provider.name}({provider.api_version or 'v1'})"
    return provider.name
