"""What each provider makes of one call: where it goes, with which headers, and which key. Nothing is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from ogw_asgi import VLLM, Azure, ConfigurationError, OpenAI, OpenAICompatible
from ogw_asgi._secret import Misdirected
from ogw_asgi._values import ChatCall, Endpoint, Secret, Target
from ogw_asgi.providers import Provider
from ogw_asgi.providers.base import Unservable

KEY = "sk-c4n4ry-key-0123456789"
BODY = b'{"model": "asked", "messages": [{"role": "user", "content": "x"}], "zeta": 1.50}'
CALL = ChatCall(body=BODY, model="asked", model_span=(10, 17))
FORWARDED = [(b"x-request-id", b"r"), (b"user-agent", b"ogw_asgi")]
BEARER = (b"authorization", b"Bearer " + KEY.encode())
API_KEY = (b"api-key", KEY.encode())
ACME = "https://acme.openai.azure.com"
V1 = f"{ACME}/openai/v1/chat/completions"
CLASSIC = f"{ACME}/openai/deployments/asked/chat/completions?api-version=2024-10-21"


def prepared(
    provider: Provider, *, model: str = "asked", endpoint: Endpoint | None = None, key: str | None = KEY
) -> Any:
    target = Target(provider.name, "asked", model, endpoint)
    bound = Secret(key, (endpoint.origin,) if endpoint else provider.origins) if key else None
    return provider.prepare(CALL, target, bound, FORWARDED, 3.0)


@pytest.mark.parametrize(
    ("provider", "url", "own"),
    [
        (OpenAI(), "https://api.openai.com/v1/chat/completions", [BEARER]),
        (OpenAI(base_url="http://proxy:1/openai/v1/"), "http://proxy:1/openai/v1/chat/completions", [BEARER]),
        (
            OpenAI(organization="org-1", project="proj-1", headers={"X-Team": "blue"}),
            "https://api.openai.com/v1/chat/completions",
            [(b"x-team", b"blue"), (b"openai-organization", b"org-1"), (b"openai-project", b"proj-1"), BEARER],
        ),
        (Azure(endpoint=ACME, api_key=KEY), V1, [API_KEY]),
        (Azure(endpoint=f"{ACME}/", api_key=KEY), V1, [API_KEY]),
        (Azure(endpoint=f"{ACME}/openai", api_key=KEY), V1, [API_KEY]),
        (Azure(endpoint=f"{ACME}/openai/v1/", api_key=KEY), V1, [API_KEY]),
        (Azure(endpoint=ACME, api_key=KEY, api_version="2024-10-21"), CLASSIC, [API_KEY]),
        (Azure(endpoint=f"{ACME}/openai/v1", api_key=KEY, api_version="2024-10-21"), CLASSIC, [API_KEY]),
        (
            Azure(endpoint=ACME, api_key=KEY, api_version="2025-04-01-preview"),
            CLASSIC.replace("2024-10-21", "2025-04-01-preview"),
            [API_KEY],
        ),
        (Azure(endpoint=ACME, api_key=lambda: KEY), V1, [BEARER]),
        (Azure(endpoint=ACME, api_key=lambda: KEY, api_version="2024-10-21"), CLASSIC, [BEARER]),
        (Azure(endpoint=ACME, api_key=KEY, bearer=True), V1, [BEARER]),
        (Azure(endpoint=ACME, api_key=lambda: KEY, bearer=False), V1, [API_KEY]),
        (VLLM(endpoint="http://gpu:8000"), "http://gpu:8000/v1/chat/completions", [BEARER]),
        (VLLM(endpoint="http://gpu:8000/"), "http://gpu:8000/v1/chat/completions", [BEARER]),
        (VLLM(endpoint="http://gpu:8000/v1"), "http://gpu:8000/v1/chat/completions", [BEARER]),
        (VLLM(endpoint="http://gpu:8000/v1/"), "http://gpu:8000/v1/chat/completions", [BEARER]),
        (VLLM(endpoint="http://gpu/team/v1"), "http://gpu/team/v1/chat/completions", [BEARER]),
        (
            OpenAICompatible("groq", base_url="https://api.groq.com/openai/v1", headers={"x-a": "1"}),
            "https://api.groq.com/openai/v1/chat/completions",
            [(b"x-a", b"1"), BEARER],
        ),
    ],
)
def test_a_provider_is_asked_at_its_place_with_its_headers_and_its_key(
    provider: Provider, url: str, own: list[tuple[bytes, bytes]]
) -> None:
    request = prepared(provider)
    assert request.url == url
    assert request.headers == [*FORWARDED, *own]
    assert request.body == BODY
    assert request.connect_s == 3.0


@pytest.mark.parametrize(
    ("provider", "url", "own"),
    [
        (OpenAI(api_key=KEY), "https://api.openai.com/v1/models", [BEARER]),
        (Azure(endpoint=ACME, api_key=KEY), f"{ACME}/openai/v1/models", [API_KEY]),
        (
            Azure(endpoint=ACME, api_key=lambda: KEY, api_version="2024-10-21"),
            f"{ACME}/openai/models?api-version=2024-10-21",
            [BEARER],
        ),
        (VLLM(endpoint="http://gpu/team/v1", headers={"x-a": "1"}), "http://gpu/team/v1/models", [(b"x-a", b"1")]),
    ],
)
@pytest.mark.anyio
async def test_a_provider_is_asked_for_its_models_at_its_place_with_its_key(
    provider: Provider, url: str, own: list[tuple[bytes, bytes]]
) -> None:
    question = provider.prepare_question(await provider.key(), FORWARDED, 3.0)
    assert (question.method, question.url, question.body) == ("GET", url, b"")
    assert question.headers == [*FORWARDED, *own]
    assert question.origin == provider.origins[0]


@pytest.mark.parametrize("provider", [OpenAI(), Azure(endpoint=ACME), VLLM(endpoint="http://gpu:8000")])
def test_without_a_key_nothing_is_sent_for_one(provider: Provider) -> None:
    assert prepared(provider, key=None).headers == FORWARDED


@pytest.mark.contract("3.model-rewritten")
@pytest.mark.parametrize("model", ["served", "org/model:free", 'with "quotes"', "ünïcode", "x" * 200])
def test_the_targets_model_replaces_the_callers_and_no_other_byte(model: str) -> None:
    body = prepared(OpenAI(), model=model).body
    start, end = CALL.model_span
    assert body.startswith(BODY[:start])
    assert body.endswith(BODY[end:])
    assert json.loads(body)["model"] == model


@pytest.mark.parametrize(
    ("deployment", "good"),
    [
        ("prod-gpt4o", True),
        ("gpt-4.1_mini", True),
        ("4o", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        ("..", False),
        (".hidden", False),
        ("-x", False),
        ("a/b", False),
        ("a%2Fb", False),
        ("a?api-version=1", False),
        ("a#b", False),
        ("a b", False),
        ("a\n", False),
        ("äbc", False),
    ],
)
def test_a_classic_deployment_is_a_part_of_a_path_and_nothing_a_path_could_understand(
    deployment: str, good: bool
) -> None:
    provider = Azure(endpoint=ACME, api_key=KEY, api_version="2024-10-21")
    if good:
        assert f"/deployments/{deployment}/chat/completions?" in prepared(provider, model=deployment).url
    else:
        with pytest.raises(Unservable):
            prepared(provider, model=deployment)


def test_on_azures_v1_surface_any_model_goes_into_the_body_and_none_into_the_path() -> None:
    assert prepared(Azure(endpoint=ACME), model="../other").url == V1


@pytest.mark.contract("2.endpoint.used", "2.vllm-key.never-configured", "7.equal.no-key")
@pytest.mark.parametrize(
    ("endpoint", "origin"),
    [
        (Endpoint("http", "10.0.0.7", 8000), "http://10.0.0.7:8000"),
        (Endpoint("https", "gpu.test", 443), "https://gpu.test"),
        (Endpoint("http", "fd00::1", 80), "http://[fd00::1]"),
        (Endpoint("http", "gpu", 8000), "http://gpu:8000"),
    ],
)
def test_a_caller_named_endpoint_gets_neither_the_configured_key_nor_the_configured_headers(
    endpoint: Endpoint, origin: str
) -> None:
    provider = VLLM(endpoint="http://gpu:8000", api_key=KEY, headers={"x-secret": "s"})
    without = prepared(provider, endpoint=endpoint, key=None)
    assert without.url == f"{origin}/v1/chat/completions"
    assert without.headers == FORWARDED
    theirs = prepared(provider, endpoint=endpoint, key="the-callers")
    assert theirs.headers == [*FORWARDED, (b"authorization", b"Bearer the-callers")]


# --- keys ---


async def _token() -> str:
    return KEY


def _count() -> Callable[[], str]:
    asked = iter(range(1, 9))
    return lambda: f"token-{next(asked)}"


@pytest.mark.anyio
@pytest.mark.parametrize("source", [KEY, Secret(KEY), lambda: KEY, lambda: Secret(KEY), _token])
@pytest.mark.parametrize(
    "build",
    [
        lambda key: OpenAI(api_key=key),
        lambda key: Azure(endpoint=ACME, api_key=key),
        lambda key: VLLM(endpoint="http://gpu:8000", api_key=key),
        lambda key: OpenAICompatible("groq", base_url="https://g.test", api_key=key),
    ],
    ids=["openai", "azure", "vllm", "compatible"],
)
async def test_a_key_is_a_string_or_a_callable_sync_or_async(build: Any, source: Any) -> None:
    key = await build(source).key()
    assert key == Secret(KEY)
    assert KEY not in f"{key} {key!r}"


@pytest.mark.anyio
async def test_a_callable_is_asked_each_time() -> None:
    provider = OpenAI(api_key=_count())
    keys = [await provider.key() for _ in range(3)]
    assert [key.reveal() for key in keys if key is not None] == ["token-1", "token-2", "token-3"]


@pytest.mark.parametrize("key", ["with blank", "line\nend", "ümlaut", "trailing\n"])
def test_a_callables_key_that_no_header_can_carry_is_an_error_without_its_text(key: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII") as error:
        anyio.run(OpenAI(api_key=lambda: key).key)
    assert not key or key not in str(error.value)


def test_what_a_provider_must_never_show_is_its_key_and_its_header_values() -> None:
    provider = OpenAI(api_key=KEY, headers={"x-a": "value-1"}, organization="org-1")
    assert sorted(provider.static_secrets) == sorted([KEY, "value-1", "org-1"])
    assert OpenAI(api_key=lambda: KEY).static_secrets == []


# --- a provider of one's own ---


class Gemini(Provider):
    """In fifteen lines, as the docstring of the base promises."""

    kind = "gemini"

    def __init__(self, *, api_key: str) -> None:
        super().__init__(name="gemini", base_url="https://g.test/v1beta/openai", api_key=api_key)

    def authorize(self, key: str) -> list[tuple[bytes, bytes]]:
        return [(b"x-goog-api-key", key.encode("ascii"))]


def test_a_provider_of_ones_own_is_a_few_lines() -> None:
    request = prepared(Gemini(api_key=KEY))
    assert request.url == "https://g.test/v1beta/openai/chat/completions"
    assert request.headers == [*FORWARDED, (b"x-goog-api-key", KEY.encode())]


# --- a key is bound to its origin -------------------------------------------------------------------------------------


class Astray(OpenAICompatible):
    """A class of the user's own, whose URL leads to another server than its base URL."""

    def url(self, target: Target) -> str:
        return "https://elsewhere.test/v1/chat/completions"


