"""The allow-list for endpoints that callers name: exact origins, and nothing that only looks like one."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from ogw_asgi._rules.egress import AllowList
from ogw_asgi._values import Endpoint
from ogw_asgi.exceptions import ConfigurationError


def read(url: str) -> Endpoint:
    """A reader as the gateway's own behaves: an Endpoint, or ValueError."""
    parts = urlsplit(url)
    if parts.hostname is None:
        raise ValueError("expected an absolute http or https URL")
    if parts.scheme == "https":
        return Endpoint("https", parts.hostname, parts.port or 443)
    if parts.scheme == "http":
        return Endpoint("http", parts.hostname, parts.port or 80)
    raise ValueError("expected an absolute http or https URL")


@pytest.mark.contract("7.exact-origin", "7.exact-only")
@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://10.0.0.7:8000", True),
        ("http://10.0.0.7:8000/v1", True),
        ("https://gpu.internal", True),
        ("https://gpu.internal:443", True),
        ("https://10.0.0.7:8000", False),
        ("http://10.0.0.7:8001", False),
        ("http://10.0.0.7", False),
        ("http://10.0.0.70:8000", False),
        ("http://gpu.internal", False),
        ("https://a.gpu.internal", False),
        ("https://gpu.internal.evil.test", False),
    ],
)
def test_only_the_listed_origins_are_allowed(url: str, allowed: bool) -> None:
    allow_list = AllowList.parse(["http://10.0.0.7:8000", " https://gpu.internal/v1 "], read)
    assert allow_list.allows(read(url)) is allowed


@pytest.mark.contract("7.exact-only")
def test_an_empty_list_allows_nothing() -> None:
    endpoint = read("http://10.0.0.7:8000")
    assert not AllowList().allows(endpoint)
    assert not AllowList.parse([], read).allows(endpoint)


@pytest.mark.contract("7.deferred.entries-refused")
@pytest.mark.parametrize(
    "entry",
    [
        "http://*.vllm.internal:8000",
        "http://*.vllm.internal:8000 in 10.20.0.0/16",
        "http://gpu.internal:8000 in 127.0.0.0/8",
        "http://10.20.0.0/16:8000",
        "http://10.20.0.0/16",
        "http://[fd00::]/64",
        "http://gpu.internal:8000-8010",
        "*",
    ],
)
def test_forms_of_a_later_release_are_refused_and_named_as_such(entry: str) -> None:
    with pytest.raises(ConfigurationError, match=r"entry 2: .* later release"):
        AllowList.parse(["http://10.0.0.7:8000", entry], read)


@pytest.mark.parametrize("entry", ["", "gpu.internal:8000", "ftp://gpu.internal", "not a url"])
def test_a_bad_entry_is_a_configuration_error_that_names_its_place(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="entry 1: expected an absolute http or https URL"):
        AllowList.parse([entry], read)


@pytest.mark.parametrize("entries", ["http://10.0.0.7:8000", [None], [b"http://10.0.0.7:8000"]])
def test_what_is_not_a_list_of_strings_is_a_configuration_error(entries: Any) -> None:
    with pytest.raises(ConfigurationError, match="allowed_endpoints"):
        AllowList.parse(entries, read)


def test_a_password_in_an_entry_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        AllowList.parse(["http://user:hunter2@*.internal"], read)
    assert "hunter2" not in str(caught.value)
