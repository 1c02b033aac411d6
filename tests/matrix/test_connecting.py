"""F01 to F10: what goes wrong before a provider has read the request."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import trustme
from fastapi import FastAPI

from ogw_asgi import Gateway, Limits, Timeouts
from ogw_asgi.testing import Fin, Hang, OnAccept, RawRequest, RawUpstream, Reset, SharedEvent, Wait, dead_port
from tests.transports.servers import certified, trusting

from .expect import alerts, assert_alone, assert_answered, assert_moved_on, assert_timed_out
from .faults import black_hole, resolve, tls_upstream
from .selection import Case
from .standing import canary, traces_of
from .wire import good
from .world import Good, OpenWorld, Place, World

pytestmark = pytest.mark.anyio

SHORT_S = 0.1
SHORT = Timeouts(connect_s=SHORT_S)


@pytest.mark.fault("F01")
async def test_a_closed_port_is_the_next_providers_turn_at_once(open_world: OpenWorld) -> None:
    with dead_port() as port:
        async with open_world(one=f"http://127.0.0.1:{port}", two=Good()) as world:
            assert_moved_on(world, await world.ask(), "connect")
            took: list[int] = []
            while len(took) < 20 and not any(each <= 5 for each in took):  # a busy machine may delay some, not all
                alone = await world.ask("one")
                assert_alone(alone, "connect")
                took.append(alone.timings[0].duration_ms)
            assert min(took) <= 5


@pytest.mark.fault("F02")
async def test_a_black_hole_ends_at_the_connect_limit_and_not_at_that_of_the_first_chunk(open_world: OpenWorld) -> None:
    with black_hole() as port:
        async with open_world(one=f"http://127.0.0.1:{port}", two=Good(), timeouts=SHORT) as world:
            reply = await world.ask()
            assert_moved_on(world, reply, "connect_timeout")
            assert 100 <= reply.timings[0].duration_ms < 1000
            assert_timed_out(await world.ask("one"), "connect_timeout")


def unknown() -> Sequence[str]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def failing() -> Sequence[str]:
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@pytest.mark.fault("F03")
@pytest.mark.parametrize("answer", [unknown, failing, list], ids=["NXDOMAIN", "SERVFAIL", "no address"])
async def test_a_name_that_does_not_resolve_is_the_next_providers_turn(
    open_world: OpenWorld, answer: Callable[[], Sequence[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve(monkeypatch, {"nobody.test": answer})
    async with open_world(one="http://nobody.test", two=Good()) as world:
        assert_moved_on(world, await world.ask(), "dns")
        assert_alone(await world.ask("one"), "dns")


def host_app(gateway: Gateway) -> FastAPI:
    """A host with an endpoint of its own that runs in a thread of the loop's."""
    app = FastAPI(lifespan=gateway.lifespan)

    @app.post("/own")
    def own() -> str:
        return "still here"

    app.mount("/llm", gateway)
    return app


@pytest.mark.fault("F04")
async def test_a_resolver_that_hangs_ends_at_the_connect_limit_and_takes_no_thread_of_the_hosts(
    open_world: OpenWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    asked = SharedEvent()

    def hang() -> Sequence[str]:
        asked.set()
        released.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "released")

    hosts = [f"hangs-{number}.test" for number in range(4)]
    resolve(monkeypatch, dict.fromkeys(hosts, hang))
    providers: dict[str, Any] = {f"slow-{number}": f"http://{host}" for number, host in enumerate(hosts)}
    try:
        async with open_world(**providers, two=Good(), timeouts=SHORT, host=host_app) as world:
            async with world.asking(path="/llm/chat/completions") as exchange:
                await asked.wait()
                own = await world.ask(path="/own")
                assert (own.status, own.body) == (200, b'"still here"')
                assert not exchange.raw, "the first look-up still hangs"
                reply = await exchange.rest()
            assert_answered(world, reply, "two", attempts=5)
            assert [timed.label for timed in reply.timings[:-1]] == ["connect_timeout"] * 4
            assert all(100 <= timed.duration_ms < 1000 for timed in reply.timings[:-1])
            assert_timed_out(await world.ask("slow-0", path="/llm/chat/completions"), "connect_timeout")
    finally:
        released.set()


