"""Names to numeric addresses, without anybody else's threads. It decides about no address and connects to none.

`getaddrinfo` cannot be cancelled, so a look-up outlives those who asked for it. In the threads of the event loop, which
the host app shares, a name server that hangs would stop the app too (F04); here it holds one of four threads of ours
until it has really returned. No task is left behind: a thread hands its answer to the loop, and requests only wait.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel
from anyio.lowlevel import EventLoopToken, current_token

from .base import TransportFailure

LOOK_UPS_AT_ONCE = 4
POSITIVE_S = 30.0
NEGATIVE_S = 5.0
NAMES_KEPT = 1000
ADDRESSES_KEPT = 16

_OF_OUR_OWN_SYSTEM = {getattr(socket, name, None) for name in ("EAI_MEMORY", "EAI_SYSTEM")}
"""Too many open files, no memory: over in a moment, and nothing that the name is to blame for."""


@dataclass(frozen=True, slots=True)
class Address:
    """One numeric address of a host; `rest` is what IPv6 adds to it, flow information and scope."""

    family: int
    ip: str
    rest: tuple[int, ...] = ()

    def with_port(self, port: int) -> tuple[str | int, ...]:
        """As `connect` takes it."""
        return (self.ip, port, *self.rest)


@dataclass(slots=True)
class _LookUp:
    """One name that is being looked up, for however many requests wait for it."""

    host: str
    loop: EventLoopToken = field(default_factory=current_token)
    done: anyio.Event = field(default_factory=anyio.Event)
    waiters: int = 0
    answer: Sequence[Address] | None = None


@dataclass(frozen=True, slots=True)
class _Cached:
    answer: Sequence[Address]
    until_s: float


class Resolver:
    """For one event loop, whose thread alone touches it: at most four look-ups at once, and one for each name."""

    def __init__(self) -> None:
        self._pending: dict[str, _LookUp] = {}
        self._queue: OrderedDict[str, _LookUp] = OrderedDict()
        """Those of the pending that have no thread yet; somebody waits for each."""
        self._running = 0
        self._cache: OrderedDict[str, _Cached] = OrderedDict()

    async def resolve(self, host: str) -> Sequence[Address]:
        """At least one address, in the system's order (RFC 6724).

        Raises TransportFailure("dns"), or "exhausted" when the system could not even ask, and nothing else.
        """
        await anyio.lowlevel.checkpoint()  # a cached answer waits for nothing, and leaving must be possible at any call
        answer = _numeric(host)
        if answer is None:
            answer = self._cached(host)
        if answer is None:
            answer = await self._wait_for(host)
        if answer is None:
            raise TransportFailure("exhausted")
        if not answer:
            raise TransportFailure("dns")
        return answer

    def forget(self, host: str) -> None:
        """Look the name up anew next time: where it led was no good."""
        self._cache.pop(host, None)

    def _cached(self, host: str) -> Sequence[Address] | None:
        cached = self._cache.get(host)
        if cached is None:
            return None
        if cached.until_s <= time.monotonic():
            del self._cache[host]
            return None
        self._cache.move_to_end(host)
        return cached.answer

    def _keep(self, host: str, answer: Sequence[Address]) -> None:
        self._cache[host] = _Cached(answer, time.monotonic() + (POSITIVE_S if answer else NEGATIVE_S))
        self._cache.move_to_end(host)
        if len(self._cache) > NAMES_KEPT:
            self._cache.popitem(last=False)

    async def _wait_for(self, host: str) -> Sequence[Address] | None:
        look_up = self._pending.get(host)
        if look_up is None:
            look_up = self._pending[host] = self._queue[host] = _LookUp(host)
            self._start_threads()
        look_up.waiters += 1
        try:
            await look_up.done.wait()
        finally:
            look_up.waiters -= 1
            if not look_up.waiters and self._queue.get(host) is look_up:
                del self._queue[host], self._pending[host]
        return look_up.answer

    def _start_threads(self) -> None:
        while self._queue and self._running < LOOK_UPS_AT_ONCE:
            host, look_up = self._queue.popitem(last=False)
            thread = threading.Thread(target=self._look_up, args=(look_up,), name="ogw_asgi-resolver", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads; the name may be as good as any, so none is kept
                del self._pending[host]
                look_up.done.set()
            else:
                self._running += 1

    def _look_up(self, look_up: _LookUp) -> None:
        """The body of a thread."""
        answer = _ask_the_system(look_up.host)
        # Not anyio.from_thread: it waits for the loop's word, and a loop that ends in this moment never gives it.
        loop: Any = look_up.loop.native_token
        hand_over = loop.call_soon_threadsafe if hasattr(loop, "call_soon_threadsafe") else loop.run_sync_soon
        try:
            hand_over(self._finish, look_up, answer)
        except RuntimeError:  # the loop is over, and with it everybody who could have waited
            pass

    def _finish(self, look_up: _LookUp, answer: Sequence[Address] | None) -> None:
        del self._pending[look_up.host]
        self._running -= 1
        if answer is not None:
            self._keep(look_up.host, answer)
        look_up.answer = answer
        look_up.done.set()
        self._start_threads()


def _ask_the_system(host: str) -> Sequence[Address] | None:
    """Nothing, if there is no such name; None if the system could not even ask, which says nothing of the next time.

    Whatever happens is not raised: whoever waits must be told, and the place among the four be given back.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        addresses = [Address(family, str(at[0]), tuple(map(int, at[2:]))) for family, _, _, _, at in found]
    except socket.gaierror as error:  # EAI_AGAIN comes after a long wait: kept, lest the next ones wait as long
        return None if error.errno in _OF_OUR_OWN_SYSTEM else ()
    except ValueError:  # no name at all: a NUL, or (UnicodeError) a label too long
        return ()
    except BaseException:
        return None
    return tuple(dict.fromkeys(addresses))[:ADDRESSES_KEPT]


def _numeric(host: str) -> Sequence[Address] | None:
    """The address that a host without a name is; None for a name."""
    try:
        address = ipaddress.ip_address(host.replace("%25", "%", 1))  # how URLs write a zone (RFC 6874)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return (Address(socket.AF_INET, str(address)),)
    return _scoped(address)


def _scoped(address: ipaddress.IPv6Address) -> Sequence[Address]:
    """Nothing, if its zone (RFC 4007, section 11) is not one of this machine."""
    ip, _, zone = str(address).partition("%")
    try:
        scope = int(zone or 0) if zone.isdecimal() or not zone else socket.if_nametoindex(zone)
    except (OSError, ValueError):
        return ()
    return (Address(socket.AF_INET6, ip, (0, scope)),)
