"""The Redis that workers share, as a check shows it and asks it: who answers, what else is wrong, and no password."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme

from ogw_asgi import Gateway
from ogw_asgi._check import sharing
from ogw_asgi._check.command import run
from ogw_asgi._check.report import Asked
from ogw_asgi._effective import effective
from ogw_asgi.testing import dead_port
from tests.canaries import assert_silent, canary
from tests.circuits.redis_server import RedisServer, redis_server
from tests.transports.servers import server_of

PASSWORD = canary("redis")
USER = "ogw-c4n4ry"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as started:
        started.ask("ACL", "SETUSER", USER, "on", f">{PASSWORD}", "+@connection")
        yield started


@pytest.fixture(scope="module")
def locked() -> Iterator[RedisServer]:
    with redis_server("--requirepass", PASSWORD) as started:
        yield started


async def ask(url: str) -> Asked:
    with anyio.fail_after(20):
        asked = await sharing.asked_redis(Gateway(redis_url=url))
    assert asked is not None
    assert_silent(repr(asked), "what it was asked")
    return asked


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (None, ("none", "default")),
        ("redis://cache", ("redis://cache:6379/0, namespace default", "code")),
        (
            f"rediss://{USER}:{PASSWORD}@[::1]:7000/3?namespace=staging",
            ("rediss://***@[::1]:7000/3, namespace staging", "code"),
        ),
        (f"unix://:{PASSWORD}@/run/redis.sock?db=2", ("unix://***@/run/redis.sock?db=2, namespace default", "code")),
    ],
)
def test_where_it_is_is_shown_and_not_who_asks_there(url: str | None, shown: tuple[str, str]) -> None:
    settings = {one.name: (one.value, one.source) for one in effective(Gateway(redis_url=url))}
    assert settings["redis_url"] == shown


@pytest.mark.anyio
async def test_a_gateway_without_one_asks_none() -> None:
    assert await sharing.asked_redis(Gateway()) is None


@pytest.mark.anyio
async def test_it_answers_by_its_port_and_by_its_socket_and_keeps_nothing_of_it(
    server: RedisServer, locked: RedisServer
) -> None:
    for url, where in (
        (server.url, f"redis://127.0.0.1:{server.port}"),
        (server.socket_url, server.socket_url),
        (locked.url.replace("//", f"//:{PASSWORD}@"), f"redis://127.0.0.1:{locked.port}"),
    ):
        asked = await ask(url)
        assert (asked.problem, asked.where) == (None, where)
    assert server.ask("DBSIZE") == 0


@pytest.mark.anyio
async def test_what_is_wrong_is_told_with_a_line_and_without_the_password(
    server: RedisServer, locked: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(*name: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    at, locked_at = f"127.0.0.1:{server.port}", f"127.0.0.1:{locked.port}"
    with dead_port() as port:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", look_up)
            problem = (await ask("redis://nowhere.test/2")).problem
        assert problem is not None
        assert problem.says == "DNS: no host is known by the name nowhere.test"
        assert problem.mend == "Gateway(redis_url='redis://HOST:6379/2', ...)"
        for url, says, mend in (
            (f"redis://127.0.0.1:{port}", "connection: 127.0.0.1:", f"redis://HOST:{port}/0"),
            (
                f"redis://:{PASSWORD}@127.0.0.1:{port}?namespace=a",
                "connection: 127.0.0.1:",
                f"redis://:PASSWORD@HOST:{port}/0?namespace=a",
            ),
            ("unix:///nowhere/s", "connection: /nowhere/s refuses it", None),
            (locked.url, "password: 127.0.0.1:", f"redis://:PASSWORD@{locked_at}/0"),
            (f"redis://:{PASSWORD}-@{locked_at}", "password: 127.0.0.1:", f"redis://:PASSWORD@{locked_at}/0"),
            (f"redis://{USER}:no@{at}", "password: 127.0.0.1:", f"redis://USER:PASSWORD@{at}/0"),
            (f"redis://{at}/99", f"database: {at} has none of the number 99", f"redis://{at}/0"),
        ):
            problem = (await ask(url)).problem
            assert problem is not None
            assert problem.says.startswith(says)
            assert problem.mend == (f"Gateway(redis_url='{mend}', ...)" if mend else "ls -l /nowhere/s")
    problem = (await ask(f"redis://{USER}:{PASSWORD}@{at}")).problem
    assert problem is not None
    assert problem.says.startswith("rights: ")
    assert problem.mend == "redis-cli ACL SETUSER USER '~ogw:*' +@all"


@pytest.mark.anyio
async def test_one_that_says_nothing_is_left_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "LIMIT_S", 0.2)

    async def mute(stream: Any) -> None:
        while await stream.receive():
            pass

    async def other(stream: Any) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with server_of(mute) as silent, server_of(other) as web:
        plain = (await ask(silent.replace("http:", "redis:"))).problem
        secure = (await ask(silent.replace("http:", "rediss:"))).problem
        no_redis = (await ask(web.replace("http:", "redis:"))).problem
        no_tls = (await ask(web.replace("http:", "rediss:"))).problem
    assert plain is not None
    assert plain.says.startswith("timeout: no answer from 127.0.0.1:")
    assert secure is not None
    assert secure.says.endswith("redis:// instead of rediss://?")
    assert no_redis is not None
    assert no_redis.says.endswith("rediss:// instead of redis://?")
    assert no_tls is not None
    assert no_tls.says == "TLS: what answers there is not TLS; redis:// instead of rediss://?"


@pytest.mark.anyio
async def test_a_certificate_that_is_not_accepted_is_told_with_the_reason(tmp_path: Path) -> None:
    authority = trustme.CA()
    pem, trusted = tmp_path / "redis.pem", tmp_path / "ca.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
    authority.cert_pem.write_to_path(str(trusted))
    settings = ("--tls-cert-file", str(pem), "--tls-key-file", str(pem), "--tls-ca-cert-file", str(trusted))
    with redis_server(*settings, "--tls-auth-clients", "no", tls=True) as server:
        secure = (await ask(server.url.replace("redis:", "rediss:"))).problem
        plain = (await ask(server.url)).problem
    assert secure is not None
    assert secure.says.startswith("TLS: the certificate of 127.0.0.1:")
    assert "certificate" in secure.says.partition("(")[2]
    assert secure.mend is not None
    assert secure.mend.startswith("export SSL_CERT_FILE=")
    assert plain is not None
    assert plain.mend == f"Gateway(redis_url='rediss://127.0.0.1:{server.port}/0', ...)"


@pytest.mark.anyio
async def test_one_for_which_requests_would_not_wait_is_a_warning(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "PATIENCE_S", 0.0)
    asked = await ask(server.url)
    assert asked.problem is None
    assert ["little will be shared" in warning.says for warning in asked.warnings] == [True]


@pytest.mark.parametrize("probe", [True, False])
def test_the_command_asks_it_with_probe_alone(
    server: RedisServer, probe: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"redis://{USER}:{PASSWORD}@127.0.0.1:{server.port}"
    monkeypatch.setenv("OGW_REDIS_URL", url)
    monkeypatch.setenv("VLLM_ENDPOINT", "")
    monkeypatch.setenv("OGW_VLLM_ALLOWED_ENDPOINTS", "http://10.0.0.7:8000")
    assert run(["check", "--json", *(["--probe"] if probe else [])]) == int(probe)
    report = json.loads(capsys.readouterr().out)
    shown = {"name": "redis_url", "value": f"redis://***@127.0.0.1:{server.port}/0, namespace default"}
    assert shown | {"source": "OGW_REDIS_URL"} in report["settings"]
    if not probe:
        assert report["redis"] is None
        return
    assert report["redis"]["ok"] is False
    assert [one["setting"] for one in report["problems"]] == ["OGW_REDIS_URL"]
    assert run(["check", "--probe"]) == 1
    text = capsys.readouterr().out
    assert "asked what other workers say\n  redis        rights: " in text
