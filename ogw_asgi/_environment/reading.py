"""The arguments of a gateway, read from the environment.

Errors here are `ConfigurationError`s that name the variable and what was expected, and never hold a key's value.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from .. import settings
from .._rules.plan import Catalogue, ProviderFacts
from .._values import Limits, StreamBreak, TargetName, Timeouts
from ..auth.base import Authenticator
from ..auth.bearer import bearer_tokens
from ..circuits.redis import read_place
from ..exceptions import ConfigurationError
from ..providers import Provider
from .names import present, unknown_names
from .providers import read_providers
from .values import Flaws, into, read_boolean, read_integer, read_json


def read_environment(environ: Mapping[str, str], flaws: Flaws = None) -> dict[str, Any]:
    """The arguments for `Gateway` that the environment holds. Empty variables count as absent, but for the tokens.

    Raises ConfigurationError, naming the variable, or leaves out what is flawed. Unknown `OGW_*` names are logged once:
    container platforms inject variables of their own.
    """
    with into(flaws, "OGW_BEARER_TOKENS"):
        if "OGW_BEARER_TOKENS" in environ and not environ["OGW_BEARER_TOKENS"].strip():
            # The one that does not count as absent: a secret that failed to arrive must not open the door.
            raise ConfigurationError("OGW_BEARER_TOKENS: is empty; unset it if everybody may use the gateway")
    env = present(environ)
    if flaws is None and (unknown := unknown_names(env)):
        hints = [f"{name} (did you mean {meant}?)" if meant else name for name, meant in unknown.items()]
        logging.getLogger("ogw_asgi").warning("unknown_settings names=%s", ", ".join(hints))
    names: list[str] = []
    arguments: dict[str, Any] = {"providers": read_providers(env, names, flaws)}
    if "OGW_FAILOVER_SEQUENCE" in env:
        with into(flaws, "OGW_FAILOVER_SEQUENCE"):
            sequence = read_json(env, "OGW_FAILOVER_SEQUENCE", list, 'an array such as ["openai", "azure"]')
            if not all(isinstance(item, str) for item in sequence):
                raise ConfigurationError("OGW_FAILOVER_SEQUENCE: expected a JSON array of strings")
            if flaws is None or _leads_somewhere(sequence, names, arguments["providers"]):
                arguments["failover_sequence"] = sequence
    arguments["timeouts"] = _timeouts(env, flaws)
    if "OGW_ON_STREAM_BREAK" in env:
        with into(flaws, "OGW_ON_STREAM_BREAK"):
            policy = cast(StreamBreak, env["OGW_ON_STREAM_BREAK"])
            arguments["on_stream_break"] = settings.check_stream_break(policy, "OGW_ON_STREAM_BREAK")
    if "OGW_BEARER_TOKENS" in env:
        with into(flaws, "OGW_BEARER_TOKENS"):
            arguments["authenticate"] = _authenticator(env)
    if "OGW_SUCCESS_STATUS" in env:
        with into(flaws, "OGW_SUCCESS_STATUS"):
            status = read_integer(env, "OGW_SUCCESS_STATUS")
            arguments["success_status"] = settings.check_success_status(status, "OGW_SUCCESS_STATUS")
    if "OGW_MAX_BODY_BYTES" in env:
        with into(flaws, "OGW_MAX_BODY_BYTES"):
            arguments["limits"] = replace(Limits(), body_bytes=read_integer(env, "OGW_MAX_BODY_BYTES"))
    if "OGW_REDIS_URL" in env:
        with into(flaws, "OGW_REDIS_URL"):
            read_place(env["OGW_REDIS_URL"], "OGW_REDIS_URL")
            arguments["redis_url"] = env["OGW_REDIS_URL"]
    if "OGW_STATUS" in env:
        with into(flaws, "OGW_STATUS"):
            arguments["status"] = read_boolean(env, "OGW_STATUS")
    return arguments


def with_code(
    arguments: Mapping[str, Any],
    *,
    authenticate: Authenticator | None,
    status: bool | None,
    status_auth: Authenticator | None,
) -> dict[str, Any]:
    """The arguments of both: of the environment, and of the code that reads it. None: code says nothing.

    Raises ConfigurationError where one of them would be without effect; but code may say who looks at a status page,
    and the environment whether there is one.
    """
    both = dict(arguments)
    if authenticate is not None:
        if "authenticate" in both:
            raise ConfigurationError("OGW_BEARER_TOKENS: the app brings an authenticate= of its own: unset it")
        both["authenticate"] = authenticate
    if status is not None and both.setdefault("status", status) != status:
        raise ConfigurationError(f"OGW_STATUS: the app says status={status}: unset it")
    if status_auth is not None:
        settings.check_status(True, status_auth)
        if both.get("status") or status is not None:
            both["status_auth"] = status_auth
    return both


def _leads_somewhere(sequence: Sequence[str], names: Sequence[str], made: Sequence[Provider]) -> bool:
    """Whether a gateway of the providers that could be made can have it. Raises ConfigurationError for what none could,
    in its own words."""
    asked = [settings.read_target(item).provider for item in sequence]
    known = {name: ProviderFacts(name, "") for name in names}
    Catalogue(known, tuple([TargetName(name) for name in asked]))
    return set(asked) <= {provider.name for provider in made}


def _timeouts(env: Mapping[str, str], flaws: Flaws) -> Timeouts:
    timeouts = Timeouts()
    for name, field in (
        ("OGW_TIMEOUT_MS", "first_chunk_s"),
        ("OGW_IDLE_TIMEOUT_MS", "idle_s"),
        ("OGW_HEARTBEAT_MS", "heartbeat_s"),
    ):
        if name in env:
            with into(flaws, name):
                timeouts = replace(timeouts, **{field: read_integer(env, name) / 1000})
    return timeouts


def _authenticator(env: Mapping[str, str]) -> Authenticator:
    """Tokens separated by commas, a JSON array of them, or a JSON object: principal -> array of tokens."""
    name = "OGW_BEARER_TOKENS"
    text = env[name]
    if text.startswith('"'):
        raise ConfigurationError(f"{name}: expected tokens separated by commas, or a JSON object")
    tokens: Any = [token.strip() for token in text.split(",") if token.strip()]
    if text.startswith(("{", "[")):
        kind = dict if text.startswith("{") else list
        tokens = read_json(env, name, kind, "principal -> array of tokens, or an array of tokens")
        lists = tokens.values() if isinstance(tokens, dict) else [tokens]
        if not all(isinstance(theirs, list) and all(isinstance(token, str) for token in theirs) for theirs in lists):
            raise ConfigurationError(f"{name}: expected a JSON object: principal -> array of tokens")
    try:
        return bearer_tokens(tokens)
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {error}") from None
