"""Bearer tokens from settings, and authenticators of every temper, through the whole door."""

from __future__ import annotations

import re
from typing import Any

import anyio
import httpx
import pytest
from starlette.requests import HTTPConnection

from ogw_asgi import ConfigurationError, Principal, RequestRejected, Timeouts, bearer_tokens
from ogw_asgi.testing import asgi_client
from tests.asgi.hosts import QUESTION, code, http_scope, in_process

anyio_test = pytest.mark.anyio

OLD, NEW, OTHER = "sk-c4n4ry-old-000000", "sk-c4n4ry-new-000000", "sk-c4n4ry-other-0000"
RIGHTS: dict[str | Principal, list[str]] = {
    "team-a": [OLD, NEW],
    Principal("team-b", models=frozenset({"m"})): [OTHER],
}
TOKENS = bearer_tokens(RIGHTS)


def connection(*authorization: str) -> HTTPConnection:
    return HTTPConnection(http_scope(headers=[(b"authorization", value.encode("latin-1")) for value in authorization]))


@pytest.mark.parametrize(
    ("authorization", "principal"),
    [
        (f"Bearer {OLD}", "team-a"),
        (f"Bearer {NEW}", "team-a"),
        (f"bearer {NEW}", "team-a"),
        (f"BEARER  {NEW} ", "team-a"),
        (f"Bearer {OTHER}", "team-b"),
        ("Bearer sk-c4n4ry-unknown-00", None),
        (f"Bearer {OLD}x", None),
        (f"Bearer {OLD[:-1]}", None),
        (f"Bearer {OLD.upper()}", None),
        (f"Bearer {OLD},{NEW}", None),
        (f"Basic {OLD}", None),
        (f"Bearer{OLD}", None),
        (OLD, None),
        ("Bearer", None),
        ("Bearer ", None),
        ("", None),
        ("Bearer \xe9\xe9", None),
    ],
)
def test_a_token_names_its_principal_and_nothing_else_does(authorization: str, principal: str | None) -> None:
    found = TOKENS(connection(authorization))
    assert (found.id if found else None) == principal


def test_without_the_header_there_is_nobody() -> None:
    assert TOKENS(connection()) is None


def test_a_principal_comes_with_its_rights() -> None:
    found = TOKENS(connection(f"Bearer {OTHER}"))
    assert found == Principal("team-b", models=frozenset({"m"}))


def test_tokens_alone_are_one_principals() -> None:
    found = bearer_tokens([OLD, NEW])(connection(f"Bearer {NEW}"))
    assert found == Principal("caller")


@pytest.mark.parametrize(
    "tokens",
    [
        {},
        [],
        {"team-a": []},
        {"team-a": "sk-c4n4ry-one-string-00"},
        {"team-a": [""]},
        {"team-a": ["sk with blanks"]},
        {"team-a": ["sk-ümlaut"]},
        {"team-a": ["sk-c4n4ry-line\nend"]},
        {"team-a": [OLD, OLD]},
        {"team-a": [OLD], "team-b": [OLD]},
    ],
    ids=repr,
)
def test_tokens_that_cannot_work_are_refused_and_not_repeated(tokens: Any) -> None:
    with pytest.raises(ConfigurationError, match="bearer_tokens") as refused:
        bearer_tokens(tokens)
    assert "sk" not in str(refused.value)


# --- through the door ---


async def ask(
    authenticator: Any, *, headers: Any = None, path: str = "/chat/completions", **options: Any
) -> tuple[httpx.Response, int]:
    with anyio.fail_after(5):
        async with in_process(authenticate=authenticator, **options) as (gateway, upstream), gateway:
            async with asgi_client(gateway) as client:
                if path == "/models":
                    return await client.get(path, headers=headers), len(upstream.requests)
                return await client.post(path, json=QUESTION, headers=headers), len(upstream.requests)


