"""Opening, closing, opening again, from one event loop after another."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import httpx2
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from starlette.applications import Starlette

from ogw_asgi import Gateway, GatewayMiddleware, OpenAI, combine_lifespans
from ogw_asgi.fastapi import gateway_router
from ogw_asgi.testing import RawUpstream, ScriptedUpstream, asgi_client, chat, http_response, serve, streaming_transport
from ogw_asgi.transports.choice import EngineName
from tests.asgi.hosts import KEY, QUESTION, code, http_scope, in_process, over_sockets, running, starlette, warnings

anyio_test = pytest.mark.anyio

COMPLETION = http_response(
    200,
    b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}',
    {"content-type": "application/json"},
)


async def ask(gateway: Gateway) -> httpx.Response:
    async with asgi_client(gateway) as client:
        return await client.post("/chat/completions", json=QUESTION)


# --- open and closed ---


@anyio_test
async def test_entering_twice_is_harmless_and_the_last_to_leave_closes() -> None:
    with anyio.fail_after(5):
        async with over_sockets() as (gateway, upstream):
            async with gateway:
                async with gateway.lifespan(None):
                    assert (await ask(gateway)).status_code == 201
                assert (await ask(gateway)).status_code == 201
            assert (await ask(gateway)).status_code == 503
            await upstream.peer_closed(upstream.connections)


@anyio_test
@pytest.mark.parametrize("engine", ["native", "httpx2", "httpx"])
async def test_every_connection_is_closed_though_the_closing_is_cancelled(engine: EngineName) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([COMPLETION]) as one, RawUpstream([COMPLETION]) as two:
            providers = [OpenAI(name=name, api_key=KEY, base_url=at.url) for name, at in (("a", one), ("b", two))]
            gateway = Gateway(providers=providers, failover_sequence=["a", "b"], engine=engine)
            async with asgi_client(gateway) as client:
                for name in ("a", "b"):
                    headers = {"x-opengateway-failover-sequence": f'["{name}"]'}
                    assert (await client.post("/chat/completions", json=QUESTION, headers=headers)).status_code == 201
            with anyio.CancelScope() as scope:
                scope.cancel()
                await gateway.aclose()
            await one.peer_closed()
            await two.peer_closed()


@anyio_test
@pytest.mark.contract("1.unavailable.closed", "1.unavailable.retry-after")
async def test_closing_twice_is_harmless_and_entering_opens_again(caplog: pytest.LogCaptureFixture) -> None:
    with anyio.fail_after(5):
        async with over_sockets() as (gateway, _):
            await gateway.aclose()
            async with gateway:
                await gateway.aclose()
                await gateway.aclose()
                closed = await ask(gateway)
                assert (closed.status_code, code(closed)) == (503, "gateway_closed")
                assert closed.headers["retry-after"] == "1"
            async with gateway:
                assert (await ask(gateway)).status_code == 201
    assert warnings(caplog) == []


@anyio_test
async def test_a_closed_gateway_lists_no_models_either() -> None:
    with anyio.fail_after(5):
        async with over_sockets(models=["m"]) as (gateway, _), asgi_client(gateway) as client:
            await gateway.aclose()
            reply = await client.get("/models")
    assert (reply.status_code, code(reply)) == (503, "gateway_closed")


@anyio_test
async def test_two_gateways_in_one_process_share_nothing() -> None:
    with anyio.fail_after(5):
        async with over_sockets() as (first, upstream), over_sockets() as (second, other):
            async with first, second:
                assert (await ask(first)).status_code == 201
                assert (await ask(second)).status_code == 201
                await first.aclose()
                await upstream.peer_closed(upstream.connections)
                assert (await ask(first)).status_code == 503
                assert (await ask(second)).status_code == 201
                vias = {dict(_headers(request.head))[b"via"] for request in upstream.requests + other.requests}
    assert (len(upstream.requests), len(other.requests), len(vias)) == (1, 2, 2)


def _headers(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = head.split(b"\r\n")[1:-2]
    return [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]


@anyio_test
@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
async def test_a_client_that_the_user_passed_is_not_closed(library: Any) -> None:
    upstream = ScriptedUpstream(chat())
    with anyio.fail_after(5):
        async with library.AsyncClient(transport=streaming_transport(upstream, library=library)) as client:
            gateway = Gateway(providers=[OpenAI(api_key=KEY, client=client)])
            async with gateway:
                assert (await ask(gateway)).status_code == 201
            assert not client.is_closed
            reply = await client.post("http://upstream/v1/chat/completions", json=QUESTION)
            assert reply.status_code == 200


# --- one event loop after another ---


# Nobody closed the sockets of the loop that has ended, which is what Python says of them; not the gateway's doing.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("entered", [True, False], ids=["entered", "lazily"])
@pytest.mark.parametrize("backends", [("asyncio", "asyncio"), ("asyncio", "trio"), ("trio", "asyncio")], ids="-".join)
def test_a_second_event_loop_gets_connections_of_its_own(
    backends: tuple[str, str], entered: bool, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []

    async def serve_and_use() -> None:
        with anyio.fail_after(10):
            async with serve(ScriptedUpstream(chat())) as url:
                provider = OpenAI(base_url=f"{url}/v1", api_key=KEY)
                gateways.append(Gateway(providers=[provider]))
                await use()

    async def again() -> None:
        with anyio.fail_after(10):
            async with serve(ScriptedUpstream(chat())) as url:
                gateways[0]._providers["openai"] = OpenAI(base_url=f"{url}/v1", api_key=KEY)
                await use()

    async def use() -> None:
        gateway = gateways[0]
        if entered:
            async with gateway:
                seen.append((await ask(gateway)).status_code)
        else:
            seen.append((await ask(gateway)).status_code)

    gateways: list[Gateway] = []
    anyio.run(serve_and_use, backend=backends[0])
    anyio.run(again, backend=backends[1])
    gateways.clear()
    gc.collect()
    assert seen == [201, 201]
    assert len(warnings(caplog)) == (0 if entered else 1)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_gateway_that_was_open_when_its_loop_ended_is_opened_by_the_next_one(backend: str) -> None:
    async def enter() -> Gateway:
        async with ScriptedUpstream(chat()).client() as client:
            gateway = Gateway(providers=[OpenAI(api_key=KEY, client=client)])
            await gateway.__aenter__()
            assert (await ask(gateway)).status_code == 201
        return gateway

    async def use(gateway: Gateway) -> None:
        async with ScriptedUpstream(chat()).client() as client:
            gateway._providers["openai"].client = client
            async with gateway:
                assert (await ask(gateway)).status_code == 201

    anyio.run(use, anyio.run(enter, backend=backend), backend="asyncio")


# --- combined ---


def _lifespan(
    name: str, log: list[str], state: dict[str, Any] | None = None, *, fails: bool = False
) -> Callable[[Any], Any]:
    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any] | None]:
        if fails:
            raise OSError("no such database")
        log.append(f"{name} in")
        yield state
        log.append(f"{name} out")

    return lifespan


@anyio_test
async def test_combined_lifespans_are_entered_in_order_left_in_reverse_and_merge_their_state() -> None:
    log: list[str] = []
    first = _lifespan("first", log, {"db": 1, "both": "first"})
    second = _lifespan("second", log, {"both": "second"})
    async with in_process() as (gateway, _):
        combined = combine_lifespans(first, gateway.lifespan, second)
        app = FastAPI(lifespan=combined)
        app.mount("/llm", gateway)
        async with LifespanManager(app) as manager, asgi_client(manager.app) as client:
            assert manager._state == {"db": 1, "both": "second"}
            assert (await client.post("/llm/chat/completions", json=QUESTION)).status_code == 201
            log.append("open")
        assert (await ask(gateway)).status_code == 503
    assert log == ["first in", "second in", "open", "second out", "first out"]


@anyio_test
async def test_combined_lifespans_without_state_yield_none() -> None:
    async with combine_lifespans(_lifespan("only", []))(None) as state:
        assert state is None


@anyio_test
async def test_when_a_combined_lifespan_fails_those_before_it_are_left() -> None:
    log: list[str] = []
    combined = combine_lifespans(_lifespan("first", log), _lifespan("second", log, fails=True), _lifespan("x", log))
    with pytest.raises(OSError, match="database"):
        async with combined(None):
            log.append("open")
    assert log[0] == "first in"
    assert "open" not in log
    assert "x in" not in log


@anyio_test
async def test_an_error_while_the_app_runs_leaves_all_of_them() -> None:
    async with in_process() as (gateway, _):
        with pytest.raises(OSError, match="crash"):
            async with combine_lifespans(gateway.lifespan)(None):
                raise OSError("crash")
        assert (await ask(gateway)).status_code == 503


# --- a lifespan that fails, or that nobody speaks ---


class Lifespan:
    """The server's side of the lifespan protocol, message by message."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self._messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive(self) -> dict[str, Any]:
        return self._messages.pop(0)

    async def send(self, message: Any) -> None:
        self.sent.append(message)


