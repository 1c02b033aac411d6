"""The plugin of the canaries can fail: it finds every way of showing a key, and lets through what is shown on purpose.

The leaks are planted in a suite of their own, which runs inside this one.
"""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import quote

import anyio
import pytest

from tests.canaries import MARK, SPELLINGS, Watch, assert_silent, canary, found_in
from tests.manifest import ROOT

pytest_plugins = ["pytester"]

KEY = canary("test")

LEAKS = """
import base64
import logging

import anyio
import pytest

from ogw_asgi import ConfigurationError, Gateway, OpenAI
from ogw_asgi._environment.reading import read_environment
from ogw_asgi.testing import ScriptedUpstream, asgi_client, chat
from tests.canaries import canary

KEY = canary("planted")


class Sink:
    def on_event(self, event):
        pass


def ask(reply, headers=(), **settings):
    async def main():
        async with ScriptedUpstream(reply).client() as client:
            async with Gateway(providers=[OpenAI(api_key=KEY, client=client)], **settings) as gateway:
                async with asgi_client(gateway) as caller:
                    question = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
                    return await caller.post("/chat/completions", json=question, headers=dict(headers))

    return anyio.run(main)


def test_leak_record():
    logging.getLogger("httpcore.http11").debug("headers %r", [(b"authorization", b"Bearer " + KEY.encode())])


def test_leak_traceback():
    try:
        raise ValueError(KEY)
    except ValueError:
        logging.getLogger("uvicorn.error").exception("failed")


def test_leak_extra():
    logging.getLogger("ogw_asgi").warning("failed", extra={"ogw_cause": KEY})


def test_leak_stdout():
    print(base64.b64encode(f"Bearer {KEY}".encode()).decode())


def test_leak_body():
    assert KEY in ask(chat(KEY)).text


def test_leak_header():
    assert ask(chat("Hi"), {"x-request-id": KEY}).headers["x-request-id"] == KEY


def test_leak_event():
    ask(chat("Hi"), sinks=[Sink()], failover_sequence=["openai/" + KEY])


def test_leak_exception():
    with pytest.raises(ConfigurationError):
        raise ConfigurationError(f"bad key {KEY}")


def test_leak_cause():
    with pytest.raises(ConfigurationError):
        try:
            raise ValueError(KEY)
        except ValueError:
            raise ConfigurationError("bad key") from None


def test_leak_local():
    with pytest.raises(ConfigurationError):
        read_environment({"OPENAI_API_KEY": KEY, "OGW_TIMEOUT_MS": "x"})


class TestTeardown:
    @pytest.fixture
    def late(self):
        yield
        logging.getLogger("asyncio").debug(KEY)

    def test_late_leak(self, late):
        pass


@pytest.mark.shows_keys("on purpose")
def test_honest():
    print(KEY)


def test_clean():
    assert ask(chat("Hi")).status_code == 201
    with pytest.raises(ConfigurationError):
        OpenAI(api_key=KEY + chr(10))


def test_broken_otherwise():
    print(KEY)
    assert False
"""


@pytest.mark.shows_keys("the leaks that the plugin must find are planted here")
def test_every_leak_fails_its_test_and_nothing_else_does(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(test_leaks=LEAKS)
    pytester.makeconftest(
        "from tests.canaries import Canaries\n\n\n"
        "def pytest_configure(config):\n"
        "    config.pluginmanager.register(Canaries(), 'canaries')\n"
    )
    pytester.makeini("[pytest]\nlog_level = DEBUG\nmarkers = shows_keys(reason): on purpose\n")
    run = pytester.runpytest_subprocess("-rfEp", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    told = dict(
        re.findall(r"^(?:FAILED|ERROR) test_leaks\.py::(?:TestTeardown::)?(\w+) - (.*)", run.stdout.str(), re.M)
    )
    ways = ("record", "traceback", "extra", "stdout", "body", "header", "event", "exception", "cause", "local")
    assert told == {
        **{f"test_leak_{way}": "keys are shown:" for way in ways},
        "test_late_leak": "keys are shown:",
        "test_broken_otherwise": "assert False",
    }
    assert run.parseoutcomes() == {"failed": len(ways) + 1, "errors": 1, "passed": 3}
    run.stdout.fnmatch_lines(["the local env of read_environment of a frame below a ConfigurationError: *"])


@pytest.mark.parametrize("lead", ["", "1", "12", "Bearer ", "user:"])
def test_a_canary_is_found_in_every_spelling(lead: str) -> None:
    coded = base64.b64encode((lead + KEY).encode())
    spelled = [
        KEY,
        repr(KEY),
        coded.decode(),
        quote(KEY, safe=""),
        "".join(f"%{byte:02x}" for byte in KEY.encode()),
        "".join(f"\\u{ord(char):04x}" for char in KEY),
        KEY.encode().hex(),
    ]
    for text in spelled:
        assert found_in(f"before {text} after")
        assert found_in(f"before {text} after".encode())
    assert found_in("nothing of the kind") is found_in(b"nothing") is None
    assert all(len(spelling) >= len(MARK) for spelling in SPELLINGS)


def test_a_canary_is_found_across_the_messages_of_a_response() -> None:
    watch = Watch()

    async def send(message: Any) -> None:
        pass

    async def respond() -> None:
        read = watch.reader(send)
        await read({"type": "http.response.start", "status": 201, "headers": [(b"a", b"b")]})
        for place in range(len(KEY)):
            await read({"type": "http.response.body", "body": KEY[place].encode(), "more_body": True})
        await read({"type": "http.response.body", "body": b""})

    anyio.run(respond)
    assert watch.shown


def test_a_processs_output_is_handed_over() -> None:
    assert_silent("all is well", "its output")
    with pytest.raises(AssertionError, match="is shown in its output"):
        assert_silent(f"key {KEY}", "its output")
