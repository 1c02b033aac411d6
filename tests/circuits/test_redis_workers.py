"""Two workers and one Redis: what one of them finds out, the other one knows."""

from __future__ import annotations

import re
from pathlib import Path

import anyio
import pytest
import trustme

from ogw_asgi import Gateway, OpenAI
from ogw_asgi._rules.circuit import Event, Failed
from ogw_asgi._status import desk
from ogw_asgi.testing import chat, error
from tests.canaries import canary

from ..contract.checks import SEQUENCE
from .redis_server import RedisServer, redis_server
from .workers import worker

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patient")]

ROOT = Path(__file__).parents[2]
LIMITED = error(429, headers=[("retry-after", "60")])


@pytest.mark.parametrize("way", ["url", "socket_url"])
async def test_nobody_calls_a_provider_that_another_worker_found_dead(server: RedisServer, way: str) -> None:
    url = getattr(server, way)
    async with worker(url, error(500)) as one, worker(url, chat("from a")) as two:
        assert [await one.ask(), await one.ask()] == ["b", "b"]
        assert await two.ask() == "b"
        assert (one.calls, two.calls) == (1, 0)
        assert (one.changes, two.changes) == (["open"], ["open"])


async def test_who_asks_what_a_worker_would_do_hears_what_others_have_told_it(server: RedisServer) -> None:
    question = {"model": "some-model", "messages": [{"role": "user", "content": "Hi"}]}
    headers = {SEQUENCE: '["a", "b"]'}
    async with worker(server.url, error(500)) as one, worker(server.url, chat("from a")) as two:
        assert await one.ask() == "b"
        assert await two.ask("b", model="another") == "b"  # and has heard of a by the way
        before = dict(await two.store._memory.known((), 0.0))
        explained = await two.world.gateway.explain(headers, question)
        assert [(one.provider, one.reason) for one in explained.targets] == [("b", None), ("a", "circuit_open")]
        assert dict(await two.store._memory.known((), 0.0)) == before
        assert (two.calls, two.changes) == (0, [])


async def test_a_workers_page_shows_what_others_have_found_out_though_nobody_has_asked_it_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(desk, "FRESH_S", 0.0)
    settings = {"status": True, "models": ["some-model"]}
    with redis_server() as server:
        async with worker(server.url, error(500), **settings) as one, worker(server.url, chat(), **settings) as two:
            status = two.world.gateway.app.status
            assert status is not None
            assert await one.ask() == "b"
            shown = await status._desk.look()
            assert [(tile.provider, tile.health) for tile in shown.targets] == [("a", "open"), ("b", "idle")]
            assert (shown.sharing, two.calls, two.changes) == ("shared", 0, [])
            server.stop()
            two.store._due_s = 0.0  # a second later
            assert (await status._desk.look()).sharing == "lost"


async def test_who_looks_at_a_page_asks_redis_once_a_second_at_most(server: RedisServer) -> None:
    async with worker(server.url, chat("from a"), status=True) as one:
        status = one.world.gateway.app.status
        assert status is not None
        numbers: list[int] = []

        async def look() -> None:
            numbers.append((await status._desk.look()).number)

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(look)
        assert one.link.asked == 1
        assert numbers == [1] * 10, "and sees the same"


async def test_a_cooldown_holds_for_all_workers(server: RedisServer) -> None:
    async with worker(server.url, LIMITED) as one, worker(server.url, chat("from a")) as two:
        assert [await one.ask(), await two.ask()] == ["b", "b"]
        assert two.calls == 0


async def test_a_cooldown_says_nothing_of_a_breaker_that_is_open(server: RedisServer) -> None:
    async with worker(server.url, error(500)) as one, worker(server.url, LIMITED) as two:
        await two.ask("b")  # two has heard all there is
        assert await one.ask() == "b"
        assert await two.ask() == "b"
        async with worker(server.url, chat("from a")) as three:
            assert await three.ask() == "b"
            assert three.changes == ["open"]


async def test_what_goes_well_is_nobody_elses_business(server: RedisServer) -> None:
    async with worker(server.url, chat("from a")) as one:
        for _ in range(20):
            assert await one.ask() == "a"
        assert one.link.asked == server.calls() <= 3, "once a second, and no oftener"
        assert server.fields() == {}
        assert server.ask("CLIENT", "LIST").count("\n") == 1, "nobody is connected but whoever asks this"


