"""The gateway's own routes, for whatever lies below the place where the host put it.

Exact paths, and so few of them, need no router: Starlette's would redirect a POST that carries a key to add a slash,
and answers 404 and 405 in plain text.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from .._dispatch.clock import clock_s
from .._rules.ready import may_be_tried
from .._wire.headers import header_values, refuse_repeats, refuse_two_lengths, refuse_two_tokens
from ..auth.base import authenticate
from ..exceptions import RequestRejected
from .door import Door, request_id_of
from .endpoint import ChatCompletions
from .receive import Receive
from .send import CallerGone, Reply, Scope, Send

if TYPE_CHECKING:
    from .status import StatusPage

COMPLETIONS = frozenset({"/chat/completions", "/v1/chat/completions"})
MODELS = frozenset({"/models", "/v1/models"})
ALIVE = "/healthz"
READY = "/readyz"

READING = "GET, HEAD, OPTIONS"
_NOT_STORED = [(b"cache-control", b"no-store")]


class GatewayApp:
    """Routes one HTTP request; the lifespan and websockets are the business of whoever calls this.

    `status`: the status page, where the gateway has been given one.
    """

    def __init__(self, door: Door) -> None:
        self.door = door
        self.status: StatusPage | None = None
        self.completions = ChatCompletions(door)
        listing = [{"id": name, "object": "model", "created": 0, "owned_by": "ogw_asgi"} for name in door.models]
        self._models = json.dumps({"object": "list", "data": listing}, separators=(",", ":")).encode("ascii")

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        path, method = route_path(scope), scope["method"]
        if path in COMPLETIONS:
            if method == "POST":
                return self.completions(scope, receive, send)
            return self._other_method(scope, send, "POST, OPTIONS")
        if path in MODELS:
            if method in ("GET", "HEAD"):
                return self.list_models(scope, receive, send)
            return self._other_method(scope, send, READING)
        if path in (ALIVE, READY):
            if method in ("GET", "HEAD"):
                return self.probe(scope, send, path)
            return self._other_method(scope, send, READING)
        if self.status is not None and path in self.status.paths:
            return self.status(scope, receive, send, path)
        return _refuse(scope, send, not_found())

    async def list_models(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The models from settings, OpenAI-shaped; no provider is called."""
        try:
            await self.door.open()
            headers = header_values(scope["headers"])
            refuse_two_lengths(headers)
            refuse_two_tokens(headers)
            await authenticate(self.door.authenticator, scope, self.door.timeouts.authenticate_s)
            refuse_repeats(headers)
        except RequestRejected as refusal:
            await _refuse(scope, send, refusal)
            return
        try:
            await _reply(scope, send).json(200, self._models)
        except CallerGone:
            pass

    async def probe(self, scope: Scope, send: Send, path: str) -> None:
        """Whether this process is alive, or should get traffic. Nobody is asked who they are, so no provider is named;
        none is called; and it takes no place, so that a gateway that is full still answers."""
        try:
            refuse_two_lengths(header_values(scope["headers"]))
        except RequestRejected as refusal:
            await _refuse(scope, send, refusal)
            return
        unready = await self._unready() if path == READY else None
        if unready is not None:
            status, said = 503, {"status": "not_ready", "reason": unready}
        else:
            status, said = 200, {"status": "ready" if path == READY else "ok"}
        try:
            await _reply(scope, send).json(status, json.dumps(said, separators=(",", ":")).encode("ascii"), _NOT_STORED)
        except CallerGone:
            pass

    async def _unready(self) -> str | None:
        """Why there should be no traffic."""
        catalogue = self.door.catalogue
        if not catalogue.providers:
            return "no_provider"
        try:
            dispatcher = await self.door.open()
        except RequestRejected as refusal:
            return refusal.code
        now_s = clock_s()
        circuits = await dispatcher.circuits.store.known((), now_s)
        return None if may_be_tried(catalogue, circuits, now_s, listed=self.door.models) else "no_target_may_be_tried"

    async def _other_method(self, scope: Scope, send: Send, allow: str) -> None:
        if scope["method"] != "OPTIONS":
            await _refuse(scope, send, wrong_method(allow))
            return
        try:
            refuse_two_lengths(header_values(scope["headers"]))
        except RequestRejected as refusal:
            await _refuse(scope, send, refusal)
            return
        try:
            await _reply(scope, send).empty(204, [(b"allow", allow.encode("ascii"))])
        except CallerGone:
            pass


def route_path(scope: Scope) -> str:
    """The path below the mount point. Servers and frameworks keep the full path beside `root_path` (ASGI 2.3).

    Behind a proxy that strips, the path lacks what the server was told to be its root, but not what the host's mounts
    added to it, which Starlette tells apart by `app_root_path`.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    if not root:
        return path
    for prefix in (root, root.removeprefix(scope.get("app_root_path", root).rstrip("/"))):
        if prefix and path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/"):
            return path[len(prefix) :]
    return path


def not_found() -> RequestRejected:
    return RequestRejected(
        404,
        "Unknown path: here are POST /chat/completions and GET /models, both below /v1, too, where SDKs' base_url "
        "ends, and GET /healthz and /readyz.",
        code="unknown_url",
        close=True,
    )


def wrong_method(allow: str) -> RequestRejected:
    return RequestRejected(
        405, f"Method not allowed here: expected {allow}.", code="method_not_allowed", allow=allow, close=True
    )


def _reply(scope: Scope, send: Send) -> Reply:
    return Reply(scope, send, request_id_of(header_values(scope["headers"])))


async def _refuse(scope: Scope, send: Send, refusal: RequestRejected) -> None:
    try:
        await _reply(scope, send).refuse(refusal)
    except CallerGone:
        pass
