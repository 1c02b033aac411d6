"""A provider whose fault is chosen by the model's name, on raw sockets and with a log: the crash test of an app."""

from __future__ import annotations

import itertools
import json
import math
import socket
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.abc

from ._calls import CrashTestCall
from ._connection import Connection, PeerClosed, accept
from ._faults import CRASH_TEST_MODELS, choose
from ._playing import RawStep, play
from ._signals import Bell, SharedEvent, leave
from ._sixty import Asked, Replies
from .encoding import http_response, json_bytes

_CHAT = ("/v1/chat/completions", "/chat/completions")
_MODELS = ("/v1/models", "/models")
_CREATED = 1_700_000_000


class CrashTestProvider:
    """An OpenAI-compatible provider that breaks as the model's name says: `CRASH_TEST_MODELS` has the names.

        with CrashTestProvider(scale=0.05) as provider:
            client = openai.OpenAI(base_url=provider.base_url, api_key="any")
            ...
            assert [call.played for call in provider.calls_to("always-503")] == ["503", "503", "503"]

    `with` serves it from a thread of its own, for tests of any kind; `async with` serves it on the caller's loop,
    asyncio or trio. Every answer is `SIXTY_WORDS`. `scale` multiplies every time: with 0.05, 20 seconds are one; it
    may be changed, for the calls from then on. `word_s` is the pause before each word of a stream, before scaling.
    A model's history (which call is its first, since when it is down) belongs to its whole name, so
    `reset-once@run-7` begins afresh, and so does everything after `reset()`.

    Over HTTP: `POST /v1/chat/completions`, `GET /v1/models`; `GET /calls` is the log as JSON, `DELETE /calls` is
    `reset()`. It reads bodies that have a content-length.
    """

    def __init__(self, *, scale: float = 1.0, word_s: float = 0.01, host: str = "127.0.0.1", port: int = 0) -> None:
        if not 0 < scale < math.inf:
            raise ValueError("scale: expected a positive number")
        self.scale = scale
        self.calls: list[CrashTestCall] = []
        """Every call since the start or the last `reset()`, in the order in which they came."""
        self._word_s = word_s
        self._address = (host, port)
        self._ids = itertools.count(1)
        self._numbers = Counter[str]()
        self._first_s: dict[str, float] = {}
        self._lock = threading.Lock()  # of the three above and `calls`: `reset()` comes from any thread
        self._bell = Bell()
        self._tasks: anyio.abc.TaskGroup | None = None
        self._thread: _Thread | None = None

    # --- what a test looks at ---

    @property
    def port(self) -> int:
        return self._address[1]

    @property
    def url(self) -> str:
        """Without a path: what a vLLM endpoint is configured with."""
        host, port = self._address
        return f"http://{host}:{port}"

    @property
    def base_url(self) -> str:
        """With `/v1`: what an OpenAI SDK is configured with."""
        return f"{self.url}/v1"

    def calls_to(self, model: str) -> list[CrashTestCall]:
        """The calls of exactly this name, suffix included."""
        return [call for call in self.calls if call.model == model]

    async def wait_for_calls(self, count: int = 1, *, model: str | None = None) -> list[CrashTestCall]:
        """Waits, in any loop, until so many calls have come (for this name), and returns them.

        A test without a loop: `anyio.run(provider.wait_for_calls, 2)`.
        """

        def come() -> list[CrashTestCall]:
            return list(self.calls) if model is None else self.calls_to(model)

        await self._bell.wait_until(lambda: len(come()) >= count)
        return come()

    def reset(self) -> None:
        """Forgets all calls: every model's next one is its first. Replies under way go on."""
        with self._lock:
            self.calls = []
            self._numbers.clear()
            self._first_s.clear()

    # --- serving ---

    def __enter__(self) -> Self:
        self._thread = _Thread(self, self._listen())
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.end()

    async def __aenter__(self) -> Self:
        listener = self._listen()
        group = anyio.create_task_group()
        await group.__aenter__()
        group.start_soon(self._accept, group, listener)
        self._tasks = group
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        group, self._tasks = self._tasks, None
        if group is not None:
            group.cancel_scope.cancel()
            await leave(group)

    def _listen(self) -> socket.socket:
        if self._tasks is not None or self._thread is not None:
            raise RuntimeError("this CrashTestProvider is being served already")
        listener = socket.create_server(self._address)
        listener.setblocking(False)
        self._address = (self._address[0], listener.getsockname()[1])
        return listener

    async def _accept(self, group: anyio.abc.TaskGroup, listener: socket.socket) -> None:
        with listener:
            while True:
                group.start_soon(self._serve, await accept(listener))

    async def _serve(self, connection: Connection) -> None:
        with connection:
            try:
                while connection.is_open:
                    head = await connection.read_head()
                    lowered = head.lower()
                    if b"\r\nexpect: 100-continue" in lowered:
                        await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                    if b"\r\ntransfer-encoding:" in lowered:
                        await connection.send(_error(411, "the crash-test provider reads bodies with a content-length"))
                        return
                    await self._answer(head, await connection.read_body(head), connection)
                    if b"\r\nconnection: close" in lowered:
                        return
            except PeerClosed:
                pass

    async def _answer(self, head: bytes, body: bytes, connection: Connection) -> None:
        method, target, *_ = *head.partition(b"\r\n")[0].decode("latin-1").split(" "), ""
        match method, target.partition("?")[0]:
            case "POST", path if path in _CHAT:
                await self._complete(body, connection)
            case "GET", path if path in _MODELS:
                await connection.send(_json(200, _listed()))
            case "GET", "/calls":
                await connection.send(_json(200, {"calls": [call.as_dict() for call in self.calls]}))
            case "DELETE", "/calls":
                self.reset()
                await connection.send(_json(200, {"calls": []}))
            case _, path:
                await connection.send(_error(404, f"{method} {path} is nothing of the crash-test provider's"))

    async def _complete(self, body: bytes, connection: Connection) -> None:
        try:
            asked = json.loads(body)
        except ValueError:
            asked = None
        if not isinstance(asked, dict) or not isinstance(asked.get("model"), str):
            await connection.send(_error(400, "expected a JSON object with a model"))
            return
        call, steps = self._record(asked)
        try:
            await play(steps, connection)
        except PeerClosed:
            call.peer_closed_s = time.monotonic()
            raise
        finally:
            call.ended_s = time.monotonic()
            call.ended.set()

    def _record(self, body: dict[str, Any]) -> tuple[CrashTestCall, list[RawStep]]:
        model, messages, options = body["model"], body.get("messages"), body.get("stream_options")
        now_s = time.monotonic()
        with self._lock:
            self._numbers[model] += 1
            call = CrashTestCall(model, self._numbers[model], body.get("stream") is True, body, now_s)
            asked = Asked(
                model=model,
                number=call.number,
                since_first_s=(now_s - self._first_s.setdefault(model, now_s)) / self.scale,
                streamed=call.streamed,
                usage=isinstance(options, dict) and options.get("include_usage") is True,
                messages=messages if isinstance(messages, list) else [],
            )
            completion_id = f"chatcmpl-crash-{next(self._ids)}"
            call.played, steps = choose(asked, Replies(asked, completion_id, self.scale, self._word_s))
            self.calls.append(call)
        self._bell.ring()
        return call, steps


class _Thread:
    """Serves a provider from a thread of its own until it is ended."""

    def __init__(self, provider: CrashTestProvider, listener: socket.socket) -> None:
        self._provider = provider
        self._listener = listener
        self._over = SharedEvent()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"crash-test:{provider.port}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            anyio.run(self._serve)
        except BaseException as failure:  # raised where the block ends: nobody reads what a thread prints
            self._failure = failure

    async def _serve(self) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._provider._accept, group, self._listener)
            await self._over.wait()
            group.cancel_scope.cancel()


def _listed() -> dict[str, Any]:
    models = [
        {
            "id": model.name,
            "object": "model",
            "created": _CREATED,
            "owned_by": "crash-test",
            "streamed": model.streamed,
            "plain": model.plain,
        }
        for model in CRASH_TEST_MODELS.values()
    ]
    return {"object": "list", "data": models}


def _json(status: int, value: object) -> bytes:
    return http_response(status, json_bytes(value), {"content-type": "application/json"})


def _error(status: int, message: str) -> bytes:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return _json(status, {"error": error})
