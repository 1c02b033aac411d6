"""The judges of the chaos bench: a gateway that falls short is told so, and one that never got there, too."""

from __future__ import annotations

import pytest

from benchmarks.chaos import judges, leftovers
from benchmarks.chaos.history import History
from benchmarks.chaos.judges import Bounds
from benchmarks.chaos.proof import Stamp
from benchmarks.chaos.schedule import Unhealthy
from benchmarks.chaos.traffic import Record, Try, read_trail
from benchmarks.chaos.verdict import Asked, Verdict
from benchmarks.table import Line, at_most, none_of, share, table

BOUNDS = Bounds(open_s=5, open_max_s=20, rps=10, short=False)
DOWN_S, UP_S = 1.0, 9.0


def request(start_s: float, trail: str, *, took_s: float = 0.01) -> Record:
    """`trail`: who was tried, the last one answered."""
    steps = [Try(name, "connect") for name in trail[:-1]] + [Try(trail[-1], "200")]
    asked = Asked(request=f"r{start_s}", words=3, stream=True, sequence=("a", "b"))
    return Record(
        asked=asked,
        arm="a first",
        start_s=start_s,
        first_s=start_s + took_s,
        end_s=start_s + took_s,
        verdict=Verdict("whole", stamp=Stamp(trail[-1], asked.request, "x")),
        attempts=len(steps),
        trail=steps,
    )


def history(*records: Record) -> History:
    return History(start_s=0, records=records, unhealthy=[Unhealthy("a", DOWN_S, UP_S, "mute")])


def silent(*records: Record) -> dict[str, Line]:
    lines = judges.silent("mute", history(*records), BOUNDS, state="mute", streams=1.0)
    return {line.what: line for line in lines}


def test_a_gateway_that_never_spares_its_callers_the_dead_one_is_short() -> None:
    lines = silent(*(request(1.0 + number / 10, "ab") for number in range(1, 80)))
    assert lines["time until it is no longer tried"].value == "never"
    assert lines["time until it is no longer tried"].short
    assert lines["used again after"].short


@pytest.mark.parametrize(("tries", "short"), [(35, False), (36, True)])
def test_detection_may_take_slow_after_and_five_arrivals(tries: int, short: bool) -> None:
    during = [request(1.0 + number / 10, "ab" if number <= tries else "b") for number in range(1, 80)]
    assert silent(*during)["time until it is no longer tried"].short == short


def test_a_recovered_provider_that_is_not_used_again_in_time_is_short() -> None:
    spared = [request(1.0 + number / 10, "b") for number in range(1, 400)]
    soon = silent(*spared, request(UP_S + 26.3, "a"))["used again after"]
    late = silent(*spared, request(UP_S + 26.5, "a"))["used again after"]
    assert (soon.short, late.short) == (False, True)


def test_time_in_which_the_bench_stood_still_is_not_the_gateways() -> None:
    spared = [request(1.0 + number / 10, "b") for number in range(1, 400)]
    past = history(*spared, request(UP_S + 26.0, "a"))
    stalled = History(
        start_s=0, records=past.records, unhealthy=past.unhealthy, stalls={"callers": [(UP_S + 1, UP_S + 3)]}
    )
    assert judges.outage(stalled, stalled.records, stalled.unhealthy[0]).used_again_s == pytest.approx(24.0)


def test_probes_beyond_one_in_a_hundred_are_short_where_there_are_hundreds() -> None:
    spans = [Unhealthy("a", 0.0, 1.0, "refused"), Unhealthy("a", 2.0, 102.0, "refused")]

    def spared(probes: int) -> Line:
        first = [request(0.5, "b"), request(1.5, "a")]
        records = [request(2.1 + number / 10, "ab" if 0 < number <= probes else "b") for number in range(900)]
        past = History(start_s=0, records=[*first, *records], unhealthy=spans)
        lines = judges.dead("dead", past, BOUNDS)
        return next(line for line in lines if line.what == "attempts per request after detection")

    assert not spared(9).short
    assert spared(10).short


