"""What every test shares: both event loops, and a bound on every wait."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from tests.canaries import Canaries


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Canaries(), "canaries")


def pytest_collection_finish() -> None:
    # Modules and thousands of test items live as long as the run: to look through them at every collection, those that
    # tests ask for included, was a tenth of its time.
    gc.collect()
    gc.freeze()


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"debug": False}), id="asyncio"),
        pytest.param(("trio", {}), id="trio"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param
