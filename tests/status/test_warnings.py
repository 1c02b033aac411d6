"""What an operator is warned of, and what not."""

from __future__ import annotations

import multiprocessing
import sys
from typing import Any

import pytest

from ogw_asgi import VLLM, Gateway, OpenAI, allow_anyone
from ogw_asgi._front import desk_of
from ogw_asgi._status.recent import Recent

pytestmark = pytest.mark.anyio


async def warned(gateway: Gateway, *, base_http: bool = False) -> list[str]:
    desk = desk_of(gateway, Recent(lambda: 0.0, lambda: 0.0))
    desk.note_surroundings(base_http)
    desk.note_surroundings(False)
    found = (await desk.look()).warnings
    assert all(one.says and one.mend for one in found)
    return [one.name for one in found]


async def test_what_an_operator_should_know_is_said() -> None:
    well: dict[str, Any] = {"providers": [OpenAI(api_key="k")], "authenticate": allow_anyone}
    async with Gateway(**well) as gateway:
        assert await warned(gateway) == []
        assert await warned(gateway, base_http=True) == ["middleware"]
    lazy = Gateway(**well)
    assert await warned(lazy) == ["lifespan"]
    await lazy.aclose()
    async with lazy:
        assert await warned(lazy) == []
    async with Gateway() as gateway:
        assert await warned(gateway) == ["authentication", "providers"]
    backup = VLLM(name="backup", endpoint="http://10.0.0.1:8000")
    async with Gateway(providers=[OpenAI(api_key="k"), backup], authenticate=allow_anyone) as gateway:
        assert await warned(gateway) == ["failover_sequence"]
    async with Gateway(providers=[VLLM()], authenticate=allow_anyone) as gateway:
        assert await warned(gateway) == ["allowed_endpoints"]


async def test_one_of_several_processes_should_share_what_it_finds_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Gateway(providers=[OpenAI(api_key="k")], authenticate=allow_anyone) as gateway:
        for count, expected in (("1", []), ("", []), ("many", []), ("4", ["workers"])):
            monkeypatch.setenv("WEB_CONCURRENCY", count)
            assert await warned(gateway) == expected
        monkeypatch.delenv("WEB_CONCURRENCY")
        with monkeypatch.context() as child:
            child.setattr(multiprocessing, "parent_process", multiprocessing.current_process)
            assert await warned(gateway) == ["workers"]
        monkeypatch.setitem(sys.modules, "gunicorn.arbiter", sys)
        assert await warned(gateway) == ["workers"]
    shared = Gateway(providers=[OpenAI(api_key="k")], authenticate=allow_anyone, redis_url="redis://127.0.0.1:1")
    async with shared:
        assert await warned(shared) == ["redis"], "which is not there; but it is shared, as it should be"


async def test_a_redis_that_cannot_be_reached_is_said_though_no_request_has_asked_for_it() -> None:
    gateway = Gateway(providers=[OpenAI(api_key="k")], authenticate=allow_anyone, redis_url="redis://127.0.0.1:1")
    async with gateway:
        found = await desk_of(gateway, Recent(lambda: 0.0, lambda: 0.0)).look()
    assert found.sharing == "lost"
    assert [one.name for one in found.warnings] == ["redis"]
