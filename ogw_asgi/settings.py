"""Settings: what is checked at construction (contract, section 8). What the environment says: `_environment.py`.

Errors here are `ConfigurationError`s that name the setting and what was expected, and never hold a key's value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import fields
from inspect import iscoroutinefunction
from typing import Any

from ._values import Breaker, Limits, StreamBreak, TargetName, Timeouts
from .exceptions import ConfigurationError

FAILOVER_ON = frozenset({"context_length", "content_filter", "unsupported_parameter"})


def check_timeouts(timeouts: Timeouts) -> Timeouts:
    if not isinstance(timeouts, Timeouts):
        raise ConfigurationError("timeouts: expected Timeouts(...)")
    for field in fields(timeouts):
        value = getattr(timeouts, field.name)
        if value is None and field.name in ("total_s", "hedge_after_s", "heartbeat_s"):
            continue
        if isinstance(value, str) and field.name == "hedge_after_s":
            if not _quantile(value):
                raise ConfigurationError("timeouts: hedge_after_s: expected seconds, or a quantile from 'p50' to 'p99'")
        else:
            _check_seconds(f"timeouts: {field.name}", value)
    return timeouts


_quantile = re.compile(r"p[5-9][0-9]", re.ASCII).fullmatch


def _check_seconds(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigurationError(f"{name}: expected a positive number of seconds")


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name}: expected a positive integer")


def check_limits(limits: Limits) -> Limits:
    if not isinstance(limits, Limits):
        raise ConfigurationError("limits: expected Limits(...)")
    for field in fields(limits):
        _check_count(f"limits: {field.name}", getattr(limits, field.name))
    if limits.attempts > 16:
        raise ConfigurationError("limits: attempts: expected at most 16")
    return limits


def check_breaker(breaker: Breaker) -> Breaker:
    if not isinstance(breaker, Breaker):
        raise ConfigurationError("breaker: expected Breaker(...)")
    _check_count("breaker: failures", breaker.failures)
    for name in ("open_s", "open_max_s"):
        _check_seconds(f"breaker: {name}", getattr(breaker, name))
    if breaker.open_max_s < breaker.open_s:
        raise ConfigurationError("breaker: open_max_s: expected at least open_s")
    return breaker


def check_stream_break(policy: StreamBreak, name: str = "on_stream_break") -> StreamBreak:
    if policy not in ("error", "continue", "hold"):
        raise ConfigurationError(f"{name}: expected 'error', 'continue' or 'hold'")
    return policy


def check_success_status(status: int, name: str = "success_status") -> int:
    if status not in (200, 201):
        raise ConfigurationError(f"{name}: expected 200 or 201")
    return status


def items_of(value: Any, what: str) -> list[Any]:
    """The items of a list, tuple, set...; a string is not meant as the list of its characters."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{what}: expected a list")
    return list(value)


def check_failover_on(reasons: Iterable[str]) -> frozenset[str]:
    checked = frozenset(items_of(reasons, "failover_on"))
    if not checked <= FAILOVER_ON:
        raise ConfigurationError(f"failover_on: expected a subset of {sorted(FAILOVER_ON)}")
    return checked


def check_authenticator(authenticate: object) -> None:
    if authenticate is not None and not callable(authenticate):
        raise ConfigurationError("authenticate: expected a callable; see bearer_tokens for fixed tokens")


def check_status(status: bool, status_auth: object) -> None:
    if not isinstance(status, bool):
        raise ConfigurationError("status: expected True or False")
    if status_auth is not None and not callable(status_auth):
        raise ConfigurationError("status_auth: expected a callable, as for authenticate; see bearer_tokens")
    if status_auth is not None and not status:
        raise ConfigurationError("status_auth: is without effect: there is a status page with status=True alone")


def check_sinks(sinks: Iterable[Any]) -> list[Any]:
    checked = items_of(sinks, "sinks")
    if not all(callable(getattr(sink, "on_event", None)) for sink in checked):
        raise ConfigurationError("sinks: expected objects with a method on_event")
    if any(isinstance(sink, type) for sink in checked):
        raise ConfigurationError("sinks: expected objects, not their class: call it")
    if any(iscoroutinefunction(sink.on_event) for sink in checked):
        raise ConfigurationError("sinks: on_event: expected a plain method, for nobody awaits it")
    return checked


def check_names(names: Iterable[Any]) -> list[str]:
    checked = items_of(names, "models")
    if not all(isinstance(name, str) and name for name in checked):
        raise ConfigurationError("models: expected a list of non-empty names")
    return checked


def check_engine(engine: str) -> None:
    if engine not in ("auto", "native", "httpx2", "httpx"):
        raise ConfigurationError("engine: expected 'auto', 'native', 'httpx2' or 'httpx'")


def read_target(item: str) -> TargetName:
    """`provider` or `provider/model`, split at the first slash."""
    if not isinstance(item, str):
        raise ConfigurationError("failover_sequence: expected a sequence of names")
    provider, slash, model = item.partition("/")
    if not provider or (slash and not model):
        raise ConfigurationError(f"failover_sequence: {item!r}: expected 'provider' or 'provider/model'")
    return TargetName(provider, model or None)
