"""What is wrong with settings, and what may be: all of it at once, before anybody is asked anything."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from .._effective import effective
from .._environment.names import object_in, present, sources, unknown_names
from .._environment.reading import read_environment
from .._environment.values import Flaw
from .._opening import OPEN_TO_ALL
from ..exceptions import ConfigurationError
from ..gateway import Gateway
from ..providers import VLLM, Azure, Provider
from .mending import export, in_code, key_variable, provider_in_code, sequence_in_code, unset
from .report import Problem, Report
from .rewriting import (
    VARIABLES,
    export_endpoints,
    export_key_of,
    export_missing_key,
    export_models,
    export_providers,
    export_sequence,
    meant,
    mended_url,
    named_in_sequence,
    sequence_of,
)

_PRIVATE = (".internal", ".local", ".localhost", ".svc", ".cluster.local", ".lan", ".home.arpa", ".test", ".invalid")
_SECRETS = ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN", "VLLM_API_KEY", "OGW_BEARER_TOKENS")
_NEVER_ASKED = "can never be asked"
_HEARD_OF = {
    "allowed_endpoints_unused": "allowed_endpoints",
    "no_failover_sequence": "failover_sequence",
    "short_tokens": "authenticate",
}


def of_environment(environ: Mapping[str, str]) -> tuple[Report, Gateway]:
    """The report, and the gateway of what is not flawed in it."""
    flaws: list[Flaw] = []
    with heard() as lines:
        arguments = read_environment(environ, flaws)
        try:
            gateway = Gateway(**arguments)
        except ConfigurationError as error:  # between two that are each as they should be
            flaws.append(Flaw("settings", str(error)))
            gateway = Gateway()
    gateway._sources = sources(environ)
    report = Report("environment")
    env = present(environ)
    # What cannot be read of OGW_PROVIDERS is mended into one.
    missing = [] if any(flaw.variable == "OGW_PROVIDERS" for flaw in flaws) else _missing(env)
    report.problems += missing
    report.problems += [_problem(flaw, env) for flaw in flaws if not _follows(flaw, missing, env)]
    for name, near in unknown_names(env).items():
        if near is not None and near in env:
            says = f"is no setting of this gateway; {near} is, and it is set"
            report.problems.append(Problem(name, says, unset(name)))
        elif near is not None:
            mend = f'export {near}="${name}"; unset {name}'
            report.problems.append(Problem(name, f"is no setting of this gateway; {near} is", mend))
        else:
            report.warnings.append(Problem(name, "is no setting of this gateway, and has no effect", unset(name)))
    report.warnings += _unused(environ)
    report.warnings += _badly_quoted(environ, gateway._sources)
    _doubt(report, gateway, lines, env)
    refused = {flaw.variable for flaw in flaws}
    if "OGW_BEARER_TOKENS" in refused:  # nobody may use what does not start
        report.warnings = [one for one in report.warnings if one.says != OPEN_TO_ALL]
    if "OGW_VLLM_ALLOWED_ENDPOINTS" in refused:
        report.warnings = [one for one in report.warnings if not one.says.startswith(_NEVER_ASKED)]
    report.settings = effective(gateway, refused=refused)
    return report, gateway


def of_code(name: str, gateway: Gateway, lines: Collection[str]) -> Report:
    """`lines`: what was logged while it was made."""
    report = Report(name, settings=effective(gateway))
    if not gateway._providers:
        report.problems.append(
            Problem("providers", "there is none: every call would be a 503", in_code("providers: expected"))
        )
    _doubt(report, gateway, lines, present(os.environ) if gateway._sources else None)
    return report


@contextmanager
def heard() -> Iterator[list[str]]:
    """The WARNINGs that making a gateway logs; they are told in the report, and nowhere else."""
    lines: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger, ear = logging.getLogger("ogw_asgi"), Ear(logging.WARNING)
    spread, logger.propagate = logger.propagate, False
    logger.addHandler(ear)
    try:
        yield lines
    finally:
        logger.removeHandler(ear)
        logger.propagate = spread


def _missing(env: Mapping[str, str]) -> list[Problem]:
    """That there is no provider at all, with the variables of those that the sequence names."""
    if meant(env):
        return []
    says = "there is none: every call would be a 503"
    named = [name for name in named_in_sequence(env) if name in VARIABLES]
    return [
        Problem("providers", f"{says}; OGW_FAILOVER_SEQUENCE names {name}", export(VARIABLES[name])) for name in named
    ] or [Problem("providers", says, export("OPENAI_API_KEY"))]


def _follows(flaw: Flaw, missing: Collection[Problem], env: Mapping[str, str]) -> bool:
    """Whether all that is wrong with a sequence is that its providers are yet to be set."""
    unset_ones = bool(missing) and "no provider is named" in flaw.text
    return unset_ones and flaw.variable == "OGW_FAILOVER_SEQUENCE" and set(named_in_sequence(env)) <= VARIABLES.keys()


def _problem(flaw: Flaw, env: Mapping[str, str]) -> Problem:
    variable = flaw.variable
    says = flaw.text.removeprefix(f"{variable}: ").removeprefix("failover_sequence: ")
    if not variable.startswith("OGW_"):
        says = _of_argument.sub("", says)
    return Problem(variable, says, _mend(variable, says, env))


def _mend(variable: str, says: str, env: Mapping[str, str]) -> str | None:
    if "unset it" in says:
        return unset(variable)
    if "pip install" in says:
        return says[says.index("pip install") :]
    match variable:
        case "OGW_FAILOVER_SEQUENCE":
            return export_sequence(env)
        case "OGW_MODELS":
            return export_models(env)
        case "OGW_PROVIDERS" if says.endswith(_NO_SUCH_VARIABLE):
            return export_missing_key(env, says.removesuffix(_NO_SUCH_VARIABLE))
        case "OGW_PROVIDERS":
            return export_providers(env)
        case "OGW_VLLM_ALLOWED_ENDPOINTS":
            return export_endpoints(env)
        case "OPENAI_BASE_URL" | "AZURE_OPENAI_ENDPOINT" | "VLLM_ENDPOINT":
            return export(variable, mended_url(env[variable]))
    return export(variable) if variable.isupper() else None


_NO_SUCH_VARIABLE = ": api_key_env: no such variable is set"
_of_argument = re.compile(r"^[a-z]+: (?:api_key|base_url|endpoint|api_version): ")


def _key_line(provider: Provider, env: Mapping[str, str] | None) -> str:
    if env is None:
        return provider_in_code(type(provider).__name__, provider.name, "api_key")
    if provider.name in object_in(env.get("OGW_PROVIDERS", "{}")):
        return export_key_of(env, provider.name)
    return export(key_variable(provider.name))


# --- what may be meant ---


def _unused(environ: Mapping[str, str]) -> Iterator[Problem]:
    env = present(environ)
    for variable, needed in (
        ("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"),
        ("AZURE_OPENAI_AD_TOKEN", "AZURE_OPENAI_ENDPOINT"),
        ("VLLM_API_KEY", "VLLM_ENDPOINT"),
    ):
        if variable in env and needed not in env:
            yield Problem(variable, f"is without effect as long as {needed} is not set", export(needed))
    if env.keys() >= {"AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN", "AZURE_OPENAI_ENDPOINT"}:
        says = "is without effect: AZURE_OPENAI_API_KEY is set, too, and is what is sent"
        yield Problem("AZURE_OPENAI_AD_TOKEN", says, unset("AZURE_OPENAI_AD_TOKEN"))


def _badly_quoted(environ: Mapping[str, str], found: Mapping[str, str]) -> Iterator[Problem]:
    keys = {variable for setting, variable in found.items() if setting.endswith(".api_key")}
    for variable in sorted(keys.union(_SECRETS) & environ.keys()):
        value = environ[variable]
        if value.strip() != value and value.strip():
            yield Problem(variable, "has blanks or a line end around its value; they are left out", export(variable))
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            says = "stands in quotes, and they are sent as a part of it (docker --env-file keeps them)"
            yield Problem(variable, says, export(variable))


def _doubt(report: Report, gateway: Gateway, lines: Collection[str], env: Mapping[str, str] | None) -> None:
    """`env`: None for a gateway that is made in code."""
    for provider in gateway._providers.values():
        if _refuses_without_a_key(provider):
            says = "is asked without a key: every call would be a 401"
            report.problems.append(Problem(f"providers.{provider.name}", says, _key_line(provider, env)))
    report.warnings += _doubtful(gateway, lines, env)


def _doubtful(gateway: Gateway, lines: Collection[str], env: Mapping[str, str] | None) -> Iterator[Problem]:
    if gateway.app.door.authenticator is None:
        mend = in_code("authenticate") if env is None else export("OGW_BEARER_TOKENS")
        yield Problem("authenticate", OPEN_TO_ALL, mend)
    for line in lines:
        word = line.partition(":")[0].partition(" ")[0]
        says = line.partition(": ")[2] or line
        mend = None
        if word == "no_failover_sequence":
            names = [provider.name for provider in gateway._providers.values() if provider.base_url]
            mend = sequence_in_code(names) if env is None else sequence_of(names)
        elif word == "short_tokens":
            mend = in_code("bearer_tokens") if env is None else export("OGW_BEARER_TOKENS")
        yield Problem(_HEARD_OF.get(word, word), says, mend)
    for provider in gateway._providers.values():
        yield from _doubtful_provider(provider, env)


def _doubtful_provider(provider: Provider, env: Mapping[str, str] | None) -> Iterator[Problem]:
    name = f"providers.{provider.name}"
    keyed = provider._key is not None or provider._ask_key is not None
    public = bool(provider.base_url) and _is_public(provider.base_url)
    if keyed and public and provider.base_url.startswith("http://"):
        yield Problem(name, "its key goes over the internet in plain text: its URL begins with http://")
    if _goes_without_a_key(provider) and not _refuses_without_a_key(provider):
        yield Problem(name, "is asked without a key", _key_line(provider, env))
    if isinstance(provider, Azure) and provider.api_version is not None and not provider.models:
        says = "classic deployments without a model map: what callers ask for is taken for a deployment's name"
        mend = provider_in_code("Azure", provider.name, "models") if env is None else export_models(env, provider.name)
        yield Problem(name, says, mend)
    if isinstance(provider, VLLM) and not provider.base_url and not provider.allowed_endpoints:
        yield Problem(
            name,
            f"{_NEVER_ASKED}: it has no endpoint, and callers may name none",
            provider_in_code("VLLM", provider.name, "endpoint") if env is None else export("VLLM_ENDPOINT"),
        )


def _goes_without_a_key(provider: Provider) -> bool:
    """To somebody on the internet; a client, or headers, may bring what stands for one."""
    keyed = provider._key is not None or provider._ask_key is not None or provider.client is not None
    return not keyed and not provider.headers and bool(provider.base_url) and _is_public(provider.base_url)


def _refuses_without_a_key(provider: Provider) -> bool:
    known = isinstance(provider, Azure) or provider.origins == ("https://api.openai.com",)
    return known and _goes_without_a_key(provider)


def _is_public(url: str) -> bool:
    """As far as its host alone tells; nothing is looked up."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_global
    except ValueError:
        return "." in host and not host.endswith(_PRIVATE)
