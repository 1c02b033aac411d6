"""Who is measured: how each is started, how it is asked, and what is said when it is not there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from . import apps
from .asked import BURST, DRIP, PAUSE_MS
from .process import Server, await_port, free_port

PEERS = Path(os.environ.get("OGW_BENCH_PEERS", Path.home() / ".cache" / "ogw_asgi-peers"))
"""Where `benchmarks/install-peers` puts the environments of other gateways."""

MODELS = ("plain", f"burst-{BURST}", f"drip-{DRIP}-{PAUSE_MS}")
"""What the cases ask for, for a peer that must be told beforehand."""


class Absent(Exception):
    """It cannot be measured here, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a proxy is started with.

    Attributes:
        refusing: a port on which nobody listens.
        core: the one that a proxy has for itself; none where nothing can be pinned.
        cores: all of them, for what has several processes.
    """

    provider: Server
    refusing: int
    core: Sequence[int]
    cores: Sequence[int]

    @property
    def upstream(self) -> int:
        return self.provider.port


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """`start` raises Absent.

    `peer`: another gateway. It may write anew what the provider said, and is left out if it cannot do what is asked;
    what comes through any of the others is compared, and a wrong answer ends the run.
    """

    name: str
    about: str
    start: Callable[[Place], Server]
    path: str = "/chat/completions"
    peer: bool = False

    def request(self, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> bytes:
        lines = [
            f"POST {self.path} HTTP/1.1",
            "host: 127.0.0.1",
            "content-type: application/json",
            "authorization: Bearer sk-bench",
            *(f"{name}: {value}" for name, value in headers),
            f"content-length: {len(body)}",
        ]
        return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def _uvicorn(factory: str, environment: Mapping[str, str], place: Place, *, workers: int | None = None) -> Server:
    # Not on a socket of ours: uvicorn takes an inherited one for a Unix socket, and leaves Nagle's algorithm on.
    port = free_port()
    command = [
        *(sys.executable, "-m", "uvicorn", "--factory", f"benchmarks.speed.apps:{factory}"),
        *("--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop", "--http", "httptools"),
        *("--no-access-log", "--log-level", "warning", "--backlog", "2048"),
        *("--workers", str(workers or 1)),
    ]
    return Server(command, port, cores=place.core if workers is None else place.cores, environment=environment)


def _granian(factory: str, environment: Mapping[str, str], place: Place, *, workers: int) -> Server:
    if find_spec("granian") is None:
        raise Absent("granian is not installed")
    port = free_port()
    command = [
        *(sys.executable, "-m", "granian", "--factory", f"benchmarks.speed.apps:{factory}", "--interface", "asgi"),
        *("--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop", "--http", "1", "--no-ws"),
        *("--no-access-log", "--log-level", "error", "--backlog", "2048", "--workers", str(workers)),
    ]
    return Server(command, port, cores=place.cores, environment=environment)


def _ours(engine: str, *, breaker: bool = True, sinks: str = "", rarely: bool = False) -> Callable[[Place], Server]:
    def start(place: Place) -> Server:
        _needs(engine)
        if sinks in _LISTENING:
            _needs(_LISTENING[sinks])
        environment = apps.settings(
            engine, upstream=place.upstream, refusing=place.refusing, breaker=breaker, sinks=sinks, rarely=rarely
        )
        return _uvicorn("gateway", environment, place)

    return start


def _workers(server: Callable[..., Server], count: int) -> Callable[[Place], Server]:
    """Ours, several times; not pinned, for they would share a core."""

    def start(place: Place) -> Server:
        environment = apps.settings("native", upstream=place.upstream, refusing=place.refusing)
        return server("gateway", environment, place, workers=count)

    return start


def _relay(engine: str, factory: str) -> Callable[[Place], Server]:
    def start(place: Place) -> Server:
        _needs(engine)
        environment = apps.settings(engine, upstream=place.upstream, refusing=place.refusing)
        return _uvicorn(factory, environment, place)

    return start


_LISTENING = {"prometheus": "prometheus_client", "otel-api": "opentelemetry", "otel-sdk": "opentelemetry.sdk"}
"""The sinks that need a package of their own."""


def _needs(engine: str) -> None:
    module = {"native": "httptools"}.get(engine, engine)
    try:
        found = find_spec(module)
    except ModuleNotFoundError:  # nor is the package that it would be in
        found = None
    if found is None:
        raise Absent(f"{module} is not installed")


def _peer(name: str, program: str) -> str:
    found = PEERS / name / "bin" / program
    if not found.exists():
        raise Absent(f"not installed: benchmarks/install-peers {name}")
    return str(found)


def _litellm(place: Place) -> Server:
    program, port = _peer("litellm", "litellm"), free_port()
    config = PEERS / "litellm" / f"config-{port}.yaml"
    model = {
        "model_name": "*",
        "litellm_params": {
            "model": "openai/*",
            "api_base": f"http://127.0.0.1:{place.upstream}/v1",
            "api_key": "sk-bench",
        },
    }
    settings = {
        "model_list": [model],
        "litellm_settings": {"telemetry": False},
        "general_settings": {"master_key": "sk-bench"},
    }
    # YAML takes JSON.
    config.write_text(json.dumps(settings), encoding="utf-8")
    command = [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    environment = {
        "LITELLM_LOG": "ERROR",
        "NO_DOCS": "True",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # none is fetched from the network before it listens
    }
    return Server(command, port, cores=place.core, environment=environment)


def _rolter(place: Place) -> Server:
    program, port = _peer("rolter", "rolter"), free_port()
    provider = f'name = "good"\nkind = "openai_compatible"\napi_base = "http://127.0.0.1:{place.upstream}"'
    parts = [f'[server]\nhost = "127.0.0.1"\nport = {port}', f"[[providers.readonly]]\n{provider}"]
    for model in MODELS:
        parts.append(f'[[routes]]\nmodel = "{model}"\nstrategy = "round_robin"')
        parts.append(f'[[routes.targets]]\nprovider = "good"\nmodel = "{model}"')
    config = PEERS / "rolter" / "bench.toml"
    config.write_text("\n".join([*parts, ""]), encoding="utf-8")
    command = [program, "gateway", "--config", str(config)]
    return Server(command, port, cores=place.core, environment={"RUST_LOG": "error"})


def _ferrogw(place: Place) -> Server:
    program, port = _peer("ferrogw", "ferrogw"), free_port()
    config = PEERS / "ferrogw" / "bench.yaml"
    target = {"virtual_key": "openai", "models": MODELS}  # its catalogue has none of them
    # YAML takes JSON.
    config.write_text(json.dumps({"strategy": {"mode": "single"}, "targets": [target]}), encoding="utf-8")
    environment = {
        "GATEWAY_CONFIG": str(config),
        "PORT": str(port),
        "OPENAI_API_KEY": "sk-bench",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{place.upstream}",
        "LOG_LEVEL": "error",
        "MASTER_KEY": "sk-bench",
        "RATE_LIMIT_RPS": "0",  # unlimited; without it, 20 a second from one address
        "FERRO_MODEL_CATALOG_TIMEOUT": "0",  # none is fetched from the network before it listens
        "GOMAXPROCS": "1",
    }
    return Server([program, "serve"], port, cores=place.core, environment=environment)


PROXIES: Mapping[str, Proxy] = {
    proxy.name: proxy
    for proxy in (
        Proxy(name="direct", about="the provider itself", start=lambda p: p.provider, path="/v1/chat/completions"),
        Proxy(name="echo", about="ASGI echo on uvicorn: the server's floor", start=lambda p: _uvicorn("echo", {}, p)),
        Proxy(name="bare-native", about="bare relay on the native engine: the floor", start=_relay("native", "bare")),
        Proxy(name="ogw", about="ogw_asgi, native engine", start=_ours("native")),
        Proxy(name="client-httpx2", about="bare relay on httpx2's own client", start=_relay("httpx2", "client")),
        Proxy(name="bare-httpx2", about="bare relay on our engine over httpx2", start=_relay("httpx2", "bare")),
        Proxy(name="ogw-httpx2", about="ogw_asgi on httpx2", start=_ours("httpx2")),
        Proxy(name="client-httpx", about="bare relay on httpx's own client", start=_relay("httpx", "client")),
        Proxy(name="bare-httpx", about="bare relay on our engine over httpx", start=_relay("httpx", "bare")),
        Proxy(name="ogw-httpx", about="ogw_asgi on httpx", start=_ours("httpx")),
        Proxy(
            name="ogw-no-breaker",
            about="ogw_asgi whose breaker never opens",
            start=_ours("native", breaker=False),
        ),
        Proxy(
            name="ogw-gc",
            about="ogw_asgi whose process is told to collect garbage rarely",
            start=_ours("native", rarely=True),
        ),
        *(
            Proxy(name=f"ogw-{sinks}", about=f"ogw_asgi with {about}", start=_ours("native", sinks=sinks))
            for sinks, about in (
                ("sink", "a sink that does nothing"),
                ("status", "its status page, which nobody looks at"),
                ("prometheus", "its Prometheus sink"),
                ("otel-api", "its OpenTelemetry sink, without an SDK"),
                ("otel-sdk", "its OpenTelemetry sink, every request sampled, exported to nowhere"),
            )
        ),
        *(
            Proxy(
                name=f"{name}-{count}",
                about=f"ogw_asgi on {name}, {count} worker{'s' if count > 1 else ''}",
                start=_workers(server, count),
            )
            for name, server in (("uvicorn", _uvicorn), ("granian", _granian))
            for count in (1, 2)
        ),
        Proxy(name="ferrogw", about="ferrogw (Go)", start=_ferrogw, path="/v1/chat/completions", peer=True),
        Proxy(name="rolter", about="rolter (Rust)", start=_rolter, path="/v1/chat/completions", peer=True),
        Proxy(name="litellm", about="LiteLLM proxy", start=_litellm, path="/v1/chat/completions", peer=True),
    )
}


class Running:
    """Proxies that have been started, each once, when it is first asked for."""

    def __init__(self, place: Place, say: Callable[[str], None]) -> None:
        self.place = place
        self._say = say
        self._servers: dict[str, Server] = {}
        self._absent: dict[str, str] = {}

    def get(self, name: str) -> Server | None:
        """None: it is absent, which has been said once."""
        if name in self._absent:
            return None
        server = self._servers.get(name)
        if server is None:
            try:
                server = PROXIES[name].start(self.place)
                if not await_port(server):
                    server.stop()
                    raise Absent("does not listen")
            except Absent as absent:
                self.leave_out(name, str(absent))
                return None
            self._servers[name] = server
        return server

    @property
    def absent(self) -> Mapping[str, str]:
        return self._absent

    def leave_out(self, name: str, reason: str) -> None:
        """It is absent from now on."""
        if (server := self._servers.pop(name, None)) is not None:
            server.stop()
        self._absent[name] = reason
        self._say(f"absent: {name} ({reason})")

    def again(self, name: str) -> Server | None:
        """A fresh one, so that what others have left in its memory is no part of what is measured."""
        if (old := self._servers.pop(name, None)) is not None:
            old.stop()
        return self.get(name)

    def stop(self) -> None:
        for server in self._servers.values():
            server.stop()


@contextmanager
def running(place: Place, say: Callable[[str], None]) -> Iterator[Running]:
    found = Running(place, say)
    try:
        yield found
    finally:
        found.stop()


def versions_of_peers() -> dict[str, str]:
    """Of those that are installed."""
    found = {}
    for name in ("litellm", "ferrogw", "rolter"):
        for folder in (PEERS / name).glob(f"lib/python*/site-packages/{name}-*.dist-info"):
            found[name] = folder.name.removeprefix(f"{name}-").removesuffix(".dist-info")
    return found
