"""What a run may leave and take; in one table for the tests and for the run by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .heartbeat import Lag
from .measure import Numbers


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes of a run and what is promised for it.

    Attributes:
        first, rest: streams before the first look, and between that and the last.
        objects: how many more the garbage collector may know of.
        blocks: how many more Python's allocator may have given out.
        rss_bytes: by how much the process may have grown.
        p99_s, longest_s: from a caller's leaving to the close at the provider.
        held_s: how long the loop may be held when 30 callers drop 5 MiB each.
        wall_clock: whether that is time by the clock, or time on a processor.
        storm: how many callers leave while 10 places are contended.
        total_s: for one measurement, so that nothing waits for ever.
    """

    first: int
    rest: int
    objects: int = 200
    blocks: int = 2_000
    rss_bytes: int = 2 << 20
    p99_s: float = 0.1
    longest_s: float = 1.0
    held_s: float = 0.05
    wall_clock: bool = True
    storm: int = 1200
    total_s: float = 3600.0


# The suites run beside other work, on as many processes as there are cores and more, so that a caller's leaving may
# wait for its turn: 10 and 5 times what is promised. A gateway that does not notice at all would end such a stream
# after its idle limit of 60 s. An object too many for every second stream would be 200 in the small one. The memory of
# the process moves in steps of the allocator's arenas, by 1 to 2 MiB either way; what leaks shows in the blocks.
SMALL = Limits(200, 400, rss_bytes=4 << 20, p99_s=1, longest_s=5, wall_clock=False, storm=300, total_s=25)
MIDDLE = Limits(1_000, 9_000, rss_bytes=4 << 20, p99_s=1, longest_s=5, wall_clock=False, total_s=290)
FULL = Limits(10_000, 90_000)


def sized(streams: int) -> Limits:
    """The promises of the full size for a run of so many streams, a tenth of which come before the first look."""
    return replace(FULL, first=streams // 10, rest=streams - streams // 10)


def missed_by_streams(numbers: Numbers, limits: Limits) -> Iterator[str]:
    """What the run has left, or was too late with; nothing if all is well."""
    grown = numbers.grown
    values = {
        "slots and permits": (numbers.in_flight, 0),
        "tasks": (max(numbers.late.tasks, grown.tasks), 0),
        "sockets": (grown.sockets, 0),
        "sockets when closed": (numbers.left, 0),
        "objects": (grown.objects, limits.objects),
        "blocks": (grown.blocks, limits.blocks),
        "bytes": (grown.rss_bytes, limits.rss_bytes),
        "p99 of the closes in s": (numbers.delay_s(0.99), limits.p99_s),
        "longest close in s": (numbers.delay_s(1), limits.longest_s),
    }
    yield from (f"{name}: {value} > {limit}" for name, (value, limit) in values.items() if value > limit)
    if numbers.kept != 1:
        yield f"connections kept behind a whole stream: {numbers.kept}, not 1"


def missed_by_drops(lag: Lag, longest_s: float, limits: Limits) -> Iterator[str]:
    held_s = lag.wall_s if limits.wall_clock else lag.cpu_s
    if held_s > limits.held_s:
        yield f"the loop was held for {held_s} s > {limits.held_s}"
    if longest_s > limits.longest_s:
        yield f"longest close in s: {longest_s} > {limits.longest_s}"


def missed_by_storm(held: int, served: int) -> Iterator[str]:
    if held:
        yield f"slots and permits: {held} > 0"
    if served < 3:
        yield f"served behind the storm: {served} of 3"