@pytest.mark.fault("F05")
async def test_the_second_of_two_addresses_answers_in_the_same_attempt(
    open_world: OpenWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve(monkeypatch, {"double.test": lambda: ["127.0.0.2", "127.0.0.1"]})
    async with open_world(one=Place(Good("alive"), host="double.test"), two=Good(), idle=["one"]) as world:
        with black_hole("127.0.0.2", world.ports["one"]):
            reply = await world.ask()
            assert_answered(world, reply, "one")
            assert 250 <= reply.timings[0].duration_ms < 1000
        assert world.calls() == {"one": 1, "two": 0}


@pytest.mark.fault("F05")
async def test_an_address_that_refuses_delays_the_second_by_nothing(
    open_world: OpenWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve(monkeypatch, {"double.test": lambda: ["127.0.0.2", "127.0.0.1"]})
    async with open_world(one=Place(Good("alive"), host="double.test"), two=Good(), idle=["one"]) as world:
        reply = await world.ask()
        assert_answered(world, reply, "one")
        assert reply.timings[0].duration_ms < 250


AUTHORITY = trustme.CA()
UNTRUSTED = {
    "expired": AUTHORITY.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC)),
    "wrong name": AUTHORITY.issue_cert("other.test"),
    "self-signed": trustme.CA().issue_cert("127.0.0.1"),
}


@asynccontextmanager
async def world_behind_tls(
    open_world: OpenWorld, certificate: trustme.LeafCert
) -> AsyncIterator[tuple[World, bytearray]]:
    async with tls_upstream(certified(certificate)) as (url, on_the_wire):
        async with open_world(one=Place(url, ssl_context=trusting(AUTHORITY)), two=Good()) as world:
            yield world, on_the_wire


@pytest.mark.fault("F06")
@pytest.mark.parametrize("certificate", UNTRUSTED.values(), ids=UNTRUSTED)
async def test_a_certificate_that_does_not_hold_is_a_misconfiguration_and_learns_nothing(
    open_world: OpenWorld, certificate: trustme.LeafCert
) -> None:
    async with world_behind_tls(open_world, certificate) as (world, on_the_wire):
        assert_moved_on(world, await world.ask(), "tls")
        assert alerts(world) == ["tls"]
        assert_alone(await world.ask("one"), "tls")
    assert on_the_wire.startswith(b"\x16\x03"), "a TLS handshake"
    for secret in (b"POST", b"authorization", b"messages", *(trace.encode() for trace in traces_of(canary("one")))):
        assert secret not in on_the_wire


@pytest.mark.fault("F06", mode="json")
async def test_a_certificate_that_holds_is_no_fault(open_world: OpenWorld) -> None:
    async with world_behind_tls(open_world, AUTHORITY.issue_cert("127.0.0.1")) as (world, _):
        world.idle = ["one"]
        reply = await world.ask()
        assert (reply.status, reply.header("x-opengateway-provider")) == (201, "one")
        assert alerts(world) == []


@pytest.mark.fault("F07")
async def test_a_tls_handshake_that_stalls_ends_at_the_connect_limit(open_world: OpenWorld) -> None:
    silent = RawUpstream([OnAccept(), Hang()])
    async with open_world(one=Place(silent, scheme="https"), two=Good(), timeouts=SHORT) as world:
        reply = await world.ask()
        assert_moved_on(world, reply, "connect_timeout")
        assert 100 <= reply.timings[0].duration_ms < 1000
        assert_timed_out(await world.ask("one"), "connect_timeout")
        await silent.peer_closed(2)
    assert silent.connections == 2


@pytest.mark.fault("F08")
async def test_a_reset_on_a_fresh_connection_is_not_sent_again(open_world: OpenWorld) -> None:
    resetting = RawUpstream([OnAccept(), Reset()])
    async with open_world(one=resetting, two=Good()) as world:
        assert_moved_on(world, await world.ask(), "reset")
        assert resetting.connections == 1
        assert_alone(await world.ask("one"), "reset")
        assert resetting.connections == 2