@pytest.mark.contract("7.key-bound")
@pytest.mark.parametrize("source", [KEY, lambda: KEY])
@pytest.mark.anyio
async def test_a_key_does_not_show_itself_to_another_origin_than_its_own(source: Any) -> None:
    astray = Astray("one", base_url="https://one.test/v1", api_key=source)
    key = await astray.key()
    with pytest.raises(Misdirected) as caught:
        astray.prepare(CALL, Target("one", "asked", "asked"), key, FORWARDED, 3.0)
    assert KEY not in str(caught.value)
    astray.origins += ("https://elsewhere.test",)
    key = Secret(KEY, astray.origins)
    request = astray.prepare(CALL, Target("one", "asked", "asked"), key, FORWARDED, 3.0)
    assert (request.origin, request.headers[-1]) == ("https://elsewhere.test", BEARER)
    with pytest.raises(Misdirected):
        OpenAI(api_key=KEY).prepare_question(key, FORWARDED, 3.0)


@pytest.mark.contract("7.key-bound")
@pytest.mark.parametrize(
    ("bound", "target"),
    [
        ((), Target("vllm", "asked", "asked")),
        (("http://gpu:8000",), Target("vllm", "asked", "asked", Endpoint("http", "10.0.0.7", 8000))),
        (("http://10.0.0.7:8000",), Target("vllm", "asked", "asked")),
        (("http://10.0.0.7:8000",), Target("vllm", "asked", "asked", Endpoint("http", "10.0.0.7", 8001))),
        (("http://10.0.0.7:8000",), Target("vllm", "asked", "asked", Endpoint("https", "10.0.0.7", 8000))),
    ],
    ids=["unbound", "configured at the caller's", "caller's at the configured", "other port", "other scheme"],
)
def test_neither_do_the_configured_key_and_the_callers_ever_change_places(
    bound: tuple[str, ...], target: Target
) -> None:
    with pytest.raises(Misdirected):
        VLLM(endpoint="http://gpu:8000").prepare(CALL, target, Secret(KEY, bound), FORWARDED, 3.0)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Api.OpenAI.com/v1", "https://api.openai.com"),
        ("https://api.openai.com:443/v1", "https://api.openai.com"),
        ("HTTP://gpu:80", "http://gpu"),
        ("http://gpu:443/v1", "http://gpu:443"),
        ("http://[FD00::1]:8000/v1", "http://[fd00::1]:8000"),
    ],
)
def test_the_origin_of_a_provider_is_written_as_engines_write_it(url: str, origin: str) -> None:
    assert OpenAI(base_url=url).origins == (origin,)


@pytest.mark.parametrize(
    "host", ["a%2eb", "a\\b", "a;b", "a,b", "a$b", "*", "a..b", ".a", "[::1", "a|b", "{a}", "a~b", "a!b", "a^b"]
)
def test_the_host_of_a_configured_url_is_letters_digits_hyphens_and_dots(host: str) -> None:
    for build in (
        lambda url: OpenAI(base_url=url),
        lambda url: Azure(endpoint=url),
        lambda url: VLLM(endpoint=url),
        lambda url: OpenAICompatible("one", base_url=url),
    ):
        with pytest.raises(ConfigurationError, match="absolute http"):
            build(f"https://{host}/v1")
