"""Any snapshot that might come, for hypothesis."""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import strategies as st

from ogw_asgi._status.snapshot import (
    Counts,
    End,
    Failover,
    Health,
    LastError,
    Line,
    Outcome,
    Overhead,
    Percentiles,
    Requests,
    Segment,
    ShownSetting,
    Snapshot,
    Tile,
    Warned,
)
from tests.status.examples import NAMES

anything = st.text(st.characters(), min_size=1, max_size=40) | st.sampled_from(NAMES)
"""Halves of pairs included: JSON lets callers write them."""
name = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=24)
number = st.integers(0, 2_000_000)
seconds = st.floats(0, 400_000, allow_nan=False)
ms = st.floats(0, 900_000, allow_nan=False)
unix = st.floats(1.7e9, 2.2e9, allow_nan=False)


def few(one: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[Any]:
    return st.lists(one, max_size=most).map(tuple)


counts = st.builds(Counts, *[number] * 7)
percentiles = st.none() | st.builds(Percentiles, number, seconds, seconds)
errors = st.none() | st.builds(LastError, name, name, seconds)
tiles = st.builds(
    Tile,
    provider=name,
    kind=name,
    model=st.none() | anything,
    where=st.none() | name,
    health=st.sampled_from(get_args(Health)),
    circuit=st.sampled_from(("closed", "open", "half_open")),
    circuit_of=st.sampled_from(("origin", "model", None)),
    probe_in_s=st.none() | seconds,
    cooling_s=st.none() | seconds,
    in_flight=number,
    one_minute=counts,
    five_minutes=counts,
    first_chunk=percentiles,
    answer=percentiles,
    sparkline=few(st.none() | seconds, 24),
    last_error=errors,
) | st.builds(Tile, provider=name, kind=name, named=st.just(True), one_minute=counts, five_minutes=counts)
segments = st.builds(
    Segment,
    provider=name,
    model=anything,
    reason=st.sampled_from(("first", "failover", "retry", "hedge", "continue")),
    start_ms=ms,
    duration_ms=ms,
    first_chunk_ms=st.none() | ms,
    end=st.sampled_from(get_args(End)),
    label=name | st.just(""),
)
lines = st.builds(
    Line,
    began_at_s=unix,
    request_id=anything,
    model=anything,
    stream=st.booleans(),
    sequence=few(name),
    segments=few(segments),
    outcome=st.sampled_from(get_args(Outcome)),
    status=st.none() | st.integers(100, 599),
    provider=st.none() | name,
    duration_ms=ms,
    input_tokens=st.none() | number,
    output_tokens=st.none() | number,
)
failovers = st.builds(
    Failover, before=name, after=name, count=number, total=number, reasons=few(st.tuples(name, number))
)
snapshots = st.builds(
    Snapshot,
    at_s=unix,
    number=number,
    process=number,
    version=name,
    engine=anything,
    loop=name,
    uptime_s=seconds,
    in_flight=number,
    sharing=st.sampled_from(("own", "shared", "lost")),
    requests=st.builds(Requests, *[number] * 8, per_second=st.floats(0, 1e6)),
    targets=few(tiles),
    failovers=few(failovers),
    running=few(lines, 2),
    recent=few(lines, 2),
    overhead=st.builds(Overhead, percentiles, percentiles),
    settings=few(st.builds(ShownSetting, name, anything, name)),
    warnings=few(st.builds(Warned, name, anything, anything), 2),
)
