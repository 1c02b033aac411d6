"""`check --probe`: who answers, and what is wrong with those that do not, in words that lead to what mends it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
import trustme
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from ogw_asgi import VLLM, Azure, Gateway, OpenAI, OpenAICompatible, Timeouts
from ogw_asgi._check import asking
from ogw_asgi._check.asking import ask_all
from ogw_asgi._check.diagnosis import Sources, of_answer
from ogw_asgi._check.report import Asked, Problem
from ogw_asgi.providers import Provider
from ogw_asgi.testing import RawUpstream, Reset, ScriptedUpstream, asgi_client, dead_port, http_head, raw, serve
from tests.canaries import canary
from tests.check.providers import Listing, error
from tests.transports.servers import black_hole, certified, server_of, trusting

pytestmark = pytest.mark.anyio

KEY = canary("openai")
URL = "http://listing.test"
ENGINES = pytest.mark.parametrize("engine", ["native", "httpx", "httpx2"])


async def ask(*providers: Provider, **settings: Any) -> list[Asked]:
    with anyio.fail_after(10):
        return await ask_all(Gateway(providers=providers, **settings))


async def ask_one(provider: Provider, **settings: Any) -> Asked:
    (asked,) = await ask(provider, **settings)
    return asked


def says(asked: Asked) -> str:
    assert asked.problem is not None
    return asked.problem.says


@ENGINES
async def test_each_is_asked_where_its_models_are_listed_with_its_own_key_and_nothing_else(engine: Any) -> None:
    listing = Listing()
    async with serve(listing.app) as url:
        asked = await ask(
            OpenAI(api_key=KEY, base_url=f"{url}/v1", organization="org-1"),
            Azure(endpoint=url, api_key=canary("azure")),
            Azure(name="classic", endpoint=url, api_key=lambda: canary("classic"), api_version="2024-10-21"),
            VLLM(endpoint=url),
            OpenAICompatible("groq", base_url=f"{url}/openai/v1", api_key=canary("groq")),
            VLLM(name="named", allowed_endpoints=["http://10.0.0.7:8000"]),
            engine=engine,
        )
    assert [(one.provider, one.status, one.models, one.problem) for one in asked] == [
        (name, 200, 2, None) for name in ("openai", "azure", "classic", "vllm", "groq")
    ]
    assert all(one.where == url and one.duration_ms >= 0 for one in asked)
    seen = {request.path: request for request in listing.seen}
    assert sorted(seen) == ["/openai/models?api-version=2024-10-21", "/openai/v1/models", "/v1/models"]
    assert len(listing.seen) == 5
    assert {request.method for request in listing.seen} == {"GET"}
    sent = [request.headers for request in listing.seen]
    assert {headers.get("authorization") for headers in sent} == {
        None,
        f"Bearer {KEY}",
        f"Bearer {canary('classic')}",
        f"Bearer {canary('groq')}",
    }
    assert [headers["api-key"] for headers in sent if "api-key" in headers] == [canary("azure")]
    assert [headers["openai-organization"] for headers in sent if "openai-organization" in headers] == ["org-1"]
    for headers in sent:
        assert headers["accept"] == "application/json"
        assert headers["user-agent"].startswith("ogw_asgi/")
        assert not {"content-length", "content-type", "transfer-encoding", "cookie", "via"} & headers.keys()


async def test_they_are_asked_side_by_side() -> None:
    both = anyio.Event()
    waiting = 0

    async def talk(stream: Any) -> None:
        nonlocal waiting
        await stream.receive()
        waiting += 1
        if waiting == 2:
            both.set()
        await both.wait()
        await stream.send(b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"data":[]}')

    async with server_of(talk) as one, server_of(talk) as other:
        asked = await ask(OpenAI(base_url=one), OpenAI(name="other", base_url=other))
    assert [each.models for each in asked] == [0, 0]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda: error(401, "invalid_api_key", f"Incorrect API key provided: {KEY}"), "key: 401"),
        (lambda: error(403, None), "key: 403"),
        (lambda: error(402, None, "no credit"), "bill: 402, there is no money left: no credit"),
        (lambda: error(429, None, "slow down"), "limit: 429, it takes no more requests now"),
        (lambda: error(500, None, f"oops {KEY}\x1b[2J"), "provider: 500, it has trouble of its own: oops ***"),
        (lambda: error(418, None), "provider: 418"),
        (lambda: RedirectResponse("https://elsewhere.test/v1/models", 301), "URL: 301, it sends elsewhere"),
        (lambda: PlainTextResponse("<html>hello</html>"), "URL: what answers there is no list of models"),
        (lambda: JSONResponse({"data": "none"}), "URL: what answers there is no list of models"),
        (lambda: JSONResponse({"data": [1]}), "URL: what answers there is no list of models"),
        (lambda: PlainTextResponse("[" * 100_000), "URL: what answers there is no list of models"),
        (lambda: Response(b"\xff\x00", 200), "URL: what answers there is no list of models"),
        (lambda: Response(b" " * (5 << 20)), "protocol: what listing.test"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_an_answer_that_is_none_is_told_with_what_to_look_at(answer: Callable[[], Response], said: str) -> None:
    async with asgi_client(Listing(models=answer).app) as client:
        asked = await ask_one(OpenAI(api_key=KEY, base_url=f"{URL}/v1", client=client))
    assert says(asked).startswith(said)
    assert KEY not in says(asked)
    assert asked.problem is not None
    assert asked.problem.mend


async def test_a_key_that_a_callable_gave_is_masked_as_one_that_was_set() -> None:
    async def later() -> str:
        return KEY

    async with asgi_client(Listing(models=lambda: error(500, None, f"failed for Bearer {KEY}")).app) as client:
        for key in (lambda: KEY, later):
            asked = await ask_one(OpenAI(api_key=key, base_url=f"{URL}/v1", client=client))
            assert KEY not in says(asked)
            assert "failed for Bearer ***" in says(asked)


async def test_a_key_that_was_never_set_is_told_from_one_that_is_wrong() -> None:
    async with asgi_client(Listing(models=lambda: error(401, None)).app) as client:
        asked = await ask_one(OpenAI(base_url=f"{URL}/v1", client=client))
    assert says(asked) == "key: 401, and none was sent, for none is set"


async def test_a_bare_array_is_a_list_too() -> None:
    async with asgi_client(Listing(models=lambda: JSONResponse([{"id": "a"}, {"id": 7}, {}])).app) as client:
        assert (await ask_one(OpenAI(base_url=URL, client=client))).models == 1


@ENGINES
async def test_what_fails_below_http_says_where_to_look(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    system = socket.getaddrinfo

    def look_up(name: Any, *more: Any, **options: Any) -> Any:
        if str(name).endswith(".test"):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return system(name, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with black_hole() as silent, dead_port() as port:
        async with RawUpstream([Reset()]) as cut, RawUpstream([b"SSH-2.0\r\n\r\n"]) as ssh:
            asked = await ask(
                OpenAI(api_key=KEY, base_url="https://api.nowhere.test/v1"),
                OpenAI(name="refused", base_url=f"http://127.0.0.1:{port}/v1"),
                OpenAI(name="silent", base_url=silent),
                OpenAI(name="cut", base_url=cut.url),
                OpenAI(name="ssh", base_url=ssh.url),
                timeouts=Timeouts(connect_s=0.2),
                engine=engine,
            )
    dns, refused, hole, reset, protocol = map(says, asked)
    assert dns == "DNS: no host is known by the name api.nowhere.test"
    assert refused.startswith(f"connection: 127.0.0.1:{port} refuses it")
    assert hole.startswith("connection: none to 127.0.0.1:")
    assert "within 0.2 s" in hole
    assert "broke it off" in reset
    assert protocol.startswith("protocol: ")


@ENGINES
async def test_a_certificate_that_is_not_accepted_is_told_with_the_reason_and_with_what_to_trust(engine: Any) -> None:
    authority = trustme.CA()

    async def talk(stream: Any) -> None:
        await stream.receive()
        await stream.send(b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"data":[]}')

    context = certified(authority.issue_cert("127.0.0.1"))
    wrong = certified(authority.issue_cert("another.test"))
    async with server_of(talk, context) as url, server_of(talk, wrong) as other, server_of(talk) as plain:
        asked = await ask(
            VLLM(endpoint=url),
            VLLM(name="trusting", endpoint=url, ssl_context=trusting(authority)),
            VLLM(name="other", endpoint=other, ssl_context=trusting(authority)),
            VLLM(name="plain", endpoint=plain.replace("http:", "https:")),
            engine=engine,
        )
    unknown, trusted, misnamed, no_tls = asked
    assert says(unknown).startswith("TLS: the certificate of 127.0.0.1:")
    assert "unable to get local issuer certificate" in says(unknown)
    assert unknown.problem is not None
    assert unknown.problem.mend == "ssl_context=ssl.create_default_context(cafile='internal-ca.pem') of vllm"
    assert trusted.problem is None
    assert "mismatch" in says(misnamed)
    assert says(no_tls) == "TLS: what answers there is not TLS; http:// instead of https://?"


async def test_a_provider_that_says_nothing_is_left_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "LIMIT_S", 0.05)

    async def mute(stream: Any) -> None:
        await stream.receive()
        await stream.receive()

    async with serve(Listing().app) as well, server_of(mute) as url:
        silent, good = await ask(OpenAI(name="mute", base_url=url), OpenAI(base_url=well))
    assert says(silent).startswith("timeout: no answer from 127.0.0.1:")
    assert silent.problem is not None
    assert silent.problem.mend == f"curl -sv -o /dev/null -m 0.05 {url}"
    assert silent.duration_ms >= 50
    assert good.problem is None


async def test_a_list_without_end_is_left() -> None:
    async def flood(stream: Any) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await stream.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    async with server_of(flood) as url:
        assert says(await ask_one(OpenAI(base_url=url))).startswith("protocol: ")


async def test_a_served_name_that_is_not_listed_is_a_warning() -> None:
    async with asgi_client(Listing(names=["llama"]).app) as client:
        asked = await ask_one(VLLM(endpoint=URL, client=client, models={"gpt-4o": "llama", "*": "lama", "b": "lama"}))
    assert asked.problem is None
    (warning,) = asked.warnings
    assert (warning.setting, warning.says) == (
        "providers.vllm.models",
        "lama is not among the models that it lists",
    )


@pytest.mark.parametrize("version", [None, "2024-10-21"])
async def test_a_deployment_that_is_not_there_is_found_without_an_answer_being_made(version: str | None) -> None:
    def chat(body: Any) -> Response:
        assert "messages" not in body
        name = listing.seen[-1].path.split("/")[3] if version else body["model"]
        return error(404, "DeploymentNotFound") if name == "gone" else error(400, None, "messages")

    listing = Listing(chat=chat)
    models = {"gpt-4o": "prod", "gpt-4o-mini": "gone", "again": "gone", "odd": "no/deployment"}
    async with asgi_client(listing.app) as client:
        azure = Azure(endpoint=URL, client=client, api_key=canary("azure"), api_version=version, models=models)
        asked = await ask_one(azure)
        assert says(asked).startswith(
            f"deployment: there is none by the name of gone{', no/deployment' if version else ' '}"
        )
        azure = Azure(
            endpoint=URL, client=client, api_key=canary("azure"), api_version=version, models={"gpt-4o": "prod"}
        )
        assert (await ask_one(azure)).problem is None
    posted = [request for request in listing.seen if request.method == "POST"]
    assert all(request.headers["api-key"] == canary("azure") for request in posted)
    assert all(request.headers["content-type"] == "application/json" for request in posted)


@pytest.mark.parametrize(
    ("status", "code", "answers"),
    [(400, None, True), (422, None, True), (404, "model_not_found", True), (404, None, False), (405, None, False)],
)
async def test_a_server_without_a_list_is_told_from_a_wrong_url(status: int, code: str | None, answers: bool) -> None:
    async with asgi_client(Listing(has_list=False, chat=lambda body: error(status, code)).app) as client:
        asked = await ask_one(OpenAI(base_url=URL, client=client))
    if answers:
        assert asked.problem is None
        assert [warning.says for warning in asked.warnings] == [
            "answers, and lists no models; whether it has yours is not known"
        ]
    else:
        assert says(asked) == "URL: 404, there is no such path; most base URLs end in /v1, and this one does not"


@pytest.mark.parametrize(
    ("path", "meant"),
    [("", "/v1"), ("/openai", "/openai/v1"), ("/v1/models", "/v1"), ("/v1", None)],
)
async def test_a_path_that_is_not_there_leads_to_the_one_that_ends_in_v1(path: str, meant: str | None) -> None:
    nothing = Listing(has_list=False, chat=lambda body: error(404, None))
    entries = {"own": {"base_url": f"{URL}{path}"}, "other": {"base_url": "https://o.test/v1", "api_key_env": "O_KEY"}}
    variables = {"providers.own.base_url": "OGW_PROVIDERS", "providers.openai.base_url": "OPENAI_BASE_URL"}
    sources = Sources(variables, {"OGW_PROVIDERS": json.dumps(entries), "O_KEY": canary("other")})
    async with asgi_client(nothing.app) as client:
        listed = OpenAICompatible("own", base_url=f"{URL}{path}", client=client)
        made = OpenAI(base_url=f"{URL}{path}", client=client)
        own, openai = await ask(listed, made)
    assert own.problem is not None
    assert openai.problem is not None
    url = f"{URL}{meant}" if meant else "https://HOST/v1"
    assert own.problem.mend == f"OpenAICompatible('own', base_url='{url}', ...)"
    entries["own"]["base_url"] = url
    expected = f"export OGW_PROVIDERS='{json.dumps(entries)}'"
    assert at_path(listed, sources, 404).mend == expected
    expected = f"export OPENAI_BASE_URL={url}" if meant else "export OPENAI_BASE_URL=https://api.openai.com/v1"
    assert at_path(made, sources, 404).mend == expected


def at_path(provider: Provider, sources: Sources, status: int) -> Problem:
    problem = of_answer(status, provider, sources, listed=False, said=None)
    assert problem is not None
    return problem


async def test_azures_404_leads_to_its_version_or_its_surface() -> None:
    nothing = Listing(has_list=False, chat=lambda body: error(404, "404", "Resource not found"))
    async with asgi_client(nothing.app) as client:
        v1, classic = await ask(
            Azure(endpoint=URL, client=client),
            Azure(name="classic", endpoint=URL, client=client, api_version="2020-01-01", models={"a": "b"}),
        )
    assert "an old resource needs an api_version" in says(v1)
    assert "is 2020-01-01 a version that it has?" in says(classic)


async def test_a_key_callable_that_fails_is_told_without_its_words() -> None:
    def broken() -> str:
        raise RuntimeError(KEY)

    asked = await ask_one(OpenAI(api_key=broken))
    assert says(asked).startswith("key: the callable that is asked for it failed: RuntimeError at test_asking.py:")


class Astray(OpenAICompatible):
    """Its models are said to be elsewhere."""

    def models_url(self) -> str:
        return "http://elsewhere.test/v1/models"


class Broken(OpenAICompatible):
    """A provider class with a mistake."""

    def models_url(self) -> str:
        raise ZeroDivisionError(KEY)


async def test_a_provider_class_of_ones_own_that_leads_elsewhere_gets_no_key_there() -> None:
    listing = Listing()
    async with serve(listing.app) as url:
        astray, broken = await ask(
            Astray("astray", base_url=url, api_key=canary("astray")), Broken("broken", base_url=url)
        )
    assert "Misdirected" in says(astray)
    assert says(broken).startswith("cannot be asked: ZeroDivisionError at test_asking.py:")
    assert listing.seen == []


async def test_a_client_of_ones_own_is_what_asks_and_stays_open() -> None:
    listed = raw(200, {"content-type": "application/json"}, [b'{"data":[{"id":"m"}]}'])
    async with ScriptedUpstream(listed).client() as client:
        asked = await ask_one(OpenAI(api_key=KEY, client=client))
        assert isinstance(client, httpx.AsyncClient)
        assert not client.is_closed
    assert asked.models == 1


async def test_nothing_stays_open() -> None:
    async with RawUpstream([http_head(200, {"content-length": "11"}), b'{"data":[]}']) as server:
        assert (await ask_one(OpenAI(base_url=server.url))).problem is None
        with anyio.fail_after(5):
            await server.peer_closed(1)
