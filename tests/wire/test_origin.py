"""Where an operator's URL leads."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._wire.origin import origin_of


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://gpu", "http://gpu"),
        ("http://gpu:8000/v1/chat/completions", "http://gpu:8000"),
        ("https://gpu:443", "https://gpu"),
        ("https://gpu:80", "https://gpu:80"),
        ("http://[::1]:1/", "http://[::1]:1"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize("url", ["", "gpu", "ftp://gpu", "http://", "http://gpu:x", "http://gpu:65536", "http://[::1"])
def test_what_leads_nowhere_has_none(url: str) -> None:
    with pytest.raises(ValueError):
        origin_of(url)


@settings(max_examples=200, deadline=None)
@given(
    st.text("htps:/[]@?#.0189a-", max_size=30)
    | st.sampled_from(["http://", "https://"]).flatmap(lambda s: st.text().map(s.__add__))
)
def test_any_text_has_an_origin_or_none(text: str) -> None:
    try:
        origin = origin_of(text)
    except ValueError:
        return
    assert origin.startswith(("http://", "https://"))
    assert origin_of(origin) == origin
