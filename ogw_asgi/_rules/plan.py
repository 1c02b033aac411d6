"""Who is asked, and in what order: the caller's headers x the configuration x the caller's rights -> Plan.

One pure function. It refuses what the contract forbids (sections 1, 2 and 7) before any provider is called,
and knows of providers only the facts below: no URL, no key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from .._values import CallOptions, Endpoint, Permits, Plan, Principal, Target, TargetName
from ..exceptions import ConfigurationError, EndpointDenied, RequestRejected, bad_header

SEQUENCE_HEADER = "x-opengateway-failover-sequence"
ENDPOINT_HEADER = "x-opengateway-vllm-endpoint"

_NAME = re.compile(r"[a-z0-9][a-z0-9_.]{0,31}", re.ASCII)

OUT_OF_THE_BOX = ("openai", "azure")
"""The API page's default sequence; those of the two that are configured make it up."""

REMEMBERED = 256

REST = "*"
"""The asked name in a model map that stands for every name not in it."""


@dataclass(frozen=True, slots=True)
class ProviderFacts:
    """What planning needs to know of a provider.

    `has_endpoint`: it has an address of its own. `takes_endpoint`: callers may name its address by header.
    """

    name: str
    kind: str
    models: Mapping[str, str] = field(default_factory=dict)
    has_endpoint: bool = True
    takes_endpoint: bool = False

    def served(self, asked: str) -> str:
        return self.models.get(asked) or self.models.get(REST) or asked


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The providers in their configured order, and the operator's sequence if there is one.

    Raises ConfigurationError for a sequence that is empty or names a provider that is not there.
    """

    providers: Mapping[str, ProviderFacts]
    default_sequence: tuple[TargetName, ...] | None = None
    default: tuple[TargetName, ...] = field(init=False)
    """Whom a request asks that names nobody."""
    remembered: dict[tuple[tuple[TargetName, ...] | None, str], tuple[Target, ...]] = field(
        init=False, default_factory=dict, compare=False, repr=False
    )
    """The targets of a sequence and a model, for callers without restrictions or an endpoint of their own."""

    def __post_init__(self) -> None:
        if self.default_sequence is None:
            names = [name for name in OUT_OF_THE_BOX if name in self.providers] or list(self.providers)
            object.__setattr__(self, "default", tuple(TargetName(name) for name in names))
            return
        object.__setattr__(self, "default", self.default_sequence)
        if not self.default_sequence:
            raise ConfigurationError("failover_sequence: expected at least one provider")
        unknown = [item.provider for item in self.default_sequence if item.provider not in self.providers]
        if unknown:
            raise ConfigurationError(
                f"failover_sequence: no provider is named {', '.join(unknown)};"
                f" configured are {', '.join(self.providers) or 'none'}"
            )


class GuardFor(Protocol):
    def __call__(self, endpoint: Endpoint, principal: Principal | None, /, *, keyed: bool) -> Permits | None:
        """Where this principal's endpoint may be found; None: it may not be called. `keyed`: with the caller's key."""
        ...


def make_plan(
    model: str,
    stream: bool,
    options: CallOptions,
    catalogue: Catalogue,
    *,
    principal: Principal | None,
    guard_for: GuardFor,
    total_s: float | None,
) -> Plan:
    """The targets to try in order, and the limits that hold for them. Raises RequestRejected."""
    if not catalogue.providers:
        raise _no_provider("No provider is configured.")
    endpoint = options.vllm_endpoint
    guard = None
    if endpoint is not None:
        guard = _guard(endpoint, catalogue, principal, guard_for, keyed=options.vllm_api_key is not None)
    key = (options.sequence, model)
    usual = principal is None and endpoint is None
    if usual and (known := catalogue.remembered.get(key)) is not None:
        return _limited(known, stream, options, total_s, None)
    if options.sequence is None:
        names = _permitted(catalogue.default, model, endpoint, catalogue, principal)
    else:
        names = options.sequence
        _check_sequence(names, model, endpoint, catalogue, principal)
    targets = tuple([_target(item, model, endpoint, catalogue.providers[item.provider]) for item in names])
    if usual:
        if len(catalogue.remembered) >= REMEMBERED:
            catalogue.remembered.clear()  # callers choose models, and sequences
        catalogue.remembered[key] = targets
    return _limited(targets, stream, options, total_s, guard)


def _limited(
    targets: tuple[Target, ...], stream: bool, options: CallOptions, total_s: float | None, guard: Permits | None
) -> Plan:
    caller_s = options.caller_limit_s
    least_s = caller_s if total_s is None or (caller_s is not None and caller_s < total_s) else total_s
    return Plan(targets, stream, options.first_chunk_s, least_s, total_s, guard)


def _target(item: TargetName, model: str, endpoint: Endpoint | None, facts: ProviderFacts) -> Target:
    asked = item.model or model
    return Target(facts.name, asked, facts.served(asked), endpoint if facts.takes_endpoint else None)


def _guard(
    endpoint: Endpoint, catalogue: Catalogue, principal: Principal | None, guard_for: GuardFor, *, keyed: bool
) -> Permits:
    guard = None
    if any(facts.takes_endpoint for facts in catalogue.providers.values()):
        guard = guard_for(endpoint, principal, keyed=keyed)
    if guard is None:
        raise EndpointDenied("name")
    return guard


def _check_sequence(
    names: tuple[TargetName, ...],
    model: str,
    endpoint: Endpoint | None,
    catalogue: Catalogue,
    principal: Principal | None,
) -> None:
    """What the caller named must all be there and allowed: a list that we shorten is not the caller's."""
    unknown = next((item.provider for item in names if item.provider not in catalogue.providers), None)
    if unknown is not None:
        # Named only where it looks like a name: anything else might be a secret in the wrong place.
        said = f"; none is named {unknown!r}" if _NAME.fullmatch(unknown) else ""
        raise bad_header(SEQUENCE_HEADER, f"names of configured providers ({', '.join(catalogue.providers)}){said}")
    for item in names:
        if not _may_use(principal, item.provider):
            raise _forbidden(
                f"This token may not use the provider {item.provider}.",
                "provider_not_allowed",
                SEQUENCE_HEADER,
            )
        if not _may_ask(principal, item.model or model):
            raise _model_forbidden("model" if item.model is None else SEQUENCE_HEADER)
        if not _reachable(catalogue.providers[item.provider], endpoint):
            raise _endpoint_missing(item.provider)


