"""One server for all scripted providers of the session: it costs a tenth of a second to start and to stop one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from anyio.from_thread import start_blocking_portal

from ogw_asgi.testing import serve

from .served import Fleet, ServeGateway, serve_gateway


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    fleet = Fleet()
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(serve(fleet, lifespan="off")) as fleet.url:
            yield fleet


@pytest.fixture
def gateway_served(fleet: Fleet) -> ServeGateway:
    """`async with gateway_served(openai=ScriptedUpstream(...)) as served:`, see served.py."""
    return partial(serve_gateway, fleet)
