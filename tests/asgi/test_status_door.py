"""The status page's routes: in which form, with which headers, in each way in, and where there is none."""

from __future__ import annotations

import re
from typing import Any

import anyio
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException

from ogw_asgi import ConfigurationError, Gateway, GatewayMiddleware, Limits, OpenAI, allow_anyone, bearer_tokens
from ogw_asgi._effective import effective
from ogw_asgi._status.as_json import render_json
from ogw_asgi._status.page import render_parts
from ogw_asgi._status.snapshot import Snapshot
from ogw_asgi._status.text import render_text
from ogw_asgi.fastapi import gateway_router
from ogw_asgi.testing import ScriptedUpstream, asgi_client, hang
from tests.asgi.hosts import QUESTION, WAYS, code, fastapi, http_scope, running, starlette, warnings
from tests.asgi.looking import LOCAL, PATHS, TOKEN, TurnedDesk, basic, looking, shown, viewing

pytestmark = pytest.mark.anyio

BELOW = {name: way for name, way in WAYS.items() if name not in ("middleware-starlette", "middleware-fastapi")}
MEDIA = {
    "text/html": "text/html; charset=utf-8",
    "text/plain": "text/plain; charset=utf-8",
    "application/json": "application/json",
}


def gateway_with(**settings: Any) -> Gateway:
    return Gateway(providers=[OpenAI(api_key="k", base_url="http://127.0.0.1:1/v1")], **{"status": True, **settings})


# --- where it is ---


@pytest.mark.contract("6.status.page")
@pytest.mark.parametrize("name", BELOW)
async def test_below_the_prefix_of_each_way_in_it_is_there_until_the_gateway_is_closed(name: str) -> None:
    way = BELOW[name]
    prefix = way.path.removesuffix("/chat/completions")
    gateway = gateway_with()
    with anyio.fail_after(5):
        app = way.build(gateway, True)
        async with running(app) as client:
            client.base_url = LOCAL
            for path, media in zip(
                PATHS, ("text/html; charset=utf-8", "application/json", "text/event-stream"), strict=True
            ):
                async with viewing(app, prefix + path) as viewer:
                    assert (viewer.status, viewer.headers["content-type"]) == (200, media)
                    if path == "/_status/events":
                        assert (await viewer.event())["id"] == "1"
                    else:
                        assert await viewer.body()
                head = await client.head(prefix + path)
                assert (head.status_code, head.headers["content-type"], head.content) == (200, media, b"")
                assert (await client.get(f"{prefix}{path}/")).status_code in (404, 307), "a host may redirect"
            assert gateway.app.status is not None
            assert gateway.app.status.viewers == 0
        async with running(way.build(gateway, True), lifespan=False) as client:
            client.base_url = LOCAL
            for path in PATHS:
                closed = await client.get(prefix + path)
                assert (closed.status_code, code(closed)) == (503, "gateway_closed")


@pytest.mark.contract("6.status.off")
@pytest.mark.parametrize("name", BELOW)
async def test_where_it_is_off_its_paths_are_as_unknown_as_any(name: str) -> None:
    way = BELOW[name]
    prefix = way.path.removesuffix("/chat/completions")
    gateway = gateway_with(status=False)
    assert gateway.app.status is None
    async with running(way.build(gateway, True)) as client:
        client.base_url = LOCAL
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            unknown = await client.request(method, f"{prefix}/_statos", headers={"x-request-id": "r"})
            for path in PATHS:
                reply = await client.request(method, prefix + path, headers={"x-request-id": "r"})
                assert (reply.status_code, reply.content) == (404, unknown.content)
                assert reply.headers == unknown.headers


async def test_a_slash_at_the_end_is_another_path() -> None:
    async with looking() as world:
        for path in PATHS:
            reply = await world.client.get(f"{path}/")
            assert (reply.status_code, code(reply)) == (404, "unknown_url")


@pytest.mark.contract("6.status.page")
async def test_behind_a_proxy_that_strips_or_with_a_root_of_the_server_it_is_found() -> None:
    for root in ("", "/api", "/api/"):
        async with looking(status_auth=allow_anyone) as world:
            world.client._transport._root_path = root  # type: ignore[attr-defined]
            assert (await world.client.get("/_status")).status_code == 200
            assert (await world.client.get(f"{root.rstrip('/')}/_status")).status_code == 200


