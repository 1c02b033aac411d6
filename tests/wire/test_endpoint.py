"""Caller-named endpoints: which URLs are read, and that no odd one is ever repaired."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._values import Endpoint
from ogw_asgi._wire.endpoint import read_endpoint

LONG_HOST = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])


@pytest.mark.contract("2.endpoint.v1")
@pytest.mark.parametrize(
    ("url", "scheme", "host", "port"),
    [
        ("http://10.0.0.7:8000", "http", "10.0.0.7", 8000),
        ("http://10.0.0.7", "http", "10.0.0.7", 80),
        ("https://gpu-7.example.com", "https", "gpu-7.example.com", 443),
        ("https://gpu-7.example.com/", "https", "gpu-7.example.com", 443),
        ("https://gpu-7.example.com/v1", "https", "gpu-7.example.com", 443),
        ("https://gpu-7.example.com/v1/", "https", "gpu-7.example.com", 443),
        ("http://h:80/v1", "http", "h", 80),
        ("http://h:443", "http", "h", 443),
        ("HTTP://GPU.Example.COM", "http", "gpu.example.com", 80),
        ("hTTpS://h", "https", "h", 443),
        ("http://localhost:1", "http", "localhost", 1),
        ("http://vllm_server:65535", "http", "vllm_server", 65535),
        ("http://_vllm._tcp.internal", "http", "_vllm._tcp.internal", 80),
        ("http://xn--mnchen-3ya.example", "http", "xn--mnchen-3ya.example", 80),
        ("http://a--b", "http", "a--b", 80),
        ("http://1.example", "http", "1.example", 80),
        ("http://0x7f.example", "http", "0x7f.example", 80),
        ("http://127.0.0.1.example", "http", "127.0.0.1.example", 80),
        ("http://0xzz", "http", "0xzz", 80),
        ("http://7b", "http", "7b", 80),
        ("http://127.0.0.1", "http", "127.0.0.1", 80),
        ("http://0.0.0.0", "http", "0.0.0.0", 80),
        ("http://255.255.255.255", "http", "255.255.255.255", 80),
        ("http://[::1]", "http", "::1", 80),
        ("http://[::1]:8000/v1", "http", "::1", 8000),
        ("http://[FD00:0:0:0:0:0:0:7]", "http", "fd00::7", 80),
        ("https://[2001:0db8:0000:0000:0000:0000:0000:0001]/", "https", "2001:db8::1", 443),
        ("http://" + "a" * 63, "http", "a" * 63, 80),
        ("http://" + LONG_HOST, "http", LONG_HOST, 80),
    ],
)
def test_a_plain_url_of_a_server_is_read(url: str, scheme: str, host: str, port: int) -> None:
    found = read_endpoint(url)
    assert (found.scheme, found.host, found.port) == (scheme, host, port)


@pytest.mark.parametrize("address", ["::ffff:10.0.0.7", "::ffff:a00:7", "64:ff9b::10.0.0.7", "2002:a00:7::"])
def test_an_address_that_wraps_another_is_kept_for_the_policy_to_judge(address: str) -> None:
    assert IPv6Address(read_endpoint(f"http://[{address}]").host) == IPv6Address(address)


EVIL = [
    # no absolute http(s) URL
    "", "/", "//", "//h", "///h", "h", "h:80", "localhost", "localhost:8000", "10.0.0.7:8000", "http", "http:",
    "http:h", "http:/h", "http:///h", "http://", "http:///", "http://:80", "http://:80/", "https://", "htp://h",
    "httpss://h", "ftp://h", "file:///etc/passwd", "gopher://h:70/_x", "unix:/run/x.sock", "http+unix://h",
    "ws://h", "wss://h", "javascript:alert(1)", "data:,x", "dict://h:11211", "ldap://h", "tftp://h", "jar:http://h",
    "url:http://h", "http//h", "http;//h", "http:://h", ":http://h", "1http://h", "http://http://h", "[http://h]",
    # userinfo
    "http://u@h", "http://u:p@h", "http://@h", "http://:@h", "http://h@169.254.169.254", "http://a@b@c",
    "http://h:80@evil", "http://evil:80@h:80", "http://h/@evil", "http://[::1]@evil", "http://u@[::1]",
    # query, fragment, another path
    "http://h?", "http://h?x=1", "http://h/?x", "http://h/v1?x", "http://h#", "http://h/#x", "http://h#@evil",
    "http://h/v2", "http://h/V1", "http://h/v1/chat/completions", "http://h/v1//", "http://h//", "http://h//v1",
    "http://h/.", "http://h/..", "http://h/../v1", "http://h/v1/..", "http://h/./v1", "http://h/v1;x", "http://h/v",
    "http://h/v10", "http://h/latest/meta-data", "http://h/v1/../admin", "http://h;x", "http://h:80;x",
    # backslashes and percent
    "http:\\\\h", "http://h\\", "http://h\\@evil", "http://h/\\evil", "http:/\\h", "http://evil\\.h", "\\\\h\\x",
    "http://%31%30.0.0.7", "http://h%2eexample", "http://h%00", "http://h/%2e%2e", "http://h%", "http://h:%38",
    "http://h%40evil", "http://h%0d%0ahost:x", "http://[fe80::1%25eth0]", "http://[fe80::1%eth0]", "http://h%23",
    # blanks, controls, beyond ASCII
    " http://h", "http://h ", "http:// h", "http://h /", "http://h\t", "http://h\n", "http://h\r\nx: y", "http://h\0",
    "http://h\x7f", "\thttp://h", "ht\ntp://h", "http://h\x85", "http://münchen.example", "http://ｈ", "http://①②⑦.0.0.1",
    "http://127。0。0。1", "http://h․example", "http://ⓔvil", "http://h:８０", "http://٣.example", "http://h\u200b",
    "http://h\u00ad", "http://h\u2028", "http://ſ", "http://\u212a.example", "\ufeffhttp://h", "http：//h", "http://h\ud800",
    # numbers that are addresses to somebody
    "http://2130706433", "http://0", "http://1", "http://017700000001", "http://0x7f000001", "http://0x7F000001",
    "http://0x", "http://0X7F.1", "http://0x7f.1", "http://0x7f.0.0.1", "http://127.1", "http://127.0.1", "http://10.7",
    "http://0177.0.0.1", "http://127.0.0.01", "http://010.0.0.7", "http://00.0.0.0", "http://256.0.0.1",
    "http://127.0.0.256", "http://127.0.0.1.1", "http://1.2.3.4.5", "http://127.0.0.0x1", "http://0.0.0.0x0",
    "http://127.0x1", "http://a.1", "http://example.123", "http://example.0x7f", "http://example.0x",
    "http://999999999999", "http://4294967296", "http://127.0.0.1e1.1", "http://-1", "http://+127.0.0.1", "http://1.2.3.",
    "http://1.2..4", "http://.1.2.3.4",
    # dots
    "http://10.0.0.7.", "http://example.com.", "http://localhost.", "http://.", "http://..", "http://.h", "http://h..",
    "http://a..b", "http://h.:80", "http://10.0.0.7.:80",
    # labels
    "http://-h", "http://h-", "http://a.-b", "http://a-.b", "http://-", "http://h!", "http://h*", "http://*.example",
    "http://h,evil", "http://h$", "http://h'", 'http://h"', "http://(h)", "http://h=", "http://h~", "http://h&", "http://h|",
    "http://h^", "http://h`", "http://{h}", "http://<h>", "http://h+x", "http://" + "a" * 64,
    "http://" + LONG_HOST + "x", "http://" + ".".join(["a"] * 200), "http://h/" + "x" * 2048,
    # ports
    "http://h:", "http://h:/", "http://h:/v1", "http://h:0", "http://h:00", "http://h:080", "http://h:65536",
    "http://h:99999", "http://h:100000", "http://h:-1", "http://h:+80", "http://h:8 0", "http://h:80x", "http://h:x",
    "http://h:0x50", "http://h:8e1", "http://h:80.0", "http://h:80:80", "http://h::80", "http://h:8_0", "http://h:http",
    "http://h:" + "8" * 2000, "http://10.0.0.7:0",
    # IPv6
    "http://::1", "http://::1:80", "http://2001:db8::1", "http://[::1", "http://::1]", "http://[]", "http://[]:80",
    "http://[[::1]]", "http://[::1]80", "http://[::1]:", "http://[::1]:0", "http://[::1]x", "http://x[::1]",
    "http://[::1].example", "http://[::1]]", "http://[:::1]", "http://[1::2::3]", "http://[12345::]", "http://[g::1]",
    "http://[::1.2.3]", "http://[::1.2.3.256]", "http://[::01.2.3.4]", "http://[127.0.0.1]", "http://[localhost]",
    "http://[v1.fe80]", "http://[1:2:3:4:5:6:7]", "http://[1:2:3:4:5:6:7:8:9]", "http://[::1/64]", "http://[0x1::]",
]  # fmt: skip


@pytest.mark.contract("2.endpoint.bad", "2.endpoint.odd-host", "7.odd-hosts")
@pytest.mark.parametrize("url", EVIL)
def test_an_odd_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_endpoint(url)
    text = str(caught.value)
    assert text.startswith(("a ", "an ", "at most "))
    assert len(url) < 6 or url not in text


def test_a_url_of_2049_characters_is_refused_for_its_length() -> None:
    with pytest.raises(ValueError, match="at most 2048 visible ASCII"):
        read_endpoint("http://h/".ljust(2049, "v"))
    with pytest.raises(ValueError, match="whose path"):
        read_endpoint("http://h/".ljust(2048, "v"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ftp://h", "absolute http or https"),
        ("http://u@h", "without user or password"),
        ("http://h?x", "without a query"),
        ("http://h#x", "without a fragment"),
        ("http://h%41", "without percent-encoding"),
        ("http://h\\x", "without backslashes"),
        ("http://h/v2", "path is empty, / or /v1"),
        ("http://a[", "host name or address"),
        ("http://h:0", "a port from 1 to 65535"),
        ("http://[1:2]", "IPv6 address in the brackets"),
        ("http://h.", "without a dot at its end"),
        ("http://0x7f.1", "four decimal numbers"),
    ],
)
def test_the_refusal_says_what_was_expected(url: str, expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_endpoint(url)
    assert expected in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["http", "https"]),
    st.one_of(
        st.ip_addresses(v=4).map(str),
        st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
        st.from_regex(r"[a-z_]([a-z0-9_-]{0,9}[a-z0-9_])?(\.[a-z_]([a-z0-9_-]{0,9}[a-z0-9_])?){0,3}", fullmatch=True),
    ),
    st.one_of(st.none(), st.integers(1, 65535)),
    st.sampled_from(["", "/", "/v1", "/v1/"]),
)  # fmt: skip
def test_an_origin_reads_back_as_the_endpoint_it_came_from(scheme: str, host: str, port: int | None, path: str) -> None:
    found = read_endpoint(f"{scheme}://{host}{'' if port is None else f':{port}'}{path}")
    assert read_endpoint(found.origin) == found
    assert found.port == (port or (443 if scheme == "https" else 80))


@pytest.mark.contract("7.odd-hosts")
@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="htps:/.@[]0x17f%\\?#-_ v\u3002", max_size=24).map(lambda tail: "http://" + tail))
def test_any_text_is_read_as_a_plain_host_or_refused(url: str) -> None:
    try:
        found = read_endpoint(url)
    except ValueError:
        return
    assert isinstance(found, Endpoint)
    written = url.lower().removeprefix("http://").split("/")[0]
    assert ":" in found.host or written in (found.host, f"{found.host}:{found.port}")