@pytest.mark.parametrize(("late", "short"), [(0, False), (1, True)])
def test_attempts_that_were_under_way_when_the_fifth_failed_do_not_count_and_later_ones_do(
    late: int, short: bool
) -> None:
    spans = [Unhealthy("a", 1.0, 1.9, "refused"), Unhealthy("a", 2.0, 9.0, "refused")]
    at_once = [request(1.1 + number / 1000, "ab", took_s=0.05) for number in range(8)]
    afterwards = [request(1.3 + number / 1000, "ab") for number in range(late)]
    past = History(start_s=0, records=[*at_once, *afterwards, request(1.5, "b"), request(2.5, "b")], unhealthy=spans)
    lines = judges.dead("dead", past, BOUNDS)
    assert lines[0].what == "failures until it is no longer tried"
    assert lines[0].short == short


def test_server_timing_is_read_as_the_trail() -> None:
    assert read_trail('a;dur=5001;desc="timeout", b;dur=3;desc="200"') == [Try("a", "timeout"), Try("b", "200")]
    assert read_trail("") == []
    assert read_trail("app;dur=3") == []


def vitals(**changed: int) -> dict[str, object]:
    zero = dict.fromkeys(("fds", "tasks", "slots", "permits", "rss_bytes", "objects", "errors"), 0)
    return {**zero, "by_type": {}, "first_error": "", "refused": [], **changed}


@pytest.mark.parametrize("what", ["fds", "tasks", "slots", "permits", "errors"])
def test_anything_left_over_is_short(what: str) -> None:
    def short(end: dict[str, object]) -> int:
        lines = leftovers.judged("p", vitals(), vitals(), end, 0, warm_requests=None)
        return sum(line.short for line in lines)

    assert short(vitals()) == 0
    assert short(vitals(**{what: 1})) == 1


def test_a_provider_that_still_sees_a_connection_is_short() -> None:
    lines = leftovers.judged("p", vitals(), vitals(), vitals(), 1, warm_requests=None)
    assert [line.what for line in lines if line.short] == ["connections that providers still see"]


@pytest.mark.parametrize(("changed", "short"), [({"objects": 201}, 1), ({"rss_bytes": (2 << 20) + 1}, 1), ({}, 0)])
def test_memory_that_grew_is_short(changed: dict[str, int], short: int) -> None:
    lines = leftovers.judged("p", vitals(), vitals(), vitals(**changed), 0, warm_requests=1000)
    assert sum(line.short for line in lines) == short


def test_what_grew_is_named_by_its_types_the_most_first() -> None:
    warm: dict[str, object] = {**vitals(), "by_type": {"a.Few": 1, "a.Fewer": 9, "a.Same": 3}}
    end: dict[str, object] = {**vitals(objects=7), "by_type": {"a.Few": 3, "a.Many": 5, "a.Same": 3}}
    lines = leftovers.judged("p", vitals(), warm, end, 0, warm_requests=1000)
    assert [line.value for line in lines if line.what == "  most of them"] == ["5 a.Many, 2 a.Few"]


def test_nothing_measured_is_not_enough() -> None:
    assert at_most("p", "w", None, 1).short
    assert share("p", "w", 0, 0).short
    assert share("p", "w", 99, 100).short
    assert not share("p", "w", 100, 100).short
    assert none_of("p", "w", 1).short


def test_a_line_that_is_not_judged_says_so_in_the_table() -> None:
    lines = [at_most("one", "w", 2, 1), at_most("two", "w", 2, 1, judged=False), at_most("two", "v", 1, 1)]
    rows = table(lines).splitlines()
    assert [row.endswith(("SHORT", "short (not judged here)", "ok")) for row in rows if row] == [
        False,
        True,
        True,
        True,
    ]
    assert rows[2].endswith("SHORT")
    assert "not judged" in rows[4]
