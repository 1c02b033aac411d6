"""An httpx transport that streams from an in-process ASGI app; httpx's own runs the app to its end first."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import anyio
import anyio.abc
import httpx

from ._exchange import ASGIApp, Exchange, Unterminated
from ._signals import leave

_DEFAULT_PORTS = {"http": 80, "https": 443}


class StreamingASGITransport(httpx.AsyncBaseTransport):
    """Calls `app` as a server on the other end of a connection would, without sockets.

        async with httpx.AsyncClient(transport=StreamingASGITransport(app), base_url="http://app") as client:

    - The response is there when the app sends its head; chunks come one by one, and the app's `send` returns
      when its chunk has been read.
    - Closing the response gives the app `http.disconnect` and waits for it to end.
    - A body that the app leaves without an end raises `RemoteProtocolError`, as it does over a socket.
    - An exception before the head is raised to the caller, or is a 500 with `raise_app_exceptions=False`.

    The tasks in which the app runs belong to the transport, so it must be entered, which entering the
    client does. On leaving, the apps still running are told and cancelled. The lifespan is not run. The app
    and everybody who uses the client share the event loop.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        raise_app_exceptions: bool = True,
        root_path: str = "",
        client: tuple[str, int] = ("127.0.0.1", 12345),
        library: Any = httpx,
    ) -> None:
        self._app = app
        self._raise_app_exceptions = raise_app_exceptions
        self._root_path = root_path
        self._client = client
        self._library = library
        self._body_type = type("StreamedBody", (_StreamedBody, library.AsyncByteStream), {})
        self._tasks: anyio.abc.TaskGroup | None = None
        self._exchanges: set[Exchange] = set()

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise RuntimeError("this StreamingASGITransport is in use already: give each client its own")
        group = anyio.create_task_group()
        await group.__aenter__()
        self._tasks = group
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        group, self._tasks = self._tasks, None
        await self.aclose()
        if group is not None:
            await leave(group)

    async def aclose(self) -> None:
        """Ends the apps. The task group ends with the `async with` block, whose task it belongs to."""
        for exchange in list(self._exchanges):
            exchange.abort()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._tasks is None:
            raise RuntimeError(
                "StreamingASGITransport owns the tasks its app runs in, so it must be entered: "
                "write `async with httpx.AsyncClient(transport=...) as client:`"
            )
        exchange = Exchange(self._app, self._scope(request))
        self._exchanges.add(exchange)
        self._tasks.start_soon(self._run, exchange)
        try:
            assert isinstance(request.stream, self._library.AsyncByteStream)
            await exchange.upload(aiter(request.stream))
            await exchange.head()
        except BaseException:
            # Cancelled or a broken upload: the caller is gone, and cannot wait for the app.
            exchange.leave()
            raise
        if exchange.status is None:
            return await self._without_head(exchange)
        response: httpx.Response = self._library.Response(
            exchange.status,
            headers=exchange.headers,
            stream=self._body_type(exchange, self._library.RemoteProtocolError),
            extensions={"http_version": b"HTTP/1.1"},
        )
        return response

    async def _run(self, exchange: Exchange) -> None:
        try:
            await exchange.run()
        finally:
            self._exchanges.discard(exchange)

    async def _without_head(self, exchange: Exchange) -> httpx.Response:
        await exchange.close()
        if exchange.error is not None and self._raise_app_exceptions:
            raise exchange.error
        response: httpx.Response = self._library.Response(500, text="Internal Server Error")
        return response

    def _scope(self, request: httpx.Request) -> dict[str, Any]:
        url = request.url
        return {
            "type": "http",
            # 2.3 like uvicorn: from 2.4 on apps may rely on send() raising when the caller has left, which
            # ours does not.
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "root_path": self._root_path,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": self._client,
            "server": (url.host, url.port or _DEFAULT_PORTS.get(url.scheme)),
            "extensions": {},
        }


class _StreamedBody:
    """The response's stream; mixed with the `AsyncByteStream` that the client of the library insists on."""

    def __init__(self, exchange: Exchange, protocol_error: type[Exception]) -> None:
        self._exchange = exchange
        self._protocol_error = protocol_error

    # Not a generator: trio warns of every generator that is dropped half-way, and callers leave half-way.
    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._exchange.next_chunk()
        except Unterminated as error:
            # httpx's own words for a chunked body that was cut.
            raise self._protocol_error(
                "peer closed connection without sending complete message body (incomplete chunked read)"
            ) from (error.__cause__ or error)
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        await self._exchange.close()


def streaming_transport(app: ASGIApp, *, library: Any = httpx, **options: Any) -> Any:
    """The transport for a client of `library`: `httpx`, or `httpx2`, whose client takes it just as well."""
    return StreamingASGITransport(app, library=library, **options)


def asgi_client(
    app: ASGIApp,
    *,
    base_url: str = "http://app",
    raise_app_exceptions: bool = True,
    root_path: str = "",
    **options: Any,
) -> httpx.AsyncClient:
    """An httpx client of an in-process app, to be entered with `async with`; `options` go to the client."""
    transport = StreamingASGITransport(app, raise_app_exceptions=raise_app_exceptions, root_path=root_path)
    return httpx.AsyncClient(transport=transport, base_url=base_url, **options)
