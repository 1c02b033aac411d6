"""The fixtures `engine` and `anyio_backend` in the combinations of this folder; uvloop is one of its loops."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from .combinations import COMBINATIONS, LOOPS, ORDINARY

_EACH = [
    pytest.param(combination, id="-".join(combination), marks=() if combination in ORDINARY else (pytest.mark.long,))
    for combination in COMBINATIONS
]


@pytest.fixture(params=_EACH)
def combination(request: pytest.FixtureRequest) -> tuple[str, str]:
    found: tuple[str, str] = request.param
    return found


@pytest.fixture
def engine(combination: tuple[str, str]) -> str:
    return combination[0]


@pytest.fixture
def anyio_backend(combination: tuple[str, str]) -> Any:
    return LOOPS[combination[1]]


@pytest.fixture(autouse=True)
def few_records() -> Iterator[None]:
    # pytest keeps every record, and what grows here is counted; what is logged below is looked at everywhere else.
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)
