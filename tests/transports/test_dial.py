"""From a name to a connection: which addresses are tried, when, and what is left of those that lost."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
import trustme
from anyio.abc import SocketAttribute, SocketStream

from ogw_asgi.testing import Hang, OnAccept, RawUpstream, dead_port
from ogw_asgi.transports import dial
from ogw_asgi.transports._resolver import Address
from ogw_asgi.transports._socket import SocketStream as SocketOfOurs
from ogw_asgi.transports.base import TransportFailure
from ogw_asgi.transports.dial import Dialer
from ogw_asgi.transports.httpx import HTTPXTransport, load_library

from .engines import HEAD_BYTES, NO_AUTHORITIES, OK, Engine, outcome, request_to
from .servers import black_hole, certified, tls_server, trusting, until_still

pytestmark = pytest.mark.anyio

NAME = "provider.test"
FIRST, SECOND = "127.0.0.1", "127.0.0.2"


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


LOOPBACKS = ["127.0.0.1", "::1"] if _has_ipv6() else ["127.0.0.1"]


@contextmanager
def listening(ip: str, port: int = 0) -> Iterator[int]:
    """A port where the kernel makes connections, and nobody answers."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.create_server((ip, port), family=family) as listener:
        yield listener.getsockname()[1]


class Names:
    """In the place of the system's resolver: NAME has these addresses, everything else is as it was."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ips: Sequence[str] = ()
        self.asked = 0
        self.gate = threading.Event()
        """Cleared, it makes the name server hang."""
        self.gate.set()
        self._system = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)

    def _getaddrinfo(self, host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host != NAME:
            return self._system(host, port, *arguments, **options)
        self.asked += 1
        assert self.gate.wait(5)
        return [answer for ip in self.ips for answer in self._system(ip, port, *arguments, **options)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    names = Names(monkeypatch)
    yield names
    names.gate.set()


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """Every socket that began to connect, in its order; in the end none may be open."""
    recorded: list[socket.socket] = []

    class Recorded(socket.socket):
        def connect_ex(self, address: Any) -> int:
            recorded.append(self)
            return super().connect_ex(address)

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", Recorded)
        yield recorded
    assert not open_ones(recorded)


@contextmanager
def silence(begun: list[socket.socket]) -> Iterator[int]:
    """The port of a black hole at FIRST; the sockets that it is made of do not count as begun."""
    with black_hole() as nowhere:
        begun.clear()
        port = urlsplit(nowhere).port
        assert port
        yield port


def open_ones(sockets: Sequence[socket.socket]) -> list[socket.socket]:
    return [one for one in sockets if one.fileno() >= 0]


async def kind_of(dialer: Dialer, host: str, port: int) -> str:
    with pytest.raises(TransportFailure) as caught:
        await dialer.dial(host, port)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    return caught.value.kind


# --- one address ---


@pytest.mark.parametrize("ip", LOOPBACKS)
async def test_a_connection_is_the_callers_and_never_blocks_or_waits_to_fill_packets(
    begun: list[socket.socket], ip: str
) -> None:
    with anyio.fail_after(5), listening(ip) as port:
        connected = await Dialer().dial(ip, port)
        with connected:
            assert connected.getpeername()[:2] == (ip, port)
            assert connected.getblocking() is False
            assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert open_ones(begun) == [connected]


async def test_a_name_is_resolved_and_remembered(names: Names) -> None:
    names.ips = [FIRST]
    dialer = Dialer()
    with anyio.fail_after(5), listening(FIRST) as port:
        for _ in range(2):
            (await dialer.dial(NAME, port)).close()
    assert names.asked == 1


async def test_a_closed_port(begun: list[socket.socket]) -> None:
    with anyio.fail_after(5), dead_port() as port:
        assert await kind_of(Dialer(), FIRST, port) == "connect"


async def test_a_name_without_an_address(begun: list[socket.socket], names: Names) -> None:
    with anyio.fail_after(5):
        assert await kind_of(Dialer(), NAME, 80) == "dns"
    assert not begun


@pytest.mark.parametrize("port", [-1, 65536])
async def test_a_port_that_is_none(begun: list[socket.socket], port: int) -> None:
    with anyio.fail_after(5):
        assert await kind_of(Dialer(), FIRST, port) == "connect"


@pytest.mark.parametrize(
    ("code", "kind"), [(errno.EMFILE, "exhausted"), (errno.ENOBUFS, "exhausted"), (errno.EAFNOSUPPORT, "connect")]
)
async def test_a_system_that_gives_no_socket(monkeypatch: pytest.MonkeyPatch, code: int, kind: str) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, "no socket")

    with anyio.fail_after(5), listening(FIRST) as port, monkeypatch.context() as poor:
        poor.setattr(socket, "socket", refuse)
        assert await kind_of(Dialer(), FIRST, port) == kind


async def test_a_network_that_cannot_be_reached(begun: list[socket.socket]) -> None:
    with anyio.fail_after(5):
        # A link-local address on the loopback interface, which has no such link (or a machine without IPv6).
        assert await kind_of(Dialer(), f"fe80::1%{socket.if_nameindex()[0][1]}", 9) == "connect"


# --- more than one ---

A, B, C = (Address(socket.AF_INET, f"192.0.2.{last}") for last in (1, 2, 3))
X, Y, Z = (Address(socket.AF_INET6, f"2001:db8::{last}", (0, 0)) for last in (1, 2, 3))


@pytest.mark.parametrize(
    ("answer", "tried"),
    [
        ([A], [A]),
        ([X, Y, Z, A, B, C], [X, A, Y, B, Z, C]),
        ([A, B, C, X], [A, X, B, C]),
        ([X, A, B, C], [X, A, B, C]),
        ([X, A, Y, B], [X, A, Y, B]),
    ],
)
def test_families_take_turns_beginning_with_the_systems_first(answer: list[Address], tried: list[Address]) -> None:
    assert dial._interleave(answer) == tried


async def test_the_next_address_is_tried_at_once_when_one_is_refused(
    begun: list[socket.socket], names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "STAGGER_S", 60)
    names.ips = [FIRST, SECOND, "127.0.0.3"]
    with anyio.fail_after(5), dead_port() as port, listening("127.0.0.3", port):
        connected = await Dialer().dial(NAME, port)
        with connected:
            assert connected.getpeername() == ("127.0.0.3", port)


async def test_the_next_address_is_tried_after_a_quarter_second_when_one_is_silent(
    begun: list[socket.socket], names: Names
) -> None:
    names.ips = [FIRST, SECOND]
    with anyio.fail_after(5), silence(begun) as port, listening(SECOND, port):
        started_s = anyio.current_time()
        connected = await Dialer().dial(NAME, port)
        with connected:
            assert anyio.current_time() - started_s >= 0.25 - 0.001  # a tick of uvloop's clock
            assert connected.getpeername() == (SECOND, port)
            assert len(begun) == 2
            assert open_ones(begun) == [connected]


async def test_all_addresses_are_dead(begun: list[socket.socket], names: Names) -> None:
    names.ips = [FIRST, SECOND, "127.0.0.3"]
    with anyio.fail_after(5), dead_port() as port:
        assert await kind_of(Dialer(), NAME, port) == "connect"


async def test_only_the_first_of_two_that_connect_in_the_same_turn_is_kept(
    begun: list[socket.socket], names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "STAGGER_S", 0)
    both, wait_writable = anyio.Event(), anyio.wait_writable
    ready = 0

    async def in_step(one: socket.socket) -> None:
        nonlocal ready
        await wait_writable(one)
        ready += 1
        if ready == 2:
            both.set()
        else:
            await both.wait()

    monkeypatch.setattr(anyio, "wait_writable", in_step)
    names.ips = [FIRST, SECOND]
    with anyio.fail_after(5), listening(FIRST) as port, listening(SECOND, port):
        connected = await Dialer().dial(NAME, port)
        with connected:
            assert ready == 2
            assert len(begun) == 2
            assert open_ones(begun) == [connected]


# --- leaving ---


@pytest.mark.parametrize("ips", [[FIRST], [FIRST, "127.0.0.4"]], ids=["one address", "two addresses"])
async def test_cancelled_while_connecting(
    begun: list[socket.socket], names: Names, monkeypatch: pytest.MonkeyPatch, ips: list[str]
) -> None:
    monkeypatch.setattr(dial, "STAGGER_S", 0)
    names.ips = ips
    with anyio.fail_after(5), silence(begun) as port:
        with anyio.move_on_after(0.1) as limit:
            await Dialer().dial(NAME, port)
        assert limit.cancelled_caught
        assert len(begun) == len(ips)
        assert not open_ones(begun)


async def test_cancelled_while_a_name_is_looked_up(begun: list[socket.socket], names: Names) -> None:
    names.ips = [FIRST]
    names.gate.clear()
    with anyio.fail_after(5), listening(FIRST) as port:
        with anyio.move_on_after(0.05) as limit:
            await Dialer().dial(NAME, port)
        assert limit.cancelled_caught
        assert names.asked == 1
        assert not begun


async def test_cancelled_in_the_very_turn_that_connects(
    begun: list[socket.socket], names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_writable = anyio.wait_writable
    names.ips = [FIRST, SECOND]
    with anyio.fail_after(5), listening(FIRST) as port, listening(SECOND, port), anyio.CancelScope() as scope:

        async def and_leave(one: socket.socket) -> None:
            await wait_writable(one)
            scope.cancel()

        monkeypatch.setattr(anyio, "wait_writable", and_leave)
        await Dialer().dial(NAME, port)
    assert scope.cancelled_caught


async def test_cancelled_before_it_began(begun: list[socket.socket]) -> None:
    with anyio.fail_after(5), listening(FIRST) as port, anyio.CancelScope() as scope:
        scope.cancel()
        await Dialer().dial(FIRST, port)
    assert scope.cancelled_caught
    assert not begun


# --- where a name led ---


async def test_a_name_that_led_nowhere_is_looked_up_anew(names: Names) -> None:
    names.ips = [FIRST]
    dialer = Dialer()
    with anyio.fail_after(5), dead_port() as port, listening(SECOND, port):
        assert await kind_of(dialer, NAME, port) == "connect"
        names.ips = [SECOND]
        (await dialer.dial(NAME, port)).close()
    assert names.asked == 2


async def test_a_name_that_led_into_silence_is_looked_up_anew(names: Names) -> None:
    names.ips = [FIRST]
    dialer = Dialer()
    with anyio.fail_after(5), silence([]) as port:
        with anyio.move_on_after(0.05):
            await dialer.dial(NAME, port)
        names.ips = [SECOND]
        with listening(SECOND, port):
            (await dialer.dial(NAME, port)).close()
    assert names.asked == 2


# --- the engines ---


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> Any:
    return load_library(request.param)


async def test_an_engine_reaches_the_second_address_when_the_first_is_dead(engine: Engine, names: Names) -> None:
    names.ips = [SECOND, FIRST]
    transport = engine.make(dialer=Dialer())
    with anyio.fail_after(5):
        async with RawUpstream([OK]) as server:
            url = server.url.replace(FIRST, NAME)
            for _ in range(2):
                assert await outcome(transport, request_to(url)) == (200, b"hello")
            assert server.connections == 1
            assert f"host: {NAME}:".encode() in server.requests[0].head.lower()
        await transport.aclose()


@pytest.mark.parametrize(("name", "expected"), [(NAME, (200, b"hello")), (FIRST, "tls")])
async def test_the_certificate_must_be_the_names_not_the_addresss(
    engine: Engine, names: Names, name: str, expected: object
) -> None:
    names.ips = [FIRST]
    authority = trustme.CA()
    server_context = certified(authority.issue_cert(name))
    shown = []
    server_context.sni_callback = lambda _, told, __: shown.append(told)
    transport = engine.make(verify=trusting(authority), dialer=Dialer())
    with anyio.fail_after(5):
        async with tls_server(server_context) as server:
            assert await outcome(transport, request_to(server.url(NAME))) == expected
            await transport.aclose()
    assert shown == [NAME]


async def test_a_name_server_that_hangs_ends_at_the_connect_limit(engine: Engine, names: Names) -> None:
    names.gate.clear()
    transport = engine.make(dialer=Dialer())
    with anyio.fail_after(5):
        assert await outcome(transport, request_to(f"http://{NAME}", connect_s=0.05)) == "connect_timeout"
        await transport.aclose()


async def test_a_server_that_talks_before_it_is_asked_does_not_fill_the_memory(engine: Engine) -> None:
    sent = 0

    async def talk(stream: SocketStream) -> None:
        nonlocal sent
        async with stream:
            await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n")
            with suppress(anyio.BrokenResourceError):  # the end: what was not read is reset
                while True:
                    await stream.send(b"x" * 65536)
                    sent += 65536

    transport = engine.make(dialer=Dialer())
    with anyio.fail_after(5):
        async with await anyio.create_tcp_listener(local_host=FIRST) as listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, talk)
            response = await transport.open(
                request_to(f"http://{FIRST}:{listener.extra(SocketAttribute.local_port)}", body=b"x" * 100_000)
            )
            await anext(response.chunks())
            await until_still(lambda: sent)
            assert sent < 20 << 20, "more than the kernel's buffers hold"
            await response.aclose()
            group.cancel_scope.cancel()
        await transport.aclose()


async def test_closing_an_engine_ends_what_its_connections_are_doing(engine: Engine) -> None:
    transport = engine.make(dialer=Dialer())
    outcomes = []
    with anyio.fail_after(5):
        async with RawUpstream([Hang()]) as server, anyio.create_task_group() as group:

            async def ask() -> None:
                outcomes.append(await outcome(transport, request_to(server.url)))

            group.start_soon(ask)
            await server.wait_for_requests()
            await transport.aclose()
            await server.peer_closed()
    assert outcomes == ["reset"]


async def test_a_handshake_that_is_cancelled_closes_its_connection_by_itself(
    engine: Engine, begun: list[socket.socket]
) -> None:
    transport = engine.make(dialer=Dialer())
    with anyio.fail_after(5):
        async with RawUpstream([OnAccept(), Hang()]) as server:
            async with anyio.create_task_group() as group:
                group.start_soon(transport.open, request_to(server.url.replace("http:", "https:")))
                await server.wait_for_connections()
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()
            assert len(begun) == 1
            assert not open_ones(begun)
        await transport.aclose()


async def test_a_users_client_dials_for_itself_and_its_failures_have_the_same_kinds(library: Any, names: Names) -> None:
    context = certified(trustme.CA().issue_cert(FIRST))
    with anyio.fail_after(5):
        async with tls_server(context) as server, library.AsyncClient(verify=NO_AUTHORITIES) as client:
            transport = HTTPXTransport(client, head_bytes=HEAD_BYTES)
            assert await outcome(transport, request_to(f"http://{'a' * 64}.test")) == "dns"
            assert await outcome(transport, request_to("http://nonexistent.invalid", connect_s=4)) == "dns"
            assert await outcome(transport, request_to(server.url(FIRST))) == "tls"
            with dead_port() as port:
                assert await outcome(transport, request_to(f"http://{FIRST}:{port}")) == "connect"


async def test_a_socket_can_be_ended_in_one_direction_alone() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, anyio.fail_after(5):
        ours.setblocking(False)
        stream = SocketOfOurs(ours)
        await stream.send_eof()
        assert theirs.recv(1) == b""
        theirs.sendall(b"still heard")
        assert await stream.receive() == b"still heard"
