"""What the door knows of the gateway behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .._dispatch.dispatcher import Dispatcher
from .._rules.plan import Catalogue, GuardFor
from .._values import Limits, Timeouts
from ..auth.base import Authenticator
from ..telemetry.observers import Observers


@dataclass(frozen=True, slots=True)
class Door:
    open: Callable[[], Awaitable[Dispatcher]]
    catalogue: Catalogue
    guard_for: GuardFor
    authenticator: Authenticator | None
    timeouts: Timeouts
    limits: Limits
    success_status: int
    gateway_id: str
    observers: Observers
    models: tuple[str, ...]
