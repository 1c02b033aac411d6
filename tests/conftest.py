"""What every test shares: both event loops, and a bound on every wait."""

from __future__ import annotations

import gc
import logging
from typing import Any

# First: trio tells it of its random numbers, and is not heard once tests have begun. And all of it: what it imports in
# mid-test, deep down, CPython 3.11 may fail to parse ("AST constructor recursion depth mismatch"): seen twice.
import hypothesis
import hypothesis.internal.conjecture.optimiser  # noqa: F401
import pytest

from tests.canaries import Canaries


def open_to_all(record: logging.LogRecord) -> bool:
    """A filter: nearly every gateway of these tests is unguarded, and all of them say so in the same fixed words, which
    are the business of tests/auth/test_unguarded.py alone."""
    return not record.getMessage().startswith("no_authentication")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Canaries(), "canaries")
    logging.getLogger("ogw_asgi").addFilter(open_to_all)


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