def _permitted(
    names: tuple[TargetName, ...],
    model: str,
    endpoint: Endpoint | None,
    catalogue: Catalogue,
    principal: Principal | None,
) -> tuple[TargetName, ...]:
    """Of a sequence that the caller did not choose, what this caller can use."""
    usable = list(names)
    if principal is not None:
        usable = [item for item in names if _may_use(principal, item.provider)]
        # The body's model is the caller's own word: a refusal, not an omission.
        if not _may_ask(principal, model) and any(item.model is None for item in usable):
            raise _model_forbidden("model")
        usable = [item for item in usable if _may_ask(principal, item.model or model)]
        if not usable:
            raise _no_provider("This token may use none of the configured providers.")
    reachable = [item for item in usable if _reachable(catalogue.providers[item.provider], endpoint)]
    if not reachable:
        raise _endpoint_missing(usable[0].provider)
    return tuple(reachable)


def _reachable(facts: ProviderFacts, endpoint: Endpoint | None) -> bool:
    return facts.has_endpoint or (facts.takes_endpoint and endpoint is not None)


def _may_use(principal: Principal | None, provider: str) -> bool:
    return principal is None or principal.providers is None or provider in principal.providers


def _may_ask(principal: Principal | None, model: str) -> bool:
    return principal is None or principal.models is None or model in principal.models


def _endpoint_missing(provider: str) -> RequestRejected:
    return bad_header(ENDPOINT_HEADER, f"the URL of a server, since none is configured for {provider}")


def _model_forbidden(param: str) -> RequestRejected:
    return _forbidden("This token may not use the model that was asked for.", "model_not_allowed", param)


def _forbidden(message: str, code: str, param: str) -> RequestRejected:
    return RequestRejected(403, message, type="permission_error", param=param, code=code)


def _no_provider(message: str) -> RequestRejected:
    return RequestRejected(
        503,
        message,
        type="service_unavailable_error",
        code="no_provider",
        retry_after_s=60,  # every 503 names a time; only a change of settings mends this one
        should_retry=False,
    )
