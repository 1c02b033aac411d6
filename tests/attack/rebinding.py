"""Names that are turned round between looking and calling, in schedules that dice write.

    python -m tests.attack.rebinding --schedules 100000 --seed 1

A schedule is a dozen calls to three names, of which two are listed; between calls the name server changes its mind and
time passes; half of the good addresses have a server. Whatever happens: no socket begins to connect to an address that
the guard forbids, or that was in no answer, and nobody looks up a name that is not listed.
"""

from __future__ import annotations

import argparse
import random
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import anyio

from ogw_asgi._rules.egress import AllowList
from ogw_asgi._values import Endpoint
from ogw_asgi._wire.endpoint import read_endpoint
from ogw_asgi.transports.base import TransportFailure
from ogw_asgi.transports.dial import Dialer

LISTED = ("gpu.test", "a.wild.test")
NAMES = (*LISTED, "unlisted.test")
NETWORK = "127.0.0.0/28"
"""Of loopback, so that good connections are real ones; the rest of it stands for what is forbidden."""

GOOD = tuple(f"127.0.0.{number}" for number in range(1, 15))
FORBIDDEN = (
    "127.0.0.16",
    "127.0.1.1",
    "10.0.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "100.100.100.200",
    "8.8.8.8",
    "::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "fd00:ec2::254",
    "fe80::1",
)
CALLS = 12


class Broken(AssertionError):
    """The guard let something through."""


class Machine:
    """A resolver that changes its mind, a clock that jumps, and every connection that is begun."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.last: dict[str, Sequence[str]] = {}
        self.looked_up = self.connects = self.denied = 0
        self._shift_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self._shift_s

    def turn(self) -> None:
        """Time passes, or it does not."""
        self._shift_s += self.dice.choice((0.0, 0.0, 1.0, 6.0, 31.0))

    def getaddrinfo(self, host: str, *_: Any, **__: Any) -> list[Any]:
        if host not in LISTED:
            raise Broken(f"{host} was looked up")
        self.looked_up += 1
        dice = self.dice
        answer = [dice.choice(GOOD) for _ in range(dice.randrange(0, 4))]
        if dice.random() < 0.5:
            answer += [dice.choice(FORBIDDEN) for _ in range(dice.randrange(1, 3))]
            dice.shuffle(answer)
        self.last[host] = answer
        if not answer:
            raise socket.gaierror(socket.EAI_NONAME, "nobody")
        return [
            (
                socket.AF_INET6 if ":" in each else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (each, 0, 0, 0)[: 4 if ":" in each else 2],
            )
            for each in answer
        ]

    def begun(self, address: str) -> None:
        self.connects += 1
        if address not in GOOD:
            raise Broken(f"{address} was connected to")
        if not any(address in answer for answer in self.last.values()):
            raise Broken(f"{address} was in no answer that counts")


@contextmanager
def watched(machine: Machine) -> Iterator[None]:
    class Watched(socket.socket):
        def connect_ex(self, address: Any) -> int:
            machine.begun(address[0])
            return super().connect_ex(address)

    with (
        mock.patch.object(socket, "getaddrinfo", machine.getaddrinfo),
        mock.patch.object(socket, "socket", Watched),
        mock.patch("ogw_asgi.transports._resolver.time", machine),
    ):
        yield


async def play(machine: Machine, port: int) -> None:
    """One schedule."""
    dialer = Dialer()
    allowed = AllowList.parse(
        [f"http://gpu.test:{port} in {NETWORK}", f"http://*.wild.test:{port} in {NETWORK}"], read_endpoint
    )
    for _ in range(CALLS):
        machine.turn()
        host = machine.dice.choice(NAMES)
        guard = allowed.guard(Endpoint("http", host, port), None, keyed=False)
        if guard is None:
            if host in LISTED:
                raise Broken(f"{host} is listed and was refused")
            continue
        try:
            (await dialer.dial(host, port, guard)).close()
        except TransportFailure as failure:
            machine.denied += failure.kind == "denied"
            if failure.kind == "denied" and all(each in GOOD for each in machine.last[host]):
                raise Broken("a good answer was denied") from None
        else:
            if any(each not in GOOD for each in machine.last[host]):
                raise Broken("a mixed answer was called")


async def run(schedules: int, seed: int, told: Callable[[int], None] = lambda done: None) -> Machine:
    """So many schedules; raises Broken. Servers listen at half of the good addresses."""
    machine = Machine(random.Random(seed))
    listeners = [socket.create_server(("127.0.0.1", 0))]
    port = listeners[0].getsockname()[1]
    try:
        listeners += [socket.create_server((address, port)) for address in GOOD[1:7]]
        for listener in listeners:
            listener.listen(1024)
            listener.setblocking(False)
        with watched(machine):
            for done in range(schedules):
                await play(machine, port)
                for listener in listeners:
                    _drain(listener)
                told(done)
    finally:
        for listener in listeners:
            listener.close()
    return machine


def _drain(listener: socket.socket) -> None:
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    started_s = time.monotonic()
    machine = anyio.run(run, options.schedules, options.seed)
    sys.stdout.write(
        f"schedules {options.schedules}, look-ups {machine.looked_up}, denied {machine.denied}, connects "
        f"{machine.connects}, none where it was forbidden; {time.monotonic() - started_s:.0f} s\n"
    )


if __name__ == "__main__":
    main()
