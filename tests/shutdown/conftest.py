"""One loop for the tests of this folder: the loop that matters is the one of the server, which is another process."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def anyio_backend() -> Any:
    return "asyncio"
