"""One payload at one server, and what must hold whatever comes of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio

from ogw_asgi.testing import RawRequest, RawUpstream, http_response
from tests.shutdown.processes import ServerProcess

from .caller import AFTERWARDS_S, LEFT, LIMIT_S, Answer, converse
from .golden import MOUNTS, Asked, head_of
from .payloads import MOUNT, Payload, post, question
from .servers import serving

_ANSWER = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
COMPLETION = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [_ANSWER]})
HONEST = Asked(question("an honest one"))


TAKEN_BACK = "; at most one more reached"
"""The server answers what came behind a good request before the provider has answered that: a race, and harmless."""


@dataclass
class Stand:
    """A server, and the upstream behind the gateway in it."""

    server: str
    process: ServerProcess
    upstream: RawUpstream

    async def try_payload(self, payload: Payload, mount: str, expected: str | None = None) -> str:
        """What comes of it, as the table has it. Fails for anything but honest requests at the provider.

        `expected` is what is waited for; without it, silence.
        """
        sent = payload.sent.replace(f"{MOUNT}/".encode(), f"{mount}/".encode())
        before = len(self.upstream.requests)
        count = None if expected is None or "HTTP/2" in expected else answers_in(expected)

        def enough(answers: list[Answer]) -> bool:
            return count is not None and len(answers) >= count

        conversation = await converse(
            self.process.port,
            sent,
            enough,
            silence_s=0.25 if count is None else LIMIT_S,
            after_s=LIMIT_S - 1 if expected is not None and LEFT in expected else AFTERWARDS_S,
        )
        assert all(answer.status != 500 for answer in conversation.answers), conversation
        if expected is None or TAKEN_BACK in expected:
            await self.settled()  # the request may still be on its way, and its answer is nobody's
        reached = self.upstream.requests[before:]
        taken = payload.as_headers if self.server == "uvicorn, httptools" else ()
        self.assert_honest(reached, taken or payload.honest, mount)
        words, answered = conversation.words, conversation.words.replace(LEFT, ", ").split(", ").count("201")
        if expected is not None and TAKEN_BACK in expected:
            return f"{words}{TAKEN_BACK}" if len(reached) <= answered + 1 else f"{words}, {len(reached)} reached"
        return words if len(reached) == answered else f"{words}{TAKEN_BACK}"

    def assert_honest(self, reached: Sequence[RawRequest], honest: Sequence[Asked], mount: str) -> None:
        """What reached the provider are the first of these requests, byte for byte."""
        assert len(reached) <= len(honest), reached
        for request, asked in zip(reached, honest, strict=False):
            assert request.body == asked.body
            expected = head_of(asked, MOUNTS[mount], self.upstream.port)
            assert expected.fullmatch(request.head), f"{request.head!r} is not {expected.pattern!r}"

    async def ask_honestly(self, mount: str) -> None:
        """A good request on a new connection gets its answer, and what reaches the provider is that request alone."""
        before = len(self.upstream.requests)
        sent = post("connection: close", body=HONEST.body).replace(f"{MOUNT}/".encode(), f"{mount}/".encode())
        conversation = await converse(self.process.port, sent, bool)
        assert conversation.words == "201"
        assert conversation.answers[0].body.decode() == COMPLETION
        reached = self.upstream.requests[before:]
        assert len(reached) == 1
        self.assert_honest(reached, [HONEST], mount)

    async def settled(self) -> dict[str, Any]:
        """The state of the app, as soon as nothing is going on in it, which is within a second."""
        with anyio.fail_after(1):
            while True:
                conversation = await converse(self.process.port, b"GET /state HTTP/1.1\r\nhost: a\r\n\r\n", bool)
                state: dict[str, Any] = json.loads(conversation.answers[0].body)
                if not (state["in_flight"] or state["slots"] or state["permits"]):
                    return state
                await anyio.sleep(0.01)

    async def assert_unharmed(self) -> None:
        """Nothing is left over, nothing was raised, nothing complained of but a deployment that cannot be named."""
        state = await self.settled()
        assert state["raised"] == []
        other = [line for line in state["complaints"] if "ogw_asgi: all_failed" not in line or "unservable" not in line]
        assert other == [], other
        assert not [line for line in self.process.lines if "Traceback" in line], "\n".join(self.process.lines)


def answers_in(outcome: str) -> int:
    """How many answers come before the caller leaves."""
    words = outcome.partition(";")[0].partition(LEFT)[0].split(", ")
    return sum(word[0].isdigit() for word in words)


@asynccontextmanager
async def stand(server: str) -> AsyncIterator[Stand]:
    answer = http_response(200, COMPLETION.encode(), {"content-type": "application/json"})
    async with RawUpstream([answer]) as upstream, serving(server, upstream.url) as process:
        yield Stand(server, process, upstream)
