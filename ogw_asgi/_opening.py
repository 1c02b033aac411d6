"""What belongs to one event loop, made when a gateway is opened there: its sockets, and what it keeps of circuits.

Part of the composition root.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from ._assembly import asks_over_tls, endpoint_ssl_context
from ._dispatch.admission import LEASE_EXTRA_S, Admission
from ._dispatch.dispatcher import Dispatcher
from ._values import Breaker, Target, Timeouts
from .circuits.memory import MemoryCircuits
from .circuits.redis import RedisLink, RedisPlace
from .circuits.shared import SharedCircuits
from .exceptions import RequestRejected
from .providers import Provider
from .telemetry.observers import Observers
from .transports.base import Transport
from .transports.choice import Engine
from .transports.dial import Dialer
from .transports.httpx import HTTPXTransport

logger = logging.getLogger("ogw_asgi")

OPEN_TO_ALL: Final = "everybody who reaches this gateway may use it, unless the app around it asks who they are"
WIRED: Final = "app = FastAPI(lifespan=gateway.lifespan)"
"""The line that wires a lifespan."""


@dataclass(frozen=True, slots=True)
class Opened:
    loop: object
    dispatcher: Dispatcher
    transports: Sequence[Transport]


def transports_of(
    engine: Engine, providers: Mapping[str, Provider], head_bytes: int
) -> tuple[Callable[[Target], Transport], Sequence[Transport]]:
    """By which transport a target is asked; and all of them, to be closed."""
    make = partial(engine.make, head_bytes=head_bytes)
    dialer = Dialer()
    # Who is asked in plain text alone trusts nobody.
    tls = engine.make_ssl_context() if asks_over_tls(providers) else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    transports: dict[str, Transport] = {}
    for name, provider in providers.items():
        if provider.client is not None:
            transports[name] = HTTPXTransport(provider.client, head_bytes=head_bytes)
        else:
            transports[name] = make(provider.ssl_context or tls, dialer=dialer)
    # Callers' endpoints never go through a client that the user passed, and their connections are never kept. A
    # Dialer of their own: names whose servers hang, which callers choose, must not hold up the providers' names.
    guarded = make(endpoint_ssl_context(providers) or tls, keepalive=False, dialer=Dialer())

    def transport_for(target: Target) -> Transport:
        return guarded if target.endpoint is not None else transports[target.provider]

    return transport_for, [*transports.values(), guarded]


def admission(
    redis: RedisPlace | None,
    providers: Mapping[str, Provider],
    *,
    breaker: Breaker,
    timeouts: Timeouts,
    observers: Observers,
) -> Admission:
    """With circuits of this process alone, or shared with whoever uses the same Redis. Of one event loop."""
    memory = MemoryCircuits(breaker)
    if redis is None:
        return Admission(memory, timeouts, observers)
    store = SharedCircuits(
        memory,
        # A Dialer of its own: where names hang, it must not hold up the providers' names, nor they it.
        RedisLink(redis, Dialer().dial),
        breaker,
        places={name: provider.base_url for name, provider in providers.items()},
        longest_lease_s=timeouts.first_chunk_s + LEASE_EXTRA_S,
    )
    made = Admission(store, timeouts, observers)
    store.on_heard = made.changed
    return made


def gateway_closed() -> RequestRejected:
    return RequestRejected(
        503,
        "This gateway has been closed.",
        type="service_unavailable_error",
        code="gateway_closed",
        retry_after_s=1,
    )


def warn_of_laziness() -> None:
    logger.warning(
        "opened_lazily: no lifespan opened this gateway, so it opened itself on the first request and nobody "
        "will close it. Add: %s",
        WIRED,
    )


def warn_of_open_door() -> None:
    # A WARNING: without a set-up of logging it is the least that anybody sees.
    logger.warning(
        "no_authentication: %s. Set OGW_BEARER_TOKENS or authenticate=bearer_tokens(...), or, if that is meant, "
        "authenticate=allow_anyone",
        OPEN_TO_ALL,
    )
