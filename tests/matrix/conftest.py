"""The case of each test of the matrix, from its `fault` marker, and the world that belongs to it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from .selection import Case, chosen
from .world import OpenWorld, world_of


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    given = [marker.args[0] for marker in metafunc.definition.iter_markers("parametrize")]
    if "case" not in metafunc.fixturenames or "case" in given:
        return
    modes = {marker.kwargs.get("mode") for marker in metafunc.definition.iter_markers("fault")}
    assert len(modes) <= 1, "the faults of one test are all for the same mode"
    cases = chosen(modes.pop() if modes else None)
    metafunc.parametrize("case", cases, ids=[case.id for case in cases])


@pytest.fixture
def anyio_backend(case: Case) -> Any:
    return case.backend


@pytest.fixture
def open_world(case: Case) -> OpenWorld:
    """See world.py."""
    return partial(world_of, case)
