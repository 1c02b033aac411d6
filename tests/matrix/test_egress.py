"""E01 to E08 and E10: callers that name an endpoint, and where that leads (contract, section 7)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import anyio
import pytest
import trustme

from ogw_asgi import Principal, Timeouts
from ogw_asgi.telemetry.events import CircuitChanged, EgressDenied
from ogw_asgi.testing import RawUpstream, Reset, http_response
from ogw_asgi.transports._resolver import LOOK_UPS_AT_ONCE
from tests.rules.test_addresses import NEVER
from tests.transports.servers import certified, trusting

from .caller import Reply
from .evil_urls import DENIED, MALFORMED
from .expect import assert_answered, assert_moved_on
from .faults import tls_upstream
from .selection import Case
from .standing import traces_of
from .world import Good, OpenWorld, Place, World

pytestmark = pytest.mark.anyio

ENDPOINT = "x-opengateway-vllm-endpoint"
KEY = "x-opengateway-vllm-api-key"


@dataclass
class Network:
    """The system's resolver and the sockets of this process, both watched.

    Attributes:
        answers: what a name resolves to, answer after answer; the last one stays.
        asked: the names that were looked up.
        connects: the addresses that somebody began to connect to.
    """

    answers: dict[str, list[Sequence[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    connects: list[str] = field(default_factory=list)
    shift_s: float = 0.0
    hangs: Callable[[str], object] = lambda host: None
    """Called in the look-up of every name that has answers, or that nobody knows."""

    def later(self, seconds: float) -> None:
        """What is remembered of names has grown so much older."""
        self.shift_s += seconds

    def monotonic(self) -> float:
        return time.monotonic() + self.shift_s

    def look_up(self, system: Any, name: Any, *arguments: Any, **options: Any) -> Any:
        host = name.decode() if isinstance(name, bytes) else name
        if isinstance(host, str):
            hung = self.hangs(host)
            if hung is not None:
                raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")
        answers = self.answers.get(host)
        if answers is None:
            if isinstance(host, str) and not _numeric(host):
                self.asked.append(host)
            return system(name, *arguments, **options)
        self.asked.append(host)
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [_addrinfo(each) for each in found]


def _numeric(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _addrinfo(address: str) -> tuple[Any, ...]:
    if ":" in address:
        return (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, 0, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    network = Network()
    system = socket.getaddrinfo

    class Watched(socket.socket):
        def connect_ex(self, address: Any) -> int:
            network.connects.append(address[0])
            return super().connect_ex(address)

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", Watched)
        patched.setattr(
            socket, "getaddrinfo", lambda name, *more, **options: network.look_up(system, name, *more, **options)
        )
        patched.setattr("ogw_asgi.transports._resolver.time", network)
        yield network


def by_name(connection: Any) -> Principal:
    """Everybody is let in, as whom they say."""
    return Principal(connection.headers.get("x-who", "somebody"))


def assert_denied(reply: Reply) -> None:
    assert reply.status == 403, reply.body
    assert (reply.error["code"], reply.error["param"]) == ("endpoint_not_allowed", ENDPOINT)
    assert "attempts" not in reply.error
    for header in ("x-opengateway-attempts", "server-timing", "x-opengateway-provider"):
        assert reply.header(header) is None


def denials(world: World) -> list[tuple[str, str | None]]:
    """Step and address of each, as the operator was told."""
    told = [event for event in world.events if isinstance(event, EgressDenied)]
    logged = [r for r in world.complaints.records if r.getMessage().startswith("egress_denied ")]
    assert len(logged) == len(told), "each is logged once"
    return [(event.step, event.address) for event in told]


@pytest.mark.fault("E01", mode="json")
@pytest.mark.contract("7.guard.no-lookup", "7.odd-hosts")
async def test_of_an_evil_url_nothing_is_looked_up_and_nothing_is_connected_to(
    open_world: OpenWorld, network: Network
) -> None:
    assert len(MALFORMED) + len(DENIED) >= 200
    async with RawUpstream([http_response(200)]) as server:
        port = server.port
        allowed = [
            f"http://allowed.test:{port} in 127.0.0.0/8",
            f"http://127.0.0.1:{port}",
            f"http://*.gpu.test:{port} in 127.0.0.0/8",
        ]
        await refuse_them_all(open_world, network, port, Place(Good(), allowed_endpoints=allowed))
        assert server.connections == 0


async def refuse_them_all(open_world: OpenWorld, network: Network, port: int, vllm: Place) -> None:
    async with open_world(vllm=vllm, authenticate=by_name, limit_s=30) as world:
        for number, url in enumerate([*MALFORMED, *DENIED]):
            said = url.replace("PORT", str(port)).encode("utf-8").decode("latin-1")
            reply = await world.ask("vllm", headers={ENDPOINT: said, "x-who": f"p{number // 8}"})
            if number >= len(MALFORMED):
                assert_denied(reply)
            else:
                assert (reply.status, reply.error["code"], reply.error["param"]) == (400, "invalid_header", ENDPOINT), (
                    url
                )
        assert (network.asked, network.connects) == ([], [])
        assert world.calls() == {"vllm": 0}
        assert len(denials(world)) == len(DENIED)


@pytest.mark.fault("E02")
@pytest.mark.contract("7.guard.pinned", "7.guard.neutral")
async def test_a_name_that_flips_is_looked_up_once_and_called_where_it_was_checked(
    open_world: OpenWorld, network: Network
) -> None:
    network.answers["gpu.test"] = [["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1"]]
    resetting = RawUpstream([Reset()])
    async with (
        RawUpstream([http_response(503)], [http_response(503)], [http_response(503)]) as server,
        open_world(vllm=Place(resetting, allowed_endpoints=[f"http://gpu.test:{server.port} in 127.0.0.0/8"])) as world,
    ):
        naming = {ENDPOINT: f"http://gpu.test:{server.port}"}
        for _ in range(2):
            assert (await world.ask("vllm", headers=naming)).status == 502
        assert (network.asked, network.connects) == (["gpu.test"], ["127.0.0.1"] * 2)
        network.later(31)
        assert_denied(await world.ask("vllm", headers=naming))
        assert (network.asked, network.connects) == (["gpu.test"] * 2, ["127.0.0.1"] * 2)
        assert denials(world) == [("address", "169.254.169.254")]
        assert not any(isinstance(event, CircuitChanged) for event in world.events)


@pytest.mark.fault("E03")
@pytest.mark.contract("7.guard.every", "7.guard.one-answer")
@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1", "10.0.0.7"],
        ["10.0.0.7", "127.0.0.1"],
        ["127.0.0.1", "169.254.169.254"],
        ["127.0.0.1", "::1"],
        ["127.0.0.1", "8.8.8.8"],
        [*(f"127.0.0.{number}" for number in range(1, 16)), "10.0.0.7"],
    ],
    ids=["private last", "private first", "metadata", "other family", "public", "16th"],
)
async def test_one_address_that_is_not_permitted_among_good_ones_denies_them_all(
    open_world: OpenWorld, network: Network, answers: list[str]
) -> None:
    network.answers["gpu.test"] = [answers]
    async with open_world(
        vllm=Place(Good(), allowed_endpoints=["http://gpu.test:8000 in 127.0.0.0/8"]), two=Good()
    ) as world:
        by_address = await world.ask("vllm", "two", headers={ENDPOINT: "http://gpu.test:8000"})
        by_name = await world.ask("vllm", "two", headers={ENDPOINT: "http://other.test:8000"})
        assert_denied(by_address)
        assert_denied(by_name)
        # What differs is the request's id and the date: nobody learns from it what is on the list.
        assert by_address.body == by_name.body
        assert {name for name, _ in by_address.headers} == {name for name, _ in by_name.headers}
        assert (network.asked, network.connects) == (["gpu.test"], [])
        assert [step for step, _ in denials(world)] == ["address", "name"]


@pytest.mark.fault("E03", mode="json")
async def test_of_64_answers_16_are_looked_at(open_world: OpenWorld, network: Network) -> None:
    network.answers["gpu.test"] = [[f"127.0.1.{number}" for number in range(64)]]
    async with open_world(
        vllm=Place(Good(), allowed_endpoints=["http://gpu.test:9 in 127.0.0.0/8"]), two=Good()
    ) as world:
        assert_moved_on(
            world, await world.ask("vllm", "two", headers={ENDPOINT: "http://gpu.test:9"}), "connect", failed="vllm"
        )
        assert len([each for each in network.connects if each.startswith("127.0.1.")]) == 16


@pytest.mark.fault("E04", mode="json")
@pytest.mark.contract("7.guard.never")
async def test_an_address_that_nobody_may_name_is_not_called_whatever_name_it_hides_behind(
    open_world: OpenWorld, network: Network
) -> None:
    everything = [
        "http://gpu.test in 0.0.0.0/0 ::/0",
        "http://exact.test",
        "http://*.wild.test",
        "http://0.0.0.0/0",
        "http://[::/0]",
    ]
    addresses = list(NEVER)
    for four in (IPv4Address(each) for each in NEVER if "." in each and ":" not in each):
        addresses += [str(IPv6Address(0xFFFF << 32 | int(four))), str(IPv6Address((0x64FF9B << 96) | int(four)))]
    async with open_world(vllm=Place(Good(), allowed_endpoints=everything), authenticate=by_name, limit_s=30) as world:
        for number, address in enumerate(addresses):
            network.later(31)
            for host in (f"n{number}.wild.test",) if number % 2 else ("gpu.test", "exact.test"):
                network.answers[host] = [[address]]
                named = {ENDPOINT: f"http://{host}", "x-who": f"p{number // 3}"}
                assert_denied(await world.ask("vllm", headers=named))
            literal = f"[{address}]" if ":" in address else address
            named = {ENDPOINT: f"http://{literal}", "x-who": f"l{number // 8}"}
            assert_denied(await world.ask("vllm", headers=named))
        assert network.connects == []
        assert world.calls() == {"vllm": 0}


@pytest.mark.fault("E05")
async def test_proxies_and_netrc_of_the_environment_are_nobodys_business(
    open_world: OpenWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / ".netrc").write_text("default login somebody password n3trc-secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    async with RawUpstream([http_response(502)]) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with open_world(vllm=Good()) as world:
            named = {ENDPOINT: world.upstreams["vllm"].url}
            assert_answered(world, await world.ask("vllm", headers=named), "vllm")
            (request,) = world.upstreams["vllm"].requests
            assert b"authorization" not in request.head.lower()
        assert proxy.connections == 0


@pytest.mark.fault("E06")
@pytest.mark.parametrize("keyed", [False, True])
async def test_every_key_goes_to_its_own_origin_alone(open_world: OpenWorld, keyed: bool) -> None:
    failing = RawUpstream([http_response(503)])
    azure = RawUpstream([http_response(503)])
    async with open_world(vllm=failing, openai=azure, azure=Good(), idle=["openai", "azure"]) as world:
        headers = {ENDPOINT: world.upstreams["vllm"].url}
        if keyed:
            headers[KEY] = "sk-c4n4ry.vllm-caller"
            world.keys["vllm-caller"] = headers[KEY]
        reply = await world.ask("vllm", "openai", "azure", headers=headers)
        assert_answered(world, reply, "azure", attempts=3)
        to_vllm, to_openai, to_azure = (world.upstreams[name].requests[0] for name in ("vllm", "openai", "azure"))
        configured = traces_of(world.keys["vllm"])[0].encode()
        assert configured not in to_vllm.head
        assert (b"authorization: Bearer sk-c4n4ry.vllm-caller\r\n" in to_vllm.head) is keyed
        for request in (to_openai, to_azure):
            assert b"x-opengateway" not in request.head.lower()
    # That no key is at anybody else is one of the standing checks.


@pytest.mark.fault("E07", mode="json")
@pytest.mark.contract("7.guard.name-kept")
async def test_a_certificate_for_another_name_is_the_next_providers_turn_and_learns_nothing(
    open_world: OpenWorld, network: Network
) -> None:
    authority = trustme.CA()
    network.answers |= {"gpu.test": [["127.0.0.1"]], "other.test": [["127.0.0.1"]]}
    async with tls_upstream(certified(authority.issue_cert("gpu.test"))) as (url, on_the_wire):
        port = url.rpartition(":")[2]
        allowed = [f"https://{name}.test:{port} in 127.0.0.0/8" for name in ("gpu", "other")]
        async with open_world(
            vllm=Place(Good(), allowed_endpoints=allowed, ssl_context=trusting(authority)), two=Good()
        ) as world:
            key = world.plant("vllm-caller")
            asked = {KEY: key}
            wrong = await world.ask("vllm", "two", headers={ENDPOINT: f"https://other.test:{port}", **asked})
            assert_moved_on(world, wrong, "tls", failed="vllm")
            assert on_the_wire.startswith(b"\x16\x03"), "a TLS handshake"
            assert b"POST" not in on_the_wire
            right = await world.ask("vllm", "two", headers={ENDPOINT: f"https://gpu.test:{port}", **asked})
            assert (right.status, right.header("x-opengateway-provider")) == (201, "vllm")
            # An http entry does not let https in, nor the other way round.
            assert_denied(await world.ask("vllm", headers={ENDPOINT: f"http://gpu.test:{port}", **asked}))


@pytest.mark.fault("E07", mode="json")
async def test_the_name_is_kept_for_the_host_header(open_world: OpenWorld, network: Network) -> None:
    network.answers["a.gpu.test"] = [["127.0.0.1"]]
    async with (
        RawUpstream([http_response(503)]) as server,
        open_world(
            vllm=Place(Good(), allowed_endpoints=[f"http://*.gpu.test:{server.port} in 127.0.0.0/8"]), two=Good()
        ) as world,
    ):
        reply = await world.ask("vllm", "two", headers={ENDPOINT: f"http://a.gpu.test:{server.port}/v1"})
        assert_moved_on(world, reply, "503", failed="vllm")
        head = server.requests[0].head.lower()
        assert head.startswith(b"post /v1/chat/completions http/1.1\r\n")
        assert f"host: a.gpu.test:{server.port}\r\n".encode() in head
        assert network.connects[:1] == ["127.0.0.1"]


@pytest.mark.fault("E08")
async def test_two_callers_of_one_endpoint_share_no_connection(open_world: OpenWorld) -> None:
    async with open_world(vllm=Good(), authenticate=by_name) as world:
        upstream = world.upstreams["vllm"]
        for who in ("one", "two"):
            named = {ENDPOINT: upstream.url, "x-who": who, KEY: f"sk-of-{who}"}
            assert_answered(world, await world.ask("vllm", headers=named), "vllm")
        assert (upstream.connections, upstream.reused) == (2, 0)
        keys = [
            f"authorization: Bearer sk-of-{who}\r\n".encode() in each.head
            for who, each in zip(("one", "two"), upstream.requests, strict=True)
        ]
        assert keys == [True, True]


@pytest.mark.fault("E10")
@pytest.mark.parametrize("case", [Case("native", "asyncio", "json")], ids=str)
async def test_any_number_of_endpoints_leaves_a_bounded_trace(open_world: OpenWorld, network: Network) -> None:
    """What bounds them is the same from the thousandth on, and has nothing to do with engines."""
    async with open_world(vllm=Place(Good(), allowed_endpoints=["http://127.0.0.0/8:9"]), limit_s=30) as world:

        async def ask(number: int) -> None:
            host = f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            async with world.asking("vllm", headers={ENDPOINT: f"http://{host}:9"}) as exchange:
                assert (await exchange.rest()).status == 502

        for start in range(1, 1201, 20):
            async with anyio.create_task_group() as group:
                for number in range(start, start + 20):
                    group.start_soon(ask, number)
        opened = world.gateway._opened
        assert opened is not None
        circuits = opened.dispatcher.circuits
        store: Any = circuits.store
        sizes: Mapping[str, int] = {
            "circuits": len(store._circuits),
            "measured": len(circuits._first_chunks),
            "slots": opened.dispatcher.slots.in_flight(),
        }
        assert all(size <= 1000 for size in sizes.values()), sizes
        assert len(set(network.connects)) == 1200


@pytest.mark.fault("E03", mode="json")
@pytest.mark.contract("7.guard.denials")
async def test_whoever_is_denied_again_and_again_is_slowed_down_and_others_are_not(open_world: OpenWorld) -> None:
    async with open_world(vllm=Good(), authenticate=by_name) as world:
        denied = {ENDPOINT: "http://127.0.0.1:1", "x-who": "scanner"}
        statuses = [(await world.ask("vllm", headers=denied)).status for _ in range(12)]
        assert statuses == [403] * 10 + [429] * 2
        last = await world.ask("vllm", headers=denied)
        assert (last.error["code"], last.header("retry-after"), last.header("x-should-retry")) == (
            "too_many_denials",
            "6",
            "false",
        )
        assert_denied(await world.ask("vllm", headers={**denied, "x-who": "another"}))
        allowed = {ENDPOINT: world.upstreams["vllm"].url, "x-who": "scanner"}
        assert_answered(world, await world.ask("vllm", headers=allowed), "vllm")


@pytest.mark.fault("F04")
@pytest.mark.contract("7.guard.own-look-ups")
async def test_names_of_callers_that_hang_do_not_hold_up_the_names_of_providers(
    open_world: OpenWorld, network: Network
) -> None:
    """A wildcard lets callers choose names, and so the name servers that are asked."""
    gate = threading.Event()
    network.answers["provider.test"] = [["127.0.0.1"]]
    hanging = threading.Semaphore(0)

    def hang_for(host: str) -> object:
        if not host.endswith(".wild.test"):
            return None
        hanging.release()
        return gate.wait(10)

    network.hangs = hang_for
    try:
        async with open_world(
            two=Place(Good(), host="provider.test"),
            vllm=Place(Good(), allowed_endpoints=["http://*.wild.test:9 in 127.0.0.0/8"]),
            timeouts=Timeouts(connect_s=0.5),
        ) as world:

            async def hang(number: int) -> None:
                async with world.asking("vllm", headers={ENDPOINT: f"http://n{number}.wild.test:9"}) as exchange:
                    assert (await exchange.rest()).status == 504

            async with anyio.create_task_group() as group:
                for number in range(8):
                    group.start_soon(hang, number)
                for _ in range(LOOK_UPS_AT_ONCE):
                    await anyio.to_thread.run_sync(hanging.acquire)
                async with world.asking("two") as exchange:
                    assert_answered(world, await exchange.rest(), "two")
            gate.set()
    finally:
        gate.set()
