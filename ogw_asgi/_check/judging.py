"""What is wrong with settings, and what may be: all of it at once, before anybody is asked anything."""

from __future__ import annotations

import ipaddress
import json
import logging
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from .._environment.names import present, sources, unknown_names
from .._environment.reading import read_environment
from .._environment.values import Flaw
from ..exceptions import ConfigurationError
from ..gateway import Gateway
from ..providers import VLLM, Azure, Provider
from .effective import effective
from .mending import export, export_sequence, in_code, unset
from .report import Problem, Report

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
    meant = _meant(gateway)
    for flaw in flaws:
        report.problems.append(_problem(flaw, meant, environ))
    for name, near in unknown_names(present(environ)).items():
        if near is not None:
            mend = f'export {near}="${name}"; unset {name}'
            report.problems.append(Problem(name, f"is no setting of this gateway; {near} is", mend))
        else:
            report.warnings.append(Problem(name, "is no setting of this gateway, and has no effect", unset(name)))
    if not meant and not flaws:
        report.problems.append(
            Problem("providers", "there is none: every call would be a 503", export("OPENAI_API_KEY"))
        )
    report.warnings += _unused(environ)
    report.warnings += _badly_quoted(environ, gateway._sources)
    report.warnings += _doubtful(gateway, lines, environment=True)
    refused = {flaw.variable for flaw in flaws}
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
    report.warnings += _doubtful(gateway, lines, environment=bool(gateway._sources))
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


def _meant(gateway: Gateway) -> list[str]:
    """The names of all providers that are spoken of, in the order in which the environment is read."""
    spoken = [name.split(".", 1)[1].rpartition(".")[0] for name in gateway._sources if name.startswith("providers.")]
    usual = [name for name in ("openai", "azure", "vllm") if name in spoken or name in gateway._providers]
    return list(dict.fromkeys([*usual, *gateway._providers, *sorted(spoken)]))


def _problem(flaw: Flaw, providers: list[str], environ: Mapping[str, str]) -> Problem:
    says = flaw.text.removeprefix(f"{flaw.variable}: ").removeprefix("failover_sequence: ")
    if not flaw.variable.startswith("OGW_"):
        says = _of_argument.sub("", says)
    if flaw.variable == "OGW_FAILOVER_SEQUENCE":
        return Problem(flaw.variable, says, export_sequence(providers))
    if flaw.variable == "OGW_REDIS_URL" or "unset it" in says:
        return Problem(flaw.variable, says, unset(flaw.variable))
    if "api_key_env: no such variable" in says:
        return Problem(flaw.variable, says, _missing_key(environ[flaw.variable], says.partition(":")[0]))
    return Problem(flaw.variable, says, export(flaw.variable) if flaw.variable.isupper() else None)


_of_argument = re.compile(r"^[a-z]+: (?:api_key|base_url|endpoint|api_version): ")
_looks_like_a_variable = re.compile(r"[A-Z]+(?:_[A-Z0-9]+)+").fullmatch


def _missing_key(text: str, provider: str) -> str:
    """Its name is shown only where it looks like one: it may be the key itself, in the wrong place."""
    named = json.loads(text)[provider]["api_key_env"]
    looks = isinstance(named, str) and len(named) <= 40 and _looks_like_a_variable(named)
    return export(named if looks else "OGW_PROVIDERS")


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


def _doubtful(gateway: Gateway, lines: Collection[str], *, environment: bool) -> Iterator[Problem]:
    if gateway.app.door.authenticator is None:
        yield Problem(
            "authenticate",
            "everybody who reaches this gateway may use it, unless the app around it asks who they are",
            export("OGW_BEARER_TOKENS") if environment else in_code("authenticate"),
        )
    for line in lines:
        word = line.partition(":")[0].partition(" ")[0]
        says = line.partition(": ")[2] or line
        mend = None
        if word == "no_failover_sequence":
            mend = export_sequence(list(gateway._providers)) if environment else in_code("failover_sequence")
        elif word == "short_tokens":
            mend = export("OGW_BEARER_TOKENS") if environment else None
        yield Problem(_HEARD_OF.get(word, word), says, mend)
    for provider in gateway._providers.values():
        yield from _doubtful_provider(provider, environment=environment)


def _doubtful_provider(provider: Provider, *, environment: bool) -> Iterator[Problem]:
    name = f"providers.{provider.name}"
    keyed = provider._key is not None or provider._ask_key is not None
    public = bool(provider.base_url) and _is_public(provider.base_url)
    if keyed and public and provider.base_url.startswith("http://"):
        yield Problem(name, "its key goes over the internet in plain text: its URL begins with http://")
    if not keyed and public and provider.client is None and not provider.headers:
        yield Problem(name, "is asked without a key", _key_line(provider) if environment else None)
    if isinstance(provider, Azure) and provider.api_version is not None and not provider.models:
        says = "classic deployments without a model map: what callers ask for is taken for a deployment's name"
        mend = f"{provider.name.capitalize()}(models={{'gpt-4o': 'prod-gpt4o'}}, ...)"
        yield Problem(name, says, export("OGW_MODELS") if environment else mend)
    if isinstance(provider, VLLM) and not provider.base_url and not provider.allowed_endpoints:
        yield Problem(
            name,
            f"{_NEVER_ASKED}: it has no endpoint, and callers may name none",
            export("VLLM_ENDPOINT") if environment else "VLLM(endpoint='http://10.0.0.7:8000', ...)",
        )


def _key_line(provider: Provider) -> str | None:
    variable = {"openai": "OPENAI_API_KEY", "azure": "AZURE_OPENAI_API_KEY", "vllm": "VLLM_API_KEY"}.get(provider.name)
    return export(variable or "OGW_PROVIDERS")


def _is_public(url: str) -> bool:
    """As far as its host alone tells; nothing is looked up."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_global
    except ValueError:
        return "." in host and not host.endswith(_PRIVATE)
