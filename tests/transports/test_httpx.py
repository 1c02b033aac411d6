"""The engine over a client of httpx or httpx2: clients that users bring, and every error that the libraries have."""

from __future__ import annotations

import importlib
import ssl
import sys
import traceback
from dataclasses import replace
from typing import Any, get_args

import anyio
import httpx
import httpx2
import pytest
import trustme
from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute
from trio.testing import MockClock

from ogw_asgi import ConfigurationError
from ogw_asgi.testing import (
    ASGIApp,
    Fin,
    Hang,
    RawUpstream,
    ScriptedUpstream,
    answer,
    http_response,
    streaming_transport,
)
from ogw_asgi.transports._httpcore import OwnHTTPXTransport
from ogw_asgi.transports.base import FailureKind, TransportFailure
from ogw_asgi.transports.httpx import HTTPXTransport, is_client, load_library, make_ssl_context, preferred_library

from .engines import HEAD_BYTES, NO_AUTHORITIES, OK, fetch, outcome, request_to
from .servers import certified, read_until, server_of, tls_server, trusting

SECRET = "sk-c4n4ry-secret at http://user:password@provider.test/?key=k"


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> Any:
    return load_library(request.param)


def over(client: Any) -> HTTPXTransport:
    return HTTPXTransport(client, head_bytes=HEAD_BYTES)


# --- which library ---


def test_a_client_is_known_by_its_class_and_its_heirs(library: Any) -> None:
    class Own(library.AsyncClient):  # type: ignore[misc]
        pass

    assert is_client(library.AsyncClient(verify=NO_AUTHORITIES))
    assert is_client(Own(verify=NO_AUTHORITIES))
    over(Own(verify=NO_AUTHORITIES))


@pytest.mark.parametrize("other", ["httpx", None, object(), type("AsyncClient", (), {})()])
def test_nothing_else_is_a_client(other: object) -> None:
    assert not is_client(other)
    with pytest.raises(ConfigurationError, match="client="):
        over(other)


def test_a_sync_client_is_refused(library: Any) -> None:
    with library.Client(verify=NO_AUTHORITIES) as client:
        assert not is_client(client)


def test_httpx2_is_preferred_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert preferred_library() is httpx2
    monkeypatch.setitem(sys.modules, "httpx2", None)
    assert preferred_library() is httpx


def test_a_missing_library_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(ConfigurationError, match="engine 'httpx2' needs .* pip install httpx2"):
        load_library("httpx2")


def test_the_certificates_are_the_librarys_and_verified(library: Any) -> None:
    context = make_ssl_context(library)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


# --- every error has a kind ---


def errors_of(module: Any) -> list[type[Exception]]:
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Exception)]
    return sorted(found, key=lambda error: error.__name__)


def make_error(error: type[Exception], module: Any) -> Exception:
    """An instance whose text holds what must not be told; the constructors of the libraries are of three shapes."""
    request = module.Request("POST", "http://provider.test")
    for arguments in ({"request": request, "response": module.Response(500, request=request)}, {}):
        try:
            return error(SECRET, **arguments)
        except TypeError:
            continue
    return error()


EXPECTED: dict[str, FailureKind] = {
    "ConnectError": "connect",
    "ConnectTimeout": "connect_timeout",
    "ReadError": "reset",
    "WriteError": "reset",
    "CloseError": "reset",
    "ReadTimeout": "timeout",
    "WriteTimeout": "timeout",
    "PoolTimeout": "timeout",
    "ProxyError": "connect",
    "UnsupportedProtocol": "connect",
    "InvalidURL": "connect",
    "LocalProtocolError": "protocol",
    "RemoteProtocolError": "protocol",
    "TooManyRedirects": "protocol",
    "HTTPStatusError": "protocol",
}
FOREIGN = [RuntimeError, ValueError, OSError, KeyError, ssl.SSLError, ExceptionGroup]
ALL_ERRORS = [(module, error) for module in (httpx, httpx2) for error in errors_of(module)]


@pytest.mark.anyio
@pytest.mark.parametrize(("module", "error"), ALL_ERRORS, ids=lambda item: item.__name__)
async def test_every_error_of_the_library_has_a_kind_and_tells_nothing(module: Any, error: type[Exception]) -> None:
    def fail(_: object) -> Any:
        raise make_error(error, module)

    async with module.AsyncClient(transport=module.MockTransport(fail)) as client:
        with pytest.raises(TransportFailure) as caught:
            await over(client).open(request_to("http://provider.test"))
    assert caught.value.kind in get_args(FailureKind)
    assert caught.value.kind == EXPECTED.get(error.__name__, caught.value.kind)
    assert str(caught.value) == caught.value.kind
    told = "".join(traceback.format_exception(caught.value))
    assert "sk-c4n4ry-secret" not in told
    assert "provider.test" not in told.replace('request_to("http://provider.test")', "")


