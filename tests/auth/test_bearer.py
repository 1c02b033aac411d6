"""Bearer tokens from settings, by themselves and through the whole door."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from typing import Any

import pytest
from starlette.requests import HTTPConnection

from ogw_asgi import ConfigurationError, Principal, bearer_tokens
from tests.asgi.hosts import http_scope, in_process
from tests.auth.door import ask

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
        {"team-a": [OLD], "team-b": ["sha256:" + hashlib.sha256(OLD.encode()).hexdigest()]},
        {"team-a": ["sha256:"]},
        {"team-a": ["sha256:sk"]},
        {"team-a": ["sha256:" + "0" * 63]},
        {"team-a": ["sha256:" + "0" * 65]},
        {"team-a": ["sha256:" + "g" * 64]},
        {"team-a": [b"sk-bytes-000000"]},
        {"team-a": [None]},
        {"team-a": None},
        {"team-a": 7},
        b"sk-bytes-000000",
        None,
    ],
    ids=lambda tokens: ascii(tokens)[:40],
)
def test_tokens_that_cannot_work_are_refused_and_not_repeated(tokens: Any) -> None:
    with pytest.raises(ConfigurationError, match="bearer_tokens") as refused:
        bearer_tokens(tokens)
    assert "sk" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "a\nb", 7, None])
def test_the_ids_of_principals_are_those_of_principals(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="Principal: id"):
        bearer_tokens({name: [OLD]})


# --- digests, rotation, and how good a token is ---

STRONG = "x9GmK2rQ7tUvWc4yZbNn1aPfLsDhEjR0oIuYqTgVkM8"
DIGEST = "sha256:" + hashlib.sha256(STRONG.encode()).hexdigest()


@pytest.mark.parametrize(
    "digest", [DIGEST, "sha256:" + DIGEST.removeprefix("sha256:").upper()], ids=["small", "capital"]
)
def test_a_digest_stands_for_its_token_and_opens_nothing_itself(digest: str) -> None:
    authenticate = bearer_tokens({"team-a": [digest]})
    assert authenticate(connection(f"Bearer {STRONG}")) == Principal("team-a")
    for wrong in (digest, digest.removeprefix("sha256:"), STRONG[:-1]):
        assert authenticate(connection(f"Bearer {wrong}")) is None


def test_old_and_new_are_valid_at_once_and_a_function_in_front_takes_later_ones() -> None:
    tokens: dict[str, list[str]] = {"team-a": [OLD]}
    current = bearer_tokens(tokens)

    def authenticate(asking: HTTPConnection) -> Principal | None:
        return current(asking)

    def valid() -> list[bool]:
        return [authenticate(connection(f"Bearer {token}")) is not None for token in (OLD, NEW)]

    tokens["team-a"].append(NEW)
    assert valid() == [True, False], "read once"
    current = bearer_tokens(tokens)
    assert valid() == [True, True]
    current = bearer_tokens({"team-a": [NEW]})
    assert valid() == [False, True]


def test_whatever_the_token_it_is_compared_with_every_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [secrets.token_urlsafe(32) for _ in range(20)]
    authenticate = bearer_tokens(tokens)
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def counted(known: bytes, given: bytes) -> bool:
        compared.append((len(known), len(given)))
        return compare(known, given)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    first, last = tokens[0], tokens[-1]
    for token in (first, last, first[:-1] + "~", "~" + first[1:], last[:20] + "x" * 23, "x", "x" * 4000):
        compared.clear()
        authenticate(connection(f"Bearer {token}"))
        assert compared == [(32, 32)] * 20


@pytest.mark.parametrize(
    ("tokens", "named"),
    [
        ({"team-a": ["x" * 32]}, None),
        ({"team-a": [STRONG], "team-b": [DIGEST[:-1] + ("0" if DIGEST[-1] != "0" else "1")]}, None),
        ({"team-a": ["x" * 31]}, "1"),
        ({"team-a": ["x" * 31, "y" * 31], "team-b": [STRONG], "team-c": ["z"]}, "1, 3"),
        (["x" * 31], "1"),
        ({"z" * 40: ["team-a"]}, "1"),
    ],
)
def test_tokens_that_can_be_guessed_are_told_once_and_not_shown(
    tokens: Any, named: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    bearer_tokens(tokens)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * (named is not None)
    if named is not None:
        assert caplog.records[0].getMessage().startswith(f"short_tokens principals=[{named}]: ")
        assert not any(text in caplog.text for text in ("xxx", "yyy", "zzz"))


# --- through the door ---


@anyio_test
@pytest.mark.contract("1.unauthorized", "1.unauthorized.alike", "2.authorization.malformed")
async def test_every_wrong_token_gets_the_same_answer() -> None:
    answers = set()
    for authorization in (
        None,
        "",
        "Bearer",
        "Basic abc",
        "Bearer wrong",
        f"Bearer {OLD}x",
        f"Bearer {OLD[:-1]}x",
        f"Token {OLD}",
    ):
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
