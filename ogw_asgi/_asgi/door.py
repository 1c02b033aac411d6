"""What the door knows of the gateway behind it, and what it reads of a head."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .._dispatch.dispatcher import Dispatcher
from .._rules.plan import Catalogue, GuardFor
from .._values import CallOptions, Limits, Timeouts
from .._wire.headers import Values, read_options, read_request_id, refuse_media, refuse_repeats
from ..auth.base import Authenticator
from ..telemetry.observers import Observers
from .places import refuse_loop


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


def read_head(door: Door, headers: Values, request_id: str) -> CallOptions:
    """What the head asks for, whoever sent it. Raises RequestRejected."""
    refuse_repeats(headers)
    options = read_options(headers, request_id=request_id, limits=door.limits, header_max_s=door.timeouts.header_max_s)
    refuse_loop(options, door.gateway_id)
    refuse_media(headers)
    return options


def request_id_of(headers: Values) -> str:
    """The caller's, or one of ours: 32 hex digits. It need only be unlike others: what cannot be guessed costs a system
    call."""
    return read_request_id(headers) or random.getrandbits(128).to_bytes(16).hex()
