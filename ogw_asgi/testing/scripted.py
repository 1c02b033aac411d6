"""An OpenAI-compatible provider that follows a script: an ASGI app, to be called in-process or served."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import httpx

from ._signals import Bell
from .encoding import json_bytes
from .recording import RecordedRequest
from .replies import MODEL, Reply, Script, answer, chat, error, raw
from .steps import Break, Hang, Sequencer, Wait
from .transport import asgi_client

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ScriptedUpstream:
    """Plays a provider: one reply of the script per chat completion, the last one for all that follow.

        primary = ScriptedUpstream(error(503), chat("back again"))

    A reply may be a function of the request instead. With no script it is a healthy provider. `strict=True`
    answers 500 "script exhausted" when there are more requests than replies. Every request is kept in
    `requests`; those to paths other than `.../chat/completions` use up no reply.
    """

    def __init__(self, *replies: Script, strict: bool = False, models: Sequence[str] = (MODEL,)) -> None:
        self.requests: list[RecordedRequest] = []
        self._models = tuple(models)
        self._bell = Bell()
        self._sequencer = Sequencer[Script](replies or (chat(),), strict=strict)

    def script(self, *replies: Script, strict: bool = False) -> None:
        """Replaces what is left of the script: the provider recovers, or breaks, from the next request on."""
        self._sequencer = Sequencer[Script](replies, strict=strict)

    async def wait_for_requests(self, count: int = 1) -> list[RecordedRequest]:
        """Waits, on whatever loop, until that many requests have been received, and returns all of them."""
        await self._bell.wait_until(lambda: len(self.requests) >= count)
        return list(self.requests)

    def client(self, **options: Any) -> httpx.AsyncClient:
        """An httpx client whose requests all go to this upstream in-process; enter it with `async with`."""
        return asgi_client(self, base_url="http://upstream", **options)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"a scripted upstream speaks http, not {scope['type']}")
        request = RecordedRequest(
            method=scope["method"],
            path=scope["path"],
            raw_path=scope.get("raw_path") or scope["path"].encode(),
            query=scope["query_string"],
            headers=[(bytes(name).lower(), bytes(value)) for name, value in scope["headers"]],
            body=b"",
            started_s=time.monotonic(),
        )
        exchange = _Exchange(request, receive, send)
        try:
            complete = await exchange.read_body()
            self.requests.append(request)
            self._bell.ring()
            if complete:
                await exchange.play(self._choose(request))
        finally:
            exchange.finish()

    def _choose(self, request: RecordedRequest) -> Reply:
        path = request.path.rstrip("/")
        if path.endswith("/models"):
            return self._for_method("GET", request, self._list_models())
        if not path.endswith("/chat/completions"):
            return error(404, f"Invalid URL ({request.method} {request.path})")
        if request.method != "POST":
            return self._for_method("POST", request, answer())
        script = self._sequencer.take()
        while script is not None and not isinstance(script, Reply):
            script = script(request)
        return error(500, "script exhausted") if script is None else script

    def _for_method(self, method: str, request: RecordedRequest, reply: Reply) -> Reply:
        if request.method == method:
            return reply
        return error(405, f"Not allowed to {request.method} on {request.path}", headers={"allow": method})

    def _list_models(self) -> Reply:
        models = [
            {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "scripted"} for name in self._models
        ]
        body = json_bytes({"object": "list", "data": models})
        return raw(200, {"content-type": "application/json", "content-length": str(len(body))}, [body])


class _Exchange:
    """One request and the playing of its reply, while watching for the caller's leaving."""

    def __init__(self, request: RecordedRequest, receive: Receive, send: Send) -> None:
        self._request = request
        self._receive = receive
        self._send = send
        self._over = False

    async def read_body(self) -> bool:
        parts: list[bytes] = []
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                break
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        self._request.body = b"".join(parts)
        return not more

    async def play(self, reply: Reply) -> None:
        # send() tells no server's app that the caller has left; only receive() does.
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch, group.cancel_scope)
            if await self._pause(reply.before_head):
                await self._respond(reply)
            self._over = True
            group.cancel_scope.cancel()

    def finish(self) -> None:
        if not self._over:
            self._request.closed.set()
        self._request.finished.set()

    async def _watch(self, scope: anyio.CancelScope) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _pause(self, steps: Sequence[Wait | Hang | Break]) -> bool:
        """Whether to go on afterwards."""
        for step in steps:
            match step:
                case Wait(event):
                    await event.wait()
                case Hang():
                    await anyio.sleep_forever()
                case Break():
                    return False
        return True

    async def _respond(self, reply: Reply) -> None:
        await self._send({"type": "http.response.start", "status": reply.status, "headers": list(reply.headers)})
        last = len(reply.body) - 1
        for index, step in enumerate(reply.body):
            if isinstance(step, bytes):
                # Lets _watch notice first what has happened meanwhile: sending to nobody raises nothing.
                await anyio.lowlevel.checkpoint()
                # The end goes out with the last bytes: a caller that closes on `[DONE]` has then not left
                # early.
                self._over = index == last
                await self._send({"type": "http.response.body", "body": step, "more_body": not self._over})
            elif not await self._pause((step,)):
                return
        if not self._over:
            self._over = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