def test_a_gateway_that_is_used_from_one_loop_after_the_other_hears_in_each(server: RedisServer) -> None:
    gateway = Gateway(providers=[OpenAI(api_key=canary("openai"))], redis_url=server.url)

    async def phase(*events: Event) -> str:
        async with gateway:
            assert gateway._opened is not None
            store = gateway._opened.dispatcher.circuits.store
            await store.apply([(("openai",), event) for event in events], anyio.current_time())
            (circuit,) = await store.read([("openai",)], anyio.current_time())
            return circuit.phase

    assert anyio.run(phase, Failed(1, for_s=60.0), backend="asyncio") == "open"
    assert anyio.run(phase, backend="trio") == "open"
    assert anyio.run(phase, backend="asyncio") == "open"


async def test_workers_that_have_but_the_names_of_their_providers_in_common_do_not_meet(server: RedisServer) -> None:
    async with worker(f"{server.url}?namespace=red", error(500)) as one:
        await one.ask()
        async with worker(f"{server.url}?namespace=blue", chat("from a")) as two:
            assert await two.ask() == "a"
        async with worker(f"{server.url}?namespace=red", chat("from a")) as three:
            assert await three.ask() == "b"
    assert server.fields("ogw:{red}:circuits:1")
    assert not server.fields("ogw:{blue}:circuits:1")


AUTHORITY = trustme.CA()


@pytest.mark.parametrize(
    ("certificate", "shared"),
    [
        (AUTHORITY.issue_cert("localhost"), True),
        (AUTHORITY.issue_cert("other.test"), False),
        (trustme.CA().issue_cert("localhost"), False),
    ],
    ids=["good", "wrong name", "unknown authority"],
)
async def test_over_tls_the_name_is_verified(
    certificate: trustme.LeafCert,
    shared: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    authority, own = tmp_path / "ca.pem", tmp_path / "own.pem"
    AUTHORITY.cert_pem.write_to_path(authority)
    certificate.private_key_and_cert_chain_pem.write_to_path(own)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    files = ("--tls-cert-file", str(own), "--tls-key-file", str(own), "--tls-ca-cert-file", str(authority))
    with redis_server(*files, "--tls-auth-clients", "no", tls=True) as server:
        url = f"rediss://localhost:{server.port}"
        async with worker(url, error(500)) as one, worker(url, chat("from a")) as two:
            assert [await one.ask(), await two.ask()] == ["b", "b" if shared else "a"]
            assert ("redis_lost cause=SSLCertVerificationError" in caplog.text) is not shared


async def test_what_stands_in_redis_names_no_model_no_endpoint_and_no_principal(server: RedisServer) -> None:
    async with worker(server.url, error(500)) as one:
        await one.ask()
        key = ("vllm", "http://gpu-7.internal:8000", "grace", "secret-model")
        await one.store.apply([(key, Failed(1, for_s=60.0))], anyio.current_time())
    fields = server.fields()
    assert {name.split(":")[0] for name in fields} == {"a", "vllm"}
    assert all(re.fullmatch(r"(a|vllm):[0-9a-f]{32}", name) for name in fields)
    for word in ("some-model", "gpu-7", "grace", "secret-model", "a.test"):
        assert word not in str(fields)


async def test_a_user_with_the_rights_that_security_md_names_and_no_others_is_enough(server: RedisServer) -> None:
    rights = re.search(r"`(\+hello[^`]+)` on `([^`]+)`", (ROOT / "SECURITY.md").read_text())
    assert rights is not None
    password = canary("redis")
    rules = ["reset", "on", f">{password}", f"~{rights[2]}", *rights[1].split()]
    assert server.ask("ACL", "SETUSER", "ogw", *rules) == "OK"
    assert server.ask("SCRIPT", "FLUSH") == "OK"
    url = f"redis://ogw:{password}@127.0.0.1:{server.port}/1"
    async with worker(url, error(500)) as one, worker(url, chat("from a")) as two:
        assert [await one.ask(), await two.ask(), two.calls] == ["b", "b", 0]
