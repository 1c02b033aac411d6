"""What the rows expect again and again, as assertions about an answer and those who were asked."""

from __future__ import annotations

import json

from ogw_asgi.telemetry.events import AttemptEnded, StreamBroken

from .caller import Reply
from .wire import PRIOR, payload
from .world import World


def assert_answered(world: World, reply: Reply, provider: str, *, attempts: int = 1, text: str | None = None) -> None:
    """`provider` answered: whole, byte for byte, and said to have been the last of so many attempts.

    `text`: what it was to say, if it is not a `Good` one.
    """
    assert reply.status == 201, reply.body
    assert reply.header("x-opengateway-provider") == provider
    assert reply.header("x-opengateway-attempts") == str(attempts)
    assert reply.ended
    assert reply.body == payload(world.mode, world.texts[provider] if text is None else text)
    assert len(reply.timings) == attempts
    assert (reply.timings[-1].provider, reply.timings[-1].label) == (provider, "200")


def assert_moved_on(world: World, reply: Reply, outcome: str, *, to: str = "two", failed: str = "one") -> None:
    """ "next": answered by the next provider, one attempt more, and Server-Timing names what came of the first."""
    assert_answered(world, reply, to, attempts=2)
    assert (reply.timings[0].provider, reply.timings[0].label) == (failed, outcome)


def assert_failed(
    reply: Reply, status: int, code: str, *outcomes: str, labels: tuple[str, ...] | None = None
) -> list[dict[str, object]]:
    """Nobody delivered: this status and code, and one attempt for each outcome. Gives the attempts."""
    assert reply.status == status, reply.body
    assert reply.ended
    assert reply.error["code"] == code, reply.body
    attempts: list[dict[str, object]] = reply.error["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == list(outcomes)
    assert reply.header("x-opengateway-attempts") == str(len(outcomes))
    assert [timed.label for timed in reply.timings] == list(labels or outcomes)
    assert reply.header("x-opengateway-provider") is None
    return attempts


def assert_alone(reply: Reply, outcome: str, *, label: str | None = None) -> None:
    """The only attempt failed otherwise than by time or rate: 502 with the attempt."""
    assert_failed(reply, 502, "all_attempts_failed", outcome, labels=(label or outcome,))


def assert_timed_out(reply: Reply, outcome: str = "timeout") -> None:
    """The only attempt ran out of time: 504 with the attempt."""
    assert_failed(reply, 504, "timeout", outcome)


def assert_broken(world: World, reply: Reply, cause: str, prior: bytes = PRIOR) -> str:
    """The events before it byte for byte, the error event at a boundary, no `[DONE]`, no end, nobody else asked.

    Gives the message.
    """
    assert reply.status == 201, reply.body
    assert reply.header("x-opengateway-attempts") == "1"
    assert reply.body.startswith(prior), reply.body[-1000:]
    rest = reply.body[len(prior) :]
    assert rest.startswith(b"data: "), rest[:1000]
    assert rest.endswith(b"\n\n")
    assert rest.count(b"\n") == 2, rest
    error = json.loads(rest.removeprefix(b"data: "))["error"]
    assert (error["type"], error["code"], error["param"]) == ("upstream_error", "stream_interrupted", None)
    assert b"[DONE]" not in reply.body
    assert not reply.ended
    broken = [event for event in world.events if isinstance(event, StreamBroken)]
    assert [event.cause for event in broken] == [cause]
    message: str = error["message"]
    return message


def alerts(world: World) -> list[str]:
    """The outcomes that were told as misconfigurations."""
    ended = [event for event in world.events if isinstance(event, AttemptEnded)]
    logged = [r for r in world.complaints.records if r.getMessage().startswith("misconfigured ")]
    told = [event.attempt.outcome for event in ended if event.misconfigured]
    assert len(logged) == len(told), "each is logged once"
    return told
