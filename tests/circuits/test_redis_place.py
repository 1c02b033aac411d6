"""The setting: what is a Redis' URL, what of it is shown (nothing), and what a gateway does with it."""

from __future__ import annotations

import pytest

from ogw_asgi import ConfigurationError, Gateway, OpenAI
from ogw_asgi.circuits import shared
from ogw_asgi.circuits.redis import AGAIN_S, RedisPlace, read_place
from tests.canaries import canary

SECRET = canary("redis")


def place(url: str) -> RedisPlace:
    return read_place(url, "redis_url")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache", RedisPlace("cache", 6379, None, False, 0, None, None, "default")),
        ("redis://cache/", RedisPlace("cache", 6379, None, False, 0, None, None, "default")),
        ("redis://cache:7000/3", RedisPlace("cache", 7000, None, False, 3, None, None, "default")),
        ("redis://cache?db=3", RedisPlace("cache", 6379, None, False, 3, None, None, "default")),
        ("rediss://[::1]:7000", RedisPlace("::1", 7000, None, True, 0, None, None, "default")),
        ("unix:///run/redis.sock", RedisPlace("", 6379, "/run/redis.sock", False, 0, None, None, "default")),
        ("unix:///a%20b?db=2", RedisPlace("", 6379, "/a b", False, 2, None, None, "default")),
        ("redis://cache?namespace=eu-1.prod", RedisPlace("cache", 6379, None, False, 0, None, None, "eu-1.prod")),
    ],
)
def test_a_url_says_where_it_is_and_what_in_it_is_ours(url: str, expected: RedisPlace) -> None:
    assert place(url) == expected


@pytest.mark.parametrize(
    ("url", "username", "password"),
    [
        (f"redis://:{SECRET}@cache", None, SECRET),
        (f"redis://ada:{SECRET}@cache", "ada", SECRET),
        (f"redis://a%40b:{SECRET}%2F%20@cache", "a@b", f"{SECRET}/ "),
        (f"unix://:{SECRET}@/run/redis.sock", None, SECRET),
        ("redis://ada@cache", "ada", None),
    ],
)
def test_a_password_is_read_and_does_not_show(url: str, username: str | None, password: str | None) -> None:
    found = place(url)
    assert (found.username, found.password and found.password.reveal()) == (username, password)
    assert SECRET not in f"{found!r}{found}"


@pytest.mark.parametrize(
    "url",
    [
        f"http://:{SECRET}@cache",
        f"redis:{SECRET}",
        f"redis://:{SECRET}@",
        f"redis://:{SECRET}@cache:70000",
        f"redis://:{SECRET}@cache:port",
        f"redis://:{SECRET}@[::1",
        f"redis://:{SECRET}@cache/one",
        f"redis://:{SECRET}@cache/1?db=1",
        f"redis://:{SECRET}@cache/-1",
        f"redis://:{SECRET}@cache/123456",
        f"redis://:{SECRET}@cache?ssl_cert_reqs=none",
        f"redis://:{SECRET}@cache?namespace={SECRET}/x",
        f"redis://:{SECRET}@cache?namespace=",
        f"redis://:{SECRET}@cache?&",
        f"redis://:{SECRET}@cache#{SECRET}",
        f"redis://:{SECRET} @cache",
        f"redis://:{SECRET}@c\N{LATIN SMALL LETTER A WITH DIAERESIS}che",
        f"unix://:{SECRET}@",
        f"unix://:{SECRET}@/",
        f"unix://:{SECRET}@cache/run/redis.sock",
        "",
        b"redis://cache",
        7,
    ],
    ids=str,
)
def test_a_url_that_cannot_work_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\Aredis_url: ") as refused:
        Gateway(providers=[OpenAI(api_key=canary("openai"))], redis_url=url)
    assert "c4n4ry" not in str(refused.value)
    with pytest.raises(ConfigurationError, match=r"\AOGW_REDIS_URL: "):
        read_place(url, "OGW_REDIS_URL")


@pytest.mark.contract("8.shared")
def test_the_times_are_those_of_the_contract() -> None:
    assert (shared.EVERY_S, shared.PATIENCE_S, AGAIN_S) == (1.0, 0.05, 5.0)


def test_from_env_takes_it() -> None:
    gateway = Gateway.from_env({"OPENAI_API_KEY": canary("openai"), "OGW_REDIS_URL": f"redis://:{SECRET}@cache/1"})
    assert gateway._redis is not None
    assert (gateway._redis.host, gateway._redis.db) == ("cache", 1)
    assert "c4n4ry" not in repr(gateway)
