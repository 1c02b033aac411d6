"""Authenticators of every kind and temper, through the whole door, on both loops."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from ogw_asgi import Principal, RequestRejected, Timeouts
from ogw_asgi.testing import asgi_client
from tests.asgi.hosts import QUESTION, code, http_scope, in_process
from tests.auth.door import ask

pytestmark = pytest.mark.anyio

SECRET = "sk-secret-00"


# --- kinds of callables -----------------------------------------------------------------------------------------------


class Directory:
    """What a host may have: an object that knows its users."""

    def __call__(self, connection: HTTPConnection) -> Principal | None:
        return self.look_up(connection.headers.get("x-user"))

    def look_up(self, user: str | None) -> Principal | None:
        return Principal(user) if user == "ada" else None

    def method(self, connection: HTTPConnection) -> Principal | None:
        return self(connection)


class SlowDirectory(Directory):
    async def __call__(self, connection: HTTPConnection) -> Principal | None:  # type: ignore[override]
        await anyio.lowlevel.checkpoint()
        return self.look_up(connection.headers.get("x-user"))

    async def fetch(self, names: list[str], connection: HTTPConnection) -> Principal | None:
        await anyio.lowlevel.checkpoint()
        return self.look_up(connection.headers.get("x-user")) if names else None


class Awaitable:
    """Neither a coroutine nor a future."""

    def __init__(self, principal: Principal | None) -> None:
        self._principal = principal

    def __await__(self) -> Any:
        yield from anyio.lowlevel.checkpoint().__await__()
        return self._principal


class Member(Principal):
    """A host's own kind of principal."""


KINDS: dict[str, Any] = {
    "function": lambda connection: Directory()(connection),
    "object": Directory(),
    "method": Directory().method,
    "async object": SlowDirectory(),
    "partial": partial(
        lambda table, connection: table.get(connection.headers.get("x-user")), {"ada": Principal("ada")}
    ),
    "partial of an async method": partial(SlowDirectory().fetch, ["ada"]),
    "function that returns a coroutine": lambda connection: SlowDirectory()(connection),
    "function that returns an awaitable": lambda connection: Awaitable(Directory()(connection)),
    "principal of the host's own": lambda connection: Member("ada") if "x-user" in connection.headers else None,
}


@pytest.mark.contract("1.unauthorized")
@pytest.mark.parametrize("authenticate", KINDS.values(), ids=KINDS)
async def test_any_callable_is_an_authenticator(authenticate: Any) -> None:
    known, _ = await ask(authenticate, headers={"x-user": "ada"})
    nobody, calls = await ask(authenticate)
    assert (known.status_code, nobody.status_code, code(nobody), calls) == (201, 401, "invalid_api_key", 0)


async def test_an_authenticator_sees_method_path_and_headers() -> None:
    seen: list[Any] = []

    def authenticate(connection: HTTPConnection) -> Principal | None:
        seen.append((connection.scope["method"], connection.url.path, connection.headers["x-team"]))
        return Principal("p")

    reply, _ = await ask(authenticate, headers={"x-team": "blue"})
    assert reply.status_code == 201
    assert seen == [("POST", "/chat/completions", "blue")]


# --- tempers ----------------------------------------------------------------------------------------------------------


async def raises(connection: HTTPConnection) -> Principal | None:
    await anyio.lowlevel.checkpoint()
    raise OSError(f"the directory is down, key {SECRET}")


def raises_at_once(connection: HTTPConnection) -> Principal | None:
    raise KeyError(SECRET)


async def raises_a_group(connection: HTTPConnection) -> Principal | None:
    async with anyio.create_task_group() as group:
        group.start_soon(raises, connection)
    return Principal("never")


async def runs_out_of_its_own_time(connection: HTTPConnection) -> Principal | None:
    raise TimeoutError(SECRET)


async def hangs(connection: HTTPConnection) -> Principal | None:
    await anyio.sleep_forever()
    return None


async def hangs_and_will_not_be_told(connection: HTTPConnection) -> Principal | None:
    try:
        await anyio.sleep_forever()
    finally:
        raise LookupError(SECRET)


async def answers_with(value: Any, connection: HTTPConnection) -> Any:
    return value


def no_principal(connection: HTTPConnection) -> Any:
    return Principal(f"two\nlines {SECRET}")


def starlettes_own(connection: HTTPConnection) -> Principal | None:
    raise HTTPException(401, SECRET)


FAILING: dict[str, Any] = {
    "raises": raises,
    "raises at once": raises_at_once,
    "raises a group": raises_a_group,
    "runs out of its own time": runs_out_of_its_own_time,
    "hangs": hangs,
    "hangs and raises when told to end": hangs_and_will_not_be_told,
    "makes a principal that is none": no_principal,
    "raises what is another framework's": starlettes_own,
    "wants another signature": lambda: Principal("p"),
} | {
    f"says {value!r:.12}": partial(answers_with, value)
    for value in (True, False, 0, "", SECRET, b"", {"id": "p"}, ("p",), Principal, Principal("p").id)
}


