"""Where an operator's URL leads."""

from __future__ import annotations

import pytest

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
