"""What the status page is told of its gateway: who is configured, the settings in force, and what may be wrong.

Part of the composition root.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ._asgi.status import StatusPage
from ._assembly import never_fallen_back_on
from ._dispatch.dispatcher import Dispatcher
from ._effective import effective, written
from ._opening import OPEN_TO_ALL, WIRED
from ._status.desk import Configured, Desk, House
from ._status.recent import Recent
from ._status.snapshot import Sharing, ShownSetting, Warned
from ._values import written_authority
from .auth.base import Authenticator
from .circuits.shared import SharedCircuits
from .providers import VLLM, Provider

if TYPE_CHECKING:
    from .gateway import Gateway


def new_recent() -> Recent:
    """A sink, to be among those of the gateway that the page is of."""
    return Recent(time.monotonic, time.time)


def status_page(gateway: Gateway, recent: Recent, status_auth: Authenticator | None) -> StatusPage:
    return StatusPage(gateway.app.door, desk_of(gateway, recent), status_auth, gateway._still_open)


def desk_of(gateway: Gateway, recent: Recent) -> Desk:
    """`recent` is among the gateway's sinks."""
    return Desk(
        recent,
        House(
            open=gateway._dispatcher,
            providers=[_configured(one) for one in gateway._providers.values()],
            settings=lambda: [ShownSetting(one.name, written(one.value), one.source) for one in effective(gateway)],
            warnings=lambda base_http: tuple(_warnings(gateway, base_http)),
            sharing=_sharing,
        ),
    )


def _configured(provider: Provider) -> Configured:
    host, port = provider.place
    return Configured(provider.name, provider.kind, written_authority(host, port) if host else None)


def _sharing(dispatcher: Dispatcher) -> Sharing:
    store = dispatcher.circuits.store
    if not isinstance(store, SharedCircuits):
        return "own"
    return "lost" if store.lost else "shared"


def _warnings(gateway: Gateway, base_http: bool) -> Iterator[Warned]:
    door = gateway.app.door
    if gateway._opened_lazily:
        yield Warned(
            "lifespan",
            "no lifespan opened this gateway: it opened itself on the first request, and nobody will close it",
            WIRED,
        )
    if door.authenticator is None:
        yield Warned(
            "authentication",
            OPEN_TO_ALL,
            "Gateway(authenticate=bearer_tokens(...)), or OGW_BEARER_TOKENS; allow_anyone where that is meant",
        )
    if not gateway._providers:
        yield Warned("providers", "there is none: every call is a 503", "Gateway(providers=[OpenAI(api_key=...)])")
    passed_over = never_fallen_back_on(door.catalogue)
    if passed_over:
        yield Warned(
            "failover_sequence",
            f"nobody falls back on {', '.join(passed_over)}: only a caller who names it will ask it",
            "Gateway(failover_sequence=[...]), or OGW_FAILOVER_SEQUENCE",
        )
    yield from _of_endpoints(list(gateway._providers.values()))
    if base_http:
        yield Warned(
            "middleware",
            "a BaseHTTPMiddleware is wrapped around this gateway: it copies every chunk, and hides a caller who leaves",
            "add the gateway outside of it, or write that middleware as pure ASGI",
        )
    if gateway._redis is None and _one_of_several():
        yield Warned(
            "workers",
            "this process was started by another; if it has siblings, each finds out for itself who is down, and shows "
            "a page of its own",
            'Gateway(redis_url="redis://..."), or OGW_REDIS_URL',
        )
    opened = gateway._opened
    if opened is not None and _sharing(opened.dispatcher) == "lost":
        yield Warned(
            "redis",
            "the Redis cannot be reached: breakers are this process's own until it can",
            "python -m ogw_asgi check --probe",
        )


def _of_endpoints(providers: Sequence[Provider]) -> Iterator[Warned]:
    for provider in providers:
        if isinstance(provider, VLLM) and not provider.base_url and not provider.allowed_endpoints:
            yield Warned(
                "allowed_endpoints",
                f"{provider.name} has no endpoint, and callers may name none: it can never be asked",
                "VLLM(endpoint=...) or VLLM_ENDPOINT, VLLM(allowed_endpoints=[...]) or OGW_VLLM_ALLOWED_ENDPOINTS",
            )


def _one_of_several() -> bool:
    """As far as a process can tell. A reloader starts one process, and looks the same."""
    asked_for = os.environ.get("WEB_CONCURRENCY", "")
    return (
        multiprocessing.parent_process() is not None
        or "gunicorn.arbiter" in sys.modules
        or (asked_for.isascii() and asked_for.isdigit() and int(asked_for) > 1)
    )
