"""Snapshots as they are found: all is well, an outage under failover, nothing yet, hostile names, a crowd."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Final

from ogw_asgi._status.snapshot import (
    Counts,
    Failover,
    LastError,
    Line,
    Overhead,
    Percentiles,
    Requests,
    Segment,
    ShownSetting,
    Snapshot,
    Tile,
    Warned,
)

AT_S: Final = 1_796_040_000.0

SETTINGS: Final = (
    ShownSetting("path", "/v1", "default"),
    ShownSetting("default_sequence", "openai, azure, vllm", "OGW_DEFAULT_SEQUENCE"),
    ShownSetting("timeouts.first_chunk_s", "8", "OGW_TIMEOUT_MS"),
    ShownSetting("timeouts.connect_s", "2", "default"),
    ShownSetting("breaker.failures", "5", "code"),
    ShownSetting("breaker.open_s", "15", "code"),
    ShownSetting("providers.openai.api_key", "set (51 characters)", "OPENAI_API_KEY"),
    ShownSetting("providers.azure.base_url", "https://contoso.openai.azure.com", "OGW_AZURE_BASE_URL"),
    ShownSetting("allowed_endpoints", "10.1.0.0/16:8000", "OGW_ALLOWED_ENDPOINTS"),
)

_IDS = random.Random(10)


def _id() -> str:
    return f"{_IDS.getrandbits(64):016x}"


def attempt(
    provider: str,
    start_ms: float,
    duration_ms: float,
    label: str = "200",
    *,
    model: str = "gpt-4o",
    reason: str = "first",
    end: str = "complete",
    first_chunk_ms: float | None = None,
) -> Segment:
    return Segment(provider, model, reason, start_ms, duration_ms, first_chunk_ms, end, label)  # type: ignore[arg-type]


def _plain(ago_s: float, ms: float, first_ms: float | None, provider: str = "openai", out: int = 180) -> Line:
    segment = attempt(provider, 1, ms - 2, first_chunk_ms=first_ms)
    return Line(
        AT_S - ago_s, _id(), "gpt-4o", first_ms is not None, ("openai", "azure", "vllm"), (segment,), "ok", 200,
        provider, ms, 400 + out, out,
    )  # fmt: skip


def _calm(count: int, step_s: float = 2.3) -> tuple[Line, ...]:
    chance = random.Random(7)
    lines = []
    for place in range(count):
        stream = chance.random() < 0.7
        ms = chance.lognormvariate(7.6, 0.7)
        first_ms = min(ms / 2, chance.lognormvariate(5.8, 0.3)) if stream else None
        lines.append(_plain(place * step_s + 1, ms, first_ms, out=int(ms / 9)))
    return tuple(lines)


def _sparkline(median_s: float, spread: float = 0.2, seed: int = 1) -> tuple[float | None, ...]:
    chance = random.Random(seed)
    return tuple(median_s * chance.lognormvariate(0, spread) for _ in range(24))


_OPENAI = Tile(
    "openai", "openai", "gpt-4o", where="api.openai.com:443", health="ok", in_flight=3,
    one_minute=Counts(ok=58, rate_limited=1), five_minutes=Counts(ok=291, rate_limited=3, refused=1, unfinished=2),
    first_chunk=Percentiles(203, 0.34, 0.81), answer=Percentiles(88, 1.9, 4.2), sparkline=_sparkline(0.34),
    last_error=LastError("429", "rate_limited", 41.0),
)  # fmt: skip
_AZURE = Tile(
    "azure", "azure", "gpt-4o", where="contoso.openai.azure.com:443", health="ok", in_flight=1,
    one_minute=Counts(ok=12), five_minutes=Counts(ok=44, server_error=1), first_chunk=Percentiles(44, 0.41, 0.98),
    sparkline=tuple(None if place % 7 == 3 else one for place, one in enumerate(_sparkline(0.41, 0.3, 2))),
    last_error=LastError("503", "server_error", 231.0),
)  # fmt: skip
_VLLM = Tile(
    "vllm", "vllm", "llama-3.3-70b", where="10.1.4.20:8000", health="ok", one_minute=Counts(ok=4),
    five_minutes=Counts(ok=19), first_chunk=Percentiles(19, 0.12, 0.2), sparkline=_sparkline(0.12, 0.15, 3),
)  # fmt: skip

ALL_WELL: Final = Snapshot(
    at_s=AT_S, number=512, process=4242, version="0.1.0", engine="native (httptools 0.6.4)", loop="asyncio (uvloop)",
    uptime_s=93_784.0, in_flight=4, sharing="own",
    requests=Requests(
        ended=358, ok=354, after_failover=4, exhausted=0, broken=0, refused=1, left=3, rejected=2, per_second=1.3
    ),
    targets=(_OPENAI, _AZURE, _VLLM),
    failovers=(Failover("openai", "azure", 4, 97, (("429", 3), ("503", 1))),),
    running=(
        Line(
            AT_S - 4.2, _id(), "gpt-4o", True, ("openai", "azure", "vllm"),
            (attempt("openai", 1, 4200, "", end="running", first_chunk_ms=310),), "running", None, None, 4201,
        ),
        Line(
            AT_S - 0.3, _id(), "gpt-4o", False, ("openai", "azure", "vllm"),
            (attempt("openai", 1, 298, "", end="running"),), "running", None, None, 299,
        ),
    ),
    recent=_calm(50), overhead=Overhead(Percentiles(358, 0.00042, 0.0013), Percentiles(358, 1.9, 6.3)),
    settings=SETTINGS, warnings=(),
)  # fmt: skip


def _failed_over(ago_s: float, place: int) -> Line:
    """One of several ways in which an outage of the first shows."""
    sequence = ("openai", "azure", "vllm")
    ways: tuple[tuple[tuple[Segment, ...], str, int | None, str | None], ...] = (
        (
            (
                attempt("openai", 1, 88, "503", end="failed"),
                attempt("azure", 90, 2900, reason="failover", first_chunk_ms=430),
            ), "ok", 200, "azure",
        ),
        (
            (
                attempt("openai", 1, 8000, "timeout", end="failed"),
                attempt("azure", 8003, 61, "429", reason="failover", end="failed"),
                attempt("vllm", 8070, 1300, model="llama-3.3-70b", reason="failover", first_chunk_ms=120),
            ), "ok", 200, "vllm",
        ),
        (
            (
                attempt("azure", 1, 58, "429", end="failed"),
                attempt("azure", 900, 3100, reason="retry", first_chunk_ms=500),
            ), "ok", 200, "azure",
        ),
        (
            (
                attempt("azure", 1, 1700, "cancelled", end="cancelled"),
                attempt("vllm", 800, 2400, model="llama-3.3-70b", reason="hedge", first_chunk_ms=110),
            ), "ok", 200, "vllm",
        ),
        (
            (
                attempt("openai", 1, 90, "502", end="failed"),
                attempt("azure", 92, 70, "429", reason="failover", end="failed"),
                attempt("vllm", 165, 3, "connect_error", model="llama-3.3-70b", reason="failover", end="failed"),
            ), "failed", 503, None,
        ),
        (
            (
                attempt("azure", 1, 6400, "200", end="broken", first_chunk_ms=380),
                attempt("vllm", 6405, 2000, model="llama-3.3-70b", reason="continue", first_chunk_ms=140),
            ), "ok", 200, "azure",
        ),
        ((attempt("azure", 1, 12_500, "200", end="broken", first_chunk_ms=700),), "broken", 200, "azure"),
        ((attempt("azure", 1, 2100, "left", end="left", first_chunk_ms=450),), "left", None, None),
        ((attempt("azure", 1, 140, "400", end="failed"),), "refused", 400, "azure"),
        ((attempt("azure", 1, 2400, first_chunk_ms=420),), "ok", 200, "azure"),
        ((attempt("azure", 1, 31_000, first_chunk_ms=440),), "ok", 200, "azure"),
    )  # fmt: skip
    segments, outcome, status, provider = ways[place % len(ways)]
    last = max(one.start_ms + one.duration_ms for one in segments)
    used = (812, 231) if outcome == "ok" else (None, None)
    return Line(
        AT_S - ago_s, _id(), "gpt-4o", True, sequence, segments, outcome, status, provider, last + 1, *used,  # type: ignore[arg-type]
    )  # fmt: skip


OUTAGE: Final = replace(
    ALL_WELL,
    number=733,
    in_flight=13,
    sharing="lost",
    requests=Requests(
        ended=412, ok=398, after_failover=187, exhausted=5, broken=2, refused=3, left=4, rejected=0, per_second=1.6
    ),
    targets=(
        replace(
            _OPENAI, health="open", circuit="open", circuit_of="origin", probe_in_s=4.2, in_flight=0,
            one_minute=Counts(server_error=5, timeout=2),
            five_minutes=Counts(ok=130, rate_limited=2, server_error=61, timeout=17, other=3, unfinished=2),
            first_chunk=Percentiles(130, 0.36, 7.9), answer=None,
            sparkline=(*_sparkline(0.5, 0.5, 4)[:15], *[None] * 9), last_error=LastError("503", "server_error", 10.8),
        ),
        replace(
            _AZURE, health="cooling", cooling_s=17.0, in_flight=4, one_minute=Counts(ok=44, rate_limited=9),
            five_minutes=Counts(ok=181, rate_limited=31, unfinished=2), sparkline=_sparkline(0.6, 0.4, 5),
            first_chunk=Percentiles(181, 0.52, 2.4), last_error=LastError("429", "rate_limited", 1.2),
        ),
        replace(
            _VLLM, health="recovering", one_minute=Counts(ok=31, other=2), five_minutes=Counts(ok=87, other=2),
            first_chunk=Percentiles(87, 0.13, 0.31), last_error=LastError("connect_error", "connect_error", 38.0),
            in_flight=9,
        ),
        Tile("vllm", "vllm", named=True, health="ok", one_minute=Counts(ok=1), five_minutes=Counts(ok=6)),
        Tile("backup", "compatible", health="idle", where="llm.example:8443"),
    ),
    failovers=(
        Failover("openai", "azure", 141, 238, (("503", 88), ("timeout", 31), ("open", 22))),
        Failover("openai", "vllm", 12, 12, (("open", 12),)),
        Failover("azure", "vllm", 34, 41, (("429", 31), ("hedge", 3))),
        Failover("vllm", "openai", 0, 3, ()),
    ),
    running=tuple(
        Line(
            AT_S - 9.0 + place, _id(), "gpt-4o", True, ("openai", "azure", "vllm"),
            (
                attempt("openai", 1, 90, "503", end="failed"),
                attempt(
                    "azure", 93, 8900 - place * 900, "", reason="failover", end="running",
                    first_chunk_ms=None if place % 3 else 700,
                ),
            ), "running", None, None, 9000 - place * 900,
        )
        for place in range(10)
    ),
    recent=tuple(_failed_over(place * 1.4 + 0.8, place) for place in range(50)),
    overhead=Overhead(Percentiles(412, 0.00051, 0.0021), Percentiles(412, 2.4, 9.9)),
    warnings=(
        Warned(
            "lifespan", "the host app does not run the gateway's lifespan: connections are not closed at its end",
            "app = FastAPI(lifespan=gateway.lifespan)",
        ),
        Warned("workers", "4 workers, and no shared state: each finds out alone who is down", 'Gateway(redis_url="redis://...")'),
    ),
)  # fmt: skip

NOTHING_YET: Final = replace(
    ALL_WELL,
    number=1,
    in_flight=0,
    uptime_s=3.4,
    requests=Requests(
        ended=0, ok=0, after_failover=0, exhausted=0, broken=0, refused=0, left=0, rejected=0, per_second=0.0
    ),
    targets=(
        Tile("openai", "openai", where="api.openai.com:443"),
        Tile("azure", "azure", where="contoso.openai.azure.com:443"),
        Tile("vllm", "vllm", named=True),
    ),
    failovers=(),
    running=(),
    recent=(),
    overhead=Overhead(None, None),
)

NAMES: Final = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\u202egnp.exe\u202c and \u2066more\u2069",
    "\x1b[2J\x1b]0;owned\x07\r\n\x9b31m",
    "w" * 200,
    "many words " * 18 + "end",
    "\u6a21\u578b" * 60,
    "\u05de\u05d5\u05d3\u05dc \u0646\u0645\u0648\u0630\u062c",
    "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f" * 12,
    "half\ud83d pair\udc00",
    "</style></title></textarea>--><!--",
    "&lt;b&gt; &amp; ]]> ${1} {{7*7}}",
)
"""What callers may call a model."""

HOSTILE: Final = replace(
    OUTAGE,
    targets=tuple(
        replace(OUTAGE.targets[place % 4], provider=f"p{place}", model=name, named=False)
        for place, name in enumerate(NAMES)
    ),
    running=(),
    recent=tuple(
        replace(
            line, model=name, request_id=name,
            segments=tuple(replace(one, model=name) for one in line.segments),
        )
        for name, line in zip(NAMES, OUTAGE.recent, strict=False)
    ),
    in_flight=0,
)  # fmt: skip

CROWD: Final = replace(
    OUTAGE,
    targets=tuple(
        replace(
            (_OPENAI, _AZURE, _VLLM, *OUTAGE.targets[:2], OUTAGE.targets[4])[(place * place + place // 5) % 6],
            provider=f"{('openai', 'azure', 'vllm', 'mistral')[place % 4]}-{place // 4:02}",
        )
        for place in range(64)
    ),
    failovers=tuple(
        Failover(
            f"{('openai', 'azure')[place % 2]}-{place // 3:02}", f"vllm-{place % 13:02}", place * 7 % 50,
            place * 9 + 50, (("503", place * 7 % 50),) if place * 7 % 50 else (),
        )
        for place in range(40)
    ),
)  # fmt: skip

EXAMPLES: Final = {
    "all_well": ALL_WELL,
    "outage": OUTAGE,
    "nothing_yet": NOTHING_YET,
    "hostile": HOSTILE,
    "crowd": CROWD,
}
