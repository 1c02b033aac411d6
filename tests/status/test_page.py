"""The page tells all, to everybody, and nobody's words are more than words in it."""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given, settings

from ogw_asgi._status.markup import Markup, tag, together
from ogw_asgi._status.page import render_page, render_parts
from ogw_asgi._status.scale import Scale
from ogw_asgi._status.snapshot import Snapshot
from ogw_asgi._status.verdict import verdict
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


@settings(max_examples=50, deadline=None)
@given(snapshots)
def test_any_snapshot_needs_no_mending_and_is_told_wholly(snapshot: Snapshot) -> None:
    page = read(f"<!doctype html><html lang=en><title>x</title><main>{render_parts(snapshot)}</main></html>")
    told = pressed(text_of(page))
    assert {one for one in to_tell(snapshot) if one not in told} == set()
    assert not [name for name, _ in attributes(page) if name == "style" or name.startswith("on")]
    ids = Counter(value for name, value in attributes(page) if name == "id")
    assert [key for key, times in ids.items() if times > 1] == []


@examples
def test_nothing_is_fetched_from_anywhere(snapshot: Snapshot) -> None:
    page = read(render_page(snapshot, "n0nce"))
    ids = {value for name, value in attributes(page) if name == "id"}
    links = [value for name, value in attributes(page) if name.rpartition("}")[2] in ("href", "src", "action", "data")]
    assert {one for one in links if not one.startswith("#")} == {"data:,", "_status.json"}
    assert {one for one in links if one.startswith("#")} <= {f"#{one}" for one in ids}
    labelled = [value for name, value in attributes(page) if name == "aria-labelledby"]
    assert set(labelled) <= ids


@examples
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


def percent(element: Element, name: str) -> float:
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
            end = percent(segment, "x") + percent(segment, "width")
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
    shapes = {element.get("d") for element in read(render_page(CROWD, "n")).iter(f"{SVG}path")}
    assert len(shapes) > 4


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
