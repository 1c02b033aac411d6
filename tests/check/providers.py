"""Providers as a check meets them: a list of models, deployments that are there or not, and what stands in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


@dataclass
class Seen:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Listing:
    """A server with a list of models, and chat completions that refuse a body without messages.

    `models` and `chat` may be any answer instead; None: there is no such path.
    """

    names: Sequence[str] = ("gpt-4o", "gpt-4o-mini")
    models: Callable[[], Response] | None = None
    chat: Callable[[Any], Response] | None = None
    has_list: bool = True
    seen: list[Seen] = field(default_factory=list)

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST"])])

    async def _answer(self, request: Request) -> Response:
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        self.seen.append(Seen(request.method, path, dict(request.headers), await request.body()))
        if request.method == "POST" and request.url.path.endswith("/chat/completions"):
            if self.chat is not None:
                return self.chat(await request.json())
            return error(400, "missing_required_parameter", "Missing required parameter: 'messages'.")
        if request.method == "GET" and request.url.path.endswith("/models") and self.has_list:
            if self.models is not None:
                return self.models()
            data = [{"id": name, "object": "model"} for name in self.names]
            return JSONResponse({"object": "list", "data": data})
        return error(404, None, "Not Found")


def error(status: int, code: str | None, message: str = "no") -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "x", "param": None, "code": code}}, status)
