"""The way to a Redis that several workers share: one script, one connection for each use, and a breaker of its own.

coredis' connections live in a task group, and a gateway has no task outside a request. So one is made for each use,
within the request that needs it, and ends with it: a millisecond, once a second. The only place that imports coredis,
and not before somebody wants it.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Protocol, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream, SocketStream
from anyio.streams.tls import TLSStream

from .._rules.shared import Word
from .._values import Sealed
from ..exceptions import ConfigurationError, shows_no_arguments
from ._script import LONGEST_NAME, MOST, SCRIPT
from ._unix import UnixStream

logger = logging.getLogger("ogw_asgi")

MOST_TOLD = 2 * MOST
"""Our script tells of no more."""

LONGEST_ANSWER = 512 << 10
"""More than a thousand circuits take. To read it takes as long as an answer of a provider that size."""

AGAIN_S = 5.0
"""After a failure it is left alone for so long."""

Dial = Callable[[str, int], Awaitable[socket.socket]]

_ASKING: ContextVar[bool] = ContextVar("ogw_asgi_asking_redis", default=False)

_EXPECTED = "expected redis://, rediss:// or unix:// with a host (or path), and no query but db and namespace"
_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII).fullmatch
_PHASES: Mapping[str, Any] = {"": None, "closed": "closed", "open": "open", "half_open": "half_open"}
_CODE = re.compile(r"[A-Z]{2,16}\b", re.ASCII)


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """Where a Redis is, and what in it is ours. `path`: its unix socket, instead of host and port."""

    host: str
    port: int
    path: str | None
    tls: bool
    db: int
    username: str | None
    password: Sealed[str] | None
    namespace: str


@shows_no_arguments
def read_place(url: str, name: str) -> RedisPlace:
    """`redis://[user:password@]host[:port][/db][?namespace=...]`; `rediss` over TLS, `unix://[...@]/path[?db=...]`.

    Raises ConfigurationError, which names the setting and holds nothing of the URL: it may have a password in it. Also
    when coredis is not installed.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"{name}: {_EXPECTED}")
    try:
        parts = urlsplit(url)
        port = parts.port
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:  # its text may hold the URL
        parts = None
    if parts is None:
        raise ConfigurationError(f"{name}: {_EXPECTED}")
    unix = parts.scheme == "unix"
    path, db = unquote(parts.path), query.pop("db", "")
    namespace = query.pop("namespace", "default")
    if not unix and path.strip("/"):
        db = path.strip("/") if not db else "twice"
    if (
        parts.scheme not in ("redis", "rediss", "unix")
        or (bool(parts.hostname) is unix)
        or (unix and not path.strip("/"))
        or query
        or parts.fragment
        or any(not "!" <= char <= "~" for char in url)
        or not (db == "" or (db.isascii() and db.isdigit() and len(db) <= 5))
    ):
        raise ConfigurationError(f"{name}: {_EXPECTED}")
    if not _NAMESPACE(namespace):
        raise ConfigurationError(f"{name}: namespace: expected 1 to 64 letters, digits, or any of _.-")
    try:
        import coredis  # noqa: F401 - is it there?
    except ImportError:
        raise ConfigurationError(f'{name}: needs coredis: pip install "ogw_asgi[redis]"') from None
    return RedisPlace(
        host=parts.hostname or "",
        port=port or 6379,
        path=path if unix else None,
        tls=parts.scheme == "rediss",
        db=int(db or 0),
        username=unquote(parts.username) if parts.username else None,
        password=Sealed(unquote(parts.password)) if parts.password else None,
        namespace=namespace,
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one exchange.

    Attributes:
        now_ms: the clock of Redis.
        taken: the holders who asked for leases and did not get them.
        told: circuits by what they are called there, and what others say of each.
    """

    now_ms: int
    taken: frozenset[str]
    told: Sequence[tuple[str, Word]]


class Link(Protocol):
    """How a worker reaches the others. Nothing here raises."""

    async def ask(self, said: Mapping[str, Any], *, within_s: float) -> Answer | None:
        """One exchange; None: no answer came within that time."""
        ...

    def may_ask(self) -> bool:
        """Whether it makes sense to ask now."""
        ...

    @property
    def lost(self) -> bool:
        """The last time, no answer came."""
        ...


class RedisLink:
    """A Link of one event loop. It has a breaker of its own: after a failure nobody asks for five seconds, and then one
    does. The log has one line for each change."""

    def __init__(self, place: RedisPlace, dial: Dial) -> None:
        from coredis import ConnectionPool, Redis
        from coredis.commands.script import Script
        from coredis.connection import TCPConnection, TCPLocation
        from coredis.retry import NoRetryPolicy

        class Wired(TCPConnection):
            """Over a stream that is there already. coredis resolves names in the threads that the host's own look-ups
            need, compares no certificate's name, and leaves its buffers unclosed where nobody listens."""

            def __init__(self, stream: ByteStream, location: TCPLocation, **settings: Any) -> None:
                super().__init__(location, **settings)
                self._wire = stream

            async def _connect(self) -> ByteStream:
                return self._wire

        def client(stream: ByteStream) -> Any:
            pool: Any = ConnectionPool(
                connection_class=cast(Any, partial(Wired, stream)),
                location=TCPLocation(place.host, place.port),
                db=place.db,
                username=place.username,
                password=place.password.reveal() if place.password is not None else None,
                max_connections=1,
            )
            return Redis(connection_pool=pool, verify_version=False, retry_policy=NoRetryPolicy())

        logging.getLogger("coredis").addFilter(_not_ours)
        self._place = place
        self._dial = dial
        self._tls = ssl.create_default_context() if place.tls else None
        self._client = client
        self._script: Any = Script(script=SCRIPT)
        # In braces: of a cluster, all of it is in one place. The number is that of what stands in it.
        self._hash = f"ogw:{{{place.namespace}}}:circuits:1"
        self._lost = False
        self._again_s = float("-inf")
        self.cause: str | None = None
        """What went wrong the last time; None: nothing."""
        self.asked = 0
        """How often it was asked."""

    @property
    def lost(self) -> bool:
        return self._lost

    def may_ask(self) -> bool:
        return not self._lost or not 0 < self._again_s - anyio.current_time() <= AGAIN_S

    async def ask(self, said: Mapping[str, Any], *, within_s: float) -> Answer | None:
        if self._lost:
            self._again_s = anyio.current_time() + AGAIN_S  # the others do not wait to see what comes of it
        self.asked += 1
        token = _ASKING.set(True)
        answer: Answer | None = None
        cause = "timeout"
        try:
            with anyio.move_on_after(within_s):
                try:
                    answer = _read(await self._exchange(json.dumps(said)))
                except Exception as error:
                    # coredis raises its ConnectionError where a connection is cancelled in its handshake.
                    await anyio.lowlevel.checkpoint_if_cancelled()
                    cause = _named(error)
        finally:
            _ASKING.reset(token)
        self.cause = None if answer is not None else cause
        if answer is not None:
            self._back()
        else:
            self._gone(cause)
        return answer

    async def _exchange(self, said: str) -> Any:
        async with await self._connect() as stream, self._client(stream) as client:
            return await self._script([self._hash], [said], client=client)

    async def _connect(self) -> ByteStream:
        if self._place.path is not None:
            return await UnixStream.connect(self._place.path)
        stream = await SocketStream.from_socket(await self._dial(self._place.host, self._place.port))
        if self._tls is None:
            return stream
        try:
            return await TLSStream.wrap(
                stream, hostname=self._place.host, ssl_context=self._tls, standard_compatible=False
            )
        except BaseException:
            await anyio.aclose_forcefully(stream)
            raise

    def _back(self) -> None:
        if self._lost:
            self._lost = False
            logger.info("redis_back: breakers and cooldowns are shared again", extra={"ogw_event": "redis_back"})

    def _gone(self, cause: str) -> None:
        self._again_s = anyio.current_time() + AGAIN_S
        if not self._lost:
            self._lost = True
            logger.warning(
                "redis_lost cause=%s: breakers and cooldowns are each worker's own until it is back",
                cause,
                extra={"ogw_event": "redis_lost", "ogw_cause": cause},
            )


def _read(reply: Any) -> Answer:
    """Raises whatever it likes: it may be of another version, or no answer of our script at all."""
    if len(reply) > LONGEST_ANSWER:
        raise ValueError
    said = json.loads(reply)
    told = []
    for name, phase, ago, since, left, trips, silent, recovered, cool, leased in islice(said["told"] or (), MOST_TOLD):
        if len(name) > LONGEST_NAME:
            continue
        word = Word(
            phase=_PHASES[phase],
            ago_s=ago / 1000,
            since_s=since / 1000,
            left_s=left / 1000,
            trips=int(trips),
            silent=bool(silent),
            recovered=int(recovered),
            cooling_s=cool / 1000,
            leased_s=leased / 1000,
        )
        told.append((str(name), word))
    return Answer(int(said["now"]), frozenset(map(str, said["taken"] or ())), told)


def _not_ours(record: logging.LogRecord) -> bool:
    """A filter: coredis writes an error with its traceback for each connection that is given up on in its handshake. Of
    ours, one line says it all."""
    return not _ASKING.get()


def _named(error: BaseException) -> str:
    """What it was. Not its text, which may repeat the command and the password in it, but for the server's own code."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    code = _CODE.match(str(error))
    kind = getattr(error, "kind", None)  # a Dialer's word for it
    return f"{type(error).__name__}:{code[0]}" if code else str(kind or type(error).__name__)
