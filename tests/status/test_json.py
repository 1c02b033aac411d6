"""The snapshot for machines: the values, by their names, and what they add up to."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

import pytest
from hypothesis import given, settings

from ogw_asgi._status.as_json import render_json
from ogw_asgi._status.snapshot import Snapshot
from tests.status.examples import EXAMPLES, HOSTILE, OUTAGE
from tests.status.snapshots import snapshots


def whole(value: Any) -> Any:
    """What is expected: lists for tuples, and no halves of pairs."""
    if isinstance(value, dict):
        return {name: whole(one) for name, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [whole(one) for one in value]
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def without_sums(value: Any) -> Any:
    if isinstance(value, dict):
        counted = "rate_limited" in value
        return {name: without_sums(one) for name, one in value.items() if not (counted and name in ("failed", "total"))}
    return [without_sums(one) for one in value] if isinstance(value, list) else value


def check(snapshot: Snapshot) -> Any:
    told = json.loads(render_json(snapshot))
    assert without_sums(told) == whole(asdict(snapshot))
    return told


@pytest.mark.parametrize("snapshot", EXAMPLES.values(), ids=EXAMPLES)
def test_an_example_is_told_by_the_names_of_its_values(snapshot: Snapshot) -> None:
    assert list(check(snapshot)) == [one.name for one in fields(Snapshot)]


@settings(max_examples=60, deadline=None)
@given(snapshots)
def test_any_snapshot_is_told_wholly(snapshot: Snapshot) -> None:
    check(snapshot)


def test_counts_have_their_sums() -> None:
    told = check(OUTAGE)["targets"][0]["five_minutes"]
    assert told == asdict(OUTAGE.targets[0].five_minutes) | {"failed": 83, "total": 215}


def test_strict_parsers_take_it() -> None:
    told = render_json(HOSTILE)
    assert told.isascii()
    assert b"\\ud83d pair" not in told
    assert "half\N{REPLACEMENT CHARACTER} pair\N{REPLACEMENT CHARACTER}" in [
        one["model"] for one in json.loads(told)["targets"]
    ]
