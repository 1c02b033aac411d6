"""What observers are told of a request, and in what order; what the log says, and what neither ever holds."""

from __future__ import annotations

import logging
import re
from typing import Any

import anyio
import pytest

from ogw_asgi import Gateway, OpenAI, Principal, Timeouts
from ogw_asgi._values import AttemptRecord
from ogw_asgi.telemetry.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    FailedOver,
    FirstChunk,
    GatewayOpened,
    RequestEnded,
    RequestRefused,
    RequestStarted,
    StreamBroken,
)
from ogw_asgi.telemetry.log import LogSink, trail
from ogw_asgi.telemetry.observers import Observers
from ogw_asgi.testing import Break, Hang, ScriptedUpstream, asgi_client, chat, error, hang, stream
from tests.asgi.hosts import QUESTION, STREAMED, in_process

from .order import assert_in_order

anyio_test = pytest.mark.anyio

KEY = "sk-c4n4ry-secret-key-000000"
PROMPT = "the-secret-prompt"


class Recording:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ended = anyio.Event()

    def on_event(self, event: Event, /) -> None:
        self.events.append(event)
        if isinstance(event, RequestEnded):
            self.ended.set()


class Failing:
    def on_event(self, event: Event, /) -> None:
        raise ValueError(f"cannot write {PROMPT}")


def told(sink: Recording) -> list[str]:
    return [type(event).__name__ for event in sink.events]


def ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "ogw_asgi" and hasattr(record, "ogw_event")]


@anyio_test
async def test_a_failover_is_told_step_by_step() -> None:
    sink = Recording()
    with anyio.fail_after(5):
        async with in_process(sinks=[sink], authenticate=lambda connection: Principal("ada")) as (gateway, _), gateway:
            async with asgi_client(gateway) as client:
                await client.post("/chat/completions", json=QUESTION, headers={"x-request-id": "r-1"})
    opened, started, first, second, over, third, fourth, last = sink.events
    assert isinstance(opened, GatewayOpened)
    assert isinstance(started, RequestStarted)
    serial = started.serial
    assert started == RequestStarted("r-1", serial, "gpt-4o", False, "ada", ("down", "up"), {})
    host = ("api.openai.com", 443)
    assert first == AttemptStarted(
        "r-1", serial, 1, "down", "openai", "gpt-4o", "first", *host, self_hosted=False, named=False
    )
    assert isinstance(second, AttemptEnded)
    assert (second.number, second.end, second.misconfigured) == (1, "failed", False)
    assert (second.attempt.provider, second.attempt.status) == ("down", 503)
    assert over == FailedOver("r-1", serial, "down", "up", "overloaded")
    assert third == AttemptStarted(
        "r-1", serial, 2, "up", "openai", "gpt-4o", "failover", *host, self_hosted=False, named=False
    )
    assert isinstance(fourth, AttemptEnded)
    assert (fourth.number, fourth.end, fourth.attempt.provider, fourth.attempt.outcome) == (2, "complete", "up", "ok")
    assert isinstance(last, RequestEnded)
    assert (last.request_id, last.outcome, last.status, last.provider) == ("r-1", "ok", 201, "up")
    assert (last.stream, last.principal) == (False, "ada")
    assert [attempt.provider for attempt in last.attempts] == ["down", "up"]
    assert last.duration_ms >= 0


