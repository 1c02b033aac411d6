"""The events of the status page: what comes when, for how many, and how each stream ends."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import anyio
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import Response

from ogw_asgi import Gateway, OpenAI, RequestRejected, Timeouts
from ogw_asgi._asgi import status
from ogw_asgi._asgi.status import LONGEST_S, LONGEST_UNSEEN_S, VIEWERS
from ogw_asgi._status.as_json import render_json
from ogw_asgi._status.page import render_parts
from ogw_asgi._status.snapshot import Snapshot
from tests.asgi.hosts import code, http_scope
from tests.asgi.looking import EMPTY, Looking, TurnedDesk, looking, viewing
from tests.contract.checks import mock_clock
from tests.transports.cancelling import Cancellation, Moment, count_tasks, means_here, until

pytestmark = pytest.mark.anyio

on_a_mock_clock = pytest.mark.parametrize("anyio_backend", [mock_clock()])


async def settled(world: Looking) -> None:
    """Until nobody follows any more."""
    with anyio.fail_after(5):
        while world.page.viewers:
            await anyio.lowlevel.checkpoint()


# --- what comes ---


@pytest.mark.contract("6.status.events")
@on_a_mock_clock
async def test_a_snapshot_comes_at_once_and_then_a_new_one_every_second() -> None:
    async with looking(TurnedDesk(ticking=True)) as world, viewing(world.gateway) as viewer:
        began_s = anyio.current_time()
        assert (viewer.status, viewer.headers["content-type"]) == (200, "text/event-stream")
        assert viewer.headers["cache-control"] == "no-store"
        assert viewer.headers["x-accel-buffering"] == "no"
        assert await viewer.next() == "retry: 1000"
        for number in (1, 2, 3):
            event = await viewer.event()
            assert (event["event"], event["id"]) == ("snapshot", str(number))
            assert json.loads(event["data"])["number"] == number
            assert event["data"].encode() + b"\n" == render_json(world.desk.snapshot, indent=None)
            assert anyio.current_time() - began_s == pytest.approx(number - 1, abs=0.01)


@pytest.mark.contract("6.status.events")
@on_a_mock_clock
async def test_as_html_the_data_is_what_the_pages_script_puts_in_place() -> None:
    async with looking() as world:
        async with viewing(world.gateway, query_string=b"as=html") as viewer:
            assert json.loads((await viewer.event())["data"]) == {"number": 1, "html": render_parts(EMPTY)}
        async with viewing(world.gateway, query_string=b"as=json&t=1") as viewer:
            assert json.loads((await viewer.event())["data"])["number"] == 1


@pytest.mark.contract("6.status.events")
@pytest.mark.parametrize(
    "query", [b"as=", b"as=text", b"as=HTML", b"as=html&as=html", b"as=%00", b"as=\xff", b"x=" + b"a" * 10_000]
)
async def test_any_other_form_is_a_400_that_names_those_there_are(query: bytes) -> None:
    async with looking() as world:
        async with viewing(world.gateway, query_string=query) as viewer:
            refused = json.loads(await viewer.body())["error"]
        assert (viewer.status, refused["code"], refused["param"]) == (400, "invalid_query", "as")
        assert "as=json" in refused["message"]
        assert "as=html" in refused["message"]
        assert world.page.viewers == 0


@pytest.mark.contract("6.status.events")
@on_a_mock_clock
async def test_the_same_snapshot_is_not_told_twice() -> None:
    async with looking() as world:
        async with viewing(world.gateway, headers={"last-event-id": "1"}) as viewer:
            assert [await viewer.next() for _ in range(3)] == ["retry: 1000", ": nothing new", ": nothing new"]
            world.desk.turn()
            assert (await viewer.event())["id"] == "2"
            assert await viewer.next() == ": nothing new"
        for seen in ("0", "", "one", "-1", "1" * 5000, "\u00b9"):
            async with viewing(world.gateway, headers={"last-event-id": seen}) as viewer:
                assert (await viewer.event())["id"] == "2"


@pytest.mark.contract("6.status.followers")
@on_a_mock_clock
async def test_a_snapshot_is_drawn_once_for_all_who_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def drawing(snapshot: Snapshot, *, indent: int | None) -> bytes:
        drawn.append(snapshot.number)
        return render_json(snapshot, indent=indent)

    monkeypatch.setattr(status, "render_json", drawing)
    async with looking(TurnedDesk(ticking=True)) as world:
        async with viewing(world.gateway) as one, viewing(world.gateway) as two, viewing(world.gateway) as three:
            for number in ("1", "2", "3"):
                assert [(await viewer.event())["id"] for viewer in (one, two, three)] == [number] * 3
        assert drawn == [1, 2, 3]


@pytest.mark.contract("6.status.followers")
@on_a_mock_clock
async def test_who_takes_them_slowly_gets_the_latest_of_then_and_nothing_waits_for_it() -> None:
    async with looking(TurnedDesk(ticking=True)) as world:
        async with viewing(world.gateway) as slow, viewing(world.gateway) as fast:
            seen = [int((await slow.event())["id"])]
            for _ in range(4):
                last = await fast.event()
            seen += [int((await slow.event())["id"]) for _ in range(2)]
        assert last["id"] == "4"
        # One was on its way when it stopped taking; then comes the latest, and not all those between.
        assert seen in ([1, 2, 4], [1, 2, 5])


# --- for how many ---


@pytest.mark.contract("6.status.followers")
async def test_so_many_may_follow_and_one_more_is_told_when_to_ask_again() -> None:
    async with looking() as world:
        async with anyio.create_task_group() as group:
            for _ in range(VIEWERS):
                await group.start(follow, world.gateway)
            assert world.page.viewers == VIEWERS
            refused = await world.client.get("/_status/events")
            assert (refused.status_code, code(refused), refused.headers["retry-after"]) == (
                503,
                "too_many_viewers",
                "5",
            )
            assert (await world.client.get("/_status")).status_code == 200, "which is no following"
            assert (await world.client.head("/_status/events")).status_code == 200
            assert (await world.client.get("/_status/events", headers={"host": "evil.test"})).status_code == 403
            group.cancel_scope.cancel()
        assert world.page.viewers == 0
        async with viewing(world.gateway) as viewer:
            assert viewer.status == 200


async def follow(gateway: Gateway, *, task_status: Any) -> None:
    async with viewing(gateway) as viewer:
        await viewer.event()
        task_status.started()
        await anyio.sleep_forever()


def test_who_followed_on_a_loop_that_is_gone_takes_nobodys_place() -> None:
    gateway = Gateway(providers=[OpenAI(api_key="k")], status=True)
    page = gateway.app.status
    assert page is not None

    async def begin() -> list[asyncio.Task[None]]:
        async def take(message: Any) -> None: ...

        await gateway.__aenter__()
        scope = http_scope("GET", "/_status/events", headers=[(b"host", b"localhost")])
        tasks = [asyncio.ensure_future(gateway(scope, anyio.sleep_forever, take)) for _ in range(VIEWERS)]
        await until(lambda: page.viewers == VIEWERS, lambda: str(page.viewers))
        return tasks

    async def look() -> int | None:
        async with gateway, viewing(gateway) as viewer:
            return viewer.status

    loop = asyncio.new_event_loop()
    tasks = loop.run_until_complete(begin())
    assert anyio.run(look) == 200
    assert page.viewers == 0
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()
    assert page.viewers == 0


# --- how it ends ---


@pytest.mark.contract("6.status.followers")
async def test_who_leaves_is_let_go_of() -> None:
    async with looking() as world:
        tasks = count_tasks()
        async with viewing(world.gateway) as viewer:
            await viewer.event()
            assert world.page.viewers == 1
            await viewer.leave()
            assert world.page.viewers == 0
        assert count_tasks() == tasks


@pytest.mark.contract("6.status.followers")
@on_a_mock_clock
async def test_who_leaves_is_let_go_of_at_once() -> None:
    async with looking() as world, viewing(world.gateway) as viewer:
        await viewer.event()
        began_s = anyio.current_time()
        await viewer.leave()
        assert (world.page.viewers, anyio.current_time()) == (0, began_s)


@pytest.mark.contract("6.status.stops")
@on_a_mock_clock
async def test_when_the_gateway_is_closed_the_streams_end_well_within_a_second() -> None:
    async with looking() as world, viewing(world.gateway) as viewer:
        await viewer.event()
        await world.gateway.aclose()
        began_s = anyio.current_time()
        assert await viewer.rest() == []
        assert anyio.current_time() - began_s < 1
        await settled(world)


@pytest.mark.contract("6.status.stops")
@on_a_mock_clock
async def test_a_gateway_that_is_opened_anew_meanwhile_is_another_one() -> None:
    async with looking() as world, viewing(world.gateway) as viewer:
        await viewer.event()
        await world.gateway.aclose()
        async with world.gateway:
            assert await viewer.rest() == []


@pytest.mark.contract("6.status.stops")
@on_a_mock_clock
async def test_a_desk_that_says_that_all_is_over_ends_the_stream_well() -> None:
    async with looking() as world, viewing(world.gateway) as viewer:
        await viewer.event()

        async def over() -> Snapshot:
            raise RequestRejected(503, "closed", code="gateway_closed")

        world.desk.look = over  # type: ignore[method-assign]
        assert await viewer.rest() == []


@pytest.mark.contract("6.status.stops")
@on_a_mock_clock
async def test_where_nobody_sees_the_server_stopping_a_stream_is_short_and_whoever_asks_again_misses_nothing() -> None:
    async with looking(TurnedDesk(ticking=True)) as world:
        began_s = anyio.current_time()
        async with viewing(world.gateway) as viewer:
            frames = await viewer.rest()
        assert anyio.current_time() - began_s == pytest.approx(LONGEST_UNSEEN_S, abs=0.5)
        last = str(len(frames) - 1)
        assert f"id: {last}" in frames[-1]
        await anyio.sleep(1)
        async with viewing(world.gateway, headers={"last-event-id": last}) as viewer:
            assert int((await viewer.event())["id"]) == int(last) + 1


@pytest.mark.contract("6.status.stops")
@on_a_mock_clock
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_where_the_server_is_seen_a_stream_is_long_and_ends_when_the_server_stops(number: int) -> None:
    server = uvicorn.Server(uvicorn.Config("none"))
    before = signal.signal(number, server.handle_exit)
    try:
        async with looking() as world:
            began_s = anyio.current_time()
            async with viewing(world.gateway) as viewer:
                await viewer.rest()
            assert anyio.current_time() - began_s == pytest.approx(LONGEST_S, abs=0.5)
            async with viewing(world.gateway) as viewer:
                await viewer.event()
                began_s = anyio.current_time()
                server.should_exit = True
                assert {*await viewer.rest()} <= {": nothing new"}
                assert anyio.current_time() - began_s < 1
    finally:
        signal.signal(number, before)


@pytest.mark.contract("6.status.followers")
@on_a_mock_clock
async def test_a_viewer_that_takes_nothing_is_gone_after_send_s() -> None:
    async with looking(timeouts=Timeouts(send_s=2)) as world:
        scope = http_scope("GET", "/_status/events", headers=[(b"host", b"localhost")])
        began_s = anyio.current_time()
        await world.gateway(scope, anyio.sleep_forever, lambda message: anyio.sleep_forever())
        assert anyio.current_time() - began_s == pytest.approx(2, abs=0.1)
        assert world.page.viewers == 0


@pytest.mark.contract("6.status.stops")
@on_a_mock_clock
async def test_one_that_takes_nothing_does_not_keep_a_server_from_stopping() -> None:
    async with looking() as world, anyio.create_task_group() as group:
        scope = http_scope("GET", "/_status/events", headers=[(b"host", b"localhost")])
        group.start_soon(world.gateway, scope, anyio.sleep_forever, lambda message: anyio.sleep_forever())
        await anyio.sleep(0.5)
        assert world.page.viewers == 1
        await world.gateway.aclose()
        await anyio.sleep(1)
        assert world.page.viewers == 0


async def test_a_send_that_fails_is_a_viewer_that_left() -> None:
    async with looking() as world:
        scope = http_scope("GET", "/_status/events", headers=[(b"host", b"localhost")])

        async def fails(message: Any) -> None:
            raise OSError("gone")

        for path in ("/_status", "/_status.json", "/_status/events"):
            await world.gateway({**scope, "path": path}, anyio.sleep_forever, fails)
        assert world.page.viewers == 0


async def test_a_desk_that_fails_is_no_place_lost() -> None:
    async with looking() as world:

        async def fails() -> Snapshot:
            raise ZeroDivisionError

        world.desk.look = fails  # type: ignore[method-assign]
        scope = http_scope("GET", "/_status/events", headers=[(b"host", b"localhost")])

        async def take(message: Any) -> None: ...

        with pytest.raises(ZeroDivisionError):
            await world.gateway(scope, anyio.sleep_forever, take)
        assert world.page.viewers == 0


@pytest.mark.contract("6.status.followers")
@pytest.mark.parametrize("moment", ["blocked", "resuming"])
async def test_wherever_it_is_cancelled_nothing_is_left_over(moment: Moment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "EVERY_S", 0.001)
    monkeypatch.setattr(status, "LOOK_S", 0.002)
    async with looking() as world:
        scope = http_scope("GET", "/_status/events", headers=[(b"host", b"localhost")])
        for means in means_here():
            begun, n = 0, 0 if means == "scope" else 1
            while True:
                closing = False

                async def receive() -> Any:
                    await anyio.sleep_forever()

                async def send(message: Any) -> None:
                    nonlocal closing
                    await anyio.lowlevel.checkpoint()
                    if b"nothing new" in message.get("body", b"") and not closing:
                        closing = True  # so that a run that is not cancelled has an end
                        await world.gateway.aclose()
                        await world.gateway.__aenter__()

                async def call() -> None:
                    await world.gateway(scope, receive, send)

                tasks = count_tasks()
                cancellation = Cancellation(n, moment, means)
                with anyio.fail_after(5):
                    await cancellation.run(call)
                await until(lambda tasks=tasks: count_tasks() == tasks, lambda: "tasks are left")  # type: ignore[misc]
                assert world.page.viewers == 0
                begun += cancellation.begun
                n += 1
                if not cancellation.begun:
                    break
            assert begun > 5


# --- around it ---


class Around(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-around"] = "1"
        return response


@pytest.mark.contract("6.status.events")
async def test_within_a_base_http_middleware_it_comes_and_ends_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "EVERY_S", 0.01)
    monkeypatch.setattr(status, "LOOK_S", 0.01)
    async with looking() as world:
        host = Starlette(middleware=[Middleware(Around)])
        host.mount("/llm", world.gateway)
        async with viewing(host, "/llm/_status/events") as viewer:
            assert viewer.headers["x-around"] == "1"
            assert (await viewer.event())["id"] == "1"
            world.desk.turn()
            assert (await viewer.event())["id"] == "2"
            await viewer.leave()
        await settled(world)
        async with viewing(host, "/llm/_status/events") as viewer:
            await viewer.event()
            await world.gateway.aclose()
            assert {*await viewer.rest()} <= {": nothing new"}
        assert world.desk.surroundings == [True, True]
