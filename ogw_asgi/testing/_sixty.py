"""The one answer that every model of the crash-test provider gives, and its pieces on the wire; values only."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio

from ._playing import RawStep
from .encoding import LAST_CHUNK, SSE_DONE, HeaderPairs, chunked, http_head, sse_event
from .replies import Reply, answer, completion_chunk, error, tokens
from .steps import Wait

SIXTY_WORDS = (
    "A gateway earns its keep on the worst day of the year, when the model it trusts goes quiet in the middle of a "
    "sentence and somebody is still waiting for the end. It notices within seconds, asks elsewhere, keeps every word "
    "already said, repeats none, and finishes the thought, so that nobody at the café table learns what broke."
)
"""What every model of the crash-test provider answers; a stream brings it one word per chunk, blank in front."""

_word = re.compile(r"\s*\S+")
_SSE: HeaderPairs = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "transfer-encoding": "chunked",
}


def rest_after(prefill: str) -> str:
    """What of the sixty words comes after `prefill`; all of them after a text that is none of their beginnings."""
    return SIXTY_WORDS.removeprefix(prefill) if SIXTY_WORDS.startswith(prefill) else f" {SIXTY_WORDS}"


def text_of(message: object) -> str:
    """The text of a message of the request, whether its content is a string, parts or nothing."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


@dataclass(frozen=True, slots=True)
class After:
    """A `Waitable` that is due by the clock: `Wait(After(seconds))` is a pause that ends early when the peer leaves."""

    seconds: float

    async def wait(self) -> None:
        await anyio.sleep(self.seconds)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a model may look at: the call's number and age in its own provider's time, and what the caller wants."""

    model: str
    number: int
    since_first_s: float
    """Seconds from the first call of this model to this one, unscaled."""
    streamed: bool
    usage: bool
    messages: Sequence[Any]

    @property
    def prefill(self) -> str:
        """The text of a last message that is the assistant's; empty without one."""
        last = self.messages[-1] if self.messages else None
        return text_of(last) if isinstance(last, dict) and last.get("role") == "assistant" else ""


@dataclass(frozen=True, slots=True)
class Replies:
    """The pieces of which one call's replies are made. Seconds given to it are multiplied by `scale`."""

    asked: Asked
    completion_id: str
    scale: float
    word_s: float
    text: str = SIXTY_WORDS
    words: list[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", _word.findall(self.text))

    @property
    def usage(self) -> dict[str, int]:
        prompt = sum(len(text_of(message).split()) for message in self.asked.messages)
        return tokens(prompt=prompt, completion=len(self.words))

    def after(self, seconds: float) -> Wait:
        return Wait(After(seconds * self.scale))

    def retry_after(self, seconds: float) -> dict[str, str]:
        """`Retry-After` is whole seconds; a scaled one is told in milliseconds beside it."""
        headers = {"retry-after": str(math.ceil(seconds * self.scale))}
        if self.scale != 1:
            headers["retry-after-ms"] = str(round(seconds * self.scale * 1000))
        return headers

    # --- whole ---

    def whole(self, *, done: bool = True) -> list[RawStep]:
        """The answer as a healthy provider gives it; `done=False` leaves `[DONE]` out of a stream."""
        if not self.asked.streamed:
            return [self.head(), self.body()]
        return [self.head(), *self.stream(0, len(self.words)), *self.end(done=done)]

    def refusal(self, status: int, message: str, headers: HeaderPairs = (), **fields: Any) -> list[RawStep]:
        """An error in OpenAI's envelope; `fields` are its `type`, `code` and `param`."""
        reply = error(status, message, headers=headers, **fields)
        return [http_head(reply.status, reply.headers) + _body(reply)]

    # --- pieces ---

    def head(self, length: int | None = None) -> bytes:
        """Of a stream, or of a plain answer as long as its body, or as `length`."""
        if self.asked.streamed:
            return http_head(200, _SSE)
        length = len(self.body()) if length is None else length
        return http_head(200, {"content-type": "application/json", "content-length": str(length)})

    def body(self) -> bytes:
        """Of a plain answer."""
        return _body(answer(self.text, model=self.asked.model, usage=self.usage, completion_id=self.completion_id))

    def stream(self, first: int, last: int) -> list[RawStep]:
        """The words of these numbers, one per chunk; the role goes before the first word of all."""
        steps: list[RawStep] = []
        if first == 0:
            steps.append(self._event({"role": "assistant", "content": ""}))
        for word in self.words[first:last]:
            steps += [self.after(self.word_s), self._event({"content": word})]
        return steps

    def end(self, *, done: bool = True) -> list[RawStep]:
        """What follows the last word of a stream: finish_reason, usage if asked for, `[DONE]`, the end of the body."""
        steps: list[RawStep] = [self._event({}, finish_reason="stop")]
        if self.asked.usage:
            steps.append(chunked(sse_event({**self._chunk({}), "choices": [], "usage": self.usage})))
        if done:
            steps.append(chunked(SSE_DONE))
        return [*steps, LAST_CHUNK]

    def _event(self, delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        return chunked(sse_event(self._chunk(delta, finish_reason)))

    def _chunk(self, delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return completion_chunk(
            delta, model=self.asked.model, finish_reason=finish_reason, completion_id=self.completion_id
        )


def _body(reply: Reply) -> bytes:
    return b"".join(step for step in reply.body if isinstance(step, bytes))
