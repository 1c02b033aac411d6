"""An app served from a thread."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import httpx
import pytest

from ogw_asgi.testing import ScriptedUpstream, chat, hang, serve

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def others() -> Iterator[None]:
    """Threads of servers that other tests of this process keep running."""
    _others.update(serving_threads())
    yield
    _others.clear()


_others: set[str] = set()


def serving_threads() -> list[str]:
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("serve:")]
    return [name for name in names if name not in _others]


class Lifespan:
    """Remembers its lifespan and the threads it runs in; startup fails when asked to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.events: list[str] = []
        self.threads: set[str] = set()
        self._fails = fails

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.threads.add(threading.current_thread().name)
        if scope["type"] == "lifespan":
            await receive()
            self.events.append("startup")
            if self._fails:
                await send({"type": "lifespan.startup.failed", "message": "no"})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self.events.append("shutdown")
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def test_an_app_is_reachable_from_either_loop_and_its_thread_ends() -> None:
    app = Lifespan()
    with anyio.fail_after(10):
        async with serve(app) as url, httpx.AsyncClient(base_url=url) as client:
            assert url.startswith("http://127.0.0.1:")
            assert (await client.get("/")).status_code == 204
            assert app.events == ["startup"]
            assert serving_threads() == list(app.threads)
    assert app.events == ["startup", "shutdown"]
    assert serving_threads() == []


async def test_the_lifespan_can_be_left_out() -> None:
    app = Lifespan()
    with anyio.fail_after(10):
        async with serve(app, lifespan="off") as url, httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/")).status_code == 204
    assert app.events == []


async def test_a_failed_startup_is_an_error_here() -> None:
    with anyio.fail_after(10):
        with pytest.raises(RuntimeError, match="did not start"):
            async with serve(Lifespan(fails=True)):
                pytest.fail("it was served")
    assert serving_threads() == []


async def test_a_hanging_request_does_not_keep_the_thread() -> None:
    upstream, statuses = ScriptedUpstream(hang()), list[int]()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group, httpx.AsyncClient(timeout=None) as client:
            async with serve(upstream, shutdown_timeout_s=0) as url:

                async def ask() -> None:
                    statuses.append((await client.post(url + "/chat/completions")).status_code)

                group.start_soon(ask)
                (request,) = await upstream.wait_for_requests()
    assert statuses == [500]
    assert request.closed.is_set()
    assert serving_threads() == []


async def test_a_cancelled_block_still_ends_the_thread() -> None:
    with anyio.fail_after(10):
        with anyio.CancelScope() as scope:
            async with serve(ScriptedUpstream(chat())):
                scope.cancel()
                await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert serving_threads() == []


async def test_without_uvicorn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(RuntimeError, match="pip install uvicorn"):
        async with serve(ScriptedUpstream()):
            pytest.fail("it was served")


async def test_it_listens_on_ipv6_as_well() -> None:
    with anyio.fail_after(10):
        async with serve(ScriptedUpstream(), "::1") as url, httpx.AsyncClient(base_url=url) as client:
            assert url.startswith("http://[::1]:")
            assert (await client.get("/v1/models")).status_code == 200