FAREWELLS = {"FIN": Fin(), "RST": Reset()}


@pytest.mark.fault("F09")
@pytest.mark.parametrize("farewell", FAREWELLS.values(), ids=FAREWELLS)
async def test_a_reused_connection_that_the_peer_had_closed_is_replaced_silently(
    open_world: OpenWorld, case: Case, farewell: Fin | Reset
) -> None:
    stale = RawUpstream([good(case.mode)], [farewell], [good(case.mode)], strict=True)
    async with open_world(one=stale, two=Good(), idle=["one"]) as world:
        for _ in range(2):
            assert_answered(world, await world.ask(), "one", text="Hello")
        assert world.calls() == {"one": 3, "two": 0}
    first, second, third = stale.requests
    assert [each.connection for each in stale.requests] == [0, 0, 1]
    assert first.head == second.head.replace(_id_of(second), _id_of(first))
    assert (second.head, second.body) == (third.head, third.body)


@pytest.mark.fault("F09")
@pytest.mark.parametrize("farewell", FAREWELLS.values(), ids=FAREWELLS)
async def test_a_connection_that_the_peer_closes_while_it_rests_is_not_used_again(
    open_world: OpenWorld, case: Case, farewell: Fin | Reset
) -> None:
    async with open_world(one=RawUpstream([good(case.mode), farewell], [good(case.mode)]), idle=["one"]) as world:
        for _ in range(2):
            assert_answered(world, await world.ask(), "one", text="Hello")
        assert world.calls() == {"one": 2}


@pytest.mark.fault("F09")
async def test_what_is_sent_again_and_fails_again_is_the_next_providers_turn(open_world: OpenWorld, case: Case) -> None:
    gone = RawUpstream([good(case.mode)], [Fin()], [Reset()], strict=True)
    async with open_world(one=gone, two=Good(), idle=["one", "two"]) as world:
        assert_answered(world, await world.ask(), "one", text="Hello")
        assert_moved_on(world, await world.ask(), "reset")
        assert world.calls() == {"one": 3, "two": 1}


@pytest.mark.fault("F10")
async def test_a_full_target_is_waited_for_a_moment_and_then_the_next_one_is_asked(
    open_world: OpenWorld, case: Case
) -> None:
    gate = SharedEvent()
    held = RawUpstream([Wait(gate), good(case.mode)])
    settings: dict[str, Any] = {"limits": Limits(concurrency=1), "timeouts": Timeouts(slot_wait_s=SHORT_S)}
    async with open_world(one=held, two=Good(), idle=["one", "two"], **settings) as world:
        async with world.asking("one") as holder:
            await held.wait_for_requests()
            reply = await world.ask("one", "two")
            assert (reply.status, reply.header("x-opengateway-provider")) == (201, "two")
            assert [timed.label for timed in reply.timings] == ["busy", "200"]
            full = await world.ask("one")
            assert (full.status, full.error["code"]) == (503, "gateway_overloaded")
            assert full.header("retry-after") == "1"
            assert [attempt["outcome"] for attempt in full.error["attempts"]] == ["busy"]
            gate.set()
            assert_answered(world, await holder.rest(), "one", text="Hello")
        assert world.calls() == {"one": 1, "two": 1}


@pytest.mark.fault("F10")
async def test_a_slot_that_becomes_free_within_the_wait_is_taken(open_world: OpenWorld, case: Case) -> None:
    gate = SharedEvent()
    held = RawUpstream([Wait(gate), good(case.mode)])
    async with open_world(one=held, two=Good(), idle=["one"], limits=Limits(concurrency=1)) as world:
        async with world.asking() as first:
            await held.wait_for_requests()
            async with world.asking() as second:
                gate.set()
                for exchange in (first, second):
                    assert_answered(world, await exchange.rest(), "one", text="Hello")
        assert world.calls() == {"one": 2, "two": 0}


def _id_of(request: RawRequest) -> bytes:
    return next(line for line in request.head.split(b"\r\n") if line.lower().startswith(b"x-request-id"))
