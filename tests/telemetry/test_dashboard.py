"""The Grafana dashboard: it asks for nothing that a busy gateway does not tell, and can be imported as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ogw_asgi.telemetry.prometheus import Prometheus

from .scenes import busy
from .scraped import Scraped

DASHBOARD: dict[str, Any] = json.loads((Path(__file__).parents[2] / "docs" / "grafana.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
TARGETS = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]

_FUNCTIONS = {"sum", "max", "by", "rate", "histogram_quantile", "clamp_max", "or"}
_selector = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)\s*(?:\{(?P<matchers>[^}]*)\})?(?P<range>\[[^\]]*\])?")
_matcher = re.compile(r"\s*(\w+)\s*(=~|!~|!=|=)\s*\"([^\"]*)\"\s*")
_grouping = re.compile(r"\b(?:by|without)\s*\(([^)]*)\)")


def selectors(expr: str) -> Iterator[tuple[str, list[tuple[str, str, str]], bool]]:
    """The metrics of an expression: the name, its matchers, and whether a range of it is asked for."""
    for found in _selector.finditer(re.sub(r"\"[^\"]*\"(?![^{]*\})", "", _grouping.sub("", expr))):
        if found["name"] in _FUNCTIONS:
            continue
        matchers = [_matcher.fullmatch(one) for one in (found["matchers"] or "").split(",") if one]
        assert all(matchers), expr
        yield found["name"], [(one[1], one[2], one[3]) for one in matchers if one], found["range"] is not None


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_every_expression_names_metrics_and_labels_that_a_scrape_of_a_busy_gateway_has() -> None:
    sink = Prometheus()
    await busy(sink)
    scraped = Scraped(sink.scrape())
    for title, target in TARGETS:
        expr = target["expr"]
        assert expr.count("(") == expr.count(")"), title
        asked = list(selectors(expr))
        assert asked, title
        labels: set[str] = set()
        for name, matchers, ranged in asked:
            assert name.startswith("ogw_"), (title, name)
            series = [dict(one) for one in scraped.of(name)]
            assert series, (title, name)
            labels = set(series[0])
            assert ranged == name.endswith(("_total", "_bucket")), (title, name)
            for label, how, value in matchers:
                assert label in labels, (title, name, label)
                there = {one[label] for one in series}
                # What it looks for can be found, and what it leaves out is there to be left out.
                assert there & set(value.split("|") if how == "=~" else [value]), (title, name, label, value)
        grouped = {label.strip() for group in _grouping.findall(expr) for label in group.split(",")}
        assert grouped <= labels, title
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= grouped, title


def test_the_panels_are_those_that_an_outage_is_read_from_and_no_more_than_a_screen_holds() -> None:
    assert len(PANELS) <= 10
    used = {name for _, target in TARGETS for name, _, _ in selectors(target["expr"])}
    assert used == {
        "ogw_requests_total",
        "ogw_failovers_total",
        "ogw_attempts_total",
        "ogw_attempt_duration_seconds_bucket",
        "ogw_time_to_first_chunk_seconds_bucket",
        "ogw_circuit_state",
        "ogw_inflight_requests",
        "ogw_overhead_seconds_bucket",
        "ogw_tokens_total",
    }
    assert [panel["type"] for panel in PANELS if panel["title"] == "Circuits"] == ["state-timeline"]


def test_it_asks_whichever_data_source_is_chosen() -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert all(panel["datasource"] == chosen for panel in PANELS)
    assert all(target["datasource"] == chosen for _, target in TARGETS)


def test_panels_do_not_cover_each_other() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [panel["gridPos"] for panel in PANELS]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