@pytest.mark.parametrize("module", [httpx, httpx2])
def test_the_table_of_expected_kinds_names_what_exists(module: Any) -> None:
    assert set(EXPECTED) <= {error.__name__ for error in errors_of(module)}


@pytest.mark.anyio
@pytest.mark.parametrize("error", FOREIGN)
async def test_an_error_of_a_users_transport_is_a_failure_too(library: Any, error: type[Exception]) -> None:
    def fail(_: object) -> Any:
        raise ExceptionGroup(SECRET, [ValueError(SECRET)]) if error is ExceptionGroup else error(SECRET)

    async with library.AsyncClient(transport=library.MockTransport(fail)) as client:
        assert await outcome(over(client), request_to("http://provider.test")) == "protocol"


@pytest.mark.anyio
async def test_an_error_in_a_hook_of_the_users_client_is_a_failure_too(library: Any) -> None:
    async def refuse(response: Any) -> None:
        response.raise_for_status()

    async with RawUpstream([http_response(500, b"")], [OK]) as server:
        async with library.AsyncClient(verify=NO_AUTHORITIES, event_hooks={"response": [refuse]}) as client:
            with anyio.fail_after(5):
                assert await outcome(over(client), request_to(server.url)) == "protocol"
                assert await outcome(over(client), request_to(server.url)) == (200, b"hello")


# --- clients that users bring ---


@pytest.mark.anyio
async def test_a_users_client_is_not_closed_and_its_own_settings_add_nothing(library: Any) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([OK]) as server:
            async with library.AsyncClient(
                verify=NO_AUTHORITIES, headers={"x-own": "1"}, cookies={"c": "1"}, params={"p": "1"}
            ) as client:
                transport = over(client)
                assert (await fetch(transport, request_to(server.url))).body == b"hello"
                await transport.aclose()
                assert not client.is_closed
                assert (await client.get(server.url)).content == b"hello"
    ours = server.requests[0].head.lower()
    assert b"x-own" not in ours
    assert b"cookie" not in ours
    assert b"p=1" not in ours


@pytest.mark.anyio
async def test_a_users_client_that_was_closed_is_a_failure(library: Any) -> None:
    client = library.AsyncClient(verify=NO_AUTHORITIES)
    await client.aclose()
    assert await outcome(over(client), request_to("http://127.0.0.1:9")) == "connect"


@pytest.mark.anyio
async def test_the_timeouts_of_a_users_client_do_not_apply(library: Any) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([OK]) as server:
            async with library.AsyncClient(verify=NO_AUTHORITIES, timeout=1e-9) as client:
                assert await outcome(over(client), request_to(server.url)) == (200, b"hello")


@pytest.mark.anyio
async def test_a_users_client_connects_for_itself_so_it_is_asked_nothing_that_is_guarded(library: Any) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([OK]) as server, library.AsyncClient(verify=NO_AUTHORITIES) as client:
            request = request_to(server.url)
            assert await outcome(over(client), replace(request, permits=lambda ip: True)) == "denied"
            assert await outcome(over(client), replace(request, origin="http://127.0.0.1:1")) == "misdirected"
            assert server.connections == 0
            assert await outcome(over(client), replace(request, origin=server.url)) == (200, b"hello")


@pytest.mark.anyio
async def test_a_users_client_brings_its_own_authority(library: Any) -> None:
    authority = trustme.CA()
    context, trust = certified(authority.issue_cert("127.0.0.1")), trusting(authority)
    with anyio.fail_after(5):
        async with tls_server(context) as server, library.AsyncClient(verify=trust) as client:
            assert await outcome(over(client), request_to(server.url("127.0.0.1"))) == (200, b"hello")


@pytest.mark.anyio
async def test_own_clients_keep_no_cookies(library: Any) -> None:
    transport = OwnHTTPXTransport(library, NO_AUTHORITIES, head_bytes=HEAD_BYTES)
    with anyio.fail_after(5):
        async with RawUpstream([http_response(200, b"", {"set-cookie": "a=1"})]) as server:
            await fetch(transport, request_to(server.url))
        assert len(transport._client.cookies) == 0
        await transport.aclose()


@pytest.mark.anyio
async def test_what_tls_still_holds_of_an_earlier_answer_is_nobodys_answer(library: Any) -> None:
    authority = trustme.CA()
    context, trust = certified(authority.issue_cert("127.0.0.1")), trusting(authority)

    async def talk(stream: ByteStream) -> None:
        await read_until(stream, b'"m"}')
        stream.extra(TLSAttribute.ssl_object).write(OK)  # goes out with what is sent next, in a record of its own
        await stream.send(http_response(200, b"somebody else's"))
        await read_until(stream, b'"m"}')
        await stream.send(http_response(200, b"own answer"))

    with anyio.fail_after(5):
        async with server_of(talk, context) as url, library.AsyncClient(verify=trust) as client:
            for _ in range(5):
                assert await outcome(over(client), request_to(url)) in ((200, b"hello"), (200, b"own answer"))


