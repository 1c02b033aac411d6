"""Which endpoints callers may name, and which addresses those may lead to (contract, section 7)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._rules.addresses import place_of
from ogw_asgi._rules.egress import AllowList, Entry, Guard
from ogw_asgi._values import Principal, PublicHTTPS
from ogw_asgi._wire.endpoint import read_endpoint
from ogw_asgi.exceptions import ConfigurationError
from tests.rules.test_addresses import NEVER


def allows(entries: Any, url: str, principal: Principal | None = None) -> bool:
    return AllowList.parse(entries, read_endpoint).guard(read_endpoint(url), principal, keyed=False) is not None


def permits(entries: Any, url: str, address: str, *, keyed: bool = False, principal: Principal | None = None) -> bool:
    guard = AllowList.parse(entries, read_endpoint).guard(read_endpoint(url), principal, keyed=keyed)
    assert guard is not None
    return guard(address)


# --- of the URL -------------------------------------------------------------------------------------------------------


@pytest.mark.contract("7.exact-origin", "7.exact-only")
@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://10.0.0.7:8000", True),
        ("http://10.0.0.7:8000/v1", True),
        ("https://gpu.internal", True),
        ("https://gpu.internal:443", True),
        ("https://GPU.internal", True),
        ("http://[fd00::7]:8000", True),
        ("http://[fd00:0::7]:8000", True),
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
    entries = ["http://10.0.0.7:8000", " HTTPS://gpu.INTERNAL/v1 ", "http://[fd00::7]:8000/"]
    assert allows(entries, url) is allowed


@pytest.mark.contract("7.exact-only")
def test_an_empty_list_allows_nothing() -> None:
    assert not allows([], "http://10.0.0.7:8000")


@pytest.mark.contract("7.guard.wildcard")
@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://a.gpu.internal:8000", True),
        ("http://a-1.b_2.gpu.internal:8000", True),
        ("http://gpu.internal:8000", False),
        ("http://.gpu.internal.evil.test:8000", None),
        ("http://agpu.internal:8000", False),
        ("http://a.gpu.internal.evil.test:8000", False),
        ("http://a.gpu.internal:8001", False),
        ("https://a.gpu.internal:8000", False),
        ("http://internal:8000", False),
    ],
)
def test_a_wildcard_stands_for_what_comes_before_a_domain(url: str, allowed: bool | None) -> None:
    if allowed is None:
        with pytest.raises(ValueError, match="host name"):
            allows(["http://*.gpu.internal:8000"], url)
    else:
        assert allows(["http://*.gpu.internal:8000"], url) is allowed


@pytest.mark.contract("7.guard.ports")
@pytest.mark.parametrize(("port", "allowed"), [(7999, False), (8000, True), (8005, True), (8010, True), (8011, False)])
@pytest.mark.parametrize("host", ["gpu.internal", "*.gpu.internal", "10.20.0.0/16", "10.20.0.1", "[fd00::/16]"])
def test_a_range_of_ports(host: str, port: int, allowed: bool) -> None:
    named = {"*.gpu.internal": "a.gpu.internal", "10.20.0.0/16": "10.20.0.1", "[fd00::/16]": "[fd00::1]"}.get(
        host, host
    )
    assert allows([f"http://{host}:8000-8010"], f"http://{named}:{port}") is allowed


@pytest.mark.contract("7.guard.network")
@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://10.20.0.0:8000", True),
        ("http://10.20.255.255:8000", True),
        ("http://10.21.0.0:8000", False),
        ("http://gpu.internal:8000", False),
        ("http://[::ffff:10.20.0.1]:8000", False),
        ("http://[fd00::1]:8000", True),
        ("http://[fd01::1]:8000", False),
        ("http://10.20.0.1", False),
    ],
)
def test_a_network_stands_for_addresses_that_are_written_out(url: str, allowed: bool) -> None:
    assert allows(["http://10.20.0.0/16:8000", "http://[fd00::/16]:8000"], url) is allowed


@pytest.mark.contract("7.guard.public")
@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://gpu.example.org", True),
        ("https://gpu.example.org:8443", True),
        ("https://1.1.1.1", True),
        ("https://10.0.0.7", True),  # of the URL; the address is another question
        ("https://gpu.example.org:8000", False),
        ("http://gpu.example.org", False),
        ("http://gpu.example.org:443", False),
    ],
)
@pytest.mark.parametrize("entries", [[PublicHTTPS(ports=(443, 8443))], ["https://*", "https://*:8443"]])
def test_any_public_server_over_https(entries: list[Any], url: str, allowed: bool) -> None:
    assert allows(entries, url) is allowed


# --- of the addresses -------------------------------------------------------------------------------------------------

WRAPPED = ["::ffff:10.0.0.7", "64:ff9b::a00:7", "::10.0.0.7", "2002:a00:7::", "64:ff9b::808:808", "::ffff:8.8.8.8"]


@pytest.mark.contract("7.guard.private", "7.guard.loopback", "7.guard.wrapped")
@pytest.mark.parametrize(
    ("address", "permitted"),
    [
        ("10.0.0.7", True),
        ("192.168.0.1", True),
        ("100.64.0.1", True),
        ("fd12::1", True),
        ("8.8.8.8", True),
        ("2606:4700::1", True),
        ("127.0.0.1", False),
        ("::1", False),
        *((address, False) for address in WRAPPED),
        ("fe80::1%eth0", False),
        ("not an address", False),
    ],
)
def test_an_exact_name_may_lead_to_private_addresses_and_not_to_loopback(address: str, permitted: bool) -> None:
    assert permits(["http://gpu.internal:8000"], "http://gpu.internal:8000", address) is permitted


@pytest.mark.contract("7.guard.loopback", "7.guard.in")
@pytest.mark.parametrize(
    ("networks", "address", "permitted"),
    [
        ("127.0.0.0/8", "127.0.0.1", True),
        ("127.0.0.0/8 ::1/128", "::1", True),
        ("127.0.0.0/8", "::1", False),
        ("127.0.0.0/8", "10.0.0.7", False),
        ("127.0.0.0/8", "8.8.8.8", False),
        ("0.0.0.0/0", "127.0.0.1", False),
        ("0.0.0.0/0", "10.0.0.7", False),
        ("0.0.0.0/0", "8.8.8.8", True),
        ("::/0", "2606:4700::1", True),
        ("::/0", "fd00::1", False),
        ("::/0", "::ffff:8.8.8.8", False),
        ("10.0.0.0/7", "10.0.0.7", False),
        ("10.0.0.0/8", "10.0.0.7", True),
        ("10.0.0.0/8", "::ffff:10.0.0.7", False),
        ("::ffff:0:0/96", "::ffff:10.0.0.7", False),
        ("::ffff:0:0/96", "::ffff:8.8.8.8", True),
        ("::ffff:0:0/96 10.0.0.0/8", "::ffff:10.0.0.7", True),
        ("64:ff9b::/96 127.0.0.0/8", "64:ff9b::7f00:1", True),
        ("64:ff9b::/96 127.0.0.0/8", "64:ff9b::a9fe:a9fe", False),
        ("10.20.0.0/16", "10.21.0.1", False),
        ("10.20.0.1", "10.20.0.1", True),
    ],
)
@pytest.mark.parametrize("host", ["gpu.internal", "*.gpu.internal"])
def test_networks_say_where_a_name_may_lead_and_nowhere_else(
    host: str, networks: str, address: str, permitted: bool
) -> None:
    named = host.replace("*", "a")
    assert permits([f"http://{host}:8000 in {networks}"], f"http://{named}:8000", address) is permitted


@pytest.mark.contract("7.guard.wildcard", "7.guard.public")
@pytest.mark.parametrize(
    ("address", "permitted"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1", True),
        ("10.0.0.7", False),
        ("fd00::1", False),
        ("127.0.0.1", False),
        *((address, False) for address in WRAPPED),
    ],
)
@pytest.mark.parametrize("entry", ["https://*.example.org", "https://*", PublicHTTPS()])
def test_without_networks_a_wildcard_leads_to_public_addresses_alone(entry: Any, address: str, permitted: bool) -> None:
    assert permits([entry], "https://gpu.example.org", address) is permitted


@pytest.mark.contract("7.guard.address")
@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "8.8.8.8", "::1", "fd00::1", "::ffff:127.0.0.1"])
def test_an_address_stands_for_itself(address: str) -> None:
    url = f"http://[{address}]:8000" if ":" in address else f"http://{address}:8000"
    assert permits([url], url, address)
    assert not permits([url], url, "10.0.0.8")


@pytest.mark.contract("7.guard.never")
@pytest.mark.parametrize("address", NEVER)
def test_no_entry_permits_an_address_that_nobody_may_name(address: str) -> None:
    everything = ["http://gpu.internal", "http://gpu.internal in 0.0.0.0/0 ::/0", PublicHTTPS((80, 443))]
    wrapped = [address]
    if "." in address:
        four = int(IPv4Address(address))
        wrapped += [str(IPv6Address(0xFFFF << 32 | four)), str(IPv6Address((0x64FF9B << 96) | four))]
    for one in wrapped:
        assert not permits(everything, "http://gpu.internal", one)
        assert not permits([*everything, "https://*.internal.test in 0.0.0.0/0 ::/0"], "https://a.internal.test", one)
        literal = f"https://[{one}]" if ":" in one else f"https://{one}"
        assert not permits(["https://0.0.0.0/0", "https://[::/0]", "https://*"], literal, one)


@pytest.mark.contract("7.guard.keyed")
@pytest.mark.parametrize(
    ("url", "address", "permitted"),
    [
        ("http://gpu.internal:8000", "8.8.8.8", False),
        ("http://gpu.internal:8000", "10.0.0.7", True),
        ("https://gpu.internal:8000", "8.8.8.8", True),
    ],
)
def test_a_callers_key_goes_to_no_public_address_in_plain_text(url: str, address: str, permitted: bool) -> None:
    assert permits([url], url, address, keyed=True) is permitted
    assert permits([url], url, address, keyed=False)


# --- of who asks ------------------------------------------------------------------------------------------------------


@pytest.mark.contract("7.guard.principal")
def test_a_principal_narrows_the_list_and_never_widens_it() -> None:
    entries = ["http://*.gpu.internal:8000 in 10.20.0.0/16"]
    url = "http://a.gpu.internal:8000"
    narrow = Principal("p", endpoints=("http://a.gpu.internal:8000 in 10.20.1.0/24", "http://other.internal"))
    assert allows(entries, url)
    assert allows(entries, url, narrow)
    assert not allows(entries, "http://b.gpu.internal:8000", narrow)
    assert not allows(entries, "http://other.internal", narrow)
    assert permits(entries, url, "10.20.1.1", principal=narrow)
    assert not permits(entries, url, "10.20.2.1", principal=narrow)
    assert not permits(entries, url, "10.21.1.1", principal=Principal("q", endpoints=("http://*.gpu.internal:8000",)))
    assert not allows(entries, url, Principal("none", endpoints=False))
    assert not allows(entries, url, Principal("empty", endpoints=()))


# --- what cannot be read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "gpu.internal:8000",
        "ftp://gpu.internal",
        "not a url",
        "*",
        "http://*",
        "http://*:8000",
        "https://* in 10.0.0.0/8",
        "http://*.internal",
        "http://*.*.gpu.internal",
        "http://a.*.gpu.internal",
        "http://gpu*.internal.test",
        "http://*gpu.internal.test",
        "http://*.gpu..internal",
        "http://*.10.20",
        "http://10.0.0.7:8000 in 10.0.0.0/8",
        "http://10.20.0.0/16 in 10.0.0.0/8",
        "http://10.20.0.0/16:8000 in 10.0.0.0/8",
        "http://10.20.0.1/16",
        "http://10.20.0.0/33",
        "http://[fd00::]/64",
        "http://[fd00::1/64]",
        "http://gpu.internal/64",
        "http://gpu.internal:0",
        "http://gpu.internal:08000",
        "http://gpu.internal:65536",
        "http://gpu.internal:8010-8000",
        "http://gpu.internal:8000-",
        "http://gpu.internal:8000-65536",
        "http://gpu.internal:-1",
        "http://gpu.internal in",
        "http://gpu.internal in 10.0.0.0/255.0.0.0",
        "http://gpu.internal in 10.0.0.1/8",
        "http://gpu.internal in gpu",
        "http://gpu.internal in 169.254.0.0/16",
        "http://169.254.169.254",
        "http://169.254.0.0/16",
        "http://[::ffff:169.254.169.254]",
        "http://[fe80::1]",
        "http://gpu.internal/v2",
        "http://gpu.internal?x",
        "http://user:hunter2@gpu.internal",
        "http://user:hunter2@*.internal",
        "http://0x7f.1",
        "http://127.1",
        "http://2130706433",
        "http://gpu.internal.",
    ],
)
def test_a_bad_entry_is_a_configuration_error_that_names_its_place_and_not_its_text(entry: str) -> None:
    with pytest.raises(ConfigurationError, match=r"entry 2: expected .*") as caught:
        AllowList.parse(["http://10.0.0.7:8000", entry], read_endpoint)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("entries", ["http://10.0.0.7:8000", [None], [b"http://10.0.0.7:8000"]])
def test_what_is_not_a_list_of_strings_is_a_configuration_error(entries: Any) -> None:
    with pytest.raises(ConfigurationError, match="allowed_endpoints"):
        AllowList.parse(entries, read_endpoint)


@pytest.mark.parametrize("ports", [(), (0,), (65536,), ("443",), (True,)])
def test_ports_of_public_servers_are_ports(ports: Any) -> None:
    with pytest.raises(ValueError, match="ports"):
        PublicHTTPS(ports)


hosts = st.sampled_from(["gpu.test", "*.gpu.test", "10.20.0.1", "10.20.0.0/16", "[fd00::/16]"])
networks = st.sampled_from(
    ["", " in 0.0.0.0/0 ::/0", " in 10.0.0.0/8", " in 127.0.0.0/8", " in ::ffff:0:0/96 10.0.0.0/8"]
)


@settings(max_examples=300, deadline=None)
@given(hosts, networks, st.ip_addresses(v=4) | st.ip_addresses(v=6), st.booleans())
def test_no_entry_permits_what_nobody_may_name_or_what_it_does_not_say(
    host: str, network: str, address: IPv4Address | IPv6Address, keyed: bool
) -> None:
    try:
        allowed = AllowList.parse([f"http://{host}:8000{network}"], read_endpoint)
    except ConfigurationError:
        assert network
        assert host not in ("gpu.test", "*.gpu.test")
        return
    entry: Entry = allowed.entries[0]
    permitted = Guard((allowed.entries,), keyed)(str(address))
    assert permitted <= entry.permits(address)
    if permitted:
        place = place_of(address)
        assert place.kind != "never"
        assert place.kind != "loopback" or "127.0.0.0/8" in network
        assert not (keyed and place.kind == "global")
        assert place.inner is None or network
