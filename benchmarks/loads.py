"""What an engine is made to do while its CPU is measured, and the proof that it did it.

Three loads, each by 32 tasks at once over connections that are open already. An answer that is not the whole, right one
raises WrongAnswer: a benchmark that measures errors is worse than none.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass

import anyio

from ogw_asgi._values import CallOptions, UpstreamRequest
from ogw_asgi._version import __version__
from ogw_asgi._wire.forwarding import traceparent, upstream_headers
from ogw_asgi._wire.sse import SSEDecoder
from ogw_asgi.transports.base import Transport, UpstreamResponse

from .upstream import COMPLETION, EVENT, Upstream

CONNECTIONS = 32
LIMIT_S = 60.0
"""For one engine under one load: what hangs is an error, not a result."""

ALONE = 0.9
"""The share of a drip's chunks that have to arrive alone, or it was a burst."""

BUSY = 0.8
"""The share of a drip's time that the client may be busy: beyond it chunks queue up, and share what they cost."""

_BODY = b'{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "%b"}]}' % (b"Say it once more. " * 54)


class WrongAnswer(Exception):
    """An engine did not do what it was measured at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """CPU of this process per request or per chunk; how many pieces the engine made of that many chunks."""

    cpu_us: float
    pieces_per_unit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One column. `events` is per stream; a plain load has none, and makes `requests` requests per task instead.

    The load is repeated until it has cost `enough_s` of CPU, or a fast engine's sample would be all noise.
    """

    name: str
    unit: str
    path: str
    enough_s: float
    requests: int = 1
    events: int = 0

    @property
    def units(self) -> int:
        return CONNECTIONS * (self.events or self.requests)


def loads(*, quick: bool, drip_pause_ms: int) -> list[Load]:
    enough_s, drip = (0.05, 15) if quick else (0.2, 30)
    return [
        Load(name="plain", unit="request", path="/plain", requests=8, enough_s=enough_s),
        Load(name="burst", unit="burst chunk", path="/burst?n=500", events=500, enough_s=enough_s / 2),
        Load(name="drip", unit="drip chunk", path=f"/drip?n={drip}&pause_ms={drip_pause_ms}", events=drip, enough_s=0),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cost:
    cpu_s: float
    wall_s: float
    pieces: int


async def measure(transport: Transport, load: Load, upstream: Upstream, *, with_sse: bool) -> Sample:
    """One sample, over connections that are opened before the clock starts."""
    costs: list[_Cost] = []
    with anyio.fail_after(LIMIT_S):
        await _post_all(transport, _requests(upstream.url + "/plain", 2))
        while not costs or sum(cost.cpu_s for cost in costs) < load.enough_s:
            if load.events:
                costs.append(await _cost_of_streams(transport, load, upstream, with_sse=with_sse))
            else:
                costs.append(await _cost_of_requests(transport, load, upstream))
    units = load.units * len(costs)
    cpu_s = sum(cost.cpu_s for cost in costs)
    sample = Sample(cpu_us=cpu_s * 1e6 / units, pieces_per_unit=sum(cost.pieces for cost in costs) / units)
    busy, merged = cpu_s / sum(cost.wall_s for cost in costs), 1 - sample.pieces_per_unit
    if load.name == "drip" and (busy > BUSY or merged > 1 - ALONE):
        raise WrongAnswer(f"no drip: client busy {busy:.0%}, chunks merged {merged:.0%}; raise --drip-pause-ms")
    return sample


async def _cost_of_requests(transport: Transport, load: Load, upstream: Upstream) -> _Cost:
    requests = _requests(upstream.url + load.path, load.requests)
    gc.collect()
    started_s, start_s = time.perf_counter(), time.process_time()
    pieces = await _post_all(transport, requests)
    return _Cost(cpu_s=time.process_time() - start_s, wall_s=time.perf_counter() - started_s, pieces=pieces)


async def _cost_of_streams(transport: Transport, load: Load, upstream: Upstream, *, with_sse: bool) -> _Cost:
    """The clock starts when every head has come and not one chunk has: a chunk's price holds none of the request's."""
    responses: list[UpstreamResponse] = []
    pieces: list[int] = []

    async def open_stream(request: UpstreamRequest) -> None:
        responses.append(await transport.open(request))

    async def read_stream(response: UpstreamResponse) -> None:
        decoder = SSEDecoder(1 << 20) if with_sse else None
        pieces.append(await _read_events(response, load.events, decoder))

    async with anyio.create_task_group() as tasks:
        for [request] in _requests(upstream.url + load.path, 1):
            tasks.start_soon(open_stream, request)
    gc.collect()
    started_s, start_s = time.perf_counter(), time.process_time()
    upstream.release()
    async with anyio.create_task_group() as tasks:
        for response in responses:
            tasks.start_soon(read_stream, response)
    return _Cost(cpu_s=time.process_time() - start_s, wall_s=time.perf_counter() - started_s, pieces=sum(pieces))


async def _read_events(response: UpstreamResponse, events: int, decoder: SSEDecoder | None) -> int:
    received = pieces = decoded = 0
    try:
        async for chunk in response.chunks():
            received += len(chunk)
            pieces += 1
            if decoder is not None:
                decoded += len(decoder.feed(chunk))
    finally:
        await response.aclose()
    if response.status != 200 or received != events * len(EVENT):
        raise WrongAnswer(f"status {response.status}, {received} bytes of {events * len(EVENT)}")
    if decoder is not None and decoded != events:
        raise WrongAnswer(f"{decoded} events of {events}")
    return pieces


async def _post_all(transport: Transport, requests: list[list[UpstreamRequest]]) -> int:
    """Each task its own requests, one after the other. The pieces that the answers came in."""
    pieces: list[int] = []

    async def post(mine: list[UpstreamRequest]) -> None:
        pieces.extend([await _post(transport, request) for request in mine])

    async with anyio.create_task_group() as tasks:
        for mine in requests:
            tasks.start_soon(post, mine)
    return sum(pieces)


async def _post(transport: Transport, request: UpstreamRequest) -> int:
    response = await transport.open(request)
    try:
        chunks = [chunk async for chunk in response.chunks()]
    finally:
        await response.aclose()
    body = b"".join(chunks)
    if response.status != 200 or body != COMPLETION:
        raise WrongAnswer(f"status {response.status}, {len(body)} bytes of {len(COMPLETION)}")
    return len(chunks)


def _requests(url: str, per_task: int) -> list[list[UpstreamRequest]]:
    """What the gateway would send, each with an id of its own; made before the clock starts."""

    def request(number: int) -> UpstreamRequest:
        options = CallOptions(request_id=f"req-{number:032x}", trace_id=f"{number + 1:032x}")
        headers = upstream_headers(
            options,
            gateway_id="benchmark",
            version=__version__,
            stream=not url.endswith("/plain"),
            traceparent=traceparent(f"{number + 1:032x}", f"{number + 1:016x}"),
        )
        authorization = (b"authorization", b"Bearer sk-" + b"0" * 48)
        return UpstreamRequest(url=url, headers=[*headers, authorization], body=_BODY, connect_s=3.0)

    return [[request(task * per_task + index) for index in range(per_task)] for task in range(CONNECTIONS)]
