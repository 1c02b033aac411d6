"""`GET {prefix}/_status`, `/_status.json` and `/_status/events`: the door of the status page.

Who may look is `onlooker.py`'s affair, what there is to see the desk's, and what it looks like that of `_status/`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs

import anyio

from .._dispatch.clock import clock_s
from .._dispatch.dispatcher import Dispatcher
from .._dispatch.race import Line, line_to
from .._status.as_json import render_json
from .._status.page import render_page, render_parts
from .._status.snapshot import Snapshot
from .._status.text import render_text
from .._values import Header
from .._wire.accept import preferred
from .._wire.headers import Values, header_values, refuse_two_lengths, refuse_two_tokens
from ..auth.base import Authenticator
from ..exceptions import RequestRejected
from .app import READING, wrong_method
from .door import Door, request_id_of
from .onlooker import CHALLENGE, Onlookers
from .receive import Receive
from .send import CallerGone, Reply, Scope, Send
from .stopping import Stopping
from .surroundings import wrapped_by_base_http

PAGE = "/_status"
JSON = "/_status.json"
EVENTS = "/_status/events"

VIEWERS = 32
"""So many may follow the events at once."""

EVERY_S = 1.0
LOOK_S = 0.25
"""So often is asked whether it has to end."""

LONGEST_S = 60.0
LONGEST_UNSEEN_S = 5.0
"""A stream ends by itself, the sooner where nobody would see the server stopping; whoever follows it asks again."""

_HTML, _TEXT, _AS_JSON = "text/html", "text/plain", "application/json"
_MEDIA = {_HTML: b"text/html; charset=utf-8", _TEXT: b"text/plain; charset=utf-8", _AS_JSON: b"application/json"}
_RETRY = b"retry: %d\n\n" % round(EVERY_S * 1000)
_NOTHING_NEW = b": nothing new\n\n"
_QUERY_BYTES = 1024

_T = TypeVar("_T")


class Desk(Protocol):
    """Who makes snapshots: at most one a second, and the same one for all who look."""

    async def look(self) -> Snapshot:
        """The latest. Raises RequestRejected where the gateway has been closed."""
        ...

    def note_surroundings(self, base_http: bool, /) -> None:
        """Told of each request: whether a `BaseHTTPMiddleware` is around."""
        ...


class StatusPage:
    """The three routes. It takes no place of the gateway's, so that one that is full can still be looked at."""

    paths = frozenset({PAGE, JSON, EVENTS})

    def __init__(
        self,
        door: Door,
        desk: Desk,
        status_auth: Authenticator | None,
        still_open: Callable[[Dispatcher], bool],
    ) -> None:
        self._door = door
        self._desk = desk
        self._onlookers = Onlookers(status_auth, door.authenticator, door.timeouts.authenticate_s)
        self.shown_to = self._onlookers.shown_to
        self._still_open = still_open
        self._rendered = _Rendered()
        self._followed: Dispatcher | None = None
        self._followers: set[anyio.Event] = set()

    @property
    def viewers(self) -> int:
        """So many follow the events."""
        return len(self._followers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        headers = header_values(scope["headers"])
        reply = Reply(scope, send, request_id_of(headers), self._door.timeouts.send_s)
        nonce = secrets.token_urlsafe(16)
        careful = _careful(nonce)
        try:
            try:
                if scope["method"] == "OPTIONS":
                    refuse_two_lengths(headers)
                    await reply.empty(204, [(b"allow", READING.encode("ascii")), *careful])
                    return
                dispatcher = await self._admit(scope, headers)
                self._desk.note_surroundings(wrapped_by_base_http(receive, send))
                if path == EVENTS:
                    await self._events(scope, receive, reply, Stopping(receive, send), dispatcher, headers, careful)
                else:
                    offered = [*_MEDIA] if path == PAGE else [_AS_JSON]
                    media = preferred(headers.get("accept", ()) if path == PAGE else (), offered)
                    if media is None:
                        raise _not_acceptable()
                    body = self._body(await self._desk.look(), media, nonce)
                    await reply.content(200, _MEDIA[media], body, careful)
            except RequestRejected as refusal:
                await reply.refuse(refusal, careful, challenge=CHALLENGE)
        except CallerGone:
            pass

    async def _admit(self, scope: Scope, headers: Values) -> Dispatcher:
        if scope["method"] not in ("GET", "HEAD"):
            raise wrong_method(READING)
        refuse_two_lengths(headers)
        refuse_two_tokens(headers)
        await self._onlookers.admit(scope, headers)
        return await self._door.open()

    def _body(self, snapshot: Snapshot, media: str, nonce: str) -> bytes:
        if media == _HTML:
            # Only the nonce is each answer's own: pages asked for without end are made once a second.
            return render_page(snapshot, nonce, self._rendered.of(snapshot, render_parts))
        return self._rendered.of(snapshot, _text if media == _TEXT else render_json)

    async def _events(
        self,
        scope: Scope,
        receive: Receive,
        reply: Reply,
        stopping: Stopping,
        dispatcher: Dispatcher,
        headers: Values,
        careful: Sequence[Header],
    ) -> None:
        event = _events_asked(scope)
        if scope["method"] == "HEAD":
            reply.begin_events(careful)
            await reply.end_stream()
            return
        if dispatcher is not self._followed:
            # Those of one that was closed are about to leave, and those of a loop that is gone never will.
            self._followed, self._followers = dispatcher, set()
        if self.viewers >= VIEWERS:
            raise _too_many()
        followers, over = self._followers, anyio.Event()
        followers.add(over)
        try:
            async with line_to(receive, reply) as line:
                await line.watch()
                line.spawn(partial(self._see_out, over, stopping, dispatcher, line))
                reply.begin_events(careful)
                await reply.events(_RETRY)
                seen = _seen(headers)
                while not over.is_set():
                    try:
                        snapshot = await self._desk.look()
                    except RequestRejected:
                        break
                    # One that takes its time gets the latest of then: nothing is kept for it meanwhile.
                    new = snapshot.number != seen
                    await reply.events(self._rendered.of(snapshot, event) if new else _NOTHING_NEW)
                    seen = snapshot.number
                    with anyio.move_on_after(EVERY_S):
                        await over.wait()
                await reply.end_stream()
        finally:
            followers.discard(over)

    async def _see_out(self, over: anyio.Event, stopping: Stopping, dispatcher: Dispatcher, line: Line) -> None:
        """Beside a stream: says when it is over, and ends it where nobody takes what it is about to say."""
        ends_s = clock_s() + (LONGEST_S if stopping.seen else LONGEST_UNSEEN_S)
        while self._still_open(dispatcher) and not stopping() and clock_s() < ends_s:  # noqa: ASYNC110 - no server has one
            await anyio.sleep(LOOK_S)
        over.set()
        await anyio.sleep(LOOK_S)
        line.scope.cancel()


class _Rendered:
    """What the latest snapshot looks like, made once for all who look."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._made: dict[Callable[[Snapshot], Any], Any] = {}

    def of(self, snapshot: Snapshot, render: Callable[[Snapshot], _T]) -> _T:
        if snapshot is not self._snapshot:
            self._snapshot, self._made = snapshot, {}
        if render not in self._made:
            self._made[render] = render(snapshot)
        made: _T = self._made[render]
        return made


def _text(snapshot: Snapshot) -> bytes:
    return render_text(snapshot).encode("utf-8")


def _json_event(snapshot: Snapshot) -> bytes:
    return _event(snapshot.number, render_json(snapshot, indent=None))


def _html_event(snapshot: Snapshot) -> bytes:
    parts = {"number": snapshot.number, "html": render_parts(snapshot)}
    return _event(snapshot.number, json.dumps(parts, separators=(",", ":")).encode("ascii"))


def _event(number: int, data: bytes) -> bytes:
    lines = b"".join(b"data: " + line + b"\n" for line in data.splitlines())
    return b"event: snapshot\nid: %d\n%s\n" % (number, lines)


_FORMS = {"json": _json_event, "html": _html_event}


def _events_asked(scope: Scope) -> Callable[[Snapshot], bytes]:
    query: bytes = scope.get("query_string", b"")
    asked: list[str] = []
    if len(query) <= _QUERY_BYTES:
        asked = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("as", ["json"])
    if len(asked) != 1 or asked[0] not in _FORMS:
        raise RequestRejected(
            400, "Query: expected as=json or as=html, or nothing.", param="as", code="invalid_query", close=True
        )
    return _FORMS[asked[0]]


def _seen(headers: Values) -> int | None:
    """The number of the snapshot that a follower had last, when it asks again."""
    value = headers.get("last-event-id", (b"",))[0]
    return int(value) if value.isdigit() and len(value) <= 15 else None


def _careful(nonce: str) -> list[Header]:
    """Of every answer here, refusals included."""
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return [(b"content-security-policy", policy.encode("ascii")), *_CAREFUL]


_CAREFUL: list[Header] = [
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"x-robots-tag", b"noindex, nofollow"),
    (b"vary", b"Accept"),
]


def _not_acceptable() -> RequestRejected:
    return RequestRejected(
        406,
        f"Header accept: expected one that allows {_HTML}, {_TEXT} or {_AS_JSON}.",
        param="accept",
        code="not_acceptable",
        close=True,
    )


def _too_many() -> RequestRejected:
    return RequestRejected(
        503,
        f"{VIEWERS} follow the status already, which is the most.",
        type="service_unavailable_error",
        code="too_many_viewers",
        retry_after_s=5,
        close=True,
    )