@anyio_test
@pytest.mark.parametrize("wrap", [True, False], ids=["middleware", "bare"])
async def test_a_gateway_that_cannot_open_fails_the_startup(
    wrap: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise OSError("cannot read /etc/ssl/secret-path")

    monkeypatch.setattr("ssl.create_default_context", fail)
    server, gateway = (
        Lifespan(),
        Gateway(providers=[OpenAI(api_key="sk-c4n4ry-k")]),
    )  # over https, so it must know whom to trust
    app: Any = GatewayMiddleware(starlette(), gateway) if wrap else gateway
    await app({"type": "lifespan"}, server.receive, server.send)
    assert [message["type"] for message in server.sent] == ["lifespan.startup.failed"]
    assert "OSError" in server.sent[0]["message"]
    assert "secret-path" not in server.sent[0]["message"] + caplog.text


@anyio_test
async def test_the_bare_gateway_speaks_the_lifespan_protocol() -> None:
    server = Lifespan()
    async with in_process() as (gateway, _):
        await gateway({"type": "lifespan"}, server.receive, server.send)
    assert [message["type"] for message in server.sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def _raises(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError(f"only http here, not {scope['type']}")


async def _raises_after_receive(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    raise AssertionError(f"only http here, not {scope['type']}")


async def _ignores(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] != "http"


@anyio_test
async def test_behind_a_host_that_ignores_the_lifespan_the_gateway_opens_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Lifespan()
    with anyio.fail_after(5):
        async with in_process() as (gateway, _):
            app = GatewayMiddleware(_ignores, gateway)
            await app({"type": "lifespan"}, server.receive, server.send)
            async with asgi_client(app) as client:
                replies = [await client.post("/chat/completions", json=QUESTION) for _ in range(2)]
    assert server.sent == []
    assert [reply.status_code for reply in replies] == [201, 201]
    assert len(warnings(caplog)) == 1


@anyio_test
async def test_behind_a_host_that_ignores_the_lifespan_a_real_server_serves() -> None:
    with anyio.fail_after(10):
        async with in_process() as (gateway, _):
            async with serve(GatewayMiddleware(_ignores, gateway), lifespan="on") as url, httpx.AsyncClient() as client:
                reply = await client.get(f"{url}/models")
                refused = await client.post(f"{url}/chat/completions", content=b"{}")
    assert reply.status_code == 500  # the host answers nothing at all: that is its own affair
    assert refused.status_code == 415


@anyio_test
@pytest.mark.parametrize("host", [_raises, _raises_after_receive])
async def test_behind_a_host_that_does_not_speak_lifespan_the_gateway_opens_itself(
    host: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = Lifespan()
    with anyio.fail_after(5):
        async with in_process() as (gateway, _):
            app = GatewayMiddleware(host, gateway)
            with pytest.raises(AssertionError, match="only http here"):
                await app({"type": "lifespan"}, server.receive, server.send)
            async with asgi_client(app) as client:
                replies = [await client.post("/chat/completions", json=QUESTION) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [201, 201]
    assert len(warnings(caplog)) == 1


@anyio_test
async def test_a_host_whose_own_startup_fails_fails_as_it_would_alone() -> None:
    log: list[str] = []
    async with in_process() as (gateway, _):
        app = GatewayMiddleware(starlette(_lifespan("host", log, fails=True)), gateway)
        server = Lifespan()
        with pytest.raises(OSError, match="no such database"):
            await app({"type": "lifespan"}, server.receive, server.send)
    assert [message["type"] for message in server.sent] == ["lifespan.startup.failed"]


@anyio_test
async def test_a_gateway_behind_two_doors_of_one_app_is_opened_and_closed_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with anyio.fail_after(5):
        async with over_sockets() as (gateway, upstream):
            app = FastAPI(lifespan=gateway.lifespan)
            app.include_router(gateway_router(gateway), prefix="/api")
            app.add_middleware(GatewayMiddleware, gateway=gateway)
            async with running(app) as client:
                for path in ("/api/chat/completions", "/chat/completions"):
                    assert (await client.post(path, json=QUESTION)).status_code == 201
            assert (await ask(gateway)).status_code == 503
            await upstream.peer_closed(upstream.connections)
    assert warnings(caplog) == []


@anyio_test
async def test_websockets_to_a_bare_gateway_are_closed() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async with in_process() as (gateway, _):
        await gateway({**http_scope(), "type": "websocket"}, Lifespan().receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


@anyio_test
async def test_the_lifespan_takes_a_starlette_app_as_its_argument() -> None:
    async with in_process() as (gateway, _):
        async with LifespanManager(Starlette(lifespan=gateway.lifespan)):
            assert (await ask(gateway)).status_code == 201
