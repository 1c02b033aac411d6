"""The parsers that the generated URLs are compared with: that they do disagree on what we refuse."""

from __future__ import annotations

from itertools import islice

import httpx
import pytest

from ogw_asgi._wire.endpoint import read_endpoint

from .urls import disagreement, generated, theirs


@pytest.mark.contract("2.endpoint.odd-host")
@pytest.mark.parametrize("url", ["http://good\\@evil", "http://0x7f.1", "http://2130706433/v1", "http://①②⑦.0.0.1"])
def test_where_parsers_disagree_we_take_no_part(url: str) -> None:
    with pytest.raises(ValueError):
        read_endpoint(url)
    try:
        assert len(set(theirs(url).values())) > 1
    except (ValueError, httpx.InvalidURL):
        pass  # one of them refuses it, too


def test_a_disagreement_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert disagreement("http://h:8000") is None
    monkeypatch.setattr("tests.fuzz.urls.theirs", lambda url: {"urllib": ("http", "other", 8000)})
    assert "urllib says" in str(disagreement("http://h:8000"))


def test_enough_of_what_is_generated_is_good_and_enough_is_not() -> None:
    good = 0
    for url in islice(generated(3), 2000):
        try:
            read_endpoint(url)
        except ValueError:
            continue
        good += 1
    assert 300 < good < 1700
