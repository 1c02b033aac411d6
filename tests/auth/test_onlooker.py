"""Who may look at the status page: the rules as tables, and then at the door."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from starlette.requests import HTTPConnection

from ogw_asgi import Principal, RequestRejected, Timeouts, allow_anyone, bearer_tokens
from ogw_asgi._asgi.onlooker import is_of_another_site, is_of_this_machine, password_of
from ogw_asgi._wire.headers import header_values
from tests.asgi.hosts import code
from tests.asgi.looking import PATHS, TOKEN, basic, looking

pytestmark = pytest.mark.anyio

LOOPBACK = ("127.0.0.1", 50000)
HOST = (b"host", b"localhost:8000")


# --- this machine ---


@pytest.mark.contract("6.status.local")
@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (LOOPBACK, True),
        (("127.255.0.9", 1), True),
        (("::1", 1, 0, 0), True),
        (["::1", 1], True),
        (("::ffff:127.0.0.1", 1), True),
        (None, False),
        ((), False),
        (("", 0), False),
        (("10.0.0.1", 1), False),
        (("192.168.0.1", 1), False),
        (("172.17.0.1", 1), False),  # how a container sees its own host
        (("0.0.0.0", 1), False),
        (("::", 1), False),
        (("::ffff:10.0.0.1", 1), False),
        (("::ffff:0:127.0.0.1", 1), False),
        (("64:ff9b::7f00:1", 1), False),
        (("128.0.0.1", 1), False),
        (("127.1", 1), False),
        (("localhost", 1), False),
        (("testclient", 50000), False),
        (("unix:/run/app.sock", 0), False),
        ((b"\x7f\0\0\1", 1), False),
        ((2130706433, 1), False),
    ],
)
def test_a_peer_is_local_if_its_address_is(client: Any, expected: bool) -> None:
    assert is_of_this_machine(client, "1.1", header_values([HOST])) is expected


@pytest.mark.contract("6.status.local")
@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"localhost", True),
        (b"LocalHost:8000", True),
        (b"app.localhost:8000", True),
        (b"a.b-c.localhost", True),
        (b"127.0.0.1", True),
        (b"127.0.0.1:80", True),
        (b"127.8.9.10:65535", True),
        (b"[::1]", True),
        (b"[::1]:8000", True),
        (b"", False),
        (b":8000", False),
        (b"app", False),
        (b"example.com", False),
        (b"evil.test:8000", False),
        (b"localhost.evil.test", False),
        (b"127.0.0.1.evil.test", False),
        (b"127.evil.test", False),
        (b"evil-localhost", False),
        (b"evillocalhost", False),
        (b"localhost.", False),
        (b".localhost", False),
        (b"evil.test@localhost", False),
        (b"localhost@evil.test", False),
        (b"localhost/evil.test", False),
        (b"localhost,evil.test", False),
        (b"localhost evil.test", False),
        (b"localhost:8000:1", False),
        (b"localhost:http", False),
        (b"localhost\n", False),
        (b"localh\xf6st", False),
        (b"127.0.0", False),
        (b"127.1", False),
        (b"0x7f.0.0.1", False),
        (b"2130706433", False),
        (b"0.0.0.0:8000", False),
        (b"10.0.0.1", False),
        (b"[::]", False),
        (b"::1", False),
        (b"[::ffff:127.0.0.1]", False),
        (b"[::1].evil.test", False),
    ],
)
def test_a_host_is_local_if_no_name_of_somebody_elses_can_be_that(host: bytes, expected: bool) -> None:
    assert is_of_this_machine(LOOPBACK, "1.1", header_values([(b"host", host)])) is expected


@pytest.mark.contract("6.status.local")
def test_there_must_be_one_host_and_no_more() -> None:
    assert not is_of_this_machine(LOOPBACK, "1.1", {})
    assert not is_of_this_machine(LOOPBACK, "1.1", header_values([HOST, HOST]))
    assert not is_of_this_machine(LOOPBACK, "1.1", header_values([HOST, (b"host", b"evil.test")]))


@pytest.mark.contract("6.status.local")
def test_what_nothing_but_a_proxy_speaks_is_not_of_this_machine() -> None:
    for spoken in ("1.1", "2", "3"):
        assert is_of_this_machine(LOOPBACK, spoken, header_values([HOST]))
    for not_spoken in ("1.0", "1", "0.9", "", "None"):
        assert not is_of_this_machine(LOOPBACK, not_spoken, header_values([HOST]))


HANDED_ON = (  # noqa: SIM905
    "Forwarded Via X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Prefix X-Forwarded X-Real-IP "
    "X-Client-IP X-Original-URL X-Original-Forwarded-For X-Original-Host X-Rewrite-URL X-Remote-IP X-Remote-Addr "
    "CF-Connecting-IP CF-Ray CF-Visitor CF-IPCountry CDN-Loop True-Client-IP Fastly-Client-IP Fastly-FF "
    "Fly-Client-IP Fly-Request-Id X-Envoy-External-Address X-Envoy-Attempt-Count X-Cluster-Client-IP "
    "X-Appengine-User-IP X-Appengine-Country X-Cloud-Trace-Context X-Azure-ClientIP X-Azure-FDID X-Azure-Ref "
    "X-ARR-SSL X-ARR-LOG-ID X-AppService-Proto X-Amzn-Trace-Id X-Amz-Cf-Id CloudFront-Viewer-Address "
    "X-Vercel-Id X-NF-Client-Connection-IP X-ProxyUser-Ip Proxy-Connection Client-IP WL-Proxy-Client-IP "
    "X-Request-Start X-Varnish Akamai-Origin-Hop l5d-client-id Tailscale-User-Login X-MS-Client-Principal"
).split()


@pytest.mark.contract("6.status.local")
@pytest.mark.parametrize("name", HANDED_ON)
def test_what_was_handed_on_is_not_of_this_machine_whatever_the_header_says(name: str) -> None:
    for value in (b"127.0.0.1", b"", b"localhost"):
        headers = header_values([HOST, (name.encode(), value)])
        assert not is_of_this_machine(LOOPBACK, "1.1", headers)


@pytest.mark.contract("6.status.local")
def test_what_browsers_and_curl_send_by_themselves_is_no_sign_of_a_proxy() -> None:
    names = (  # noqa: SIM905
        "accept accept-encoding accept-language cache-control connection cookie dnt if-none-match last-event-id pragma "
        "priority referer sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site "
        "sec-fetch-user sec-gpc te upgrade-insecure-requests user-agent origin x-request-id authorization traceparent"
    ).split()
    sent = header_values([HOST, *((name.encode(), b"x") for name in names)])
    assert is_of_this_machine(LOOPBACK, "1.1", sent)


# --- other sites ---


@pytest.mark.contract("6.status.embedded")
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, False),
        ({"site": "none", "mode": "navigate", "dest": "document"}, False),
        ({"site": "same-origin", "mode": "cors", "dest": "empty"}, False),
        ({"site": "same-origin", "mode": "navigate", "dest": "iframe"}, False),
        ({"site": "cross-site", "mode": "navigate", "dest": "document"}, False),
        ({"site": "same-site", "mode": "navigate", "dest": "document"}, False),
        ({"site": "cross-site", "mode": "navigate", "dest": "iframe"}, True),
        ({"site": "cross-site", "mode": "navigate", "dest": "object"}, True),
        ({"site": "cross-site", "mode": "no-cors", "dest": "image"}, True),
        ({"site": "cross-site", "mode": "no-cors", "dest": "script"}, True),
        ({"site": "cross-site", "mode": "cors", "dest": "empty"}, True),
        ({"site": "same-site", "mode": "cors", "dest": "empty"}, True),
        ({"site": "same-site", "mode": "no-cors", "dest": "document"}, True),
        ({"site": "cross-site", "mode": "navigate"}, True),
        ({"site": "cross-site"}, True),
        ({"site": "something-new"}, True),
    ],
)
def test_a_browser_says_whose_page_it_is_that_asks(said: Mapping[str, str], expected: bool) -> None:
    headers = header_values([(f"sec-fetch-{name}".encode(), value.encode()) for name, value in said.items()])
    assert is_of_another_site(headers) is expected


@pytest.mark.contract("6.status.embedded")
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"origin": "http://localhost:8000"}, False),
        ({"origin": "HTTPS://LocalHost:8000"}, False),
        ({"origin": "http://localhost"}, True),
        ({"origin": "http://localhost:3000"}, True),
        ({"origin": "https://evil.test"}, True),
        ({"origin": "null"}, True),
        ({"origin": ""}, True),
        ({"origin": "https://app.test", "sec-fetch-site": "same-origin"}, False),  # a proxy has changed the Host
        ({"origin": "http://localhost:8000", "sec-fetch-site": "cross-site"}, True),
    ],
)
def test_a_browser_that_does_not_say_so_says_its_origin(said: Mapping[str, str], expected: bool) -> None:
    headers = header_values([HOST, *((name.encode(), value.encode()) for name, value in said.items())])
    assert is_of_another_site(headers) is expected


def test_a_host_is_the_same_in_capitals() -> None:
    assert not is_of_another_site(header_values([(b"host", b"LocalHost:8000"), (b"origin", b"http://localhost:8000")]))


def test_of_two_words_on_the_site_the_worse_one_counts() -> None:
    headers = header_values([(b"sec-fetch-site", b"none"), (b"sec-fetch-site", b"cross-site")])
    assert is_of_another_site(headers)


# --- passwords ---


def encoded(text: bytes) -> bytes:
    return base64.b64encode(text)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b"Basic " + encoded(b"me:secret")], "secret"),
        ([b"basic  " + encoded(b":secret") + b" "], "secret"),
        ([b"BASIC " + encoded("mü:se:cret".encode())], "se:cret"),
        ([], None),
        ([b"Bearer secret"], None),
        ([b"Basic"], None),
        ([b"Basic "], None),
        ([b"Basic " + encoded(b"me:")], None),
        ([b"Basic " + encoded(b"secret")], None),
        ([b"Basic " + encoded(b"me:a secret")], None),
        ([b"Basic " + encoded(b"me:secret\r\nx-more: 1")], None),
        ([b"Basic " + encoded("me:sécret".encode())], None),
        ([b"Basic " + encoded(b"me:\xff\xfe")], None),
        ([b"Basic me:secret"], None),
        ([b"Basic !!!!"], None),
        ([b"Basic bWU6c2Vjcm"], None),
        ([b"Basic bWU6 c2VjcmV0"], None),
        ([b"Basic \xff\xfe"], None),
        ([b"Basic " + encoded(b"me:secret"), b"Basic " + encoded(b"me:secret")], None),
        ([b"Basic " + encoded(b"me:" + b"a" * 60_000)], "a" * 60_000),
    ],
)
def test_a_password_is_what_stands_behind_the_first_colon(values: list[bytes], expected: str | None) -> None:
    assert password_of({"authorization": values}) == expected


# --- at the door ---


@pytest.mark.contract("6.status.local")
@pytest.mark.parametrize("authenticate", [None, allow_anyone])
async def test_without_any_authentication_this_machine_may_look_and_others_learn_what_opens_it(
    authenticate: Any,
) -> None:
    async with looking(authenticate=authenticate) as world:
        assert (await world.client.get("/_status")).status_code == 200
        for path in PATHS:
            for headers in ({"host": "evil.test"}, {"x-forwarded-for": "127.0.0.1"}, {"host": "10.0.0.7:8000"}):
                refused = await world.client.get(path, headers=headers)
                assert (refused.status_code, code(refused)) == (403, "status_not_local")
                for named in ("status_auth=", "OGW_BEARER_TOKENS", "localhost"):
                    assert named in refused.json()["error"]["message"]
        assert world.desk.looks == 1


@pytest.mark.contract("6.status.embedded")
async def test_another_sites_page_gets_none_of_it_whoever_may_look() -> None:
    image = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    for settings in ({}, {"authenticate": bearer_tokens([TOKEN])}, {"status_auth": allow_anyone}):
        async with looking(**settings) as world:
            for path in PATHS:
                for foreign in (image, {"origin": "https://evil.test"}):
                    refused = await world.client.get(path, headers={**basic(TOKEN), **foreign})
                    assert (refused.status_code, code(refused)) == (403, "status_not_embeddable")
            assert world.desk.looks == 0


@pytest.mark.contract("6.status.who")
async def test_with_tokens_the_password_of_basic_is_one_of_them_and_so_is_a_bearer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with looking(authenticate=bearer_tokens([TOKEN]), base_url="http://status.example.com") as world:
        for good in (basic(TOKEN), basic(TOKEN, ""), {"authorization": f"Bearer {TOKEN}"}):
            assert (await world.client.get("/_status", headers=good)).status_code == 200
        refused = [
            await world.client.get(path, headers=bad)
            for path in PATHS
            for bad in (
                {},
                basic("wrong"),
                basic(f"{TOKEN}x"),
                basic(""),
                {"authorization": "Basic"},
                {"authorization": "Basic \x00"},
                {"authorization": "Basic not base64!"},
                {"authorization": "Bearer wrong"},
                {"authorization": f"Digest {TOKEN}"},
                {"cookie": f"token={TOKEN}"},
            )
        ]
        for reply in refused:
            assert (reply.status_code, code(reply)) == (401, "invalid_api_key")
            assert reply.headers.get_list("www-authenticate") == ['Basic realm="ogw_asgi status", charset="UTF-8"']
            assert TOKEN not in reply.text
        assert len({reply.content for reply in refused}) == 1
    assert TOKEN not in caplog.text


@pytest.mark.contract("6.status.who")
async def test_two_authorizations_are_one_too_many() -> None:
    async with looking(authenticate=bearer_tokens([TOKEN])) as world:
        both = [("authorization", "Bearer wrong"), *basic(TOKEN).items()]
        for path in PATHS:
            assert (await world.client.get(path, headers=both)).status_code == 400


@pytest.mark.contract("6.status.who")
async def test_whatever_else_the_gateways_authenticator_reads_opens_it_too() -> None:
    def by_cookie(connection: HTTPConnection) -> Principal | None:
        return Principal("ada") if connection.cookies.get("session") == "good" else None

    async with looking(authenticate=by_cookie) as world:
        assert (await world.client.get("/_status", headers={"cookie": "session=good"})).status_code == 200
        assert (await world.client.get("/_status", headers={"cookie": "session=bad"})).status_code == 401
        assert (await world.client.get("/_status", headers={"cookie": "session=good", **basic("x")})).status_code == 200


@pytest.mark.contract("6.status.who")
async def test_an_authenticator_that_reads_basic_itself_gets_it_as_it_came() -> None:
    expected = basic("a pass word", "ada")["authorization"]

    async def by_name(connection: HTTPConnection) -> Principal | None:
        if connection.headers.get("authorization") != expected:
            raise RequestRejected(401, "Who?", code="who")
        return Principal("ada")

    who: list[dict[str, Any]] = [{"status_auth": by_name}, {"authenticate": by_name}]
    for settings in who:
        async with looking(**settings) as world:
            assert (await world.client.get("/_status", headers={"authorization": expected})).status_code == 200
            refused = await world.client.get("/_status", headers=basic("visible"))
            assert (refused.status_code, code(refused)) == (401, "who")
            assert refused.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.contract("6.status.who")
async def test_status_auth_alone_decides_whatever_the_gateway_and_the_host_say() -> None:
    operator = "the-operators-own-token-c4n4ry-0123456789"

    def host(principal: Principal | None) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await world.gateway({**scope, "ogw_asgi.principal": principal}, receive, send)

        return app

    async with looking(
        authenticate=bearer_tokens([TOKEN]), status_auth=bearer_tokens([operator]), base_url="http://far.example.com"
    ) as world:
        assert (await world.client.get("/_status", headers=basic(operator))).status_code == 200
        assert (await world.client.get("/_status", headers={"authorization": f"Bearer {operator}"})).status_code == 200
        assert (await world.client.get("/_status", headers=basic(TOKEN))).status_code == 401
        assert (await world.client.get("/_status")).status_code == 401
        world.client._transport._app = host(Principal("a customer"))  # type: ignore[attr-defined]
        assert (await world.client.get("/_status")).status_code == 401


@pytest.mark.contract("6.status.who")
@pytest.mark.parametrize(
    ("principal", "status"), [(Principal("ada"), 200), (None, 401), ("ada", 503)], ids=["somebody", "nobody", "wrong"]
)
async def test_whom_the_host_names_may_look_where_the_gateway_asks_who_is_calling(principal: Any, status: int) -> None:
    async with looking(authenticate=lambda connection: None, base_url="http://far.example.com") as world:
        gateway = world.gateway

        async def host(scope: Any, receive: Any, send: Any) -> None:
            await gateway({**scope, "ogw_asgi.principal": principal}, receive, send)

        world.client._transport._app = host  # type: ignore[attr-defined]
        assert (await world.client.get("/_status")).status_code == status


@pytest.mark.contract("6.status.who")
async def test_it_is_open_to_all_where_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async with looking(status_auth=allow_anyone, base_url="http://far.example.com") as world:
        assert (await world.client.get("/_status", headers={"x-forwarded-for": "1.2.3.4"})).status_code == 200
    assert [one for one in caplog.records if one.levelno >= logging.WARNING and "status" in one.getMessage()] == []


@pytest.mark.contract("6.status.who")
@pytest.mark.parametrize("where", ["status_auth", "authenticate"])
async def test_one_that_fails_hangs_or_names_nobody_we_know_lets_nobody_look(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(connection: HTTPConnection) -> Principal:
        raise ZeroDivisionError(TOKEN)

    async def hangs(connection: HTTPConnection) -> Principal:
        await anyio.sleep_forever()
        raise AssertionError

    ones: list[Any] = [breaks, hangs, lambda connection: True, lambda connection: "ada"]
    for one in ones:
        async with looking(timeouts=Timeouts(authenticate_s=0.02), **{where: one}) as world:
            refused = await world.client.get("/_status", headers={"authorization": f"Bearer {TOKEN}"})
            assert (refused.status_code, code(refused)) == (503, "authentication_unavailable")
            assert world.desk.looks == 0
    told = [one.getMessage() for one in caplog.records if one.getMessage().startswith("authenticator_failed")]
    assert len(told) == 4
    assert TOKEN not in caplog.text


async def test_a_refusal_of_ones_own_is_an_answer() -> None:
    def later(connection: HTTPConnection) -> Principal:
        raise RequestRejected(429, "Not now.", code="not_now", retry_after_s=3)

    async with looking(status_auth=later) as world:
        refused = await world.client.get("/_status", headers=basic(TOKEN))
        assert (refused.status_code, code(refused), refused.headers["retry-after"]) == (429, "not_now", "3")


@pytest.mark.contract("6.status.who")
async def test_status_auth_is_shown_the_password_as_it_came_first_and_the_gateways_authenticator_as_a_token() -> None:
    for where, expected in (("status_auth", ["Basic", "Bearer"]), ("authenticate", ["Bearer", "Basic"])):
        asked: list[str] = []

        def nobody(connection: HTTPConnection, asked: list[str] = asked) -> None:
            asked.append(connection.headers["authorization"].partition(" ")[0])

        async with looking(**{where: nobody}) as world:  # type: ignore[arg-type]
            assert (await world.client.get("/_status", headers=basic(TOKEN))).status_code == 401
        assert asked == expected


@pytest.mark.parametrize(("status", "expected"), [(401, 200), (403, 403), (503, 503)])
async def test_a_refusal_of_the_one_form_is_final_unless_it_says_that_it_is_unknown(status: int, expected: int) -> None:
    def by_name_alone(connection: HTTPConnection) -> Principal | None:
        if connection.headers["authorization"].startswith("Bearer"):
            raise RequestRejected(status, "Not so.", code="not_so")
        return Principal("ada")

    async with looking(authenticate=by_name_alone) as world:
        assert (await world.client.get("/_status", headers=basic(TOKEN))).status_code == expected


async def test_over_a_socket_that_has_no_peer_nobody_is_of_this_machine() -> None:
    async with looking() as world:
        world.client._transport._client = None  # type: ignore[attr-defined]
        assert code(await world.client.get("/_status")) == "status_not_local"
