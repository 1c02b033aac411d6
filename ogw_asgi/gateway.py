"""The composition root: frozen settings in, an opened dispatcher out. No request logic.

A gateway owns its HTTP clients and no task, so it can be opened again after it was closed, entered twice, and used from
one event loop after another; two gateways in one process share nothing.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from . import settings
from ._asgi.app import GatewayApp
from ._asgi.door import Door
from ._asgi.explain import GivenBody, GivenHeaders, explain
from ._asgi.lifespan import serve_lifespan
from ._assembly import by_name, catalogue, describe, guards, known_models, listed
from ._dispatch.account import Unheard
from ._dispatch.aside import Aside
from ._dispatch.clock import fine_clock, loop_id, this_loop
from ._dispatch.dispatcher import Dispatcher
from ._dispatch.slots import Slots
from ._environment.names import sources
from ._environment.reading import read_environment, with_code
from ._opening import Opened, admission, gateway_closed, transports_of, warn_of_laziness, warn_of_open_door
from ._values import Breaker, Limits, Principal, StreamBreak, Timeouts
from ._version import __version__
from ._wire.masking import Mask
from .auth.base import Authenticator
from .circuits.redis import read_place
from .circuits.shared import begin_patience
from .exceptions import shows_no_arguments
from .explanation import Explanation
from .providers import Provider
from .telemetry.events import GatewayOpened, Sink
from .telemetry.log import LogSink
from .telemetry.observers import Observers
from .transports.choice import EngineName, choose

if TYPE_CHECKING:
    from ._status.recent import Recent

logger = logging.getLogger("ogw_asgi")

FailoverOn = Literal["context_length", "content_filter", "unsupported_parameter"]


class Gateway:
    """An OpenAI-compatible `POST /chat/completions` that survives provider outages. It is an ASGI app.

    Args:
        providers: in the order of preference; names are unique.
        failover_sequence: the default targets, `provider` or `provider/model`; without it those of `openai` and `azure`
            that are configured, else all providers in their order.
        timeouts, limits: see Timeouts and Limits.
        breaker: when a target counts as down, and for how long; see Breaker.
        on_stream_break: what happens when a stream breaks after its first chunk: the caller is told (`error`), nothing
            is sent before the stream is whole (`hold`), or another target goes on with the text (`continue`).
        failover_on: callers' faults that move on all the same: `context_length`, `content_filter`,
            `unsupported_parameter`.
        success_status: 201 as the API page documents it, or 200 for clients that insist on it.
        models: names for `GET /models`, besides those of the providers' model maps.
        authenticate: a callable (sync or async) from the connection to a Principal, or None for nobody; see
            `bearer_tokens`. Without it everybody who reaches the gateway may use it, and a WARNING says so at start-up;
            `allow_anyone` where that is meant.
        sinks: observers of events, besides the log.
        redis_url: shares breakers and cooldowns with other workers and machines, by way of a Redis (the extra `redis`):
            `redis://[user:password@]host[:port][/db][?namespace=...]`, `rediss://` for TLS, `unix://` for a socket.
            Without it, or while it cannot be reached, each worker knows its own.
        engine: `native` where httptools is installed (the extra `fast`), else `httpx2`, else `httpx` (`auto`); or one
            of the three by name. A provider with a `client=` of its own is asked through that client.
        status: a page at `_status` that shows how the targets are doing; for machines `_status.json`, `_status/events`.
        status_auth: who may look at it: a callable as for `authenticate`, which may be `allow_anyone`. Without it those
            whom `authenticate` knows, by a token as the password of HTTP Basic, too; without that, or where it is
            `allow_anyone`, the machine itself (`localhost`) alone.

    Raises:
        ConfigurationError: for anything that cannot work, before the first request.
    """

    @shows_no_arguments
    def __init__(
        self,
        *,
        providers: Iterable[Provider] = (),
        failover_sequence: Sequence[str] | None = None,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        breaker: Breaker | None = None,
        on_stream_break: StreamBreak = "error",
        failover_on: Iterable[FailoverOn] = ("context_length",),
        success_status: Literal[200, 201] = 201,
        models: Iterable[str] = (),
        authenticate: Authenticator | None = None,
        sinks: Iterable[Sink] = (),
        redis_url: str | None = None,
        engine: EngineName = "auto",
        status: bool = False,
        status_auth: Authenticator | None = None,
    ) -> None:
        self._providers = by_name(providers)
        self._timeouts = settings.check_timeouts(Timeouts() if timeouts is None else timeouts)
        self._limits = settings.check_limits(Limits() if limits is None else limits)
        self._breaker = settings.check_breaker(Breaker() if breaker is None else breaker)
        self._on_stream_break = settings.check_stream_break(on_stream_break)
        self._failover_on = settings.check_failover_on(failover_on)
        self.success_status = settings.check_success_status(success_status)
        self._redis = None if redis_url is None else read_place(redis_url, "redis_url")
        settings.check_engine(engine)
        settings.check_authenticator(authenticate)
        settings.check_status(status, status_auth)
        self._engine = choose(engine)
        self._gateway_id = secrets.token_hex(8)
        self._recent: Recent | None = None
        if status:
            from ._front import new_recent, status_page  # what most gateways never need

            self._recent = new_recent()
        watching = [] if self._recent is None else [self._recent]
        self._observers = Observers([*settings.check_sinks(sinks), *watching], log=LogSink())
        self._mask = Mask(
            [secret for provider in self._providers.values() for secret in provider.static_secrets],
            [provider.base_url for provider in self._providers.values() if provider.base_url],
        )
        self._sources: Mapping[str, str] = {}
        """The settings that came from variables, and from which; for those to whom they are shown."""
        self._opened: Opened | None = None
        self._entries = 0
        self._closed = False
        self._opened_lazily = False
        self._open_to_all = authenticate is None
        book, names = catalogue(self._providers, failover_sequence), listed(models, self._providers)
        self._known_models = known_models(names, self._providers, book)
        door = Door(
            open=self._dispatcher,
            catalogue=book,
            guard_for=guards(self._providers),
            authenticator=authenticate,
            timeouts=self._timeouts,
            limits=self._limits,
            success_status=self.success_status,
            gateway_id=self._gateway_id,
            observers=self._observers,
            models=names,
        )
        self.app = GatewayApp(door)
        if self._recent is not None:
            self.app.status = status_page(self, self._recent, status_auth)

    @classmethod
    @shows_no_arguments
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        authenticate: Authenticator | None = None,
        sinks: Iterable[Sink] = (),
        status: bool | None = None,
        status_auth: Authenticator | None = None,
    ) -> Self:
        """A gateway from environment variables, with the names that the providers' own SDKs use.

        `uvicorn --factory ogw_asgi:Gateway.from_env` serves it. `authenticate` is for hosts that know their callers;
        it stands instead of OGW_BEARER_TOKENS. `status` stands instead of OGW_STATUS, and `status_auth` says who looks
        at the page of either. `sinks`: as of any gateway.

        Raises ConfigurationError, naming the variable; also where code and a variable say the same thing differently.
        """
        environ = os.environ if environ is None else environ
        arguments = with_code(
            read_environment(environ), authenticate=authenticate, status=status, status_auth=status_auth
        )
        made = cls(**arguments, sinks=sinks)
        made._sources = sources(environ)
        return made

    # --- life cycle ---

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """`FastAPI(lifespan=gateway.lifespan)`, `Starlette(lifespan=gateway.lifespan)`, or see `combine_lifespans`."""
        async with self:
            yield

    async def __aenter__(self) -> Self:
        if self._opened is None or self._opened.loop != loop_id():
            self._open()
            self._entries = 0  # those of a loop that is gone will never leave
        self._entries += 1
        self._closed = self._opened_lazily = False
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._leave()

    async def aclose(self) -> None:
        """Close every connection and answer 503 from now on. Harmless when repeated; entering opens again."""
        self._entries = 0
        self._closed = True
        await self._close()

    async def _leave(self, *, reopenable: bool = False) -> None:
        self._entries = max(0, self._entries - 1)
        if self._entries == 0:
            self._closed = not reopenable
            await self._close()

    async def _dispatcher(self) -> Dispatcher:
        """The dispatcher of the running loop, opened on first use when the life cycle was not wired."""
        if self._redis is not None:
            begin_patience()
        opened = self._opened
        if opened is not None and opened.loop == loop_id():
            return opened.dispatcher
        if self._closed:
            raise gateway_closed()
        if opened is None:
            self._opened_lazily = True
            warn_of_laziness()
        return self._open().dispatcher

    def _still_open(self, dispatcher: Dispatcher) -> bool:
        return self._opened is not None and self._opened.dispatcher is dispatcher

    def _open(self) -> Opened:
        # What an earlier loop had opened is dropped, not closed: its sockets belong to a loop that is gone.
        transport_for, transports = transports_of(self._engine, self._providers, self._limits.upstream_head_bytes)
        dispatcher = Dispatcher(
            providers=self._providers,
            transport_for=transport_for,
            slots=Slots(self._limits.concurrency),
            aside=Aside(),
            circuits=admission(
                self._redis, self._providers, breaker=self._breaker, timeouts=self._timeouts, observers=self._observers
            ),
            timeouts=self._timeouts,
            limits=self._limits,
            failover_on=self._failover_on,
            on_stream_break=self._on_stream_break,
            observers=self._observers,
            mask=self._mask,
            gateway_id=self._gateway_id,
            version=__version__,
            loop=this_loop(),
            fine_s=fine_clock(),
            unheard=Unheard(self._observers),
        )
        self._opened = Opened(loop_id(), dispatcher, transports)
        self._announce()
        return self._opened

    async def _close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None and opened.loop == loop_id():
            async with AsyncExitStack() as closing:  # all of them, whatever one of them raises
                for transport in opened.transports:
                    closing.push_async_callback(transport.aclose)

    def _announce(self) -> None:
        names = [describe(provider) for provider in self._providers.values()]
        logger.info("opened engine=%s providers=[%s]", self._engine.name, " ".join(names))
        self._observers.tell(self._ready, usual=True)
        if self._open_to_all:
            self._open_to_all = False  # said once, however often it is opened
            warn_of_open_door()

    def _ready(self) -> GatewayOpened:
        kinds = {name: provider.kind for name, provider in self._providers.items()}
        loop = "asyncio" if this_loop().asyncio else "trio"
        return GatewayOpened(__version__, self._engine.name, loop, kinds, self._known_models)

    async def explain(
        self, headers: GivenHeaders, body: GivenBody, *, principal: Principal | None = None
    ) -> Explanation:
        """Whom a request would ask, in what order and why, or how it would be refused; nobody is called, and nothing
        changes. `headers` as a mapping or as pairs; `body` as an object or as it comes in. Who is calling is said by
        `principal`, for nobody is asked; None: who may do everything."""
        opened = self._closed or (self._opened is not None and self._opened.loop == loop_id())
        return await explain(
            self.app.door, headers, body, principal, opened=opened, on_stream_break=self._on_stream_break
        )

    # --- ASGI ---

    async def __call__(
        self,
        scope: Any,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        if scope["type"] == "http":
            await self.app(scope, receive, send)
        elif scope["type"] == "lifespan":
            await serve_lifespan(self, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": ""})

    def __repr__(self) -> str:
        # Error reporters print what is half built, too.
        return f"Gateway(providers=[{', '.join(getattr(self, '_providers', ()))}])"
