"""The official SDK, synchronous and asynchronous. Its asynchronous client is made for asyncio: these tests run there.

The gateway and the scripted providers have threads of their own, whatever the test's loop is.
"""

from __future__ import annotations

import pytest

from .clients import CLIENTS, Make


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=CLIENTS)
def make(request: pytest.FixtureRequest) -> Make:
    """The class of the client that the test uses."""
    kind: Make = CLIENTS[request.param]
    return kind