@anyio_test
@pytest.mark.contract("1.unauthorized", "2.authorization.malformed")
async def test_every_wrong_token_gets_the_same_answer() -> None:
    answers = set()
    for authorization in (None, "", "Bearer", "Basic abc", "Bearer wrong", f"Bearer {OLD}x", f"Token {OLD}"):
        headers = {"x-request-id": "same"} | ({} if authorization is None else {"authorization": authorization})
        reply, calls = await ask(TOKENS, headers=headers)
        assert (reply.status_code, reply.headers["www-authenticate"], calls) == (401, "Bearer", 0)
        answers.add((reply.content, tuple(reply.headers.items())))
    assert len(answers) == 1


@anyio_test
@pytest.mark.contract("6.models.authenticated")
@pytest.mark.parametrize("path", ["/chat/completions", "/v1/chat/completions", "/models"])
async def test_a_right_token_opens_every_path_and_a_wrong_one_none(path: str) -> None:
    right, _ = await ask(TOKENS, headers={"authorization": f"Bearer {NEW}"}, path=path)
    wrong, _ = await ask(TOKENS, path=path)
    assert right.status_code == (200 if path == "/models" else 201)
    assert wrong.status_code == 401


@anyio_test
async def test_a_401_is_sent_without_reading_the_body() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("read")

    async def send(message: Any) -> None:
        sent.append(message)

    async with in_process(authenticate=TOKENS) as (gateway, _), gateway:
        await gateway(http_scope(), receive, send)
    assert sent[0]["status"] == 401
    assert (b"connection", b"close") in sent[0]["headers"]


async def _async_yes(connection: HTTPConnection) -> Principal | None:
    return Principal("async")


async def _async_no(connection: HTTPConnection) -> Principal | None:
    return None


async def _raises(connection: HTTPConnection) -> Principal | None:
    raise OSError("the directory is down, key sk-c4n4ry-secret-00")


def _raises_at_once(connection: HTTPConnection) -> Principal | None:
    raise KeyError("sk-c4n4ry-secret-00")


async def _hangs(connection: HTTPConnection) -> Principal | None:
    await anyio.sleep_forever()
    return None


async def _bool(connection: HTTPConnection) -> Any:
    return True


def _refuses(connection: HTTPConnection) -> Principal | None:
    raise RequestRejected(403, "Not from here.", code="not_from_here")


@anyio_test
@pytest.mark.parametrize(
    ("authenticator", "status", "expected"),
    [
        (lambda connection: Principal("sync"), 201, None),
        (_async_yes, 201, None),
        (_async_no, 401, "invalid_api_key"),
        (lambda connection: None, 401, "invalid_api_key"),
        (_raises, 503, "authentication_unavailable"),
        (_raises_at_once, 503, "authentication_unavailable"),
        (_hangs, 503, "authentication_unavailable"),
        (_bool, 503, "authentication_unavailable"),
        (lambda connection: "team-a", 503, "authentication_unavailable"),
        (lambda connection: False, 503, "authentication_unavailable"),
        (_refuses, 403, "not_from_here"),
    ],
)
async def test_an_authenticator_fails_closed(
    authenticator: Any, status: int, expected: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    reply, calls = await ask(authenticator, timeouts=Timeouts(authenticate_s=0.05))
    assert reply.status_code == status
    if expected is not None:
        assert code(reply) == expected
        assert calls == 0
    assert "sk-c4n4ry-secret" not in reply.text + caplog.text
    assert caplog.text.count("authenticator_failed") == (status == 503)


@anyio_test
async def test_the_log_says_where_an_authenticator_failed_but_not_with_what_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await ask(_raises_at_once)
    (line,) = [record.getMessage() for record in caplog.records if "authenticator_failed" in record.getMessage()]
    assert re.fullmatch(r"authenticator_failed error=\w+ at test_bearer\.py:\d+", line)


@anyio_test
async def test_an_authenticator_sees_method_path_and_headers() -> None:
    seen: list[Any] = []

    def authenticate(connection: HTTPConnection) -> Principal | None:
        seen.append((connection.scope["method"], connection.url.path, connection.headers["x-team"]))
        return Principal("p")

    reply, _ = await ask(authenticate, headers={"x-team": "blue"})
    assert reply.status_code == 201
    assert seen == [("POST", "/chat/completions", "blue")]
