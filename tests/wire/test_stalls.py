"""No body within the limits may hold everybody up where it need not: what costs most per byte, at a million brackets.

What the standard library's parser takes for a million elements is its own; measured here is what comes on top of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from ogw_asgi._values import Limits
from ogw_asgi._wire.fields import check_fields
from ogw_asgi._wire.sse import SSEDecoder
from ogw_asgi._wire.structure import refuse_structure
from ogw_asgi.exceptions import RequestRejected

LIMITS = Limits()


def least_s(work: Callable[[], object]) -> float:
    """The least processor time of three tries: others are at work here, too."""
    took_s = []
    for _ in range(3):
        started_s = time.process_time()
        try:
            work()
        except RequestRejected:
            pass
        took_s.append(time.process_time() - started_s)
    return min(took_s)


@pytest.mark.contract("8.structure-limit")
@pytest.mark.parametrize(
    "structure",
    [
        pytest.param(b"[" * 480_000 + b"]" * 480_000, id="deep"),
        pytest.param((b"[" * 1000 + b"]" * 1000 + b",") * 490, id="deep, again and again"),
        pytest.param((b"[" * 126 + b"]" * 126 + b",") * 3_900, id="as deep as may be, again and again"),
        pytest.param((b'{"a":' * 126 + b"1" + b"}" * 126 + b",") * 3_900, id="objects as deep as may be"),
    ],
)
def test_how_deep_a_million_brackets_are_is_known_within_a_tenth_of_a_second(structure: bytes) -> None:
    assert least_s(lambda: refuse_structure(b"[" + structure + b"1]", LIMITS)) < 0.15


@pytest.mark.parametrize(
    ("name", "value", "limit_s"),
    [
        pytest.param("logit_bias", {str(at): 1 for at in range(100_000)}, 0.02, id="logit_bias"),
        pytest.param("tools", [{"type": "function", "function": {"name": "a"}}] * 50_000, 0.045, id="tools"),
    ],
)
def test_to_check_many_good_values_costs_little(name: str, value: Any, limit_s: float) -> None:
    values = {"model": "m", "messages": [{"role": "user", "content": "a"}], name: value}
    assert least_s(lambda: check_fields(values)) < limit_s


def test_blank_lines_cost_a_stream_next_to_nothing() -> None:
    lines = b"\n" * (1 << 20)
    decoder = SSEDecoder(1 << 20)
    assert least_s(lambda: decoder.feed(lines)) < 0.1