@anyio_test
@pytest.mark.contract("5.warning")
@pytest.mark.parametrize(
    ("replies", "body", "outcome", "steps", "lines"),
    [
        ((chat(),), QUESTION, "ok", "(se)", []),
        ((chat(),), STREAMED, "ok", "(sfe)", []),
        ((error(500), chat()), QUESTION, "ok", "(seose)", [("INFO", "failed_over")]),
        ((error(500), chat()), STREAMED, "ok", "(seosfe)", [("INFO", "failed_over")]),
        ((error(500),), QUESTION, "failed", "(seose)", [("WARNING", "all_failed")]),
        ((error(429),), QUESTION, "failed", "(seose)", [("WARNING", "all_failed")]),
        ((error(400),), QUESTION, "refused", "(se)", []),
        (
            (error(401), chat()),
            QUESTION,
            "ok",
            "(seose)",
            [("WARNING", "misconfigured"), ("INFO", "failed_over")],
        ),
        ((stream(["Hel", Break()]),), STREAMED, "broken", "(sfeb)", [("WARNING", "stream_broken")]),
        (
            (error(500), stream(["Hel", Break()])),
            STREAMED,
            "broken",
            "(seosfeb)",
            [("WARNING", "stream_broken"), ("INFO", "failed_over")],
        ),
    ],
)
async def test_the_log_is_quiet_when_all_is_well_and_loud_when_it_is_not(
    replies: Any, body: Any, outcome: str, steps: str, lines: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ogw_asgi")
    sink = Recording()
    with anyio.fail_after(5):
        async with ScriptedUpstream(*replies).client() as client:
            gateway = Gateway(
                providers=[OpenAI(client=client), OpenAI(name="second", client=client)],
                failover_sequence=["openai", "second"],
                sinks=[sink],
            )
            async with gateway, asgi_client(gateway) as caller:
                async with caller.stream("POST", "/chat/completions", json=body) as reply:
                    try:
                        await reply.aread()
                    except Exception:
                        assert outcome == "broken"
                await sink.ended.wait()
    letters = {
        RequestStarted: "(",
        AttemptStarted: "s",
        FirstChunk: "f",
        AttemptEnded: "e",
        FailedOver: "o",
        StreamBroken: "b",
        RequestEnded: ")",
    }
    assert "".join(letters[type(event)] for event in sink.events[1:]) == steps
    assert_in_order(sink.events)
    last = sink.events[-1]
    assert isinstance(last, RequestEnded)
    assert last.outcome == outcome
    records = ours(caplog)
    assert [(record.levelname, record.__dict__["ogw_event"]) for record in records] == lines
    assert all(record.getMessage().startswith(f"{name} ") for record, (_, name) in zip(records, lines, strict=True))


@anyio_test
async def test_a_caller_who_leaves_is_told_as_such_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ogw_asgi")
    sink = Recording()
    upstream = ScriptedUpstream(hang())
    with anyio.fail_after(5):
        async with upstream.client() as client:
            gateway = Gateway(providers=[OpenAI(client=client)], sinks=[sink])
            async with gateway, asgi_client(gateway) as caller:
                async with anyio.create_task_group() as group:
                    group.start_soon(lambda: caller.post("/chat/completions", json=QUESTION))
                    await upstream.wait_for_requests()
                    group.cancel_scope.cancel()
                await sink.ended.wait()
    last = sink.events[-1]
    assert isinstance(last, RequestEnded)
    assert (last.outcome, last.status, last.provider) == ("left", None, None)
    assert ours(caplog) == []


@anyio_test
async def test_of_a_request_refused_at_the_door_nothing_is_told_but_that() -> None:
    sink = Recording()
    async with in_process(sinks=[sink]) as (gateway, _), gateway, asgi_client(gateway) as client:
        named = {"x-request-id": "r-1"}
        assert (await client.post("/chat/completions", json={}, headers=named)).status_code == 400
        assert (await client.get("/nothing")).status_code == 404
    assert sink.events[1:] == [RequestRefused("r-1", 400, "missing_required_parameter", None)]


@anyio_test
async def test_a_sink_that_raises_is_named_and_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    after = Recording()
    with anyio.fail_after(5):
        async with in_process(sinks=[Failing(), after]) as (gateway, _), gateway, asgi_client(gateway) as client:
            reply = await client.post("/chat/completions", json=STREAMED)
    assert reply.status_code == 201
    assert told(after) == [
        "GatewayOpened",
        "RequestStarted",
        "AttemptStarted",
        "AttemptEnded",
        "FailedOver",
        "AttemptStarted",
        "FirstChunk",
        "AttemptEnded",
        "RequestEnded",
    ]
    failures = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(failures) == 9
    line = r"sink_failed sink=Failing error=ValueError at test_events\.py:\d+"
    assert all(re.fullmatch(line, failure) for failure in failures)
    assert PROMPT not in caplog.text


def test_without_a_sink_no_event_is_built() -> None:
    def build() -> Event:
        raise AssertionError("built")

    Observers([]).tell(build)


@anyio_test
@pytest.mark.contract("6.envelope.no-secrets")
@pytest.mark.parametrize("body", [QUESTION, STREAMED], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    "reply",
    [
        chat("the-secret-answer"),
        error(401, f"Incorrect API key provided: {KEY} at https://hidden.test:1234/v1", code="invalid_api_key"),
        error(500, f"{KEY} https://hidden.test:1234/v1 {PROMPT}"),
        error(429, KEY, headers={"retry-after": "7"}),
        stream(["the-secret-answer", Break()]),
        stream(["the-secret-answer", Hang()]),
        hang(),
    ],
    ids=["answer", "401", "500", "429", "break", "idle", "hang"],
)
async def test_no_record_holds_a_key_a_prompt_an_answer_or_a_url(
    reply: Any, body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ogw_asgi")
    sink = Recording()
    question = {**body, "messages": [{"role": "user", "content": PROMPT}]}
    url = "https://hidden.test:1234/v1"
    limits = Timeouts(answer_s=0.1, idle_s=0.05)
    with anyio.fail_after(5):
        async with ScriptedUpstream(error(502)).client() as down, ScriptedUpstream(reply).client() as client:
            providers = [
                OpenAI(name="first", api_key=KEY, client=down, base_url=url),
                OpenAI(
                    name="second", api_key=lambda: KEY, client=client, base_url=url, headers={"x-a": "secret-value"}
                ),
            ]
            gateway = Gateway(providers=providers, sinks=[sink], timeouts=limits)
            async with gateway, asgi_client(gateway) as caller:
                async with caller.stream(
                    "POST",
                    "/chat/completions",
                    json=question,
                    headers={"authorization": "Bearer sk-c4n4ry-callers-own"},
                ) as response:
                    received = b""
                    try:
                        async for chunk in response.aiter_raw():
                            received += chunk
                    except Exception:
                        assert b"stream_interrupted" in received
                await sink.ended.wait()
    records = [record for record in caplog.records if record.name.startswith("ogw_asgi")]
    everything = " ".join(f"{record.getMessage()} {record.__dict__}" for record in records) + repr(sink.events)
    assert "second" in everything
    for secret in (KEY, PROMPT, "secret-answer", "https://", "secret-value", "sk-c4n4ry-callers-own"):
        assert secret not in everything
    logged = " ".join(f"{record.getMessage()} {record.__dict__}" for record in records)
    assert "hidden.test" not in logged, "a host is for sinks alone"
    assert KEY.encode() not in received
    assert b"hidden.test" not in received


def test_the_trail_of_a_line_names_provider_outcome_and_time() -> None:
    attempts = [
        AttemptRecord("openai", "timeout", None, None, 5001, "m"),
        AttemptRecord("azure", "ok", 200, None, 420, "m"),
    ]
    assert trail(attempts) == "openai:timeout:5001ms azure:200:420ms"


def test_a_line_carries_its_data_in_extra_too(caplog: pytest.LogCaptureFixture) -> None:
    LogSink().on_event(StreamBroken("r-1", 1, "openai", "idle", 12))
    (record,) = caplog.records
    assert record.getMessage() == "stream_broken request=r-1 provider=openai cause=idle delivered_bytes=12"
    assert (record.__dict__["ogw_provider"], record.__dict__["ogw_cause"]) == ("openai", "idle")
