"""What the host app keeps when a gateway moves in."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, BaseUser, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.sync.client import connect

from ogw_asgi import ConfigurationError, Gateway, GatewayMiddleware, OpenAI, Principal
from ogw_asgi.telemetry import RequestEnded
from ogw_asgi.testing import Break, asgi_client, chat, serve, stream
from tests.asgi.hosts import QUESTION, STREAMED, Recorder, code, http_scope, in_process, mounted, starlette

pytestmark = pytest.mark.anyio

PATH = "/llm/chat/completions"


async def _nothing(*args: Any) -> Any:
    raise AssertionError("the host is handed receive and send; nobody calls them here")


# --- what the middleware leaves alone ---


@pytest.mark.contract("1.prefix.middleware")
@pytest.mark.parametrize(
    ("prefix", "scope"),
    [
        (None, http_scope("GET")),
        (None, http_scope("HEAD")),
        (None, http_scope("OPTIONS")),
        (None, http_scope("GET", "/v1/chat/completions")),
        (None, http_scope("POST", "/chat/completions/")),
        (None, http_scope("POST", "/chat")),
        (None, http_scope("POST", "/")),
        (None, http_scope("POST", "")),
        (None, http_scope("GET", "/models")),
        (None, http_scope("POST", "/llm/chat/completions")),
        (None, http_scope("POST", "/api/chat/completions", root_path="/ap")),
        ("/llm", http_scope("POST", "/chat/completions")),
        ("/llm", http_scope("POST", "/llmx")),
        ("/llm", http_scope("POST", "/llmx/chat/completions")),
        ("/llm", http_scope("POST", "/x/llm/chat/completions")),
        ("/llm", http_scope("POST", "/LLM/chat/completions")),
        (None, {**http_scope(), "type": "websocket"}),
        ("/llm", {**http_scope("GET", "/llm/chat/completions"), "type": "websocket"}),
        (None, {"type": "lifespan"}),
        ("/llm", {"type": "lifespan"}),
        (None, {"type": "of.tomorrow"}),
    ],
    ids=lambda value: (
        " ".join(str(value[key]) for key in ("type", "method", "path", "root_path") if key in value)
        if isinstance(value, dict)
        else str(value)
    ),
)
async def test_what_is_not_the_gateways_reaches_the_host_untouched(prefix: str | None, scope: dict[str, Any]) -> None:
    host, before = Recorder(), dict(scope)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async with in_process() as (gateway, upstream):
        await GatewayMiddleware(host, gateway, prefix)(scope, _nothing, send)
    ((seen_scope, seen_receive, seen_send),) = host.calls
    assert seen_scope is scope
    assert scope == before
    assert seen_receive is _nothing
    assert seen_send is send
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("prefix", "path", "root_path"),
    [
        (None, "/chat/completions", ""),
        (None, "/v1/chat/completions", ""),
        (None, "/api/chat/completions", "/api"),  # servers and mounts keep the whole path (ASGI 2.3)
        (None, "/api/chat/completions", "/api/"),
        (None, "/chat/completions", "/api"),  # a proxy has stripped the path and the server was told of it
        (None, "/chat/completions", "/"),
        ("/llm", "/llm/chat/completions", ""),
        ("/llm", "/llm/v1/chat/completions", ""),
        ("/llm", "/api/llm/chat/completions", "/api"),
        ("/llm", "/llm/chat/completions", "/api"),
        ("/a/b", "/a/b/chat/completions", ""),
        ("/llm", "/llm/llm/chat/completions", "/llm"),
    ],
)
@pytest.mark.contract("1.prefix.middleware", "1.alias-v1")
async def test_the_middleware_finds_its_paths_below_any_root_path(
    prefix: str | None, path: str, root_path: str
) -> None:
    host = Recorder()
    with anyio.fail_after(5):
        async with in_process() as (gateway, _):
            app = GatewayMiddleware(host, gateway, prefix)
            async with gateway, asgi_client(app, root_path=root_path) as client:
                reply = await client.post(path, json=QUESTION)
    assert reply.status_code == 201
    assert host.calls == []


@pytest.mark.parametrize(
    ("method", "path", "status", "expected"),
    [
        ("GET", "/llm", 404, "unknown_url"),
        ("POST", "/llm/", 404, "unknown_url"),
        ("POST", "/llm/nothing", 404, "unknown_url"),
        ("POST", "/llm/chat/completions/", 404, "unknown_url"),
        ("POST", "/llm//chat/completions", 404, "unknown_url"),
        ("GET", "/llm/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/llm/v1/chat/completions", 405, "method_not_allowed"),
        ("POST", "/llm/models", 405, "method_not_allowed"),
    ],
)
@pytest.mark.parametrize("way", ["middleware", "mount"])
@pytest.mark.contract("1.not-found", "1.method", "6.envelope.shape", "6.envelope.request-id")
async def test_everything_below_the_gateways_prefix_is_the_gateways_own(
    way: str, method: str, path: str, status: int, expected: str
) -> None:
    with anyio.fail_after(5):
        async with in_process() as (gateway, _), gateway:
            app: Any = starlette()
            if way == "middleware":
                app.add_middleware(GatewayMiddleware, gateway=gateway, prefix="/llm")
            else:
                app = Starlette(routes=[mounted(gateway)])
                app.router.redirect_slashes = False
            async with asgi_client(app) as client:
                reply = await client.request(method, path, headers={"x-request-id": "abc"})
    if way == "mount" and path == "/llm":
        assert reply.status_code == 404  # a mount begins behind its slash: this one is the host's
        return
    assert (reply.status_code, code(reply)) == (status, expected)
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert reply.headers["x-request-id"] == "abc"
    assert ("allow" in reply.headers) == (status == 405)


@pytest.mark.parametrize("prefix", ["llm", "/llm/", "/", ""])
async def test_a_prefix_that_is_no_path_is_refused(prefix: str) -> None:
    async with in_process() as (gateway, _):
        with pytest.raises(ConfigurationError, match="prefix"):
            GatewayMiddleware(Recorder(), gateway, prefix)


async def test_the_hosts_own_routes_and_its_get_on_the_same_path_still_work() -> None:
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.method} {request.url.path}")

    routes = [Route("/chat/completions", page, methods=["GET"]), Route("/other", page, methods=["POST"])]
    with anyio.fail_after(5):
        async with in_process() as (gateway, _), gateway:
            app = GatewayMiddleware(Starlette(routes=routes), gateway)
            async with asgi_client(app) as client:
                assert (await client.get("/chat/completions")).text == "GET /chat/completions"
                assert (await client.post("/other")).text == "POST /other"
                assert (await client.post("/chat/completions", json=QUESTION)).status_code == 201
                assert (await client.put("/chat/completions")).text == "Method Not Allowed"


async def test_the_hosts_websockets_and_lifespan_still_work_on_a_real_server() -> None:
    log: list[str] = []

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("the host's")
        await websocket.close()

    @asynccontextmanager
    async def lifespan(app: Any) -> Any:
        log.append("in")
        yield {"db": 1}
        log.append("out")

    async def state(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(request.state.db))

    with anyio.fail_after(10):
        async with in_process() as (_, upstream), serve(upstream) as url:
            gateway = Gateway(providers=[OpenAI(base_url=f"{url}/v1", api_key="sk-c4n4ry-k")])
            routes = [WebSocketRoute("/chat/completions", echo), Route("/state", state)]
            app = Starlette(routes=routes, lifespan=lifespan)
            app.add_middleware(GatewayMiddleware, gateway=gateway)
            async with serve(app, lifespan="on") as host, httpx.AsyncClient(base_url=host) as client:
                assert (await client.get("/state")).text == "1"
                assert (await client.post("/chat/completions", json=QUESTION)).status_code == 201
                assert await anyio.to_thread.run_sync(_websocket_text, host) == "the host's"
    assert log == ["in", "out"]


def _websocket_text(url: str) -> str:
    with connect(url.replace("http", "ws") + "/chat/completions") as websocket:
        return str(websocket.recv(timeout=5))


# --- root_path ---


@pytest.mark.contract("1.prefix.mount", "1.not-found")
@pytest.mark.parametrize("root_path", ["", "/proxy"])
async def test_a_gateway_mounted_below_a_mount_answers_there(root_path: str) -> None:
    with anyio.fail_after(5):
        async with in_process() as (gateway, _), gateway:
            app = Starlette(routes=[Mount("/outer", routes=[mounted(gateway)])])
            async with asgi_client(app, root_path=root_path) as client:
                reply = await client.post(f"{root_path}/outer/llm/chat/completions", json=QUESTION)
                other = await client.post(f"{root_path}/outer/llm/nothing", json=QUESTION)
    assert reply.status_code == 201
    assert (other.status_code, code(other)) == (404, "unknown_url")


@pytest.mark.filterwarnings("ignore:The `root_path` parameter")  # deprecated of late, and in use everywhere
async def test_a_fastapi_host_with_a_root_path_of_its_own_behind_a_stripping_proxy() -> None:
    with anyio.fail_after(5):
        async with in_process() as (gateway, _), gateway:
            app = FastAPI(root_path="/api")
            app.mount("/llm", gateway)
            app.add_middleware(GatewayMiddleware, gateway=gateway)
            async with asgi_client(app) as client:
                for path in ("/llm/chat/completions", "/chat/completions", "/api/chat/completions"):
                    assert (await client.post(path, json=QUESTION)).status_code == 201


# --- other people's middleware ---


class Tagging(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers["x-tagged"] = "yes"
        return response


@pytest.mark.parametrize("inner", ["mount", "middleware"])
async def test_behind_base_http_middleware_plain_and_streamed_answers_pass(inner: str) -> None:
    with anyio.fail_after(5):
        async with in_process() as (gateway, _), gateway:
            app = Starlette(routes=[mounted(gateway)])
            if inner == "middleware":
                app = Starlette(middleware=[Middleware(GatewayMiddleware, gateway=gateway, prefix="/llm")])
            app.add_middleware(Tagging)
            async with asgi_client(app) as client:
                plain = await client.post(PATH, json=QUESTION)
                streamed = await client.post(PATH, json=STREAMED)
    for reply in (plain, streamed):
        assert (reply.status_code, reply.headers["x-tagged"]) == (201, "yes")
    assert streamed.content.endswith(b"data: [DONE]\n\n")


async def _broken(app: Any) -> tuple[bytes, bool]:
    """The bytes of a stream that breaks, and whether its body had an end."""
    received = b""
    async with asgi_client(app) as client, client.stream("POST", PATH, json=STREAMED) as reply:
        try:
            async for chunk in reply.aiter_raw():
                received += chunk
        except httpx.RemoteProtocolError:
            return received, False
    return received, True


@pytest.mark.contract("5.base-http-middleware", "5.error-event", "5.no-done-after-break")
@pytest.mark.parametrize("decorated", [True, False], ids=["decorator", "class"])
async def test_base_http_middleware_around_a_mount_ends_a_broken_stream_and_only_the_event_is_left(
    decorated: bool,
) -> None:
    with anyio.fail_after(5):
        async with in_process(stream(["Hel", Break()])) as (gateway, _), gateway:
            app = FastAPI()
            app.mount("/llm", gateway)
            if decorated:

                @app.middleware("http")
                async def tag(request: Request, call_next: Any) -> Any:
                    return await call_next(request)

            else:
                app.add_middleware(Tagging)
            received, ended = await _broken(app)
    assert ended
    assert b'"stream_interrupted"' in received.rstrip().rpartition(b"\n")[2]
    assert b"[DONE]" not in received


@pytest.mark.contract("5.outermost-middleware", "5.unterminated", "5.error-event", "5.no-done-after-break")
async def test_the_gateways_middleware_outermost_leaves_a_broken_stream_without_its_end() -> None:
    with anyio.fail_after(5):
        async with in_process(stream(["Hel", Break()])) as (gateway, _), gateway:
            app = Starlette(middleware=[Middleware(Tagging)])
            received, ended = await _broken(GatewayMiddleware(app, gateway, prefix="/llm"))
    assert not ended
    assert b'"stream_interrupted"' in received.rstrip().rpartition(b"\n")[2]
    assert b"[DONE]" not in received


class Backend(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        if "authorization" not in conn.headers:
            raise AuthenticationError("who are you?")
        return AuthCredentials(["llm"]), SimpleUser("ada")


async def test_an_authenticator_sees_what_starlettes_authentication_has_found() -> None:
    def authenticate(connection: HTTPConnection) -> Principal | None:
        return Principal(connection.user.display_name) if "llm" in connection.auth.scopes else None

    sink = _Principals()
    with anyio.fail_after(5):
        async with in_process(authenticate=authenticate, sinks=[sink]) as (gateway, _), gateway:
            app = Starlette(
                routes=[mounted(gateway)], middleware=[Middleware(AuthenticationMiddleware, backend=Backend())]
            )
            async with asgi_client(app) as client:
                known = await client.post(PATH, json=QUESTION, headers={"authorization": "Bearer x"})
                unknown = await client.post(PATH, json=QUESTION)
    assert known.status_code == 201
    assert (unknown.status_code, unknown.text) == (400, "who are you?")
    assert sink.seen == ["ada"]


class _Principals:
    def __init__(self) -> None:
        self.seen: list[str | None] = []

    def on_event(self, event: object, /) -> None:
        if isinstance(event, RequestEnded):
            self.seen.append(event.principal)


async def test_cors_outside_answers_preflights_and_marks_what_the_gateway_answers() -> None:
    cors = Middleware(
        CORSMiddleware,
        allow_origins=["https://ui.test"],
        allow_methods=["POST"],
        allow_headers=["x-opengateway-timeout"],
    )
    with anyio.fail_after(5):
        async with in_process() as (gateway, upstream), gateway:
            app = Starlette(routes=[mounted(gateway)], middleware=[cors])
            async with asgi_client(app, headers={"origin": "https://ui.test"}) as client:
                preflight = await client.options(
                    PATH,
                    headers={
                        "access-control-request-method": "POST",
                        "access-control-request-headers": "x-opengateway-timeout",
                    },
                )
                assert upstream.requests == []
                streamed = await client.post(PATH, json=STREAMED)
                refused = await client.post(PATH, json={})
    assert preflight.status_code == 200
    for reply, status in ((preflight, 200), (streamed, 201), (refused, 400)):
        assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (status, "https://ui.test")


async def test_gzip_outside_leaves_streams_alone_and_packs_plain_answers() -> None:
    go = anyio.Event()
    with anyio.fail_after(5):
        async with in_process(chat("word " * 500), stream(["Hel", "lo"], gate=go)) as (gateway, _), gateway:
            app = Starlette(routes=[mounted(gateway)], middleware=[Middleware(GZipMiddleware, minimum_size=100)])
            async with asgi_client(app, headers={"accept-encoding": "gzip"}) as client:
                plain = await client.post(PATH, json=QUESTION)
                async with client.stream("POST", PATH, json=STREAMED) as streamed:
                    chunks = streamed.aiter_raw()
                    first = await anext(chunks)
                    go.set()
                    rest = b"".join([chunk async for chunk in chunks])
    assert (plain.headers["content-encoding"], plain.status_code) == ("gzip", 201)
    assert plain.json()["choices"][0]["message"]["content"].startswith("word word")
    assert "content-encoding" not in streamed.headers
    assert b'"Hel"' in first
    assert b'"lo"' not in first
    assert rest.endswith(b"data: [DONE]\n\n")


async def test_nothing_of_the_gateway_stays_in_the_hosts_scope() -> None:
    scopes: list[Any] = []

    async def host(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        before = dict(scope)
        await app(scope, receive, send)
        assert scope == before

    with anyio.fail_after(5):
        async with AsyncExitStack() as stack:
            gateway, _ = await stack.enter_async_context(in_process())
            await stack.enter_async_context(gateway)
            app = GatewayMiddleware(Recorder(), gateway, prefix="/llm")
            client = await stack.enter_async_context(asgi_client(host))
            assert (await client.post(PATH, json=QUESTION)).status_code == 201
    assert len(scopes) == 1


async def test_the_hosts_log_is_left_as_it_is() -> None:
    async with in_process() as (gateway, _), gateway:
        logger = logging.getLogger("ogw_asgi")
        assert (logger.handlers, logger.level, logger.propagate) == ([], logging.NOTSET, True)
