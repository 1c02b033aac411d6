"""What is served and measured: an echo, bare relays, and the gateway. Each is made by a factory that uvicorn calls.

The bare relays are the floor: the same server, the same request to the provider, over the same engine or what one
would take by hand, and a watcher for the caller's leaving; nothing is checked, judged, limited or counted. They are no
code to learn from.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import ssl
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from contextlib import suppress
from typing import Any, cast

from ogw_asgi import Breaker, Gateway, OpenAICompatible
from ogw_asgi._values import UpstreamRequest
from ogw_asgi.telemetry import Event, Sink
from ogw_asgi.transports._httpcore import OwnHTTPXTransport
from ogw_asgi.transports.base import Transport
from ogw_asgi.transports.httpx import load_library

from .upstream import COMPLETION

PORT = "OGW_BENCH_UPSTREAM"
ENGINE = "OGW_BENCH_ENGINE"
REFUSING = "OGW_BENCH_REFUSING"
NO_BREAKER = "OGW_BENCH_NO_BREAKER"
SINKS = "OGW_BENCH_SINKS"
RARELY = "OGW_BENCH_GC"

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_HEAD_BYTES = 64 << 10
_HEADERS = [
    (b"content-type", b"application/json"),
    (b"accept-encoding", b"identity"),
    (b"user-agent", b"bench"),
    (b"authorization", b"Bearer sk-bench"),
]
_KEPT = (b"content-type", b"content-length")


async def _read(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def echo() -> App:
    """The server's floor: the body is read, and an answer written that was there all the time."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(COMPLETION))]

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        await _read(receive)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": COMPLETION})

    return app


def _transport(engine: str) -> Transport:
    if engine == "native":
        from ogw_asgi.transports.native import NativeTransport

        return NativeTransport(_NO_AUTHORITIES, head_bytes=_HEAD_BYTES)
    return OwnHTTPXTransport(load_library(engine), _NO_AUTHORITIES, head_bytes=_HEAD_BYTES)


def bare(make: Callable[[], Transport] | None = None) -> App:
    """The engine's floor."""
    url = f"http://127.0.0.1:{os.environ[PORT]}/v1/chat/completions"
    transport: Transport | None = None

    async def relay(body: bytes, send: Send) -> None:
        nonlocal transport
        if transport is None:
            transport = make() if make is not None else _transport(os.environ[ENGINE])
        response = await transport.open(UpstreamRequest(url=url, headers=_HEADERS, body=body, connect_s=3.0))
        try:
            kept = [header for header in response.headers if header[0] in _KEPT]
            await send({"type": "http.response.start", "status": response.status, "headers": kept})
            async for chunk in response.chunks():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await response.aclose()

    return _watching(relay)


def _watching(relay: Callable[[bytes, Send], Coroutine[None, None, None]]) -> App:
    """The relay as an app, cancelled when its caller leaves."""

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        body = await _read(receive)
        work = asyncio.ensure_future(relay(body, send))
        gone = asyncio.ensure_future(receive())
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        for task in (work, gone):
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        if not work.cancelled():
            work.result()

    return app


def client() -> App:
    """What one would write by hand with httpx or httpx2: a relay on the library's own client, and nothing of ours."""
    library = load_library(os.environ[ENGINE])
    url = f"http://127.0.0.1:{os.environ[PORT]}/v1/chat/completions"
    limits = library.Limits(max_connections=None, max_keepalive_connections=None)
    asker = library.AsyncClient(timeout=None, limits=limits, trust_env=False, verify=_NO_AUTHORITIES)

    async def relay(body: bytes, send: Send) -> None:
        async with asker.stream("POST", url, headers=_HEADERS, content=body) as response:
            kept = [header for header in response.headers.raw if header[0].lower() in _KEPT]
            await send({"type": "http.response.start", "status": response.status_code, "headers": kept})
            async for chunk in response.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    return _watching(relay)


def gateway() -> App:
    """Ours, as a user would have it: breaker, cooldown, log sink and request ids are what it always has."""
    if os.environ.get(RARELY):
        # The README's advice for many requests at once: what is here by now stays, and all is looked through rarely.
        gc.collect()
        gc.freeze()
        gc.set_threshold(700, 10, 1000)
    port = os.environ[PORT]
    refusing = os.environ[REFUSING]
    breaker = Breaker(failures=1_000_000_000) if os.environ.get(NO_BREAKER) else Breaker()
    return cast(
        App,
        Gateway(
            providers=[
                OpenAICompatible("good", base_url=f"http://127.0.0.1:{port}/v1", api_key="sk-bench"),
                OpenAICompatible("other", base_url=f"http://127.0.0.1:{port}/v1", api_key="sk-bench"),
                OpenAICompatible("refusing", base_url=f"http://127.0.0.1:{refusing}/v1", api_key="sk-bench"),
            ],
            failover_sequence=("good",),
            engine=cast(Any, os.environ[ENGINE]),
            breaker=breaker,
            sinks=_sinks(os.environ.get(SINKS, "")),
            status=os.environ.get(SINKS) == "status",
        ),
    )


class _Deaf:
    """What it takes to tell a sink, whatever that does with it."""

    def on_event(self, event: Event, /) -> None:
        pass


def _sinks(kind: str) -> list[Sink]:
    match kind:
        case "sink":
            return [_Deaf()]
        case "prometheus":
            from ogw_asgi.telemetry.prometheus import Prometheus

            return [Prometheus()]
        case "otel-api" | "otel-sdk":
            from ogw_asgi.telemetry.opentelemetry import OpenTelemetry

            if kind == "otel-api":
                return [OpenTelemetry()]
            from opentelemetry.sdk.metrics import MeterProvider
            from opentelemetry.sdk.metrics.export import InMemoryMetricReader
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

            class Nowhere(SpanExporter):
                def export(self, spans: Any) -> SpanExportResult:
                    return SpanExportResult.SUCCESS

            tracers = TracerProvider()
            tracers.add_span_processor(BatchSpanProcessor(Nowhere()))
            meters = MeterProvider(metric_readers=[InMemoryMetricReader()])
            return [OpenTelemetry(tracer_provider=tracers, meter_provider=meters)]
    return []


def settings(
    engine: str, *, upstream: int, refusing: int, breaker: bool = True, sinks: str = "", rarely: bool = False
) -> dict[str, str]:
    """The environment that the factories above read."""
    made = {PORT: str(upstream), ENGINE: engine, REFUSING: str(refusing), SINKS: sinks}
    if rarely:
        made[RARELY] = "1"
    return made if breaker else {**made, NO_BREAKER: "1"}


def sequence(*targets: str) -> tuple[str, str]:
    return ("x-opengateway-failover-sequence", json.dumps(targets))
