"""A gateway that anybody may use says so at start-up, once, where it is seen."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ogw_asgi import ConfigurationError, Gateway, Principal, allow_anyone, bearer_tokens
from tests.asgi.hosts import http_scope, in_process
from tests.auth.door import ask
from tests.conftest import open_to_all

anyio_test = pytest.mark.anyio

TOKEN = "a-token-that-nobody-can-guess-0123456789"


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    logger = logging.getLogger("ogw_asgi")
    logger.removeFilter(open_to_all)
    yield
    logger.addFilter(open_to_all)


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    lines = [(record.levelno, record.getMessage()) for record in caplog.records]
    return [(level, text) for level, text in lines if text.startswith("no_authentication")]


@anyio_test
@pytest.mark.contract("1.unauthorized")
async def test_without_an_authenticator_it_is_said_once_however_often_it_is_opened(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gateway, another = Gateway(), Gateway()
    assert said(caplog) == [], "one that is never opened lets nobody in"
    for _ in range(3):
        async with gateway:
            pass
    ((level, text),) = said(caplog)
    assert level == logging.WARNING
    assert all(
        word in text for word in ("OGW_BEARER_TOKENS", "authenticate=bearer_tokens", "authenticate=allow_anyone")
    )
    async with another:
        assert len(said(caplog)) == 2


@anyio_test
async def test_one_that_opens_itself_says_it_too(caplog: pytest.LogCaptureFixture) -> None:
    reply, _ = await ask(None)
    assert reply.status_code == 201
    assert len(said(caplog)) == 1


@anyio_test
@pytest.mark.parametrize("authenticate", [bearer_tokens([TOKEN]), lambda connection: None, allow_anyone])
async def test_whoever_has_said_who_may_call_is_not_warned(authenticate: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with Gateway(authenticate=authenticate):
        pass
    assert said(caplog) == []


@anyio_test
async def test_to_allow_anyone_lets_all_in_but_those_whom_the_host_cannot_name() -> None:
    headers: Any
    for headers in ({}, {"authorization": "Bearer whatever"}, {"authorization": "nonsense"}):
        reply, calls = await ask(allow_anyone, headers=headers)
        assert (reply.status_code, calls) == (201, 1)
    sent: list[Any] = []

    async def unread() -> Any:
        raise AssertionError("the body was asked for")

    async def send(message: Any) -> None:
        sent.append(message)

    async with in_process(authenticate=allow_anyone) as (gateway, _), gateway:
        await gateway(http_scope(**{"ogw_asgi.principal": "no principal"}), unread, send)
    assert sent[0]["status"] == 503


def test_without_a_set_up_of_logging_it_stands_on_the_screen() -> None:
    program = (
        "import asyncio, ogw_asgi\nasync def main():\n    async with ogw_asgi.Gateway(): pass\nasyncio.run(main())"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert ran.stderr.startswith("no_authentication: everybody")
    assert len(ran.stderr.splitlines()) == 1


# --- from the environment ---


@anyio_test
async def test_the_environments_tokens_are_all_that_it_takes(caplog: pytest.LogCaptureFixture) -> None:
    gateway = Gateway.from_env({"OPENAI_API_KEY": "k", "OGW_BEARER_TOKENS": TOKEN})
    async with gateway:
        pass
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@anyio_test
async def test_a_host_may_bring_its_own_authenticator_to_the_environments_providers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Gateway.from_env({"OPENAI_API_KEY": "k"}, authenticate=lambda connection: None) as gateway:
        sent: list[Any] = []

        async def unread() -> Any:
            raise AssertionError("the body was asked for")

        async def send(message: Any) -> None:
            sent.append(message)

        await gateway(http_scope(), unread, send)
    assert sent[0]["status"] == 401
    assert said(caplog) == []


def test_tokens_that_would_be_without_effect_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="OGW_BEARER_TOKENS") as refused:
        Gateway.from_env({"OPENAI_API_KEY": "k", "OGW_BEARER_TOKENS": TOKEN}, authenticate=allow_anyone)
    assert TOKEN not in str(refused.value)
    with pytest.raises(ConfigurationError, match="authenticate"):
        Gateway.from_env({"OPENAI_API_KEY": "k"}, authenticate=Principal("p"))  # type: ignore[arg-type]
