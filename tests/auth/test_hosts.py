"""Hosts that know their callers: Starlette's AuthenticationMiddleware, FastAPI's dependencies, the key in the scope."""

from __future__ import annotations

import base64
from typing import Annotated, Any

import anyio
import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBasic, HTTPBasicCredentials, HTTPBearer
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, BaseUser, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection

from ogw_asgi import Gateway, GatewayMiddleware, Principal
from ogw_asgi.fastapi import gateway_router
from ogw_asgi.testing import asgi_client
from tests.asgi.hosts import QUESTION, code, http_scope, in_process, mounted, running

pytestmark = pytest.mark.anyio

KEY = "ogw_asgi.principal"


def nobody(connection: HTTPConnection) -> Principal | None:
    """The authenticator of a gateway that takes its host's word alone."""
    return None


# --- Starlette's AuthenticationMiddleware -----------------------------------------------------------------------------


class Basic(AuthenticationBackend):
    """As in Starlette's documentation: anonymous without the header, an error for one that is wrong."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        header = conn.headers.get("authorization")
        if header is None:
            return None
        try:
            scheme, _, credentials = header.partition(" ")
            name, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except ValueError:
            scheme = name = password = ""
        if scheme.lower() != "basic" or password != "right":
            raise AuthenticationError("wrong credentials")
        return AuthCredentials(["llm"] if name != "guest" else []), SimpleUser(name)


MODELS = {"bob": ["another"]}


def starlettes_user(connection: HTTPConnection) -> Principal | None:
    """The recipe of the README."""
    if not connection.user.is_authenticated or "llm" not in connection.auth.scopes:
        return None
    name = connection.user.display_name
    return Principal(name, models=MODELS.get(name))


def basic(name: str, password: str = "right") -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def starlette_mounted(gateway: Gateway) -> Any:
    authentication = Middleware(AuthenticationMiddleware, backend=Basic())
    return Starlette(routes=[mounted(gateway)], middleware=[authentication]), "/llm/chat/completions"


def starlette_wrapped(gateway: Gateway) -> Any:
    """The first of the list is the outermost: who calls must be known before the gateway is reached."""
    authentication = Middleware(AuthenticationMiddleware, backend=Basic())
    return Starlette(middleware=[authentication, Middleware(GatewayMiddleware, gateway=gateway)]), "/chat/completions"


def starlette_added(gateway: Gateway) -> Any:
    """The last that is added is the outermost."""
    app = Starlette()
    app.add_middleware(GatewayMiddleware, gateway=gateway)
    app.add_middleware(AuthenticationMiddleware, backend=Basic())
    return app, "/chat/completions"


@pytest.mark.contract("1.unauthorized", "1.forbidden.model")
@pytest.mark.parametrize("build", [starlette_mounted, starlette_wrapped, starlette_added])
async def test_starlettes_user_becomes_the_principal(build: Any) -> None:
    with anyio.fail_after(5):
        async with in_process(authenticate=starlettes_user) as (gateway, upstream), gateway:
            app, path = build(gateway)
            async with asgi_client(app) as client:

                async def ask(headers: dict[str, str]) -> httpx.Response:
                    return await client.post(path, json=QUESTION, headers=headers)

                anonymous, guest, wrong = await ask({}), await ask(basic("guest")), await ask(basic("ada", "wrong"))
                bob = await ask(basic("bob"))
                assert upstream.requests == []
                ada = await ask(basic("ada"))
    for reply in (anonymous, guest):
        assert (reply.status_code, code(reply)) == (401, "invalid_api_key")
    assert (wrong.status_code, wrong.text) == (400, "wrong credentials"), "the host's own answer"
    assert (bob.status_code, code(bob)) == (403, "model_not_allowed")
    assert ada.status_code == 201


@pytest.mark.contract("1.unavailable.authentication")
async def test_with_the_gateway_outside_of_starlettes_authentication_nobody_gets_in(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with anyio.fail_after(5):
        async with in_process(authenticate=starlettes_user) as (gateway, upstream), gateway:
            authentication = Middleware(AuthenticationMiddleware, backend=Basic())
            app = Starlette(middleware=[Middleware(GatewayMiddleware, gateway=gateway), authentication])
            async with asgi_client(app) as client:
                reply = await client.post("/chat/completions", json=QUESTION, headers=basic("ada"))
            assert upstream.requests == []
    assert (reply.status_code, code(reply)) == (503, "authentication_unavailable")
    assert "authenticator_failed error=AssertionError" in caplog.text, "it has no user to look at"


# --- FastAPI's dependencies -------------------------------------------------------------------------------------------

USERS = {"token-of-ada": Principal("ada"), "token-of-bob": Principal("bob", models=["another"])}


def by_bearer(request: Request, found: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> None:
    _name(request, found.credentials)


def by_basic(request: Request, found: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]) -> None:
    _name(request, found.password)


async def by_key(request: Request, found: Annotated[str, Depends(APIKeyHeader(name="x-key"))]) -> None:
    _name(request, found)


def _name(request: Request, token: str) -> None:
    if token not in USERS:
        raise HTTPException(403, detail="the host's own")
    request.scope[KEY] = USERS[token]


def routed(gateway: Gateway, *dependencies: Any) -> FastAPI:
    app = FastAPI()
    app.include_router(gateway_router(gateway, dependencies=[Depends(each) for each in dependencies]))
    return app


def as_bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def as_basic(token: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"user:{token}".encode()).decode()}


@pytest.mark.contract("1.forbidden.model")
@pytest.mark.parametrize(
    ("dependency", "headers"),
    [(by_bearer, as_bearer), (by_basic, as_basic), (by_key, lambda token: {"x-key": token})],
    ids=["HTTPBearer", "HTTPBasic", "APIKeyHeader"],
)
@pytest.mark.parametrize("authenticate", [None, nobody])
async def test_a_security_scheme_of_fastapi_names_the_principal(
    dependency: Any, headers: Any, authenticate: Any
) -> None:
    with anyio.fail_after(5):
        async with in_process(authenticate=authenticate) as (gateway, upstream):
            async with running(routed(gateway, dependency)) as client:

                async def ask(**arguments: Any) -> httpx.Response:
                    return await client.post("/chat/completions", json=QUESTION, **arguments)

                absent, wrong = await ask(), await ask(headers=headers("wrong"))
                bob = await ask(headers=headers("token-of-bob"))
                assert upstream.requests == []
                ada = await ask(headers=headers("token-of-ada"))
                schema = (await client.get("/openapi.json")).json()
    assert absent.status_code in (401, 403)
    assert set(absent.json()) == set(wrong.json()) == {"detail"}, "the host's own answers"
    assert wrong.status_code == 403
    assert (bob.status_code, code(bob)) == (403, "model_not_allowed")
    assert ada.status_code == 201
    assert "security" in schema["paths"]["/chat/completions"]["post"]


# --- the key in the scope ---------------------------------------------------------------------------------------------


@pytest.mark.contract("1.unavailable.authentication")
@pytest.mark.parametrize("found", [{"id": "ada"}, "ada", True, False, "", Principal], ids=repr)
@pytest.mark.parametrize("authenticate", [None, lambda connection: Principal("anybody")])
async def test_what_the_host_names_and_is_no_principal_lets_nobody_in_and_is_told(
    found: Any, authenticate: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with in_process(authenticate=authenticate) as (gateway, upstream), gateway:

        async def host(scope: Any, receive: Any, send: Any) -> None:
            await gateway({**scope, KEY: found}, receive, send)

        async with asgi_client(host) as client:
            replies = [await client.post("/chat/completions", json=QUESTION), await client.get("/models")]
        assert upstream.requests == []
    for reply in replies:
        assert (reply.status_code, code(reply)) == (503, "authentication_unavailable")
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert (
        lines
        == [f"authenticator_failed source=ogw_asgi.principal found={type(found).__name__} expected=Principal or None"]
        * 2
    )


@pytest.mark.contract("1.unauthorized")
@pytest.mark.parametrize(
    ("authenticate", "status"), [(None, 401), (nobody, 401), (lambda connection: Principal("known"), 201)]
)
async def test_whom_the_host_does_not_know_the_authenticator_may(authenticate: Any, status: int) -> None:
    """`scope[...] = users.get(token)` must not open a gateway that has no authenticator of its own."""

    def user(request: Request) -> None:
        request.scope[KEY] = None

    async with in_process(authenticate=authenticate) as (gateway, _):
        async with running(routed(gateway, user)) as client:
            assert (await client.post("/chat/completions", json=QUESTION)).status_code == status


@pytest.mark.contract("1.unauthorized")
async def test_a_gateway_that_takes_its_hosts_word_is_closed_where_the_host_says_none() -> None:
    async with in_process(authenticate=nobody) as (gateway, upstream):
        async with running(routed(gateway)) as client:
            assert (await client.post("/chat/completions", json=QUESTION)).status_code == 401
        assert upstream.requests == []


async def test_whoever_the_host_has_named_is_not_asked_again() -> None:
    asked: list[str] = []

    def authenticate(connection: HTTPConnection) -> Principal | None:
        asked.append(connection.url.path)
        return None

    async with in_process(authenticate=authenticate) as (gateway, upstream), gateway:

        async def host(scope: Any, receive: Any, send: Any) -> None:
            await gateway({**scope, KEY: Principal("ada")}, receive, send)

        async with asgi_client(host) as client:
            assert (await client.post("/chat/completions", json=QUESTION)).status_code == 201
    assert asked == []
    assert len(upstream.requests) == 1


SMUGGLED = {
    "a header": ([(b"ogw_asgi.principal", b"ada"), (b"ogw-asgi-principal", b"ada")], b""),
    "the query": ([], b"ogw_asgi.principal=ada"),
    "a cookie": ([(b"cookie", b"ogw_asgi.principal=ada")], b""),
}


@pytest.mark.contract("1.unauthorized")
@pytest.mark.parametrize(("headers", "query"), SMUGGLED.values(), ids=SMUGGLED)
async def test_no_caller_can_name_itself(headers: Any, query: bytes) -> None:
    sent: list[Any] = []

    async def unread() -> Any:
        raise AssertionError("the body was asked for")

    async def send(message: Any) -> None:
        sent.append(message)

    async with in_process(authenticate=nobody) as (gateway, _), gateway:
        await gateway(http_scope(headers=headers, query_string=query), unread, send)
    assert sent[0]["status"] == 401
