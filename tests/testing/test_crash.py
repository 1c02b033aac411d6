"""The crash-test provider breaks as the model's name says, over real sockets, and remembers what it did."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
import pytest

from ogw_asgi.testing import CRASH_TEST_MODELS, SIXTY_WORDS, CrashTestModel, CrashTestProvider

pytestmark = pytest.mark.anyio

QUICK = 0.001
"""So that 20 seconds are 20 milliseconds."""


@dataclass
class Got:
    """What a caller got; `ending` is the name of the error that ended it, empty for a proper end."""

    status: int = 0
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    body: bytes = b""
    ending: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json["error"]

    @property
    def events(self) -> list[Any]:
        """The data of the events; what is no JSON as the bytes it is."""
        found: list[Any] = []
        for line in self.body.splitlines():
            if data := line.removeprefix(b"data: "):
                try:
                    found.append(json.loads(data))
                except ValueError:
                    found.append(data)
        return found

    @property
    def text(self) -> str:
        chunks = [event for event in self.events if isinstance(event, dict) and event.get("choices")]
        return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)


@contextlib.asynccontextmanager
async def running(scale: float = QUICK) -> AsyncIterator[tuple[CrashTestProvider, httpx.AsyncClient]]:
    with anyio.fail_after(15):
        async with CrashTestProvider(scale=scale) as provider:
            async with httpx.AsyncClient(base_url=provider.base_url, timeout=None, trust_env=False) as client:
                yield provider, client


async def ask(client: httpx.AsyncClient, model: str, *, stream: bool = True, prefill: str = "", **fields: Any) -> Got:
    messages = [{"role": "user", "content": "Say it."}]
    if prefill:
        messages.append({"role": "assistant", "content": prefill})
    got = Got()
    body = {"model": model, "messages": messages, "stream": stream, **fields}
    try:
        async with client.stream("POST", "/chat/completions", json=body) as response:
            got.status, got.headers = response.status_code, response.headers
            async for piece in response.aiter_raw():
                got.body += piece
    except httpx.HTTPError as error:
        got.ending = type(error).__name__
    return got


# --- healthy ------------------------------------------------------------------------------------------------------


async def test_a_healthy_stream_brings_sixty_words_one_per_chunk() -> None:
    async with running() as (_, client):
        got = await ask(client, "healthy")
    assert (got.status, got.ending, got.text) == (200, "", SIXTY_WORDS)
    assert len(SIXTY_WORDS.split()) == 60
    *chunks, done = got.events
    assert done == b"[DONE]"
    assert len(chunks) == 1 + 60 + 1
    assert [chunk["choices"][0]["delta"].get("role") for chunk in chunks[:2]] == ["assistant", None]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert {chunk["id"] for chunk in chunks} == {"chatcmpl-crash-1"}
    assert {chunk["model"] for chunk in chunks} == {"healthy"}


async def test_usage_comes_where_it_was_asked_for() -> None:
    async with running() as (_, client):
        without = await ask(client, "healthy", stream_options={"include_usage": False})
        got = await ask(client, "healthy", stream_options={"include_usage": True})
        plain = await ask(client, "healthy", stream=False)
    usage = {"prompt_tokens": 2, "completion_tokens": 60, "total_tokens": 62}
    assert b'"usage"' not in without.body
    assert got.events[-2]["usage"] == usage
    assert got.events[-2]["choices"] == []
    assert plain.json["usage"] == usage
    assert plain.json["choices"][0]["message"]["content"] == SIXTY_WORDS


async def test_the_models_are_listed() -> None:
    async with running() as (_, client):
        listed = (await client.get("/models")).json()["data"]
    assert [model["id"] for model in listed] == list(CRASH_TEST_MODELS)


# --- one fault per name -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
@pytest.mark.parametrize(
    ("model", "first", "then"),
    [
        ("rate-limited-once", 429, 200),
        ("always-rate-limited", 429, 429),
        ("error-500-once", 500, 200),
        ("always-503", 503, 503),
        ("reset-once", 0, 200),
        ("mute", 0, 0),
        ("context-length-exceeded", 400, 400),
        ("content-policy-violation", 400, 400),
        ("no-such-model", 404, 404),
    ],
)
async def test_the_first_call_and_those_after_it(model: str, first: int, then: int, stream: bool) -> None:
    async with running() as (provider, client):
        got = [await ask(client, model, stream=stream) for _ in range(3)]
        other = await ask(client, f"{model}@another", stream=stream)
        provider.reset()
        anew = await ask(client, model, stream=stream)
    assert [answer.status for answer in [*got, other, anew]] == [first, then, then, first, first]
    assert [call.number for call in provider.calls] == [1]


@pytest.mark.parametrize(
    ("model", "code", "kind"),
    [
        ("rate-limited-once", "rate_limit_exceeded", "requests"),
        ("always-rate-limited", "rate_limit_exceeded", "requests"),
        ("error-500-once", None, "server_error"),
        ("always-503", "server_is_overloaded", "service_unavailable_error"),
        ("context-length-exceeded", "context_length_exceeded", "invalid_request_error"),
        ("content-policy-violation", "content_policy_violation", "invalid_request_error"),
    ],
)
async def test_refusals_are_openais_envelope(model: str, code: str | None, kind: str) -> None:
    async with running() as (_, client):
        got = await ask(client, model)
    assert (got.error["code"], got.error["type"]) == (code, kind)
    assert got.error["message"]
    assert "param" in got.error


async def test_a_scaled_retry_after_is_told_in_milliseconds_too() -> None:
    async with running(scale=0.05) as (_, client):
        limited = await ask(client, "rate-limited-once")
        always = await ask(client, "always-rate-limited")
    assert (limited.headers["retry-after"], limited.headers["retry-after-ms"]) == ("1", "100")
    assert "retry-after" not in always.headers
    async with running(scale=1) as (_, client):
        limited = await ask(client, "rate-limited-once")
    assert limited.headers["retry-after"] == "2"
    assert "retry-after-ms" not in limited.headers


@pytest.mark.parametrize(("model", "words"), [("cut-mid-stream", 40), ("stall-mid-stream", 20)])
async def test_a_cut_stream_has_its_words_and_no_end(model: str, words: int) -> None:
    async with running() as (_, client):
        got = await ask(client, model)
    assert got.status == 200
    assert len(got.text.split()) == words
    assert SIXTY_WORDS.startswith(got.text)
    assert b"[DONE]" not in got.body
    assert got.ending == "RemoteProtocolError"


@pytest.mark.parametrize("model", ["cut-mid-stream", "stall-mid-stream"])
async def test_a_cut_plain_answer_is_shorter_than_its_content_length(model: str) -> None:
    async with running() as (_, client):
        got = await ask(client, model, stream=False)
    assert got.status == 200
    assert len(got.body) < int(got.headers["content-length"])
    assert (got.body == b"") == (model == "stall-mid-stream")
    assert got.ending == "RemoteProtocolError"


async def test_an_extra_event_is_malformed_and_the_rest_is_whole() -> None:
    async with running() as (_, client):
        got = await ask(client, "malformed-event")
        plain = await ask(client, "malformed-event", stream=False)
    assert (got.text, got.events[-1], got.ending) == (SIXTY_WORDS, b"[DONE]", "")
    broken = [index for index, event in enumerate(got.events[:-1]) if isinstance(event, bytes)]
    assert broken == [1 + 10]
    assert (plain.status, plain.ending) == (200, "")
    with pytest.raises(ValueError):
        _ = plain.json


async def test_without_done_everything_else_is_there() -> None:
    async with running() as (_, client):
        got = await ask(client, "no-done", stream_options={"include_usage": True})
        plain = await ask(client, "no-done", stream=False)
    assert (got.text, got.ending) == (SIXTY_WORDS, "")
    assert got.events[-1]["usage"]["completion_tokens"] == 60
    assert plain.json["choices"][0]["message"]["content"] == SIXTY_WORDS


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
async def test_the_head_of_a_late_answer_comes_at_once(stream: bool) -> None:
    async with running(scale=1000) as (provider, client):
        body = {"model": "late-first-word", "stream": stream}
        async with client.stream("POST", "/chat/completions", json=body) as response:
            assert response.status_code == 200  # and its words would come in 20,000 seconds
        (call,) = await provider.wait_for_calls()
        await call.ended.wait()
    assert call.peer_closed_s is not None
    async with running() as (_, client):
        got = await ask(client, "late-first-word", stream=stream)
    answer = got.text if stream else got.json["choices"][0]["message"]["content"]
    assert (answer, got.ending) == (SIXTY_WORDS, "")


async def test_down_for_a_minute_counts_from_its_own_first_call() -> None:
    async with running() as (provider, client):
        await ask(client, "down-for-60s@earlier")
        while (await ask(client, "down-for-60s", stream=False)).status != 200:
            pass
        calls = provider.calls_to("down-for-60s")
    recovers_s = calls[0].started_s + 60 * QUICK
    assert all((call.played == "503") == (call.started_s < recovers_s) for call in calls)
    assert calls[-1].played == "answer"


# --- fallbacks ----------------------------------------------------------------------------------------------------

CUTS = [1, 10, len("A gateway"), len("A gateway "), len(SIXTY_WORDS) // 2, SIXTY_WORDS.index("é"), len(SIXTY_WORDS) - 1]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
@pytest.mark.parametrize("cut", CUTS)
async def test_a_prefill_is_continued_to_the_character(cut: int, stream: bool) -> None:
    async with running() as (_, client):
        got = await ask(client, "fallback-continues", stream=stream, prefill=SIXTY_WORDS[:cut])
    rest = got.text if stream else got.json["choices"][0]["message"]["content"]
    assert SIXTY_WORDS[:cut] + rest == SIXTY_WORDS


async def test_a_prefill_may_come_in_parts() -> None:
    parts = [{"type": "text", "text": "A gateway"}, {"type": "text", "text": " earns"}]
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": parts}]
    async with running() as (_, client):
        got = await ask(client, "fallback-continues", messages=messages)
    assert "A gateway earns" + got.text == SIXTY_WORDS


async def test_a_strange_prefill_is_followed_by_the_whole_answer() -> None:
    async with running() as (_, client):
        got = await ask(client, "fallback-continues", prefill="Well:")
    assert got.text == f" {SIXTY_WORDS}"


async def test_other_fallbacks_refuse_a_prefill_or_begin_anew() -> None:
    async with running() as (_, client):
        refused = await ask(client, "fallback-refuses-prefill", prefill="A gateway")
        anew = await ask(client, "fallback-begins-anew", prefill="A gateway")
        fresh = [await ask(client, model) for model in CRASH_TEST_MODELS if model.startswith("fallback-")]
    assert refused.status == 400
    assert "prefill" in refused.error["message"]
    assert anew.text == SIXTY_WORDS
    assert [got.text for got in fresh] == [SIXTY_WORDS] * 3


# --- the log ------------------------------------------------------------------------------------------------------


async def test_a_call_is_remembered_with_its_times() -> None:
    async with running() as (provider, client):
        await ask(client, "always-503", stream=False, temperature=0.5)
        await ask(client, "cut-mid-stream@x")
        first, second = await provider.wait_for_calls(2)
        await second.ended.wait()
    assert (first.model, first.number, first.streamed, first.played) == ("always-503", 1, False, "503")
    assert first.body["temperature"] == 0.5
    assert first.peer_closed_s is None
    assert (second.model, second.streamed, second.played) == ("cut-mid-stream@x", True, "cut")
    assert second.ended_s is not None
    assert second.started_s < second.ended_s
    assert provider.calls_to("cut-mid-stream") == []
    assert provider.calls_to("cut-mid-stream@x") == [second]


async def test_a_caller_who_leaves_is_noticed_in_silence_and_between_words() -> None:
    async with running(scale=1000) as (provider, client):
        for number, model in enumerate(["mute", "healthy"], 1):
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(ask, client, model)
                    call = (await provider.wait_for_calls(number))[-1]
                    assert not call.ended.is_set()
                    scope.cancel()
            await call.ended.wait()
            assert call.peer_closed_s is not None


async def test_the_log_is_read_and_forgotten_over_http() -> None:
    async with running() as (provider, client):
        await ask(client, "reset-once")
        (call,) = (await client.get(f"{provider.url}/calls")).json()["calls"]
        assert (call["model"], call["number"], call["played"]) == ("reset-once", 1, "reset")
        assert (await client.delete(f"{provider.url}/calls")).status_code == 200
        assert provider.calls == []
        assert (await ask(client, "reset-once")).ending == "ReadError"


async def test_what_is_no_chat_completion_is_refused_and_the_provider_goes_on() -> None:
    async with running() as (_, client):
        assert (await client.post("/chat/completions", content=b"{")).status_code == 400
        assert (await client.post("/chat/completions", json=[])).status_code == 400
        assert (await client.post("/chat/completions", json={"model": 1})).status_code == 400
        assert (await client.get("/elsewhere")).status_code == 404

        async def pieces() -> AsyncIterator[bytes]:
            yield b"{}"

        assert (await client.post("/chat/completions", content=pieces())).status_code == 411
        assert (await ask(client, "healthy")).status == 200


# --- serving ------------------------------------------------------------------------------------------------------


def test_a_test_without_a_loop_has_it_in_a_thread() -> None:
    with CrashTestProvider(scale=QUICK) as provider:
        body = {"model": "error-500-once", "messages": []}
        statuses = [httpx.post(f"{provider.base_url}/chat/completions", json=body).status_code for _ in range(2)]
        assert anyio.run(provider.wait_for_calls, 2) == provider.calls_to("error-500-once")
        name = f"crash-test:{provider.port}"
        assert name in {thread.name for thread in threading.enumerate()}
    assert statuses == [500, 200]
    assert name not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(httpx.ConnectError):
        httpx.get(provider.url)


async def test_a_thread_of_its_own_serves_tests_on_either_loop() -> None:
    with CrashTestProvider(scale=QUICK) as provider:
        async with httpx.AsyncClient(base_url=provider.base_url) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(ask, client, "mute")
                (call,) = await provider.wait_for_calls(model="mute")
                await call.ended.wait()


async def test_an_error_in_the_block_comes_out_as_itself() -> None:
    with pytest.raises(AssertionError, match="mine"):
        async with CrashTestProvider():
            raise AssertionError("mine")


async def test_it_is_served_once_at_a_time_and_may_be_served_again() -> None:
    provider = CrashTestProvider()
    async with provider:
        with pytest.raises(RuntimeError, match="already"):
            async with provider:
                pytest.fail("it was served twice")
    async with provider, httpx.AsyncClient(base_url=provider.base_url) as client:
        assert (await client.get("/models")).status_code == 200


def heed_interrupts() -> None:
    """What a shell has started in the background ignores them, and so does what that starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_the_module_serves_it_until_it_is_interrupted() -> None:
    command = [sys.executable, "-m", "ogw_asgi.testing", "--port", "0", "--scale", "0.001"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("log: "):
                break
        base_url = next(line.split()[1] for line in lines if line.startswith("base_url: "))
        assert httpx.get(f"{base_url}/models").status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert all(any(line.startswith(f"{model} ") for line in lines) for model in CRASH_TEST_MODELS)


def test_a_port_that_is_taken_is_told_in_a_line() -> None:
    with CrashTestProvider() as provider:
        command = [sys.executable, "-m", "ogw_asgi.testing", "--port", str(provider.port)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert ran.stderr.startswith(f"127.0.0.1:{provider.port}: ")


@pytest.mark.parametrize("arguments", [["--scale", "0"], ["--scale", "nan"], ["--port", "99999"]])
def test_arguments_that_cannot_be_are_told_in_a_line(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "ogw_asgi.testing", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize("scale", [0, -1, float("inf"), float("nan")])
def test_a_scale_that_is_none_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        CrashTestProvider(scale=scale)


@pytest.mark.parametrize("model", CRASH_TEST_MODELS.values(), ids=lambda model: model.name)
def test_every_model_says_what_it_does(model: CrashTestModel) -> None:
    assert model.streamed
    assert model.plain


def test_the_sixteen_scenarios_have_a_model_each() -> None:
    played = sorted(scenario for model in CRASH_TEST_MODELS.values() for scenario in model.scenarios)
    assert played == [f"S{number:02}" for number in range(1, 17)]
