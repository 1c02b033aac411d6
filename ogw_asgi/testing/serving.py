"""Serving an ASGI app over loopback, beside the test and on a loop of its own; uvicorn is imported on use."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Literal

import anyio
import anyio.to_thread

from ._signals import SharedEvent


@asynccontextmanager
async def serve(
    app: Any,
    host: str = "127.0.0.1",
    *,
    lifespan: Literal["auto", "on", "off"] = "auto",
    shutdown_timeout_s: int = 2,
    **config: Any,
) -> AsyncIterator[str]:
    """Serves `app` with uvicorn in a thread, on a free port, and yields its base URL.

        async with serve(app) as url, httpx.AsyncClient(base_url=url) as client:

    The app runs on an asyncio loop of its own whatever loop the test is on. When the block is left,
    requests have `shutdown_timeout_s` to end, then they are cancelled, the lifespan is shut down and the
    thread ends. `config` goes to `uvicorn.Config`. Raises RuntimeError when the app's startup fails or
    uvicorn is not installed.
    """
    with _listen(host) as listener:
        port = listener.getsockname()[1]
        server = _ServerThread(
            app,
            listener,
            lifespan=lifespan,
            http=config.pop("http", "auto"),
            timeout_graceful_shutdown=shutdown_timeout_s,
            log_config=None,
            access_log=False,
            **config,
        )
        server.start()
        try:
            await server.ready.wait()
            server.raise_if_failed()
            yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        finally:
            server.stop()
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(server.join)


@contextmanager
def dead_port(host: str = "127.0.0.1") -> Iterator[int]:
    """A port that refuses connections: bound, so that nobody else gets it, and never listened on."""
    with socket.socket(_family(host), socket.SOCK_STREAM) as reserved:
        reserved.bind((host, 0))
        yield reserved.getsockname()[1]


@contextmanager
def _listen(host: str) -> Iterator[socket.socket]:
    with socket.create_server((host, 0), family=_family(host)) as listener:
        yield listener


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class _ServerThread:
    """One uvicorn in one thread."""

    def __init__(self, app: Any, listener: socket.socket, **config: Any) -> None:
        try:
            import uvicorn
        except ImportError as error:
            raise RuntimeError("serve() needs uvicorn: pip install uvicorn") from error

        self.ready = SharedEvent()
        self._failure: BaseException | None = None
        self._server = uvicorn.Server(uvicorn.Config(app, **config))
        # uvicorn tells nobody that it has started, so its last step of starting does it here.
        self._startup = self._server.startup
        self._server.startup = self._start_and_tell  # type: ignore[method-assign]
        self._thread = threading.Thread(
            target=partial(self._run, listener), name=f"serve:{listener.getsockname()[1]}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True

    def join(self) -> None:
        self._thread.join()

    def raise_if_failed(self) -> None:
        if self._failure is not None or not self._server.started:
            raise RuntimeError("the app did not start: see the log of uvicorn.error") from self._failure

    async def _start_and_tell(self, sockets: list[socket.socket] | None = None) -> None:
        await self._startup(sockets=sockets)
        self.ready.set()

    def _run(self, listener: socket.socket) -> None:
        try:
            self._server.run(sockets=[listener])
        except BaseException as failure:  # uvicorn leaves by SystemExit when the lifespan fails
            self._failure = failure
        finally:
            self.ready.set()
