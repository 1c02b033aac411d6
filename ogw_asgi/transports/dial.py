"""From a host's name to a connected socket: the one way in which every engine of ours reaches a server.

It knows names and addresses, and neither TLS nor HTTP. It has no time limit: the caller's scope has one, over this and
TLS together (contract, section 8).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from itertools import chain, zip_longest

import anyio

from .._values import Permits
from ._resolver import Address, Resolver
from .base import TransportFailure

STAGGER_S = 0.25
"""The connection attempt delay of RFC 8305, section 5."""

# EINTR and Windows' WSAEWOULDBLOCK also mean "begun"; EAGAIN elsewhere means that the system has no port left.
_BEGUN = {errno.EINPROGRESS, errno.EINTR, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS)}

# Of our own system, whoever is at the other end; Linux says EAGAIN when it has no port left.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN}


class Dialer:
    """One per gateway and event loop: resolves, and connects to numeric addresses. Shared by all engines."""

    def __init__(self, resolver: Resolver | None = None) -> None:
        self._resolver = Resolver() if resolver is None else resolver

    async def dial(self, host: str, port: int, permits: Permits | None = None) -> socket.socket:
        """A connected, non-blocking socket with TCP_NODELAY, owned by the caller.

        `permits` is asked of every address before any is dialled: one that it forbids among good ones is the sign of a
        name that somebody is turning round. Cancelling closes everything that was begun. Raises TransportFailure with
        `dns`, `denied`, `connect` or `exhausted`, and nothing else.
        """
        addresses = await self._resolver.resolve(host)
        if permits is not None:
            for address in addresses:
                if not permits(address.ip):
                    raise TransportFailure("denied", address.ip)
        try:
            connected = await _connect_to_one(_interleave(addresses), port)
        except BaseException:
            # Also when cancelled: a server that has gone from its address shows only when the connect limit passes.
            self._resolver.forget(host)
            raise
        if isinstance(connected, int):
            self._resolver.forget(host)
            raise TransportFailure("exhausted" if connected in _EXHAUSTED else "connect")
        if permits is not None:
            _compare_the_peer(connected, addresses)
        return connected


def _compare_the_peer(connected: socket.socket, addresses: Sequence[Address]) -> None:
    """Something in between (a socket wrapper, a transparent proxy of this machine) may have led elsewhere."""
    try:
        peer = str(connected.getpeername()[0]).partition("%")[0]
    except OSError:  # it has been reset already
        connected.close()
        raise TransportFailure("connect") from None
    if peer not in {address.ip for address in addresses}:
        connected.close()
        raise TransportFailure("denied", peer)


def _interleave(addresses: Sequence[Address]) -> Sequence[Address]:
    """Families in turn, beginning with that of the first, so that one broken family costs one delay (RFC 8305, 4)."""
    first = [address for address in addresses if address.family == addresses[0].family]
    others = [address for address in addresses if address.family != addresses[0].family]
    return [address for address in chain.from_iterable(zip_longest(first, others)) if address is not None]


async def _connect_to_one(addresses: Sequence[Address], port: int) -> socket.socket | int:
    """The first connection that is made, all others being closed; the last error's number when there is none."""
    if len(addresses) == 1:
        return await _connect(addresses[0], port)
    winner: socket.socket | None = None
    error = errno.ENETUNREACH
    failed = anyio.Event()

    async def attempt(address: Address) -> None:
        nonlocal winner, error
        connected = await _connect(address, port)
        if isinstance(connected, int):
            error = connected
            failed.set()
        elif winner is None:
            winner = connected
            group.cancel_scope.cancel()
        else:  # both in the same turn of the loop
            connected.close()

    try:
        async with anyio.create_task_group() as group:
            for address in addresses:
                failed = anyio.Event()
                group.start_soon(attempt, address)
                with anyio.move_on_after(STAGGER_S):
                    await failed.wait()
    except BaseException:
        if winner is not None:
            winner.close()
        raise
    return error if winner is None else winner


async def _connect(address: Address, port: int) -> socket.socket | int:
    """One connection, or the number of the error; nothing is left open but what is returned."""
    try:
        begun = socket.socket(address.family, socket.SOCK_STREAM)
    except OSError as failure:  # too many open files, or a family that this machine does not have
        return failure.errno or errno.EINVAL
    try:
        begun.setblocking(False)
        begun.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error = begun.connect_ex(address.with_port(port))
        if error in _BEGUN:
            await anyio.wait_writable(begun)
            error = begun.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except (OSError, OverflowError, TypeError, ValueError):  # an address or a port that is none
        error = errno.EINVAL
    except BaseException:
        begun.close()
        raise
    if error:
        begun.close()
        return error
    return begun