async def test_middleware_without_a_prefix_has_no_page_and_says_so_once_it_is_made(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = GatewayMiddleware(starlette(), gateway=gateway_with())
    (warning,) = warnings(caplog)
    assert warning.startswith("status_unreachable: ")
    assert "prefix='/llm'" in warning
    async with asgi_client(app, base_url=LOCAL) as client:
        assert (await client.get("/_status")).text == "Not Found"
    caplog.clear()
    GatewayMiddleware(starlette(), gateway=gateway_with(), prefix="/llm")
    GatewayMiddleware(starlette(), gateway=gateway_with(status=False))
    assert warnings(caplog) == []


@pytest.mark.contract("6.status.page")
async def test_a_look_opens_a_gateway_as_a_request_does_and_a_strangers_does_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gateway = gateway_with()
    async with asgi_client(gateway, base_url=LOCAL) as client:
        assert (await client.get("/_status", headers={"host": "evil.test"})).status_code == 403
        assert warnings(caplog) == []
        assert (await client.get("/_status")).status_code == 200
    await gateway.aclose()
    (warning,) = warnings(caplog)
    assert warning.startswith("opened_lazily")


@pytest.mark.contract("6.status.full")
async def test_a_gateway_that_is_full_can_still_be_looked_at() -> None:
    silent = ScriptedUpstream(hang())
    async with silent.client() as provider:
        gateway = Gateway(providers=[OpenAI(client=provider)], limits=Limits(in_flight=1), status=True)
        async with gateway, asgi_client(gateway, base_url=LOCAL) as client, anyio.create_task_group() as group:
            group.start_soon(lambda: client.post("/chat/completions", json=QUESTION))
            await silent.wait_for_requests(1)
            assert code(await client.post("/chat/completions", json=QUESTION)) == "gateway_overloaded"
            for path in PATHS:
                async with viewing(gateway, path) as viewer:
                    assert viewer.status == 200
            group.cancel_scope.cancel()


# --- FastAPI ---


@pytest.mark.contract("6.status.who")
async def test_the_dependencies_of_a_router_are_asked_before_the_page_and_do_not_open_it() -> None:
    def user(x_user: str = Header("")) -> None:
        if x_user != "ada":
            raise HTTPException(401)

    app = fastapi()
    app.include_router(gateway_router(gateway_with(), dependencies=[Depends(user)]), prefix="/llm")
    async with running(app) as client:
        for path in PATHS:
            assert (await client.get(f"/llm{path}", headers={"host": "localhost"})).json() == {"detail": "Unauthorized"}
            assert code(await client.get(f"/llm{path}", headers={"x-user": "ada"})) == "status_not_local"
            allowed = {"host": "localhost", "x-user": "ada"}
            assert (await client.head(f"/llm{path}", headers=allowed)).status_code == 200
    assert not any("_status" in path for path in app.openapi()["paths"])


# --- in which form ---


FORMS = {
    None: "text/html",
    "*/*": "text/html",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": "text/html",
    "text/plain": "text/plain",
    "application/json": "application/json",
    "text/plain, text/html": "text/html",
    "text/plain, text/html;q=0.9": "text/plain",
    "application/json;q=0.5, text/plain;q=0.4": "application/json",
}


@pytest.mark.contract("6.status.forms")
async def test_the_page_comes_in_the_form_that_is_liked_best() -> None:
    async with looking() as world:
        del world.client.headers["accept"]
        for accept, expected in FORMS.items():
            reply = await world.client.get("/_status", headers={} if accept is None else {"accept": accept})
            assert (reply.status_code, reply.headers["content-type"]) == (200, MEDIA[expected]), accept
            if expected == "text/plain":
                assert reply.text == render_text(world.desk.snapshot)
            elif expected == "application/json":
                assert reply.content == render_json(world.desk.snapshot)
        refused = await world.client.get("/_status", headers={"accept": "image/png"})
        assert (refused.status_code, code(refused)) == (406, "not_acceptable")
        assert "text/plain" in refused.json()["error"]["message"]


@pytest.mark.contract("6.status.forms")
async def test_the_json_is_json_whatever_is_accepted() -> None:
    async with looking() as world:
        for accept in ("text/html", "image/png", "*/*"):
            reply = await world.client.get("/_status.json", headers={"accept": accept})
            assert (reply.headers["content-type"], reply.content) == (
                "application/json",
                render_json(world.desk.snapshot),
            )


@pytest.mark.contract("6.status.page")
@pytest.mark.parametrize("path", PATHS)
async def test_any_other_method_is_a_405_that_says_which_there_are(path: str) -> None:
    async with looking() as world:
        for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"):
            refused = await world.client.request(method, path)
            assert (refused.status_code, code(refused)) == (405, "method_not_allowed")
            assert refused.headers["allow"] == "GET, HEAD, OPTIONS"
        options = await world.client.options(path, headers={"origin": "https://evil.test"})
        assert (options.status_code, options.headers["allow"], options.content) == (204, "GET, HEAD, OPTIONS", b"")
        assert world.desk.looks == 0


async def test_a_request_that_says_in_two_ways_where_its_body_ends_is_refused() -> None:
    async with looking() as world:
        for path in PATHS:
            for method in ("GET", "OPTIONS"):
                lengths = {"content-length": "3", "transfer-encoding": "chunked"}
                assert (await world.client.request(method, path, headers=lengths)).status_code == 400


@pytest.mark.parametrize("query", ["a=" + "x" * 100_000, "&" * 5000, "%ff=%00", "as=nothing", ";", "\x00"])
async def test_whatever_the_query_of_the_page_is_nobody_looks_at_it(query: str) -> None:
    async with looking() as world:
        scope = http_scope("GET", "/_status", query_string=query.encode(), headers=[(b"host", b"localhost")])
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await world.gateway(scope, anyio.sleep_forever, send)
        assert sent[0]["status"] == 200


async def test_a_websocket_there_is_closed() -> None:
    async with looking() as world:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await world.gateway({"type": "websocket", "path": "/_status/events", "headers": []}, anyio.sleep_forever, send)
        assert [message["type"] for message in sent] == ["websocket.close"]


# --- headers ---

ALWAYS = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-robots-tag": "noindex, nofollow",
    "vary": "Accept",
}
POLICY = (
    r"default-src 'none'; style-src 'nonce-([\w-]{22})'; script-src 'nonce-\1'; connect-src 'self'; img-src data:; "
    r"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@pytest.mark.contract("6.status.headers")
async def test_every_answer_there_has_the_headers_of_a_careful_page_and_a_nonce_of_its_own() -> None:
    tokens = bearer_tokens([TOKEN])
    foreign = {"sec-fetch-site": "cross-site"}
    nonces, statuses = [], set()
    async with looking(authenticate=tokens) as world:
        for path in PATHS:
            for method, headers in (
                ("GET", basic(TOKEN)),
                ("HEAD", basic(TOKEN)),
                ("GET", {}),
                ("GET", foreign),
                ("POST", {}),
                ("OPTIONS", {"origin": "https://evil.test", "access-control-request-method": "GET"}),
                ("GET", {**basic(TOKEN), "accept": "image/png"}),
            ):
                async with world.client.stream(method, path, headers={"origin": LOCAL, **headers}) as reply:
                    statuses.add(reply.status_code)
                    for name, value in ALWAYS.items():
                        assert reply.headers.get_list(name) == [value], (method, headers, name)
                    found = re.fullmatch(POLICY, reply.headers["content-security-policy"])
                    assert found is not None
                    nonces.append(found[1])
                    assert not [name for name in reply.headers if name.startswith("access-control-")]
                    assert "x-request-id" in reply.headers
    assert statuses == {200, 204, 401, 403, 405, 406}
    assert len(set(nonces)) == len(nonces)


@pytest.mark.contract("6.status.headers")
async def test_the_nonce_of_the_policy_is_that_of_the_page() -> None:
    async with looking() as world:
        reply = await world.client.get("/_status")
        found = re.search(r"'nonce-([\w-]+)'", reply.headers["content-security-policy"])
        assert found is not None
        assert found[1] in reply.text


async def test_pages_asked_for_within_a_second_are_drawn_once_each_with_its_own_nonce(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[int] = []

    def draw(snapshot: Snapshot) -> str:
        drawn.append(snapshot.number)
        return render_parts(snapshot)

    monkeypatch.setattr("ogw_asgi._asgi.status.render_parts", draw)
    async with looking() as world:
        first, second = [(await world.client.get("/_status")).text for _ in range(2)]
        assert drawn == [1]
        assert first != second
        nonce = re.compile(r'nonce="[\w-]+"')
        assert nonce.sub("", first) == nonce.sub("", second)
        world.desk.turn()
        await world.client.get("/_status")
        assert drawn == [1, 2]


# --- settings ---


def test_who_may_look_at_nothing_is_no_setting() -> None:
    for settings, named in (
        ({"status": False, "status_auth": allow_anyone}, "status_auth"),
        ({"status_auth": allow_anyone, "status": None}, "status:"),
        ({"status": 1}, "status:"),
        ({"status": "yes"}, "status:"),
        ({"status_auth": {"operator": [TOKEN]}}, "status_auth"),
        ({"status_auth": TOKEN}, "status_auth"),
    ):
        with pytest.raises(ConfigurationError) as refused:
            gateway_with(**settings)
        assert str(refused.value).startswith(named)
        assert TOKEN not in str(refused.value)


def test_the_pages_own_sink_is_nobodys_setting() -> None:
    shown = {setting.name: (setting.value, setting.source) for setting in effective(gateway_with())}
    assert shown["status"] == ("on: this machine alone", "code")
    assert shown["sinks"] == ("none", "default")


ENVIRON = {"OPENAI_API_KEY": "k"}


@pytest.mark.contract("6.status.off")
@pytest.mark.parametrize(
    ("variable", "argument", "on"),
    [
        (None, None, False),
        (None, True, True),
        (None, False, False),
        ("1", None, True),
        ("true", None, True),
        (" TRUE ", None, True),
        ("0", None, False),
        ("False", None, False),
        ("", None, False),
        ("1", True, True),
        ("0", False, False),
    ],
)
def test_the_environment_says_whether_there_is_one_or_the_code_does(
    variable: str | None, argument: bool | None, on: bool
) -> None:
    environ = ENVIRON if variable is None else {**ENVIRON, "OGW_STATUS": variable}
    assert (Gateway.from_env(environ, status=argument).app.status is not None) is on
    if argument is None:  # whether there is one may be left to the environment by code that says who looks
        assert (Gateway.from_env(environ, status_auth=allow_anyone).app.status is not None) is on


@pytest.mark.parametrize(
    ("variable", "arguments", "named"),
    [
        ("yes", {}, "OGW_STATUS"),
        ("on", {}, "OGW_STATUS"),
        ("2", {}, "OGW_STATUS"),
        ("1", {"status": False}, "OGW_STATUS"),
        ("0", {"status": True}, "OGW_STATUS"),
        ("1", {"status_auth": "nobody"}, "status_auth"),
        ("0", {"status_auth": "nobody"}, "status_auth"),
        ("", {"status": False, "status_auth": allow_anyone}, "status_auth"),
        ("", {"status": 7}, "status:"),
    ],
)
def test_what_the_environment_and_the_code_cannot_both_mean_is_refused(
    variable: str, arguments: Any, named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Gateway.from_env({**ENVIRON, "OGW_STATUS": variable}, **arguments)


async def test_two_gateways_have_a_page_each() -> None:
    first, second = gateway_with(), gateway_with()
    desks = TurnedDesk(), TurnedDesk()
    app = FastAPI()
    for gateway, desk, path in zip((first, second), desks, ("/a", "/b"), strict=True):
        shown(gateway, desk)
        app.mount(path, gateway)
    async with asgi_client(app, base_url=LOCAL) as client, first, second:
        assert (await client.get("/a/_status")).status_code == 200
        assert [desk.looks for desk in desks] == [1, 0]
