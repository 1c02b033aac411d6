"""Requests that try to be two, or to say more than one may: the payload classes of HTTP Garden, and our own headers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .golden import Asked

MOUNT = "/native"
PATH = f"{MOUNT}/chat/completions"
LINE = f"POST {PATH} HTTP/1.1"
HOST = "host: gateway.test"
JSON = "content-type: application/json"
CHUNKED = "transfer-encoding: chunked"


def question(text: str = "Hi", model: str = "m") -> bytes:
    return b'{"model":"%b","messages":[{"role":"user","content":"%b"}]}' % (model.encode("latin-1"), text.encode())


BODY = question()
SECOND = question("a second one")
ONE, TWO = Asked(BODY), Asked(SECOND)


def raw(*lines: str, body: bytes = b"", eol: str = "\r\n") -> bytes:
    return eol.join([*lines, "", ""]).encode("latin-1") + body


def post(*headers: str, body: bytes = BODY, line: str = LINE, length: str | None = "", chunks: bytes = b"") -> bytes:
    """A good request with more headers; `length=None`: without one; `chunks`: the body as it is on the wire."""
    own = [f"content-length: {length or len(body)}"] if length is not None and not chunks else []
    return raw(line, HOST, JSON, *headers, *own, body=chunks or body)


def framed(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


Row: TypeAlias = tuple[str, bytes, Sequence[Asked]] | tuple[str, bytes, Sequence[Asked], Sequence[Asked]]
"""The fields of a Payload behind the first, as far as there are any."""

INNER = post(body=SECOND)
"""The request that must not be one."""


@dataclass(frozen=True)
class Payload:
    """Bytes, and the requests that they may honestly be to a provider, at most these and in this order.

    `group` is a heading of the table, and `name` its row. `as_headers`: what it is, if it is something else, where
    trailers are taken for headers (uvicorn with httptools).
    """

    group: str
    name: str
    sent: bytes
    honest: Sequence[Asked] = (ONE,)
    as_headers: Sequence[Asked] = ()


def both_framings() -> Iterator[Row]:
    chunks = framed(BODY)
    yield (
        "CL.TE, a request behind the last chunk",
        post(CHUNKED, f"content-length: {len(chunks + INNER)}", chunks=chunks + INNER),
        [ONE],
    )
    yield "TE.CL, a request in the chunk", post("content-length: 4", CHUNKED, chunks=framed(INNER)), []
    yield "CL and TE that agree", post(f"content-length: {len(chunks)}", CHUNKED, chunks=chunks), [ONE]
    yield (
        "CL of the body, and TE, a request behind",
        post(f"content-length: {len(BODY)}", CHUNKED, chunks=BODY + INNER),
        [ONE],
    )
    yield "CL 0 and TE", post("content-length: 0", CHUNKED, chunks=chunks), [ONE]
    for line in (f"GET {MOUNT}/models", f"OPTIONS {PATH}"):
        method, _, path = line.partition(" ")
        yield (
            f"CL.TE by {method}, a request behind",
            post(
                CHUNKED,
                f"content-length: {len(chunks + INNER)}",
                line=f"{method} {path} HTTP/1.1",
                chunks=chunks + INNER,
            ),
            [],
        )
    yield "chunked by HTTP/1.0", post(CHUNKED, line=f"POST {PATH} HTTP/1.0", chunks=chunks), [ONE]
    yield (
        "chunked by HTTP/1.0, with CL, a request behind",
        post(
            CHUNKED,
            f"content-length: {len(chunks)}",
            "connection: keep-alive",
            line=f"POST {PATH} HTTP/1.0",
            chunks=chunks + INNER,
        ),
        [ONE],
    )


CODINGS = {
    "`xchunked`": ["transfer-encoding: xchunked"],
    "`chunked, identity`": ["transfer-encoding: chunked, identity"],
    "`identity, chunked`": ["transfer-encoding: identity, chunked"],
    "`gzip, chunked`": ["transfer-encoding: gzip, chunked"],
    "`chunked, chunked`": ["transfer-encoding: chunked, chunked"],
    "`chunked;q=1`": ["transfer-encoding: chunked;q=1"],
    '`"chunked"`': ['transfer-encoding: "chunked"'],
    "`,chunked`": ["transfer-encoding: ,chunked"],
    "`identity`": ["transfer-encoding: identity"],
    "empty": ["transfer-encoding:"],
    "two blanks before it": ["transfer-encoding:  chunked"],
    "a tab before it": ["transfer-encoding:\tchunked"],
    "a tab behind it": ["transfer-encoding: chunked\t"],
    "in capitals": ["TRANSFER-ENCODING: CHUNKED"],
    "a vertical tab before it": ["transfer-encoding: \x0bchunked"],
    "NUL behind it": ["transfer-encoding: chunked\x00"],
    "a blank before the colon": ["transfer-encoding : chunked"],
    "folded": ["transfer-encoding:\r\n chunked"],
    "twice": [CHUNKED, CHUNKED],
    "`chunked` and `identity`": [CHUNKED, "transfer-encoding: identity"],
    "`identity` and `chunked`": ["transfer-encoding: identity", CHUNKED],
    "`chunked` and `cow`": [CHUNKED, "transfer-encoding: cow"],
    "with an underscore": ["transfer_encoding: chunked"],
}


def codings() -> Iterator[Row]:
    for name, lines in CODINGS.items():
        yield f"{name}, a request behind", post(*lines, chunks=framed(BODY) + INNER), [ONE, TWO]
    for name in ("`xchunked`", "`chunked, identity`", "a vertical tab before it", "a blank before the colon", "folded"):
        body = framed(BODY) + INNER
        yield f"{name}, with CL", post(*CODINGS[name], f"content-length: {len(body)}", chunks=body), []


def lengths() -> Iterator[Row]:
    right = len(BODY)
    values = {
        "`+N`": f"+{right}",
        "`-N`": f"-{right}",
        "`0xN`": f"0x{right:x}",
        "`N, N`": f"{right}, {right}",
        "`N, M`": f"{right}, 5",
        "20 digits, most of them 0": f"{right:020}",
        "20 digits": "9" * 20,
        "2^64 + N": str((1 << 64) + right),
        "`N.0`": f"{right}.0",
        "`NeN`": "5e1",
        "`N_N`": f"{right // 10}_{right % 10}",
        "a blank within": f"{right // 10} {right % 10}",
        "empty": " ",
        "NUL behind it": f"{right}\x00",
        "a blank before the colon": None,
        "with an underscore": None,
    }
    for name, value in values.items():
        if value is not None:
            yield name, post(length=value) + INNER, [ONE, TWO]
    yield "a blank before the colon", post(f"content-length : {right}", length=None) + INNER, []
    yield "folded", post(f"content-length:\r\n {right}", length=None) + INNER, [ONE, TWO]
    yield "none", post(length=None) + INNER, []
    yield "twice, equal", post(f"content-length: {right}") + INNER, [ONE, TWO]
    yield "twice, the second longer", post(f"content-length: {right}", length=str(right + len(INNER))) + INNER, [ONE]
    yield "twice, the first longer", post(f"content-length: {right + len(INNER)}", length=str(right)) + INNER, [ONE]
    yield "shorter than the body", post(length=str(right - 1)) + INNER, []
    yield "longer than the body", post(length=str(right + 100)), []


def unread() -> Iterator[Row]:
    yield "a request as the body", post(body=INNER), []
    yield "to an unknown path", post(body=INNER, line=f"POST {MOUNT}/embeddings HTTP/1.1"), []
    yield "by GET", post(body=INNER, line=f"GET {PATH} HTTP/1.1"), []
    yield "by OPTIONS", post(body=INNER, line=f"OPTIONS {PATH} HTTP/1.1"), []
    yield "by GET to the models", post(body=INNER, line=f"GET {MOUNT}/models HTTP/1.1"), []
    yield "by GET to the models, chunked", post(CHUNKED, chunks=framed(INNER), line=f"GET {MOUNT}/models HTTP/1.1"), []
    yield "by HEAD to the models", post(body=INNER, line=f"HEAD {MOUNT}/models HTTP/1.1"), []
    yield "with a header that is refused", post("x-opengateway-timeout: soon", body=INNER), []
    yield "with another content type", post(body=INNER).replace(b"application/json", b"text/plain", 1), []
    yield "with `content-encoding: gzip`", post("content-encoding: gzip", body=INNER), []
    yield "announced over the limit", post(length=str(1 << 30), body=INNER), []
    yield "that came round", post("via: 1.1 ogw-a, 1.1 ogw-b, 1.1 ogw-c", body=INNER), []
    yield "with `Expect: 100-continue`", post("expect: 100-continue", body=INNER), []
    yield "with `Expect: 100-continue`, refused", post("expect: 100-continue", "x-opengateway-a: b", body=INNER), []
    yield "with an Expect that nobody knows", post("expect: 200-ok"), [ONE]


SIZE = b"%x" % len(BODY)
CHUNKS = {
    "an extension": SIZE + b";a=b\r\n" + BODY + b"\r\n0\r\n\r\n",
    "an extension without a value": SIZE + b";\r\n" + BODY + b"\r\n0\r\n\r\n",
    "an extension with LF": SIZE + b";a\nb\r\n" + BODY + b"\r\n0\r\n\r\n",
    "an extension with CR": SIZE + b";a\rb\r\n" + BODY + b"\r\n0\r\n\r\n",
    "an extension with CR LF in quotes": SIZE + b';a="\r\n' + BODY + b"\r\n0\r\n\r\n",
    "an extension of the last chunk": SIZE + b"\r\n" + BODY + b"\r\n0;a=b\r\n\r\n",
    "an extension of 32 KiB": SIZE + b";" + b"a" * (32 << 10) + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "size `0_N`": b"0_" + SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "size `+N`": b"+" + SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "size `-N`": b"-" + SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "size `0xN`": b"0x" + SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "size ` N`": b" " + SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "size `N `": SIZE + b" \r\n" + BODY + b"\r\n0\r\n\r\n",
    "size with zeros": SIZE.rjust(12, b"0") + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "size of 2^64 + N": b"1" + SIZE.rjust(16, b"0") + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "size of 2^64 - 1": b"f" * 16 + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "size of 2^32 + N": b"1" + SIZE.rjust(8, b"0") + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "size empty": b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "size in LF": SIZE + b"\n" + BODY + b"\r\n0\r\n\r\n",
    "size in CR": SIZE + b"\r" + BODY + b"\r\n0\r\n\r\n",
    "no CR LF behind the data": SIZE + b"\r\n" + BODY + b"0\r\n\r\n",
    "LF behind the data": SIZE + b"\r\n" + BODY + b"\n0\r\n\r\n",
    "two bytes of something behind the data": SIZE + b"\r\n" + BODY + b"XX0\r\n\r\n",
    "more data than announced": SIZE + b"\r\n" + BODY + b"more\r\n0\r\n\r\n",
    "a last chunk of `00`": SIZE + b"\r\n" + BODY + b"\r\n00\r\n\r\n",
    "a last chunk in LF": SIZE + b"\r\n" + BODY + b"\r\n0\n\n",
    "a last chunk in CR LF, LF": SIZE + b"\r\n" + BODY + b"\r\n0\r\n\n",
    "a last chunk in LF, CR LF": SIZE + b"\r\n" + BODY + b"\r\n0\n\r\n",
}


def chunk_sizes() -> Iterator[Row]:
    for name, chunks in CHUNKS.items():
        yield f"{name}, a request behind", post(CHUNKED, chunks=chunks + INNER), [ONE, TWO]
    yield "no last chunk", post(CHUNKED, chunks=framed(BODY, end=b"")), []


TRAILERS = {
    "`x-checksum`": ([], "x-checksum: 1"),
    "`x-opengateway-timeout`": ([], "x-opengateway-timeout: 1000"),
    "`x-opengateway-timeout`, that came before": (["x-opengateway-timeout: 900"], "x-opengateway-timeout: 1000"),
    "`x-opengateway-failover-sequence`": ([], 'x-opengateway-failover-sequence: ["azure"]'),
    "`x-opengateway-failover-sequence`, that came before": (
        ['x-opengateway-failover-sequence: ["openai"]'],
        'x-opengateway-failover-sequence: ["azure"]',
    ),
    "`authorization`": ([], "authorization: Bearer b"),
    "`authorization`, that came before": (["authorization: Bearer a"], "authorization: Bearer b"),
    "`content-type`, that came before": ([], "content-type: text/plain"),
    "`content-encoding`": ([], "content-encoding: gzip"),
    "`content-length`": ([], "content-length: 5"),
    "`transfer-encoding`": ([], "transfer-encoding: chunked"),
    "`via`": ([], "via: 1.1 ogw-a, 1.1 ogw-b, 1.1 ogw-c"),
    "`host`": ([], "host: evil.test"),
    "NUL in it": ([], "x-a: b\x00c"),
    "a blank before the colon": ([], "x-a : b"),
    "folded": ([], "x-a:\r\n b"),
    "no colon": ([], "x-a"),
}
LABELLED = {
    "`x-request-id`": ([], "x-request-id: of-a-trailer"),
    "`x-request-id`, that came before": (["x-request-id: of-the-head"], "x-request-id: of-a-trailer"),
    "`idempotency-key`": ([], "idempotency-key: of-a-trailer"),
}


TAKEN: Mapping[str, Asked] = {
    "`x-opengateway-failover-sequence`": Asked(BODY, provider="azure", deployment="m"),
    "`x-request-id`": Asked(BODY, labels={"x-request-id": "of-a-trailer"}),
    "`x-request-id`, that came before": ONE,
    "`idempotency-key`": Asked(BODY, labels={"idempotency-key": "of-a-trailer"}),
}
"""What comes of trailers that are taken for headers, where it is anything else."""


def trailers() -> Iterator[Row]:
    for name, (lines, trailer) in {**TRAILERS, **LABELLED}.items():
        end = b"0\r\n" + trailer.encode() + b"\r\n\r\n"
        labels = {"x-request-id": "of-the-head"} if "x-request-id: of-the-head" in lines else {}
        sent = post(CHUNKED, *lines, chunks=framed(BODY, end=end) + INNER)
        yield name, sent, [Asked(BODY, labels=labels), TWO], [TAKEN[name], TWO] if name in TAKEN else []


EVIL = "x-evil: 1"


def lines() -> Iterator[Row]:
    for name, line in {
        "a blank before the colon of ours": "x-opengateway-timeout : 1000",
        "a blank before the name": " x-a: b",
        "folded": "x-a: b\r\n c",
        "folded, ours": "x-opengateway-timeout:\r\n 1000",
        "folded with a tab": "x-a: b\r\n\tc",
        "a bare LF as the end": "x-a: b\n" + EVIL,
        "a bare CR as the end": "x-a: b\r" + EVIL,
        "CR CR LF as the end": "x-a: b\r",
        "NUL in a value": "x-a: b\x00c",
        "a control in a value": "x-a: b\x01c",
        "DEL in a value": "x-a: b\x7fc",
        "latin-1 in a value": "x-a: b\xe9c",
        "NUL in a name": "x-\x00a: b",
        "a control in a name": "x-\x01a: b",
        "latin-1 in a name": "x-\xe9a: b",
        "a blank in a name": "x a: b",
        "a colon in a name": "x:a: b",
        "an empty name": ": b",
        "no colon": "x-a",
        "brackets in a name": "x(a): b",
        "a slash in a name": "x/a: b",
        "a second host": "host: evil.test",
        "32 KiB": "x-a: " + "b" * (32 << 10),
        "1,000 headers": "\r\n".join(f"x-{number}: b" for number in range(1000)),
    }.items():
        yield name, post(line) + INNER, [ONE, TWO]
    length = f"content-length: {len(BODY)}"
    yield "all lines end in LF", raw(LINE, HOST, JSON, length, body=BODY, eol="\n") + INNER, [ONE, TWO]
    yield "all lines end in CR", raw(LINE, HOST, JSON, length, body=BODY, eol="\r") + INNER, []
    yield "an empty line of LF", raw(LINE, HOST, JSON, length)[:-2] + b"\n" + BODY + INNER, [ONE, TWO]
    yield "no host", raw(LINE, JSON, length, body=BODY) + INNER, [ONE, TWO]
    yield "a host with a path", raw(LINE, "host: gateway.test/x", JSON, length, body=BODY) + INNER, [ONE, TWO]


TARGETS = {
    "absolute": f"http://gateway.test{PATH}",
    "absolute, another host": f"http://evil.test{PATH}",
    "absolute, userinfo": f"http://a:b@gateway.test{PATH}",
    "authority": "gateway.test:80",
    "`*`": "*",
    "`//`": f"/{PATH}",
    "`//` within": PATH.replace("/chat/", "/chat//"),
    "`/./`": PATH.replace("/chat/", "/./chat/"),
    "`/../`": PATH.replace("/chat/", "/x/../chat/"),
    "`%0d%0a`": f"{PATH}%0d%0a{EVIL.replace(' ', '')}",
    "`%0d%0a` in the query": f"{PATH}?a=%0d%0a{EVIL.replace(' ', '')}",
    "`%00`": f"{PATH}%00",
    "`%2f`": PATH.replace("/completions", "%2fcompletions"),
    "an escaped letter": PATH.replace("/chat", "/%63hat"),
    "a stray `%`": f"{PATH}%",
    "a fragment": f"{PATH}#x",
    "a query": f"{PATH}?stream=true&x-opengateway-timeout=1",
    "a backslash": PATH.replace("/chat", "\\chat"),
    "latin-1": f"{PATH}\xe9",
    "NUL": f"{PATH}\x00",
    "a control": f"{PATH}\x01",
    "a blank": f"{PATH} x",
    "no slash": PATH[1:],
}


def targets() -> Iterator[Row]:
    for name, target in TARGETS.items():
        yield name, post(line=f"POST {target} HTTP/1.1") + INNER, [ONE, TWO]
    yield "CONNECT", raw("CONNECT gateway.test:443 HTTP/1.1", HOST) + INNER, []


VERSIONS = {
    "HTTP/1.0": "HTTP/1.0",
    "HTTP/1.10": "HTTP/1.10",
    "HTTP/1.2": "HTTP/1.2",
    "HTTP/2.0": "HTTP/2.0",
    "HTTP/01.1": "HTTP/01.1",
    "http/1.1": "http/1.1",
    "ICE/1.0": "ICE/1.0",
}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def versions() -> Iterator[Row]:
    for name, version in VERSIONS.items():
        yield name, post(line=f"POST {PATH} {version}") + INNER, [ONE, TWO]
    yield "HTTP/0.9", f"POST {PATH}\r\n".encode() + INNER, []
    yield "HTTP/0.9, GET", f"GET {MOUNT}/models\r\n\r\n".encode(), []
    yield "a method in small letters", post(line=f"post {PATH} HTTP/1.1") + INNER, [ONE, TWO]
    yield "a method that nobody knows", post(line=f"COW {PATH} HTTP/1.1") + INNER, []
    yield "two blanks", post(line=f"POST  {PATH} HTTP/1.1") + INNER, [ONE, TWO]
    yield "a tab for a blank", post(line=f"POST\t{PATH} HTTP/1.1") + INNER, [ONE, TWO]
    yield "a blank before the method", b" " + post() + INNER, [ONE, TWO]
    yield "the preface of HTTP/2", PREFACE + SETTINGS, []
    yield "the preface of HTTP/2, a request behind", PREFACE + INNER, []
    yield "a TLS hello", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(range(32)) * 5, []


def behind() -> Iterator[Row]:
    yield "a good request", post() + INNER, [ONE, TWO]
    yield (
        "a good request, both chunked",
        post(CHUNKED, chunks=framed(BODY[:9], BODY[9:])) + post(CHUNKED, chunks=framed(SECOND)),
        [ONE, TWO],
    )
    yield "a good request, after `Connection: close`", post("connection: close") + INNER, [ONE]
    yield (
        "a good request, after HTTP/1.0 with keep-alive",
        post("connection: keep-alive", line=f"POST {PATH} HTTP/1.0") + INNER,
        [ONE, TWO],
    )
    yield "GET of the models", post() + raw(f"GET {MOUNT}/models HTTP/1.1", HOST), [ONE]
    yield "a good request, after the models", raw(f"GET {MOUNT}/models HTTP/1.1", HOST) + INNER, [TWO]
    yield "CR LF, and a good request", post() + b"\r\n" + INNER, [ONE, TWO]
    yield "CR LF before the first", b"\r\n\r\n" + post(), [ONE]
    yield "LF before the first", b"\n" + post(), [ONE]
    yield "garbage", post() + b"garbage\r\n\r\n", [ONE]
    yield "NULs", post() + b"\x00" * 100, [ONE]
    yield "half a request", post() + INNER[:20], [ONE]


def options() -> Iterator[Row]:
    for name, lines in {
        "`Upgrade: h2c`": ["connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__"],
        "`Upgrade: websocket`": [
            "connection: Upgrade",
            "upgrade: websocket",
            "sec-websocket-version: 13",
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        ],
        "`Upgrade: TLS/1.0`": ["connection: Upgrade", "upgrade: TLS/1.0"],
        "`Connection: x-opengateway-timeout`": ["x-opengateway-timeout: 1000", "connection: x-opengateway-timeout"],
        "`Connection: content-length`": ["connection: content-length"],
        "`Connection: transfer-encoding`": ["connection: transfer-encoding"],
        "`Connection: host, authorization`": ["connection: host, authorization", "authorization: Bearer t"],
        "`Keep-Alive`, `TE`, `Trailer`, `Proxy-Connection`": [
            "keep-alive: timeout=5",
            "te: trailers",
            "trailer: x-a",
            "proxy-connection: keep-alive",
        ],
    }.items():
        yield name, post(*lines) + INNER, [ONE, TWO]


ENCODED = "a%0d%0ax-evil:1"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TO_VLLM = 'x-opengateway-failover-sequence: ["vllm"]'


def labels() -> Iterator[Row]:
    for name in ("x-request-id", "idempotency-key"):
        yield f"`{name}`, escaped CR LF", post(f"{name}: {ENCODED}"), [Asked(BODY, labels={name: ENCODED})]
        for what, value in {
            "CR": f"a\r{EVIL}",
            "LF": f"a\n{EVIL}",
            "CR LF": f"a\r\n{EVIL}",
            "CR LF and a blank": f"a\r\n {EVIL}",
            "NUL": "a\x00b",
            "a blank": f"a {EVIL}",
            "NEL": f"a\x85{EVIL}",
            "`\\r\\n`": "a\\r\\nb",
        }.items():
            kept = {"LF": "a", "CR LF": "a", "`\\r\\n`": value}.get(what)
            asked = Asked(BODY, labels={name: kept}) if kept else ONE
            yield f"`{name}`, {what}", post(f"{name}: {value}"), [asked]
        yield f"`{name}`, twice", post(f"{name}: a", f"{name}: b"), [ONE]
    good = f"00-{TRACE}-{SPAN}-01"
    for what, value, trace in [
        ("whole", good, TRACE),
        ("escaped CR LF", f"{good}%0d%0ax-evil:1", ""),
        ("CR", f"{good}\r{EVIL}", ""),
        ("LF", f"{good}\n{EVIL}", TRACE),
        ("NUL", f"{good}\x00", ""),
        ("in capitals", good.upper(), ""),
    ]:
        yield (
            f"`traceparent`, {what}",
            post(TO_VLLM, f"traceparent: {value}"),
            [Asked(BODY, provider="vllm", trace=trace)],
        )
    for what, value, via in [
        ("of another gateway", "1.1 ogw-abc", ["abc"]),
        ("escaped CR LF", "1.1 ogw-abc%0d%0ax-evil:1", []),
        ("CR", f"1.1 ogw-abc\r{EVIL}", []),
        ("LF", f"1.1 ogw-abc\n{EVIL}", ["abc"]),
        ("NUL", "1.1 ogw-abc\x00", []),
        ("a vertical tab", "1.1 ogw-abc\x0bx, 1.1 ogw-d", ["abc", "d"]),
        ("a comment", "1.1 ogw-abc (\x85 x-evil: 1)", ["abc"]),
    ]:
        yield f"`via`, {what}", post(f"via: {value}"), [Asked(BODY, via=via)]


MODELS = {
    "`../x`": "../x",
    "`..`": "..",
    "`a?b`": "a?b",
    "`a/b`": "a/b",
    "`a#b`": "a#b",
    "`a%0d%0aX: y`": "a%0d%0aX: y",
    "`a%2fb`": "a%2fb",
    "`a b`": "a b",
    "`a\\b`": "a\\\\b",
    "CR LF": "a\\r\\nX: y",
    "NUL": "a\\u0000",
    "`@`": "a@evil.test",
    "latin-1": "a\\u00e9",
    "a full stop that is none": "\\uff0e\\uff0e",
}


def models() -> Iterator[Row]:
    yield (
        "a good one",
        post('x-opengateway-failover-sequence: ["azure"]', body=question(model="dep-1")),
        [Asked(question(model="dep-1"), provider="azure", deployment="dep-1")],
    )
    for name, model in MODELS.items():
        body = question(model=model)
        yield f"{name} in the body", post('x-opengateway-failover-sequence: ["azure"]', body=body), []
        yield f"{name} in the sequence", post(f'x-opengateway-failover-sequence: ["azure/{model}"]'), []
    body = question(model=ENCODED)
    yield "`a%0d%0ax-evil:1` in the body, for a provider that reads it there", post(body=body), [Asked(body)]


GROUPS: Mapping[str, Iterator[Row]] = {
    "Two ways to say where a body ends": both_framings(),
    "Transfer-Encoding": codings(),
    "Content-Length, with a request behind": lengths(),
    "A request as the body of one whose body nobody reads (CL.0)": unread(),
    "Chunks": chunk_sizes(),
    "Trailers, with a request behind": trailers(),
    "Header lines, with a request behind": lines(),
    "The target, with a request behind": targets(),
    "The request line, with a request behind": versions(),
    "Behind a good request": behind(),
    "Connection and Upgrade, with a request behind": options(),
    "Headers that are passed on": labels(),
    "The model as a deployment of Azure's, and so in the URL": models(),
}

PAYLOADS: Sequence[Payload] = [Payload(group, *row) for group, rows in GROUPS.items() for row in rows]
