"""What kind of place an address is: by a table of our own, held against the table of somebody else."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ssrfguard import DEFAULT_DENIED

from ogw_asgi._rules.addresses import Address, is_never, lies_within, place_of

NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "169.254.255.255",
    "192.0.0.0",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "100::1",
    "100:0:0:1::1",
    "64:ff9b:1::a9fe:a9fe",
    "2001:0:53aa:64c:0:fbff:5601:5601",  # Teredo
    "2001:2::1",
    "2001:10::1",
    "2001:db8::1",
    "3fff::1",
    "3fff:fff:ffff::1",
    "5f00::1",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:42::42",
    "fe80::1",
    "fe80::a9fe:a9fe",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "4000::1",  # nobody's yet
    "e000::1",
]
PRIVATE = [
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "fc00::1",
    "fd12:3456::1",
]
LOOPBACK = ["127.0.0.1", "127.255.255.255", "::1"]
GLOBAL = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "172.32.0.1",
    "2606:4700::1111",
    "2a00::1",
    "3ffe::",
]


@pytest.mark.contract("7.guard.never")
@pytest.mark.parametrize("text", NEVER)
def test_an_address_that_nobody_may_name(text: str) -> None:
    assert place_of(ip_address(text)).kind == "never"


@pytest.mark.contract("7.guard.never")
@pytest.mark.parametrize("text", [text for text in NEVER if "." in text])
@pytest.mark.parametrize("wrapper", ["::ffff:0:0", "64:ff9b::", "::", "2002::"])
def test_wrapping_it_changes_nothing(text: str, wrapper: str) -> None:
    shift = 80 if wrapper == "2002::" else 0
    wrapped = IPv6Address(int(IPv6Address(wrapper)) | int(IPv4Address(text)) << shift)
    assert place_of(wrapped).kind == "never"


@pytest.mark.parametrize(
    ("kind", "texts"), [("private", PRIVATE), ("loopback", LOOPBACK), ("global", GLOBAL)], ids=lambda value: str(value)
)
def test_the_other_kinds(kind: str, texts: list[str]) -> None:
    for text in texts:
        place = place_of(ip_address(text))
        assert (place.kind, place.inner) == (kind, None), text
        assert (place.within is None) == (kind == "global")


@pytest.mark.parametrize(
    ("text", "inner", "kind"),
    [
        ("::ffff:10.0.0.7", "10.0.0.7", "private"),
        ("::ffff:127.0.0.1", "127.0.0.1", "loopback"),
        ("64:ff9b::808:808", "8.8.8.8", "global"),
        ("::10.0.0.7", "10.0.0.7", "private"),
        ("2002:7f00:1::", "127.0.0.1", "loopback"),
        ("2002:7f00:1:2:3:4:5:6", "127.0.0.1", "loopback"),
    ],
)
def test_a_wrapped_address_is_judged_by_what_is_in_it(text: str, inner: str, kind: str) -> None:
    place = place_of(ip_address(text))
    assert (place.kind, str(place.inner)) == (kind, inner)
    assert place.within is not None
    assert ip_address(text) in place.within


def test_what_another_table_calls_no_public_place_is_none_for_us() -> None:
    """ssrfguard's table is IANA's; ours may be stricter, never laxer. At every border of both, and at random."""
    oracle = DEFAULT_DENIED
    dice = random.Random(7)
    borders = [
        edge
        for text in (*NEVER, *PRIVATE, *LOOPBACK, *GLOBAL)
        for length in (8, 10, 12, 15, 16, 20, 23, 24, 28, 32, 48, 64, 96, 128)
        if length <= ip_address(text).max_prefixlen
        for network in (ip_network(f"{text}/{length}", strict=False),)
        for edge in (int(network[0]) - 1, int(network[0]), int(network[-1]), int(network[-1]) + 1)
    ]
    fours = [at for at in borders if 0 <= at < 1 << 32] + [dice.getrandbits(32) for _ in range(2000)]
    sixes = [at for at in borders if 1 << 32 <= at < 1 << 128] + [dice.getrandbits(128) for _ in range(500)]
    sixes += [(0x2000 << 112) + dice.getrandbits(125) for _ in range(500)]
    seen = 0
    addresses: list[Address] = [*map(IPv4Address, fours), *map(IPv6Address, sixes)]
    for address in addresses:
        place = place_of(address)
        if place.kind == "global":
            assert not oracle.classify(address).blocked, address
            seen += 1
    assert seen > 1000


def test_networks_in_networks() -> None:
    assert lies_within(ip_network("10.1.0.0/16"), ip_network("10.0.0.0/8"))
    assert not lies_within(ip_network("10.0.0.0/7"), ip_network("10.0.0.0/8"))
    assert lies_within(ip_network("fd00:1::/32"), ip_network("fc00::/7"))
    assert not lies_within(ip_network("fd00::/8"), ip_network("10.0.0.0/8"))
    assert not lies_within(ip_network("10.0.0.0/8"), ip_network("::/0"))


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("169.254.0.0/16", True),
        ("169.254.169.254/32", True),
        ("fd00:ec2::/32", True),
        ("169.254.0.0/15", False),
        ("0.0.0.0/0", False),
        ("10.0.0.0/8", False),
        ("::/0", False),
    ],
)
def test_a_network_that_is_not_worth_listing(text: str, never: bool) -> None:
    assert is_never(ip_network(text)) is never


addresses = st.ip_addresses(v=4) | st.ip_addresses(v=6)


@settings(max_examples=300, deadline=None)
@given(addresses)
def test_any_address_has_a_kind_and_lies_where_it_says(address: Address) -> None:
    place = place_of(address)
    assert place.kind in ("never", "loopback", "private", "global")
    assert place.within is None or address in place.within
    assert (place.within is None) <= (place.kind in ("global", "never"))
    if place.inner is not None:
        assert place.kind == place_of(place.inner).kind
    if isinstance(address, IPv4Address):
        wrapped = place_of(IPv6Address(0xFFFF << 32 | int(address)))
        assert (wrapped.kind, wrapped.inner) == (place.kind, address)


@settings(max_examples=200, deadline=None)
@given(addresses, st.integers(0, 32), addresses, st.integers(0, 32))
def test_a_network_lies_in_another_when_all_of_it_does(one: Address, bits: int, other: Address, more: int) -> None:
    inner, outer = (ip_network(f"{each}/{length}", strict=False) for each, length in ((one, bits), (other, more)))
    within = lies_within(inner, outer)
    assert within == (inner.version == outer.version and inner[0] in outer and inner[-1] in outer)
    if is_never(inner):
        assert place_of(inner[0]).kind == place_of(inner[-1]).kind == "never"
