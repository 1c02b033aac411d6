"""URLs as callers may name them, good and evil, and what four other parsers make of those that we take.

An engine, or a proxy, that reads another host out of a URL than the egress policy did is a hole in that policy.
"""

from __future__ import annotations

import random
import urllib.parse
from collections.abc import Iterator
from ipaddress import IPv6Address
from typing import NamedTuple

import ada_url
import httpx
import yarl

from ogw_asgi._values import Endpoint
from ogw_asgi._wire.endpoint import read_endpoint

from .target import Target

_PORTS = {"http": 80, "https": 443}

_SCHEMES = ["http://"] * 20 + ["https://"] * 16 + ["HTTP://", "httpS://"] * 2
_SCHEMES += ["http:/", "http:", "//", "ws://", "http:///", "http:\\\\", " http://"]
_GOOD = [
    "a",
    "gpu-7",
    "internal",
    "vllm",
    "xn--bcher-kva",
    "a_b",
    "_x",
    "1",
    "0",
    "x" * 63,
    "a--b",
    "example",
    "com",
    "K",
]
_EVIL = ["0x7f", "127", "x" * 64, "a-", "-a", "LOCALHOST", "bücher", "①", "xn--a", "xn--", "0177", "256", "4294967295"]
_EVIL += ["１２７", "ß", "ſ", "", "xn--ls8h", "xn--zn7c"]
_HOSTS = [
    "10.0.0.7",
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    "2130706433",
    "0177.0.0.1",
    "1.2.3.4.5",
    "1.2.3",
    "256.1.1.1",
    "01.02.03.04",
]
_HOSTS += [
    "169.254.169.254",
    "①②⑦.0.0.1",
    "127。0。0。1",
    "good\\@evil",
    "a@b",
    "a:b@c",
    "a%2eb",
    "h%00",
    "h\t",
    "h\n",
    "a b",
    "a..b",
    "a.",
]
_HOSTS += [
    "0x",
    "1.2.3.0x4",
    "1.2.3.08",
    "a.0x",
    "a.1",
    "a.1.",
    "0x0000000000000007f",
    "00.0.0.0",
    "0.0.0.0",
    "1.1.1.1e1",
]
_V6 = [
    "::1",
    "::",
    "fd00::7",
    "::ffff:1.2.3.4",
    "64:ff9b::a9fe:a9fe",
    "fe80::1%25eth0",
    "fe80::1%eth0",
    "1:2:3:4:5:6:7:8",
    "::1.2.3.4",
]
_V6 += [
    "1::2::3",
    "12345::",
    ":::",
    "::g",
    "2001:DB8::0:0:1",
    "0:0:0:0:0:0:0:1",
    "1:2:3:4:5:6:1.2.3.4",
    "::01.2.3.4",
    "1:0:0:2:0:0:0:3",
    "v1.x",
    "",
]
_PORTS_WRITTEN = ["", "", ""] * 6 + [
    ":80",
    ":443",
    ":8000",
    ":65535",
    ":65536",
    ":0",
    ":",
    ":-1",
    ":08",
    ":8e1",
    ":１",
    ":+1",
    ":99999999999",
    ": 1",
]
_TAILS = ["", "", "/", "/v1", "/v1/"] * 8 + [
    "/v2",
    "?",
    "#",
    "/?",
    "/v1#",
    "\\",
    "/..",
    "/.",
    "/v1/..",
    ";",
    "//",
    "/%2e",
    "\r\nx: y",
]
_PIECES = [
    "@",
    "\\",
    "%",
    "/",
    ":",
    "[",
    "]",
    ".",
    "#",
    "?",
    "\u3002",
    "\u200b",
    "\xad",
    "\t",
    "\0",
    "%25",
    "0x",
    "//",
    "\ud800",
    "\u2100",
]


def generated(seed: int) -> Iterator[str]:
    """URLs without end; about half of them are good."""
    rng = random.Random(f"urls {seed}")
    pick = rng.choice
    while True:
        kind = rng.random()
        if kind < 0.45:
            host = ".".join(pick(_EVIL if rng.random() < 0.1 else _GOOD) for _ in range(pick((1, 2, 2, 3, 4))))
        elif kind < 0.6:
            host = ".".join(str(rng.getrandbits(8)) for _ in range(4))
        elif kind < 0.7:
            host = pick(_HOSTS)
        elif kind < 0.8:
            host = f"[{pick(_V6)}]"
        elif kind < 0.9:
            groups = [f"{rng.getrandbits(16) if rng.getrandbits(1) else 0:x}" for _ in range(8)]
            host = "[" + ":".join(groups) + "]"
        else:
            host = "".join(pick("abcxyz0123456789-_.") for _ in range(rng.randrange(1, 12)))
        port = f":{rng.randrange(70_000)}" if rng.random() < 0.3 else pick(_PORTS_WRITTEN)
        url = f"{pick(_SCHEMES)}{host}{port}{pick(_TAILS)}"
        if rng.random() < 0.15:
            at = rng.randrange(len(url) + 1)
            url = url[:at] + pick(_PIECES) + url[at + rng.getrandbits(1) :]
        if rng.random() < 0.05:
            url = url.swapcase()
        yield url


class Read(NamedTuple):
    """Where one parser would connect to."""

    scheme: str
    host: str
    port: int


def _named(scheme: str, host: str | None, port: int | None) -> Read:
    host = (host or "").strip("[]").lower()
    if ":" in host:  # the same address has many spellings, and not all of them are put right by everybody
        host = IPv6Address(host).compressed
    return Read(scheme.lower(), host, _PORTS[scheme.lower()] if port is None else port)


def theirs(url: str) -> dict[str, Read]:
    """What each of the four reads in this URL. Raises ValueError (or httpx's own) where one takes it for none."""
    split = urllib.parse.urlsplit(url)
    in_httpx = httpx.URL(url)
    in_yarl = yarl.URL(url)
    in_ada = ada_url.URL(url)
    return {
        "urllib": _named(split.scheme, split.hostname, split.port),
        "httpx": _named(in_httpx.scheme, in_httpx.raw_host.decode("ascii"), in_httpx.port),
        "yarl": _named(in_yarl.scheme, in_yarl.raw_host, in_yarl.port),
        "ada-url": _named(in_ada.protocol.rstrip(":"), in_ada.hostname, int(in_ada.port) if in_ada.port else None),
    }


def disagreement(url: str) -> str | None:
    """None if we refuse it, or all read alike: the URL as it came, and the one that we make of it for the engines."""
    try:
        ours = read_endpoint(url)
    except ValueError:
        return None
    expected = Read(ours.scheme, ours.host, ours.port)
    for written in (url, f"{ours.origin}/v1/chat/completions"):
        try:
            found = theirs(written)
        except (ValueError, httpx.InvalidURL) as error:
            return f"{written!r}: {expected}, but {type(error).__name__}: {error}"
        for name, read in found.items():
            if read != expected:
                return f"{written!r}: {expected}, but {name} says {read}"
    return None


def _inputs(seed: int) -> Iterator[bytes]:
    return (url.encode("utf-8", "surrogatepass") for url in generated(seed))


def _read(data: bytes) -> Endpoint:
    return read_endpoint(data.decode("utf-8", "surrogatepass"))


def _judge(data: bytes, result: Endpoint | ValueError) -> bool:
    if isinstance(result, ValueError):
        return False
    said = disagreement(data.decode("utf-8", "surrogatepass"))
    assert said is None, said
    return True


TARGETS = [Target("urls", [], _read, _judge, (ValueError,), inputs=_inputs)]
