"""What happens on the wire below one request to a user's client, as far as httpcore lets it be seen.

httpcore's `trace` extension is the one public way to look below a client that is not ours. It tells when a
connection is begun and hands out its stream, so this is also where the connect limit lives, where bytes are counted,
and where connections are closed that httpcore forgets. It imports neither library, and reads no byte.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Literal

import anyio

from ._socket import holds_bytes
from .base import TransportFailure

CLOSE_S = 1.0

_STALE = ("ReadError", "WriteError", "CloseError", "RemoteProtocolError")

_current: ContextVar[Exchange | None] = ContextVar("ogw_asgi_exchange", default=None)


class Exchange:
    """One sending of one request; a context manager around the library's `send`.

    Its cancel scope is the connect limit (contract, section 8): the deadline is set once, when the connection is
    begun, so that DNS, TCP, a proxy and TLS share it, and lifted when the request itself goes out. Transports that
    connect nothing (in-process ASGI) send no such event and are not limited.

    Raises TransportFailure("connect_timeout") on leaving, when the limit has passed.
    """

    def __init__(self, connect_s: float) -> None:
        self._connect_s = connect_s
        self._scope = anyio.CancelScope()
        self._fresh = False
        self._multiplexed = False
        self._watched = False
        self._bytes_received = 0
        self.late_bytes = False
        """TLS still held bytes of an earlier answer, so nothing was sent."""
        self._unfinished: Any = None
        """The stream of a connection that is being made: nobody but us would close it."""
        self.step: Literal["connect", "tls", "request"] | None = None
        """What is under way; None before anything is, and with transports that connect nothing."""

    def __enter__(self) -> Exchange:
        self._token = _current.set(self)
        self._scope.__enter__()
        return self

    def __exit__(self, *exc_info: Any) -> bool:
        _current.reset(self._token)
        swallowed = self._scope.__exit__(*exc_info)
        if self._scope.cancelled_caught:
            raise TransportFailure("connect_timeout")
        return bool(swallowed)

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        layer, _, step = event.partition(".")
        if getattr(info.get("request"), "method", None) == b"CONNECT":
            return  # a user's proxy: the way to the server, not yet the request
        match step:
            case "connect_tcp.started" | "connect_unix_socket.started":
                self.step = "connect"
                if not self._fresh:  # a client with retries= begins more than once
                    self._fresh = True
                    self._scope.deadline = anyio.current_time() + self._connect_s
            case "connect_tcp.complete" | "connect_unix_socket.complete":
                self._unfinished = info["return_value"]
                _watch(info["return_value"])
            case "start_tls.started":
                self.step = "tls"
            case "start_tls.complete":
                self._unfinished = info["return_value"]
                _watch(info["return_value"])
            case "send_request_headers.started":
                self.step = "request"
                self._unfinished = None
                self._multiplexed = layer == "http2"
                self._scope.deadline = math.inf

    async def close_unfinished(self) -> None:
        """Close a connection that was cancelled in the making: httpcore only closes those that failed."""
        stream, self._unfinished = self._unfinished, None
        if stream is not None:
            await close(stream)

    def is_stale(self, error: Exception) -> bool:
        """Whether the peer had closed a reused connection: not one byte came back (contract, section 4)."""
        return self._nothing_received and type(error).__name__ in _STALE

    @property
    def is_stray(self) -> bool:
        """Whether the head that was handed out lay there before the request was sent: it answers something else."""
        return self._nothing_received

    @property
    def _nothing_received(self) -> bool:
        # On one HTTP/2 connection the task of another request may have read our bytes.
        return self._watched and not self._fresh and not self._multiplexed and not self._bytes_received

    def sent(self, stream: Any) -> None:
        if not self._watched and not self._fresh and not self._multiplexed:
            # Of an earlier answer, and decrypted only now: they would be taken for the answer to what is sent here.
            self.late_bytes = holds_bytes(stream.get_extra_info("ssl_object"))
            if self.late_bytes:
                raise TransportFailure("protocol")
        self._watched = True

    def received(self, count: int) -> None:
        self._bytes_received += count


def _watch(stream: Any) -> None:
    """Count what `stream` carries, for whichever exchange uses it: a pooled connection serves one after the other."""
    read, write = stream.read, stream.write

    async def counted_read(*args: Any, **kwargs: Any) -> bytes:
        data: bytes = await read(*args, **kwargs)
        exchange = _current.get()
        if exchange is not None:
            exchange.received(len(data))
        return data

    async def counted_write(*args: Any, **kwargs: Any) -> None:
        exchange = _current.get()
        if exchange is not None:
            exchange.sent(stream)
        await write(*args, **kwargs)

    try:
        stream.read, stream.write = counted_read, counted_write
    except AttributeError:  # a stream of the user's own making; what cannot be counted is never re-sent
        pass


async def close(closable: Any) -> None:
    """Close, whatever happens."""
    # Shielded: this runs while the caller's leaving is being cancelled through us, and a connection that is
    # dropped half-closed would never leave the pool. Bounded: a peer must not hold us by not reading.
    with anyio.CancelScope(shield=True, deadline=anyio.current_time() + CLOSE_S):
        try:
            await closable.aclose()
        except Exception:  # the connection is gone either way
            pass