# --- the connect limit of clients that connect in more than one step ---


@pytest.mark.anyio
@pytest.mark.contract("8.connect")
async def test_a_proxy_that_stalls_ends_at_the_connect_limit(library: Any) -> None:
    with anyio.fail_after(2):
        async with RawUpstream([Hang()]) as proxy:
            async with library.AsyncClient(verify=NO_AUTHORITIES, proxy=proxy.url) as client:
                request = request_to("https://provider.test", connect_s=0.1)
                assert await outcome(over(client), request) == "connect_timeout"
                assert proxy.requests[0].head.startswith(b"CONNECT provider.test:443")
                await proxy.peer_closed()


class SlowNetwork:
    """A network in which every step takes two seconds, for a clock that does not wait; nothing ever gets through."""

    def __init__(self, library: Any, *, connects: bool) -> None:
        self._library = library
        self._connects = connects
        self.closed = 0

    async def connect_tcp(self, *_: Any, **__: Any) -> SlowStream:
        await anyio.sleep(2)
        if not self._connects:
            core = {"httpx": "httpcore", "httpx2": "httpcore2"}[self._library.__name__]
            raise importlib.import_module(core).ConnectError("refused")
        return SlowStream(self)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class SlowStream:
    __slots__ = ("_network",)  # nothing can be attached to it, as it may be with a backend of the user's own

    def __init__(self, network: SlowNetwork) -> None:
        self._network = network

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        raise AssertionError("nothing gets through")

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        raise AssertionError("nothing gets through")

    async def start_tls(self, *_: Any, **__: Any) -> SlowStream:
        await anyio.sleep(2)
        return self

    async def aclose(self) -> None:
        self._network.closed += 1


@pytest.mark.anyio
@pytest.mark.contract("8.connect")
@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})], ids=["trio"])
@pytest.mark.parametrize(("connects", "retries"), [(True, 0), (False, 5)], ids=["TCP and TLS", "tries"])
async def test_all_steps_of_connecting_share_one_limit(library: Any, connects: bool, retries: int) -> None:
    transport = library.AsyncHTTPTransport(verify=NO_AUTHORITIES, retries=retries)
    network = transport._pool._network_backend = SlowNetwork(library, connects=connects)
    async with library.AsyncClient(transport=transport) as client:
        started_s = anyio.current_time()
        assert await outcome(over(client), request_to("https://provider.test", connect_s=3)) == "connect_timeout"
        assert anyio.current_time() - started_s == pytest.approx(3)
    assert network.closed == connects


# --- clients that connect nothing ---


@pytest.mark.anyio
async def test_an_in_process_app_is_an_upstream_like_any_other(library: Any) -> None:
    upstream = ScriptedUpstream(answer("hello"))
    async with library.AsyncClient(transport=streaming_transport(upstream, library=library)) as client:
        with anyio.fail_after(5):
            seen = await fetch(over(client), request_to("http://app"))
    assert seen.status == 200
    assert b"hello" in seen.body
    assert upstream.requests[0].path == "/v1/chat/completions"


@pytest.mark.anyio
async def test_an_in_process_app_has_no_connect_limit(library: Any) -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        with anyio.CancelScope(deadline=anyio.current_time() + 0.05):
            await anyio.sleep_forever()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"late"})

    assert await in_process(library, slow, connect_s=0.001) == [(200, b"late")]


@pytest.mark.anyio
async def test_an_in_process_app_is_never_asked_again(library: Any) -> None:
    calls = []

    async def cut(scope: Any, receive: Any, send: Any) -> None:
        calls.append(scope["path"])
        if len(calls) > 1:
            raise RuntimeError(SECRET)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})

    assert await in_process(library, cut, times=2) == ["reset", "protocol"]
    assert len(calls) == 2


async def in_process(library: Any, app: ASGIApp, *, connect_s: float = 1.0, times: int = 1) -> list[object]:
    async with library.AsyncClient(transport=streaming_transport(app, library=library)) as client:
        with anyio.fail_after(5):
            return [await outcome(over(client), request_to("http://app", connect_s=connect_s)) for _ in range(times)]


# --- connections that are not ours to watch ---


@pytest.mark.anyio
async def test_a_connection_that_the_user_opened_is_used_but_never_re_sent_on(library: Any) -> None:
    with anyio.fail_after(5):
        async with RawUpstream([OK], [OK], [Fin()], [OK]) as server:
            async with library.AsyncClient(verify=NO_AUTHORITIES) as client:
                await client.get(server.url)
                assert await outcome(over(client), request_to(server.url)) == (200, b"hello")
                assert server.reused == 1
                assert await outcome(over(client), request_to(server.url)) == "reset"
                assert len(server.requests) == 3