@pytest.mark.contract("1.unavailable.authentication")
@pytest.mark.parametrize("authenticate", FAILING.values(), ids=FAILING)
async def test_one_that_fails_lets_nobody_in_and_the_log_says_so_once(
    authenticate: Any, caplog: pytest.LogCaptureFixture
) -> None:
    reply, calls = await ask(authenticate, timeouts=Timeouts(authenticate_s=0.05))
    assert (reply.status_code, code(reply), calls) == (503, "authentication_unavailable", 0)
    assert (reply.headers["retry-after"], reply.headers["connection"]) == ("1", "close")
    assert "www-authenticate" not in reply.headers
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert line.startswith("authenticator_failed ")
    assert SECRET not in reply.text + caplog.text


async def test_the_log_says_where_one_failed_but_not_with_what_words(caplog: pytest.LogCaptureFixture) -> None:
    await ask(raises_at_once)
    (line,) = [record.getMessage() for record in caplog.records if "authenticator_failed" in record.getMessage()]
    assert re.fullmatch(r"authenticator_failed error=KeyError at test_authenticators\.py:\d+", line)


async def test_the_log_says_that_one_hung(caplog: pytest.LogCaptureFixture) -> None:
    await ask(hangs, timeouts=Timeouts(authenticate_s=0.05))
    (line,) = [record.getMessage() for record in caplog.records if "authenticator_failed" in record.getMessage()]
    assert line == "authenticator_failed error=no answer within 0.05 s"


@pytest.mark.parametrize("status", [401, 403, 429, 503])
@pytest.mark.parametrize("later", [False, True])
async def test_what_the_host_refuses_in_its_own_words_passes_as_it_is(
    status: int, later: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def refuses(connection: HTTPConnection) -> Principal | None:
        raise RequestRejected(status, "Not from here.", type="own_error", code="own", retry_after_s=7, param="p")

    async def refuses_later(connection: HTTPConnection) -> Principal | None:
        await anyio.lowlevel.checkpoint()
        return refuses(connection)

    reply, calls = await ask(refuses_later if later else refuses)
    assert (reply.status_code, calls) == (status, 0)
    assert reply.json()["error"] == {"message": "Not from here.", "type": "own_error", "param": "p", "code": "own"}
    assert (reply.headers["retry-after"], reply.headers["connection"]) == ("7", "close")
    assert ("www-authenticate" in reply.headers) is (status == 401)
    assert "authenticator_failed" not in caplog.text


async def test_to_be_cancelled_is_no_failure_of_an_authenticator(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[Any] = []
    asked = anyio.Event()
    ended: list[BaseException] = []

    async def authenticate(connection: HTTPConnection) -> Principal | None:
        asked.set()
        try:
            await anyio.sleep_forever()
        except BaseException as error:
            ended.append(error)
            raise
        return None

    async def unread() -> Any:
        raise AssertionError("the body was asked for")

    async def send(message: Any) -> None:
        sent.append(message)

    with anyio.fail_after(5):
        async with in_process(authenticate=authenticate) as (gateway, _), gateway:
            async with anyio.create_task_group() as group:
                group.start_soon(gateway, http_scope(), unread, send)
                await asked.wait()
                group.cancel_scope.cancel()
            assert gateway.app.completions.in_flight == 0
    assert [isinstance(error, anyio.get_cancelled_exc_class()) for error in ended] == [True]
    assert sent == []
    assert "authenticator_failed" not in caplog.text


async def test_an_authenticator_that_ends_the_process_is_not_held_up() -> None:
    class Ends(BaseException):
        pass

    def authenticate(connection: HTTPConnection) -> Principal | None:
        raise Ends

    async def never(*_: Any) -> Any:
        raise AssertionError("neither read nor answered")

    async with in_process(authenticate=authenticate) as (gateway, _), gateway:
        with pytest.raises((Ends, BaseExceptionGroup)) as raised:  # as task groups have it
            await gateway(http_scope(), never, never)
        assert "Ends" in repr(raised.value)
        assert gateway.app.completions.in_flight == 0


async def test_while_one_hangs_others_are_served() -> None:
    release = anyio.Event()

    async def authenticate(connection: HTTPConnection) -> Principal | None:
        if "x-slow" in connection.headers:
            await release.wait()
        return Principal("p")

    with anyio.fail_after(5):
        async with in_process(authenticate=authenticate) as (gateway, _), gateway, asgi_client(gateway) as client:
            statuses: list[int] = []

            async def slow() -> None:
                reply = await client.post("/chat/completions", json=QUESTION, headers={"x-slow": "1"})
                statuses.append(reply.status_code)

            async with anyio.create_task_group() as group:
                group.start_soon(slow)
                await anyio.wait_all_tasks_blocked()
                assert (await client.post("/chat/completions", json=QUESTION)).status_code == 201
                assert statuses == []
                release.set()
    assert statuses == [201]
