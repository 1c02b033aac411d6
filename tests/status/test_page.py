"""The page tells all, to everybody, and nobody's words are more than words in it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from importlib.resources import files
from typing import get_args
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given, settings

from ogw_asgi._status.markup import Markup, tag, together
from ogw_asgi._status.page import render_page, render_parts
from ogw_asgi._status.scale import Scale
from ogw_asgi._status.snapshot import Health, Requests, Snapshot, Tile
from ogw_asgi._status.tiles import ICONS
from ogw_asgi._status.verdict import verdict
from ogw_asgi._status.words import HEALTH, circuit, condition, countdown, duration, percent
from tests.status.examples import ALL_WELL, CROWD, EXAMPLES, HOSTILE, NOTHING_YET, OUTAGE
from tests.status.reading import pressed, read, text_of, to_tell
from tests.status.snapshots import snapshots

SVG = "{http://www.w3.org/2000/svg}"
examples = pytest.mark.parametrize("snapshot", EXAMPLES.values(), ids=EXAMPLES)


def attributes(page: Element) -> list[tuple[str, str]]:
    return [(str(name), value) for element in page.iter() for name, value in element.attrib.items()]


@examples
def test_an_example_needs_no_mending_and_tells_everything(snapshot: Snapshot) -> None:
    page = read(render_page(snapshot, "n0nce"))
    told = pressed(text_of(page))
    assert {one for one in to_tell(snapshot) if one not in told} == set()


@settings(max_examples=25, deadline=None)
@given(snapshots)
def test_any_snapshot_needs_no_mending_and_is_told_wholly(snapshot: Snapshot) -> None:
    page = read(f"<!doctype html><html lang=en><title>x</title><main>{render_parts(snapshot)}</main></html>")
    told = pressed(text_of(page))
    assert {one for one in to_tell(snapshot) if one not in told} == set()
    assert not [name for name, _ in attributes(page) if name == "style" or name.startswith("on")]
    ids = Counter(value for name, value in attributes(page) if name == "id")
    assert [key for key, times in ids.items() if times > 1] == []


@pytest.mark.parametrize("snapshot", [OUTAGE, HOSTILE, NOTHING_YET], ids=["outage", "hostile", "nothing_yet"])
def test_nothing_is_fetched_from_anywhere(snapshot: Snapshot) -> None:
    page = read(render_page(snapshot, "n0nce"))
    ids = {value for name, value in attributes(page) if name == "id"}
    links = [value for name, value in attributes(page) if name.rpartition("}")[2] in ("href", "src", "action", "data")]
    assert {one for one in links if not one.startswith("#")} == {"data:,", "_status.json"}
    assert {one for one in links if one.startswith("#")} <= {f"#{one}" for one in ids}
    labelled = [value for name, value in attributes(page) if name == "aria-labelledby"]
    assert set(labelled) <= ids


@pytest.mark.parametrize("snapshot", [OUTAGE, HOSTILE], ids=["outage", "hostile"])
def test_the_policy_lets_all_of_it_through(snapshot: Snapshot) -> None:
    page = read(render_page(snapshot, 'no"nce'))
    inline = [element for element in page.iter() if element.tag in ("style", "script")]
    assert [(element.tag, element.get("nonce")) for element in inline] == [("style", 'no"nce'), ("script", 'no"nce')]
    assert not [name for name, _ in attributes(page) if name == "style" or name.startswith("on")]


def test_the_style_and_the_script_are_whole_and_ask_nobody() -> None:
    for name in ("page.css", "page.js"):
        text = files("ogw_asgi._status").joinpath(name).read_text("utf-8")
        assert text in render_page(NOTHING_YET, "n").decode()
        assert "</" not in text
        assert "//" not in re.sub(r"^\s*// .*$", "", text, flags=re.M)
        assert set(re.findall(r"url\(([^)]*)\)|@import", text)) <= {
            f"#p-{one}" for one in ("limited", "failed", "broken", "cancelled", "left", "running")
        }


def test_without_javascript_the_page_comes_again_by_itself() -> None:
    head = render_page(ALL_WELL, "n").decode().partition("</head>")[0]
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in head


def test_hostile_names_are_words() -> None:
    page = render_page(HOSTILE, "n").decode()
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "\\u202egnp.exe\\u202c" in page
    assert "".join(char for char in render_parts(HOSTILE) if not char.isprintable()) == ""
    scripts = [element for element in read(page).iter() if element.tag == "script"]
    assert len(scripts) == 1


def test_what_is_not_ours_is_escaped_and_styles_and_handlers_cannot_be_written() -> None:
    assert tag("p", "<b>&\"'", title='"<') == '<p title="&quot;&lt;">&lt;b&gt;&amp;&quot;&#x27;</p>'
    assert tag("p", tag("b", 1), None, ["<", tag("i")], hidden=True, id=None) == "<p hidden><b>1</b>&lt;<i></i></p>"
    assert tag("meta", http_equiv="refresh") == '<meta http-equiv="refresh">'
    assert isinstance(together("<"), Markup)
    for forbidden in ({"style": "color:red"}, {"onclick": "x()"}):
        with pytest.raises(ValueError, match="forbidden"):
            tag("p", **forbidden)


def test_ids_are_the_same_in_the_next_snapshot() -> None:
    def ids(snapshot: Snapshot) -> dict[str, str]:
        page = read(f"<!doctype html><title>x</title><main>{render_parts(snapshot)}</main>")
        told = ((element, element.get("id", "")) for element in page.iter())
        return {key: str(element.tag) for element, key in told if key and key[:2] in ("t-", "r-")}

    before = ids(OUTAGE)
    assert len(before) == len(OUTAGE.targets) + len(OUTAGE.running) + len(OUTAGE.recent)
    later = {name: getattr(OUTAGE, name) for name in OUTAGE.__dataclass_fields__}
    later |= {"recent": OUTAGE.recent[1:], "at_s": OUTAGE.at_s + 1, "targets": OUTAGE.targets[::-1]}
    after = ids(Snapshot(**later))
    assert set(after) < set(before)
    assert len(after) == len(before) - 1


def bars(page: Element) -> list[Element]:
    return [
        one for one in page.iter(f"{SVG}svg") if one.get("class") == "bar" and one.find(f"{SVG}defs") is None
    ]  # fmt: skip


def per_cent(element: Element, name: str) -> float:
    return float(element.get(name, "0").rstrip("%"))


def test_all_bars_are_on_one_scale() -> None:
    page = read(render_page(OUTAGE, "n"))
    lines = (*OUTAGE.running, *OUTAGE.recent)
    drawn = bars(page)
    assert len(drawn) == len(lines)
    ends: dict[float, set[float]] = {}
    for line, bar in zip(lines, drawn, strict=True):
        segments = [one for one in bar.iter(f"{SVG}rect") if one.get("class", "").startswith("s-")]
        assert len(segments) == len(line.segments)
        assert len(list(bar.iter(f"{SVG}circle"))) == sum(one.first_chunk_ms is not None for one in line.segments)
        for told, segment in zip(line.segments, segments, strict=True):
            end = per_cent(segment, "x") + per_cent(segment, "width")
            assert 0 < end <= 100.01
            ends.setdefault(told.start_ms + told.duration_ms, set()).add(round(end))
    assert all(len(places) == 1 for places in ends.values())
    in_order = [min(places) for _, places in sorted(ends.items())]
    assert in_order == sorted(in_order)


def test_the_axis_has_ticks_at_round_times_that_do_not_touch() -> None:
    for snapshot in (ALL_WELL, OUTAGE):
        scale = Scale((*snapshot.running, *snapshot.recent))
        ticks = scale.ticks()
        assert ticks[0] == (scale.end_ms, 100.0)
        assert ticks[-1] == (0, 0.0)
        assert all(later - sooner >= 10 for (_, later), (_, sooner) in zip(ticks, ticks[1:], strict=False))
        assert scale.at(-1) == 0
        assert scale.at(2 * scale.end_ms) == 100
    assert Scale(()).end_ms == 100


def test_health_is_a_word_and_a_shape_beside_its_colour() -> None:
    page = read(render_page(OUTAGE, "n"))
    for tile in page.iter("li"):
        if health := tile.get("data-health"):
            (said,) = [one for one in tile.iter("p") if one.get("class") == "health"]
            assert health in text_of(said)
            assert said.find(f"{SVG}svg/{SVG}path") is not None
    assert set(ICONS) == set(get_args(Health)) == set(HEALTH)
    assert len(set(ICONS.values())) == len(ICONS)


@pytest.mark.parametrize(
    ("snapshot", "level", "says", "title"),
    [
        (ALL_WELL, "ok", "All 3 targets answer", "ok - ogw_asgi"),
        (OUTAGE, "bad", "2 of 5 targets are in trouble", "1 down, 1 cooling - ogw_asgi"),
        (NOTHING_YET, "idle", "Nothing has been asked yet", "idle - ogw_asgi"),
        (CROWD, "bad", "26 of 64 targets are in trouble", "13 down, 13 cooling - ogw_asgi"),
    ],
)
def test_the_verdict_comes_first(snapshot: Snapshot, level: str, says: str, title: str) -> None:
    found = verdict(snapshot)
    assert (found.level, found.says, found.title) == (level, says, title)
    page = read(render_page(snapshot, "n"))
    (heading, *_) = [one for one in page.iter() if one.tag == "h2"]
    assert text_of(heading).strip().startswith(says)
    assert next(page.iter("title")).text == title


NONE = NOTHING_YET.requests


def tile(provider: str, health: Health) -> Tile:
    return Tile(provider, "openai", "m", health=health)


@pytest.mark.parametrize(
    ("targets", "level", "says"),
    [
        ((), "idle", "There is no target"),
        ((tile("a", "ok"),), "ok", "The one target answers"),
        ((tile("a", "ok"), tile("b", "recovering")), "ok", "All 2 targets answer"),
        ((tile("a", "ok"), tile("b", "idle")), "ok", "1 of 2 targets answers; 1 not asked for five minutes"),
        ((tile("a", "silent"),), "idle", "The one target has been asked, and is silent so far"),
        (
            (tile("a", "silent"), tile("b", "idle")),
            "idle",
            "None of 2 targets answers; 1 not asked for five minutes, 1 asked, and silent so far",
        ),
        (
            (tile("a", "ok"), tile("b", "silent"), tile("c", "idle")),
            "ok",
            "1 of 3 targets answers; 1 not asked for five minutes, 1 asked, and silent so far",
        ),
        ((tile("a", "idle"),), "idle", "Nothing was asked in the last five minutes"),
        ((tile("a", "failing"), tile("b", "ok")), "warn", "a m is failing"),
        ((tile("a", "cooling"), tile("b", "ok")), "warn", "a m is cooling down"),
        ((tile("a", "open"),), "bad", "a m is open"),
        ((tile("a", "probing"), tile("b", "open")), "bad", "2 of 2 targets are in trouble"),
    ],
)
def test_a_target_that_others_stand_in_for_is_no_alarm(targets: tuple[Tile, ...], level: str, says: str) -> None:
    found = verdict(replace(ALL_WELL, targets=targets, requests=NONE))
    assert (found.level, found.says.partition(":")[0]) == (level, says)


def test_endpoints_that_callers_name_and_that_fail_are_no_alarm() -> None:
    named = Tile("vllm", "vllm", named=True, health="failing")
    found = verdict(replace(ALL_WELL, targets=(tile("a", "ok"), named, tile("b", "ok")), requests=NONE))
    assert (found.level, found.says, found.title, found.troubled) == (
        "ok", "All 2 targets answer", "ok - ogw_asgi", (),
    )  # fmt: skip
    found = verdict(replace(ALL_WELL, targets=(named, tile("a", "open"), tile("b", "ok")), requests=NONE))
    assert (found.level, found.says, found.troubled) == ("warn", "a m is open", (1,))
    found = verdict(replace(ALL_WELL, targets=(named,), requests=NONE))
    assert (found.level, found.says, found.title, found.troubled) == (
        "warn", "What callers have named is not there", "1 failing - ogw_asgi", (),
    )  # fmt: skip


def test_a_breaker_that_nobody_probes_just_now_waits_for_the_next_request() -> None:
    waits = Tile("a", "openai", "m", health="probing", circuit="half_open", circuit_of="model")
    asked = replace(waits, in_flight=1)
    assert condition(waits) == "probing: the next request decides"
    assert circuit(waits) == "half open for this model: the next request decides"
    assert condition(asked) == "probing: a request on its way decides"


def test_those_in_trouble_are_named_the_worst_first() -> None:
    healths: tuple[Health, ...] = ("cooling", "failing", "ok", "probing", "open", "recovering")
    found = verdict(replace(ALL_WELL, targets=tuple(tile(health, health) for health in healths)))
    assert [healths[place] for place in found.troubled] == ["open", "probing", "failing", "cooling"]


@pytest.mark.parametrize(
    ("requests", "says"),
    [
        (NONE, "No request has ended in the last five minutes."),
        (
            replace(NONE, ended=3, refused=2, left=1),
            "No request of the last five minutes was one for a provider to answer: all were refused, or left.",
        ),
        (replace(NONE, ended=1, ok=1), "The one request in five minutes was answered without a failover."),
        (replace(NONE, ended=7, ok=7), "All 7 requests in five minutes answered, none of them after a failover."),
        (
            replace(NONE, ended=1, ok=1, after_failover=1),
            "Callers notice nothing: the one request in five minutes was answered, but only after failover.",
        ),
        (
            replace(NONE, ended=4000, ok=4000, after_failover=1),
            "Callers notice nothing: all 4,000 requests in five minutes answered, "
            "1 of them (<0.1 %) only after failover.",
        ),
        (
            replace(NONE, ended=3, ok=1, exhausted=1, broken=1),
            "Callers notice: 2 of 3 requests in five minutes not answered (1 exhausted, 1 broken off).",
        ),
    ],
)
def test_it_says_what_callers_notice(requests: Requests, says: str) -> None:
    assert verdict(replace(ALL_WELL, requests=requests)).callers == says


def test_what_callers_noticed_is_no_calm_when_all_answer_again() -> None:
    assert verdict(replace(ALL_WELL, requests=replace(ALL_WELL.requests, broken=1))).level == "warn"


def test_durations_are_said_as_people_do() -> None:
    said = {
        0: "0 ms", 0.0004: "0.4 ms", 0.085: "85 ms", 0.9996: "1.0 s", 1.24: "1.2 s", 9.96: "10 s", 59.4: "59 s",
        59.6: "1 m", 260: "4 m 20 s", 3600: "1 h", 11_520: "3 h 12 m", 180_000: "2 d 2 h", 1e9: "11574 d 1 h",
    }  # fmt: skip
    assert {seconds: duration(seconds) for seconds in said} == said
    assert [countdown(seconds) for seconds in (0.1, 4.2, 59.5, 61)] == ["1 s", "5 s", "1 m", "1 m 1 s"]


def test_per_cents_are_never_all_of_less_nor_nothing_of_something() -> None:
    pairs = ((0, 5), (1, 5000), (1, 900), (1, 3), (99_999, 100_000), (5, 5), (0, 0))
    assert [percent(*pair) for pair in pairs] == ["0 %", "<0.1 %", "0.1 %", "33 %", "99.9 %", "100 %", "100 %"]
